"""What goes wrong in the simulated world, by name: for how long, or by chance, and how badly."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from orchestrator.core.errors import (
    ErrorClass,
    InvalidRequestError,
    ModelAPIError,
    ModelRateLimitError,
    UnsupportedCapabilityError,
)
from orchestrator.testing.answer import Answer, Step
from orchestrator.testing.faults import (
    Cut,
    Dripping,
    Dropped,
    Endless,
    Fault,
    Garbled,
    Late,
    Recut,
    Refused,
    Stalled,
    Truncated,
    failure,
    html_page,
)
from orchestrator.testing.scripted import Turn

__all__ = ["Condition", "Harm", "Outage", "Trouble", "TroubledTurn"]

Harm: TypeAlias = Literal["none", "passing", "lasting", "final"]


@dataclass(frozen=True, slots=True)
class Trouble(Fault):
    """A fault with a name and its meaning.

    Attributes:
        harm: ``none``: the answer arrives all the same, if somebody waits for it; ``passing``:
            the same model may do better later; ``lasting``: only another may; ``final``: none.
    """

    name: str
    harm: Harm
    fault: Fault

    def rewrite(self, answer: Answer) -> Iterator[Step]:
        return self.fault.rewrite(answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubledTurn(Turn):
    """The same for a model that is called without a wire."""

    name: str | None = None
    harm: Harm = "none"


@dataclass(frozen=True, slots=True)
class Outage:
    """A while in which every request to one place meets the same trouble.

    Attributes:
        name: ``dead``, ``unreachable``, or a trouble's name.
        begins_s, ends_s: In seconds of the loop.
        healed_s: How long before its end it has stopped doing harm, though not all know it.
    """

    name: str
    begins_s: float
    ends_s: float
    healed_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Share(Fault):
    """A fault that sets in after a share of the answer's body, however long that is."""

    share: float
    fault: Callable[[int], Fault]

    def rewrite(self, answer: Answer) -> Iterator[Step]:
        return self.fault(int(len(answer.body) * self.share)).rewrite(answer)


_Wire: TypeAlias = Callable[[Random], Fault]

_ON_THE_WIRE: Final[Mapping[str, tuple[Harm, _Wire]]] = MappingProxyType(
    {
        "late": ("none", lambda rng: Late(rng.expovariate(1.0))),
        "slow": ("none", lambda rng: Late(rng.uniform(3, 60))),
        "recut": ("none", lambda rng: Recut(rng.getrandbits(32), 64)),
        "dripping": ("none", lambda rng: Dripping(100, rng.uniform(0.01, 0.3))),
        "silent": ("passing", lambda rng: Late(inf)),
        "refused": ("passing", lambda rng: Refused()),
        "dropped": ("passing", lambda rng: Dropped()),
        "cut": ("passing", lambda rng: _Share(rng.uniform(0, 0.95), Cut)),
        "stalled": ("passing", lambda rng: _Share(rng.uniform(0, 0.95), Stalled)),
        "truncated": ("passing", lambda rng: Truncated(rng.uniform(0, 0.95))),
        "garbled": ("passing", lambda rng: Garbled(rng.randint(1, 8))),
        "endless": ("passing", lambda rng: Endless(rng.randint(0, 4), every_s=0.5)),
        "page": ("passing", lambda rng: html_page()),
        "broken": ("passing", lambda rng: failure(500)),
        "unavailable": ("passing", lambda rng: failure(503)),
        "limited": ("passing", lambda rng: failure(429, retry_after_s=_wait_s(rng))),
        "bad_key": ("lasting", lambda rng: failure(401)),
        "unpaid": ("lasting", lambda rng: failure(402)),
        "forbidden": ("lasting", lambda rng: failure(403)),
        "missing": ("lasting", lambda rng: failure(404)),
        "too_large": ("lasting", lambda rng: failure(413)),
        "too_long": ("lasting", lambda rng: failure(400, code="context_length_exceeded")),
        "bad_request": ("final", lambda rng: failure(400)),
        "filtered": ("final", lambda rng: failure(400, code="content_filter")),
    }
)
_Raised: TypeAlias = Callable[[Random], Exception]

_BY_PLAIN_MODELS: Final[Mapping[str, tuple[Harm, _Raised]]] = MappingProxyType(
    {
        "dropped": ("passing", lambda rng: ConnectionResetError("on purpose")),
        "cut": ("passing", lambda rng: ConnectionResetError("on purpose")),
        "timed_out": ("passing", lambda rng: TimeoutError("on purpose")),
        "unavailable": (
            "passing",
            lambda rng: ModelAPIError("on purpose", classification=ErrorClass.SERVICE_UNAVAILABLE),
        ),
        "limited": (
            "passing",
            lambda rng: ModelRateLimitError("on purpose", retry_after_s=_wait_s(rng)),
        ),
        "broken": ("lasting", lambda rng: RuntimeError("a bug on purpose")),
        "unsupported": ("lasting", lambda rng: UnsupportedCapabilityError("on purpose")),
        "bad_request": ("final", lambda rng: InvalidRequestError("on purpose")),
    }
)


class Condition:
    """How one place fares: an outage while it lasts, and chance otherwise.

    Implements `FaultSource` for servers; plain models ask for a `turn`.

    Args:
        outages: Which do not overlap.
        mishaps: The probability of each trouble beside them; together at most 1.
        rng: Draws.
    """

    def __init__(
        self, outages: Sequence[Outage], mishaps: Mapping[str, float], rng: Random
    ) -> None:
        self.outages = outages
        self._names = [*mishaps, None]
        self._weights = [*mishaps.values(), max(0.0, 1.0 - sum(mishaps.values()))]
        self._rng = rng

    def outage(self, at_s: float) -> Outage | None:
        """Return the outage at a time, if there is one."""
        return next((o for o in self.outages if o.begins_s <= at_s < o.ends_s), None)

    def up(self, at_s: float) -> bool:
        """Say whether a request at this time would be answered, mishaps aside."""
        return self.outage(at_s) is None

    def draw(self, request_index: int) -> Trouble | None:
        """Return what befalls a request that is made now."""
        name = self._name()
        if name is None or name not in _ON_THE_WIRE:  # dead or unreachable: nobody gets through
            return None
        harm, fault = _ON_THE_WIRE[name]
        return Trouble(name, harm, fault(self._rng))

    def turn(self, text: str, after_s: float, every_s: float) -> TroubledTurn:
        """Return what a plain model does now that would say this."""
        name = self._name()
        harm: Harm = "none"
        error = None
        if name == "late":
            after_s += self._rng.expovariate(1.0)
        elif name == "silent":
            after_s, harm = inf, "passing"
        elif name is not None and name in _BY_PLAIN_MODELS:
            harm, raised = _BY_PLAIN_MODELS[name]
            error = raised(self._rng)
        return TroubledTurn(
            text=text,
            after_s=after_s,
            every_s=every_s,
            error=error,
            words_before_error=self._rng.randint(0, 5) if name == "cut" else 0,
            lingers_s=self._rng.choice((0.0, 0.0, 0.5, 3.0)),
            name=name,
            harm=harm,
        )

    def _name(self) -> str | None:
        now = asyncio.get_running_loop().time()
        outage = self.outage(now)
        drawn = self._rng.choices(self._names, self._weights)[0]
        return drawn if outage is None or now >= outage.ends_s - outage.healed_s else outage.name


def _wait_s(rng: Random) -> float:
    return rng.choice((0.5, 2.0, 10.0, 45.0))
