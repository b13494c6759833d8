"""What `benchmarks.learning` has found, as the tables of `docs/selection.md`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.harness import markdown

__all__ = ["report"]


def report(found: Mapping[str, Any]) -> str:
    """Return every part that was run as Markdown."""
    parts = {
        "regrets": _regrets,
        "tables": _tables,
        "estimators": _estimators,
        "merging": _merging,
        "speed": _speed,
    }
    machine = found["machine"]
    head = f"Python {machine['python']}, numpy {machine['numpy']}, {machine['platform']}."
    return "\n\n".join(
        [head, *(write(found[name]) for name, write in parts.items() if name in found)]
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, rule, *rows))


def _regrets(found: Mapping[str, Any]) -> str:
    still = {name: one for name, one in found["problems"].items() if not name.startswith("N")}
    shifting = {name: one for name, one in found["problems"].items() if name.startswith("N")}
    late = {f"D = {delay}": one for delay, one in found["delays"].items()}
    return "\n\n".join(_regret_table(part) for part in (still, shifting, late) if part)


def _regret_table(found: Mapping[str, Mapping[str, Any]]) -> str:
    selectors = list(next(iter(found.values())))
    rows = [[s, *(_with_error(one[s]["regret"]) for one in found.values())] for s in selectors]
    return _table(["", *found], rows)


def _with_error(regret: Mapping[str, float]) -> str:
    return f"{regret['mean']:.1f} ± {regret['ci95']:.1f}"


def _tables(found: Mapping[str, Any]) -> str:
    rows = []
    for name, one in found.items():
        policies = {who: what for who, what in one.items() if isinstance(what, Mapping)}
        mix = next(iter(policies.values()))
        rows.append([f"{name}, static mix", f"{mix['static_mix_aiq']:.4f}", "", "", "", ""])
        rows += [
            [
                f"{name}, {who}",
                f"{what['aiq']:.4f}",
                _percent(what["cost_at_95"]),
                _percent(what["cost_at_100"]),
                f"{what['quality_at_budget']:.3f}",
                _percent(what["spend_over_budget"]),
            ]
            for who, what in policies.items()
        ]
    columns = ("AIQ", "cost at 95 %", "cost at 100 %", "quality on 30 % of the money", "spent")
    return _table(["", *columns], rows)


def _percent(share: float | None) -> str:
    return "never" if share is None else f"{share:.1%}"


def _estimators(found: Mapping[str, Any]) -> str:
    rows = [
        [
            f"{method}, {int(size):,} decisions",
            f"{one['bias']:+.4f}",
            f"{one['rmse']:.4f}",
            "-" if one["given"] == 0 else f"{one['coverage']:.1%}",
            f"{one['given']:.0%}",
        ]
        for size, methods in found["sizes"].items()
        for method, one in methods.items()
    ]
    columns = ("bias", "RMSE", "intervals that hold the truth", "logs with an interval")
    return _table([f"{found['logs']:,} logs", *columns], rows)


def _merging(found: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            _with_error({"mean": one["regret"], "ci95": one["ci95"]}),
            f"{one['inflation']:+.0%}",
            f"{one['apart']:.0e}",
        ]
        for name, one in found["exchanges"].items()
    ]
    columns = ("regret", "against one node", "sums apart in the end, relatively")
    return _table(["nodes exchange", *columns], rows)


def _speed(found: Mapping[str, Any]) -> str:
    return "\n".join(markdown(one) for one in found.values())
