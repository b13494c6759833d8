"""How much of the pool may be kept out for its health, and what to do when all of it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from orchestrator.core.errors import InvalidRequestError

__all__ = ["EjectionPolicy", "LastResort"]


class LastResort(NamedTuple):
    """What to do when every model that could serve is unhealthy.

    Attributes:
        arm: The one to try all the same, or None to refuse.
        recovers_in_s: Seconds until the first of them may be healthy again.
    """

    arm: int | None
    recovers_in_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EjectionPolicy:
    """Limits of what health may do to the pool.

    A failure rate is a comparison, and when most models fail at the same time the cause is
    seldom theirs. Failures in a row are evidence about one model and know no limit.

    Attributes:
        max_share: The most of the pool that failure rates may eject.
        when_all_are_ejected: ``try`` the model that recovers soonest, or ``refuse`` with the
            time to wait.
        outlier_deviations: Standard deviations by which a model's success rate lies below the
            pool's when the comparison ejects it.
        outlier_min_models: Models with enough calls that a comparison takes.
        outlier_min_calls: Calls within the breaker's window that a model is compared with.
        outlier_interval_s: Seconds from one comparison to the next.
    """

    max_share: float = 0.5
    when_all_are_ejected: Literal["try", "refuse"] = "try"
    outlier_deviations: float = 1.9
    outlier_min_models: int = 5
    outlier_min_calls: int = 20
    outlier_interval_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_share <= 1:
            raise InvalidRequestError(
                f"max_share must be in [0, 1], not {self.max_share!r}", param="max_share"
            )
        if self.when_all_are_ejected not in ("try", "refuse"):
            raise InvalidRequestError(
                f"when_all_are_ejected is try or refuse, not {self.when_all_are_ejected!r}",
                param="when_all_are_ejected",
            )
        least = {
            "outlier_deviations": 0,
            "outlier_min_models": 2,
            "outlier_min_calls": 1,
            "outlier_interval_s": 0,
        }
        for name, low in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not value >= low:
                raise InvalidRequestError(
                    f"{name} must be at least {low}, not {value!r}", param=name
                )

    def may_eject(self, ejected: int, pool: int) -> bool:
        """Say whether a failure rate may eject one more.

        Args:
            ejected: Models that failure rates keep out now.
            pool: All models.
        """
        return ejected + 1 <= self.max_share * pool

    def last_resort(
        self, probe_at: npt.NDArray[np.float64], ejected: npt.NDArray[np.bool_], now: float
    ) -> LastResort | None:
        """Return what to do for a request that only unhealthy models could serve.

        Args:
            probe_at: When each arm may be probed, in monotonic seconds, shape ``(n_arms,)``.
            ejected: Which arms fail the request by their health alone, shape ``(n_arms,)``.
            now: Monotonic seconds.

        Returns:
            None if no arm would serve the request even if it were healthy. Of arms that
            recover at the same time the first is taken.
        """
        arms = np.flatnonzero(ejected)
        if not arms.size:
            return None
        arm = int(arms[np.argmin(probe_at[arms])])
        recovers_in_s = max(0.0, float(probe_at[arm]) - now)
        return LastResort(arm if self.when_all_are_ejected == "try" else None, recovers_in_s)
