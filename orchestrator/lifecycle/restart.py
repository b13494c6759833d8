"""When a process that ended may be started again. Pure: the caller brings the time.

Each failure in a row doubles the wait, so that a model that cannot run costs little, and one that
was merely killed is back soon.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from orchestrator.core.errors import ConfigurationError

__all__ = ["RestartPolicy", "RestartState"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How long to wait before the next start.

    Attributes:
        first_wait_s: After the first failure.
        longest_wait_s: The wait doubles up to this.
        good_service_s: A process that served this long counts as the first to fail.
    """

    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    good_service_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.first_wait_s <= self.longest_wait_s < math.inf:
            raise ConfigurationError(
                f"first_wait_s {self.first_wait_s} must be above 0 "
                f"and at most longest_wait_s {self.longest_wait_s}"
            )

    def wait_s(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row, at least 1."""
        # Beyond 2**63 a float still holds the product, but nobody waits that long.
        return min(self.longest_wait_s, self.first_wait_s * 2.0 ** min(failures - 1, 63))


@dataclass(frozen=True, slots=True)
class RestartState:
    """What has happened to one resident's processes.

    Attributes:
        failures: Failed loads and deaths in a row.
        serving_since: When the last process became ready, or None if it never did.
        not_before: When the next may start. All times are in seconds of one monotonic clock.
    """

    failures: int = 0
    serving_since: float | None = None
    not_before: float = -math.inf

    def after_ready(self, now: float) -> RestartState:
        """A process serves."""
        return replace(self, serving_since=now)

    def after_failure(self, now: float, policy: RestartPolicy) -> RestartState:
        """A process died, or could not be made to serve."""
        served_well = (
            self.serving_since is not None and now - self.serving_since >= policy.good_service_s
        )
        failures = 1 if served_well else self.failures + 1
        return RestartState(failures, None, now + policy.wait_s(failures))

    def wait_s(self, now: float) -> float:
        """Return the seconds until the next start is allowed, 0 if it is."""
        return max(0.0, self.not_before - now)
