"""The states of a breaker, and the one table that says how it goes from each to the next."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

__all__ = ["TRANSITIONS", "BreakerState", "Cause", "state_diagram"]

BreakerState: TypeAlias = Literal["closed", "open", "half_open"]
Cause: TypeAlias = Literal[
    "failures in a row",
    "its failure rate",
    "an outlier of the pool",
    "a probe is due",
    "the probe failed",
    "enough probes succeeded",
]

TRANSITIONS: Final[Mapping[tuple[BreakerState, Cause], BreakerState]] = MappingProxyType(
    {
        ("closed", "failures in a row"): "open",
        ("closed", "its failure rate"): "open",
        ("closed", "an outlier of the pool"): "open",
        ("open", "a probe is due"): "half_open",
        ("half_open", "the probe failed"): "open",
        ("half_open", "enough probes succeeded"): "closed",
    }
)
"""Where each cause leads; a pair that is not here cannot happen."""


def state_diagram() -> str:
    """Return the table as a Mermaid state diagram, as `docs/health.md` shows it."""
    lines = ["stateDiagram-v2", "    [*] --> closed"]
    lines += [f"    {was} --> {now}: {cause}" for (was, cause), now in TRANSITIONS.items()]
    return "\n".join(lines)
