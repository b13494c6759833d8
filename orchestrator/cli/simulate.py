"""``orchestrator simulate``: how selectors fare against arms that are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer

from orchestrator.cli.failure import OK
from orchestrator.cli.options import AsJson
from orchestrator.cli.output import console, note, table, write_json
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.views import Memory

if TYPE_CHECKING:
    from orchestrator.analysis.environments import Bernoulli
    from orchestrator.analysis.regret import RegretCurve
    from orchestrator.analysis.simulation import Trace
    from orchestrator.core.estimates import FloatArray
    from orchestrator.core.selector import Selector

__all__ = ["EXAMPLE", "simulate"]

EXAMPLE: Final = (
    "Example: orchestrator simulate --problem F --selectors ucb1,ucb-tuned --runs 200 --seed 1"
)

_PROBLEM: Final = "F"
_ROUNDS_PER_STEP: Final = 100
"""Of a progress bar, which takes as long to move as a round to play."""
_TEXTBOOK: Final[Mapping[str, Any]] = {"min_trials": 1, "floor": 0.0}
"""As papers have it: every arm is tried once, and only the policy itself explores."""


def simulate(
    problem: Annotated[
        str | None,
        typer.Option(help="A to F stand still, N1 to N3 shift; F if no --means are given."),
    ] = None,
    means: Annotated[
        str | None, typer.Option(help="How likely each arm is to win, such as .9,.8.")
    ] = None,
    selectors: Annotated[
        str, typer.Option(help="Names, separated by commas.")
    ] = "ucb1,ucb-tuned,kl-ucb",
    horizon: Annotated[int, typer.Option(help="Rounds of a run.", min=1)] = 10_000,
    runs: Annotated[int, typer.Option(help="Runs, all at once.", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="The same seed, the same numbers.", min=0)] = 1,
    delay: Annotated[int, typer.Option(help="Rounds after which a reward is seen.", min=0)] = 0,
    window: Annotated[
        float | None, typer.Option(help="Rounds that selectors remember; all if not given.", min=60)
    ] = None,
    half_life: Annotated[
        float | None,
        typer.Option(help="Rounds after which what they remember counts half.", min=1),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw regret into this PNG file.")] = None,
    as_json: AsJson = False,
) -> int:
    """Play selectors against Bernoulli arms and tell their regret.

    Every selector meets the same luck, tries every arm once, and keeps no floor under its
    probabilities. One round is one second to its memory.
    """
    from orchestrator.analysis.plots import check_plot, plot_regret
    from orchestrator.analysis.regret import lai_robbins, regret_curve
    from orchestrator.analysis.simulation import simulate as play

    environment = _environment(problem, means, delay)
    settings = dict(_TEXTBOOK)
    if window is not None or half_life is not None:
        settings["memory"] = Memory(window, half_life)
    policies = {name: _built(name, settings) for name in _split(selectors, "selectors")}
    if plot is not None:
        check_plot(plot)
    curves: dict[str, RegretCurve] = {}
    found: dict[str, dict[str, Any]] = {}
    with _progress(horizon) as watching:
        for name, selector in policies.items():
            trace = play(
                *(selector, environment),
                horizon=horizon,
                runs=runs,
                seed=seed,
                on_round=watching(name),
            )
            curves[name] = regret_curve(trace)
            found[name] = _summary(trace, curves[name])
    bound = None if environment.shifts else lai_robbins(environment.means[0])
    if plot is not None:
        title = f"{'arms ' + means if means else f'problem {problem or _PROBLEM}'}, {runs} runs"
        plot_regret(curves, plot, title=title, lai_robbins=bound, shifts=environment.shifts)
    if as_json:
        write_json(
            {
                "means": environment.means.tolist(),
                "shifts": environment.shifts,
                "horizon": horizon,
                "runs": runs,
                "seed": seed,
                "delay": delay,
                "lai_robbins": None if bound is None else bound * log(horizon),
                "selectors": found,
            }
        )
    else:
        _show(found, None if bound is None else bound * log(horizon))
    return OK


def _environment(problem_name: str | None, means: str | None, delay: int) -> Bernoulli:
    from orchestrator.analysis.environments import Bernoulli
    from orchestrator.analysis.problems import problem

    if means is None:
        return problem(problem_name or _PROBLEM, delay=delay)
    if problem_name is not None:
        raise InvalidRequestError("--problem and --means exclude each other", param="means")
    try:
        rates = [float(rate) for rate in _split(means, "means", repeated=True)]
    except ValueError as error:
        raise InvalidRequestError(f"--means: {error}", hint="such as --means .9,.8") from error
    return Bernoulli(rates, delay=delay)


def _split(text: str, param: str, *, repeated: bool = False) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise InvalidRequestError(f"--{param}: {text!r} is not a list", param=param)
    return words if repeated else list(dict.fromkeys(words))


def _built(name: str, settings: Mapping[str, Any]) -> Selector:
    """Build a selector with those of the settings that it has."""
    from orchestrator.selectors import make_selector

    takes = signature(type(make_selector(name))).parameters
    return make_selector(name, {key: settings[key] for key in takes if key in settings})


def _summary(trace: Trace, curve: RegretCurve) -> dict[str, Any]:
    from orchestrator.analysis.regret import pull_fractions, recovery_rounds

    ends = {"mean": curve.mean, "ci95": curve.ci95, "p5": curve.low, "p95": curve.high}
    summary: dict[str, Any] = {
        "regret": {name: float(values[-1]) for name, values in ends.items()},
        "pulls": pull_fractions(trace).tolist(),
    }
    if trace.environment.shifts:
        summary["recovery"] = [
            _recovery(shift, recovery_rounds(trace, shift))
            for shift in trace.environment.shifts
            if shift < len(trace.arms)
        ]
    return summary


def _recovery(shift: int, rounds: FloatArray) -> dict[str, Any]:
    back = np.sort(rounds[~np.isnan(rounds)])
    middle = (len(rounds) - 1) // 2
    return {
        "round": shift,
        "recovered": len(back) / len(rounds),
        # Of all runs: nothing while fewer than half of them have recovered.
        "median_rounds": float(back[middle]) if middle < len(back) else None,
    }


def _show(found: dict[str, dict[str, Any]], bound: float | None) -> None:
    out = console()
    shifting = any("recovery" in summary for summary in found.values())
    numbers = ("regret", "± 95 %", "runs, 5 to 95 %", "pulls per arm, %")
    columns = (*numbers, "back after") if shifting else numbers
    listed = table("selector", *columns, right=columns)
    for name, summary in found.items():
        regret = summary["regret"]
        cells = [
            name,
            f"{regret['mean']:.1f}",
            f"{regret['ci95']:.1f}",
            f"{regret['p5']:.1f} to {regret['p95']:.1f}",
            " ".join(f"{100 * share:.0f}" for share in summary["pulls"]),
        ]
        if shifting:
            medians = [shift["median_rounds"] for shift in summary["recovery"]]
            cells.append(" ".join("never" if m is None else f"{m:.0f}" for m in medians))
        listed.add_row(*cells)
    out.print(listed)
    if bound is not None:
        out.print(f"\nLai-Robbins bound: {bound:.1f}, which holds in the long run only")


@contextmanager
def _progress(horizon: int) -> Iterator[Callable[[str], Callable[[int], None]]]:
    """Show how far each selector is: a bar in a terminal, else a line when it begins."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    err = console(stderr=True)
    parts = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(
        *parts, TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal
    ) as bars:

        def watching(name: str) -> Callable[[int], None]:
            if not err.is_terminal:
                note(f"simulating {name}")
            bar = bars.add_task(name, total=horizon)

            def on_round(done: int) -> None:
                if done % _ROUNDS_PER_STEP == 0 or done == horizon:
                    bars.update(bar, completed=done)

            return on_round

        yield watching
