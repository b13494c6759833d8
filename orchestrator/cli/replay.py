"""``orchestrator replay``: what another selector would have chosen on logged decisions."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer

from orchestrator.cli.failure import OK
from orchestrator.cli.options import AsJson
from orchestrator.cli.output import console, table, write_json
from orchestrator.cli.progress import progress
from orchestrator.cli.recorded import CostWeight, LogFile, read_log
from orchestrator.cli.selectors import DEFAULT_SELECTOR, SelectorName, selector_for
from orchestrator.core.objective import Objective

if TYPE_CHECKING:
    from orchestrator.analysis.decisions import DecisionLog, Metric
    from orchestrator.core.estimates import FloatArray

__all__ = ["EXAMPLE", "replay"]

EXAMPLE: Final = "Example: orchestrator replay decisions.parquet --selector ucb-tuned --json"

_SHOWN: Final = 20


def replay(
    log: LogFile,
    selector: SelectorName = DEFAULT_SELECTOR,
    cost_weight: CostWeight = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same numbers.", min=0)] = 1,
    as_json: AsJson = False,
) -> int:
    """Let a selector decide again, on what the log had shown by then, and tell how it differs.

    Quality and cost are means over a part of the log that the selector could have made itself,
    where the log's odds give enough of it; else by the mean of each model.
    """
    from orchestrator.analysis.rejection import kept_by_rejection
    from orchestrator.analysis.replay import decide_again

    objective = Objective(cost_weight=cost_weight)
    with progress() as watching:
        read = read_log(log, watching(f"reading {log}", None))
        policy = selector_for(selector, read.features)
        deciding = watching(f"deciding with {selector}", len(read))
        target = decide_again(read, policy, objective, seed=seed, on_decision=deciding)
    kept = kept_by_rejection(read, target, np.random.default_rng([seed, 1]))
    found = {"selector": selector, "decisions": len(read), "kept": len(kept)}
    found |= _compared(read, target, kept)
    if as_json:
        write_json(found)
    else:
        _show(found)
    return OK


def _compared(log: DecisionLog, target: FloatArray, kept: Any) -> dict[str, Any]:
    from orchestrator.analysis.rejection import value_by_replay

    n = len(log)
    logged = np.bincount(log.arm, minlength=len(log.models)) / n
    shares = zip(log.models, logged.tolist(), target.mean(axis=0).tolist(), strict=True)
    metrics: tuple[Metric, Metric] = (log.rated_by(), "cost_usd")
    return {
        "agreement": float(target[np.arange(n), log.arm].mean()),
        "models": {model: {"logged": was, "chosen": now} for model, was, now in shares},
        "logged": {metric: float(log.rewards(metric)[0].reward.mean()) for metric in metrics},
        "estimated": {
            metric: asdict(value_by_replay(log, target, metric, kept)) for metric in metrics
        },
    }


def _show(found: dict[str, Any]) -> None:
    out = console()
    out.print(
        f"{found['selector']} would have agreed with {found['agreement']:.1%} of "
        f"{found['decisions']:,} decisions\n",
        markup=False,
    )
    listed = table("model", "logged, %", "chosen, %", right=("logged, %", "chosen, %"))
    models = sorted(found["models"].items(), key=lambda model: -max(model[1].values()))
    for model, shares in models[:_SHOWN]:
        listed.add_row(model, *(f"{100 * share:.1f}" for share in shares.values()))
    out.print(listed)
    out.print()
    for metric, value in found["estimated"].items():
        how = value["by"] if value["refused"] is None else f"{value['by']}: {value['refused']}"
        out.print(
            f"{metric} {found['logged'][metric]:.4g} logged, {value['value']:.4g} estimated "
            f"± {1.96 * value['standard_error']:.2g} ({how})",
            markup=False,
        )
