"""``orchestrator ope``: how good another selector would have been, by the odds of a log."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args

import typer

from orchestrator.cli.failure import OK
from orchestrator.cli.options import AsJson
from orchestrator.cli.output import console, note, table, write_json
from orchestrator.cli.progress import progress
from orchestrator.cli.recorded import CostWeight, LogFile, read_log
from orchestrator.cli.selectors import DEFAULT_SELECTOR, SelectorName, selector_for
from orchestrator.core.objective import Objective

if TYPE_CHECKING:
    from orchestrator.analysis.ope import Log, PolicyValue
    from orchestrator.core.estimates import FloatArray

__all__ = ["EXAMPLE", "ope"]

EXAMPLE: Final = "Example: orchestrator ope decisions.parquet --selector ucb-tuned --json"


def ope(
    log: LogFile,
    selector: SelectorName = DEFAULT_SELECTOR,
    clip: Annotated[
        float, typer.Option(help="Largest weight of the clipped estimate, which is ips otherwise.")
    ] = 10.0,
    cost_weight: CostWeight = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same numbers.", min=0)] = 1,
    as_json: AsJson = False,
) -> int:
    """Estimate the quality and the cost that a selector would have had on logged requests.

    It decides on what the log had shown by then. Below an effective sample size of 50, or where the
    log can show less than nine tenths of what the selector does, there is no interval, since none
    could be trusted.
    """
    from orchestrator.analysis.ope import MIN_OVERLAP
    from orchestrator.analysis.replay import decide_again

    objective = Objective(cost_weight=cost_weight)
    with progress() as watching:
        read = read_log(log, watching(f"reading {log}", None))
        policy = selector_for(selector, read.features)
        deciding = watching(f"deciding with {selector}", len(read))
        target = decide_again(read, policy, objective, seed=seed, on_decision=deciding)
    metric = read.rated_by()
    known = {name: read.rewards(name) for name in (metric, "cost_usd")}
    values: dict[str, dict[str, PolicyValue]] = {}
    values |= {name: _values(seen, target[rows], clip) for name, (seen, rows) in known.items()}
    first = values[metric]["ips"]
    found = {"selector": selector, "decisions": len(read), "rated": first.n}
    found |= {"ess": first.ess, "overlap": first.overlap, "clip": clip}
    found["logged"] = {name: float(seen.reward.mean()) for name, (seen, _) in known.items()}
    found |= {name: {m: asdict(v) for m, v in by.items()} for name, by in values.items()}
    if first.overlap < MIN_OVERLAP:
        note(
            f"the log can show only {first.overlap:.0%} of what {selector} does: "
            "ips and its kin leave out the rest"
        )
    if as_json:
        write_json(found)
    else:
        _show(found, values)
    return OK


def _values(log: Log, target: FloatArray, clip: float) -> dict[str, PolicyValue]:
    from orchestrator.analysis.ope import Method, evaluate

    values = {method: evaluate(log, target, method) for method in get_args(Method)}
    return values | {"clipped": evaluate(log, target, "ips", clip=clip)}


def _show(found: dict[str, Any], values: dict[str, dict[str, PolicyValue]]) -> None:
    out = console()
    first = next(iter(values.values()))["ips"]
    out.print(
        f"effective sample size {first.ess:,.1f} of {first.n:,} decisions that were judged\n",
        markup=False,
    )
    columns = [column for metric in values for column in (metric, f"{metric}, 95 % interval")]
    listed = table("estimator", *columns, right=tuple(columns))
    for method in next(iter(values.values())):
        cells = []
        for by_method in values.values():
            value = by_method[method]
            ends = value.interval
            cells += [
                f"{value.value:.4g}",
                "none" if ends is None else f"{ends[0]:.4g} to {ends[1]:.4g}",
            ]
        listed.add_row(method, *cells)
    listed.add_row("logged", *(c for v in found["logged"].values() for c in (f"{v:.4g}", "")))
    out.print(listed)
    if first.refused is not None:
        out.print(f"\nno interval: {first.refused}", markup=False)
