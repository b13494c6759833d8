"""Whether a process hangs: it does not compute, and does not answer either. Pure.

A port that answers says little: the thread behind it lives while the one that computes waits for
ever. And a question that is not answered says little while others are being worked on. So it is
asked only while it does not compute, and what counts is the silence of a process at rest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

__all__ = ["Liveliness"]

# Of one core. A decode loop, also one that waits for its GPU, takes a multiple; answering HTTP
# twice a minute, or waking up to look for work, a fraction.
_COMPUTING_SHARE: Final = 0.05
# Two ticks of the kernel's clock: less cannot be told from nothing.
_LEAST_COMPUTED_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Liveliness:
    """What was seen of a process so far.

    Attributes:
        at: When it was last looked at, in seconds of a monotonic clock.
        cpu_s: For how long it and its children had computed by then.
        unanswered: Questions in a row that it did not answer at rest.
        rested: Whether it was at rest between the last two looks.
    """

    at: float
    cpu_s: float
    unanswered: int = 0
    rested: bool = False

    def seen(self, at: float, cpu_s: float) -> Liveliness:
        """It was looked at; whoever has computed is forgiven every silence."""
        computed_s = cpu_s - self.cpu_s
        least_s = max(_LEAST_COMPUTED_S, _COMPUTING_SHARE * (at - self.at))
        rested = computed_s <= least_s
        return Liveliness(at, cpu_s, self.unanswered if rested else 0, rested)

    def answered(self) -> Liveliness:
        """It answered a question."""
        return replace(self, unanswered=0)

    def silent(self) -> Liveliness:
        """It did not answer in time, and has been looked at since."""
        return replace(self, unanswered=self.unanswered + 1) if self.rested else self
