"""``orchestrator evaluate``: a selector at work on a table of outcomes, and what it was worth."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.cli.failure import OK
from orchestrator.cli.options import AsJson
from orchestrator.cli.output import console, table, write_json
from orchestrator.cli.progress import Watching, progress
from orchestrator.cli.selectors import DEFAULT_SELECTOR, SelectorName, selector_for
from orchestrator.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from orchestrator.analysis.online import OnlineRuns
    from orchestrator.analysis.paced import PacedRuns
    from orchestrator.analysis.tables import OutcomeTable
    from orchestrator.core.selector import Selector

__all__ = ["EXAMPLE", "evaluate"]

EXAMPLE: Final = "Example: orchestrator evaluate outcomes/ --prior earlier/ --budget 0.3 --json"


def evaluate(
    outcomes: Annotated[
        Path, typer.Argument(metavar="OUTCOMES_DIR", help="Folder of prompts and their outcomes.")
    ],
    prior: Annotated[
        Path | None, typer.Option(help="Folder of a table whose outcomes are known beforehand.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Also play with so much to spend, as a share of the best model's cost."),
    ] = None,
    selector: SelectorName = DEFAULT_SELECTOR,
    seeds: Annotated[int, typer.Option(help="Runs for each cost weight.", min=1)] = 5,
    dump: Annotated[
        Path | None, typer.Option(help="CSV file for every choice: lambda, seed, prompt_id, model.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Play a selector over a table at ten cost weights and tell quality against cost.

    Every run meets every prompt once and sees only what the model it chose made of it.
    """
    from orchestrator.analysis.online import play_online
    from orchestrator.analysis.tables import read_table

    if dump is not None and (dump.is_dir() or not dump.parent.is_dir()):
        raise InvalidRequestError(f"{dump} is no file in a folder that exists", param="dump")
    to_come = read_table(outcomes)
    known = None if prior is None else read_table(prior)
    policy = selector_for(selector, to_come.features)
    with progress() as watching:
        paced = None
        if budget is not None:
            paced = _paced(policy, to_come, known, budget, seeds, watching)
        runs = play_online(
            *(policy, to_come),
            prior=known,
            seeds=seeds,
            on_round=watching(f"playing {selector}", len(to_come)),
        )
    if dump is not None:
        _write(dump, runs)
        if paced is not None:
            _write(dump.with_suffix(".budget.csv"), paced.runs)
    found = _figures(runs, paced)
    if as_json:
        said = {"selector": selector, "prompts": len(to_come), "seeds": seeds, "budget": budget}
        write_json(found | said)
    else:
        _show(selector, found)
    return OK


def _paced(
    selector: Selector,
    to_come: OutcomeTable,
    known: OutcomeTable | None,
    budget: float,
    seeds: int,
    watching: Watching,
) -> PacedRuns:
    from orchestrator.analysis.paced import play_paced
    from orchestrator.routing.pacer import BudgetPacer

    return play_paced(
        *(selector, to_come, budget),
        lambda usd, start, period_s: BudgetPacer(usd, 0.0, start=start, period_s=period_s),
        prior=known,
        seeds=seeds,
        on_round=watching(f"playing with {budget:g} of the best model's cost", len(to_come)),
    )


def _figures(runs: OnlineRuns, paced: PacedRuns | None) -> dict[str, Any]:
    from orchestrator.analysis.online import baselines, singles
    from orchestrator.analysis.pareto import aiq, pareto_figures, static_mix

    single, points = singles(runs.table), runs.points()
    mean = points.mean(axis=1)
    reached, without = pareto_figures(mean, single), baselines(runs.table)
    weighed = zip(runs.weights, mean.tolist(), strict=True)
    return {
        "aiq": reached.aiq,
        "static_mix_aiq": static_mix(single).aiq,
        "cost_at_95": reached.cost_at_95,
        "cost_at_100": reached.cost_at_100,
        "oracle": without.oracle,
        "best_single": without.best_single,
        "random": without.random,
        "quality_at_budget": None if paced is None else float(paced.quality.mean()),
        "spend_over_budget": None if paced is None else float(paced.spend_over_budget.mean()),
        "best_model": without.best_model,
        "aiq_by_seed": [aiq(points[:, seed], single) for seed in range(points.shape[1])],
        "points": [{"lambda": w, "cost_usd": usd, "quality": q} for w, (usd, q) in weighed],
    }


def _write(path: Path, runs: OnlineRuns) -> None:
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("lambda", "seed", "prompt_id", "model"))
            writer.writerows(runs.choices())
    except OSError as error:
        raise InvalidRequestError(f"cannot write {path}: {error.strerror}", param="dump") from error


def _show(selector: str, found: dict[str, Any]) -> None:
    out = console()
    listed = table("cost weight", "cost, USD", "quality", right=("cost, USD", "quality"))
    for point in found["points"]:
        listed.add_row(
            f"{point['lambda']:g}", f"{point['cost_usd']:.3g}", f"{point['quality']:.4f}"
        )
    out.print(listed)
    lines = [
        "",
        f"AIQ {found['aiq']:.4f}, static mix of single models {found['static_mix_aiq']:.4f}",
        f"best model {found['best_model']}: quality {found['best_single']:.4f}; "
        f"any model {found['random']:.4f}, the best for each prompt {found['oracle']:.4f}",
        *(
            f"{percent} % of the best model's quality "
            + ("is not reached" if share is None else f"at {share:.1%} of its cost")
            for percent, share in ((95, found["cost_at_95"]), (100, found["cost_at_100"]))
        ),
    ]
    if found["quality_at_budget"] is not None:
        lines.append(
            f"with a budget: quality {found['quality_at_budget']:.4f}, "
            f"{found['spend_over_budget']:.1%} of it spent"
        )
    out.print("\n".join(lines), markup=False)
