"""Textbook problems by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.analysis.environments import Bernoulli
from orchestrator.core.errors import InvalidRequestError

__all__ = ["PROBLEMS", "problem"]

_ROTATED: Final = tuple(
    (2000 * turns, (*(0.9, 0.7, 0.5, 0.3)[-turns:], *(0.9, 0.7, 0.5, 0.3)[:-turns]))
    for turns in (1, 2, 3)
)

PROBLEMS: Final[Mapping[str, Mapping[str, Any]]] = {
    "A": {"means": (0.9, 0.8)},
    "B": {"means": (0.5, 0.45)},
    "C": {"means": (0.5, 0.45, 0.4, 0.35, 0.3)},
    "D": {"means": (0.1, *[0.05] * 3, *[0.02] * 3, *[0.01] * 3)},
    "E": {"means": tuple(n / 10 for n in range(1, 10))},
    "F": {"means": (0.88, 0.86, 0.83, 0.78, 0.7, 0.55)},
    "N1": {
        "means": (0.5, 0.3, 0.4),
        "later": ((3000, (0.5, 0.3, 0.9)), (5000, (0.5, 0.3, 0.4))),
    },
    "N2": {
        "means": (0.9, 0.85, 0.7),
        "later": ((4000, (0.5, 0.85, 0.7)), (7000, (0.9, 0.85, 0.7))),
    },
    "N3": {
        "means": (0.9, 0.7, 0.5, 0.3),
        "later": (*_ROTATED, (8000, (0.9, 0.7, 0.5, 0.3))),
    },
}
"""What `Bernoulli` makes of each.

A to F stand still; in N1 (Garivier & Moulines, 2011) a bad arm is the best for a while, in N2 the
best one silently regresses, in N3 all change places every 2,000 rounds.
"""


def problem(name: str, *, delay: int = 0) -> Bernoulli:
    """Return the problem of this name, whose rewards are seen so many rounds later.

    Raises:
        InvalidRequestError: There is none of this name.
    """
    if name not in PROBLEMS:
        raise InvalidRequestError(
            f"there is no problem {name!r}", param="problem", hint=f"known: {', '.join(PROBLEMS)}"
        )
    return Bernoulli(**PROBLEMS[name], delay=delay)
