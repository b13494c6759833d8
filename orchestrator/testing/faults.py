"""What can go wrong with an answer, as data: faults rewrite steps, and a plan draws faults.

Nothing here waits, sends or rolls dice by itself: the same plan gives the same faults for the
same requests, on a socket as in the simulated world.
"""

from __future__ import annotations

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat

from orchestrator.testing.answer import (
    Answer,
    Hang,
    Piece,
    Refuse,
    Reset,
    Send,
    Step,
    Wait,
    sends,
    whole,
)
from orchestrator.testing.openai_wire import error_body

__all__ = [
    "Cut",
    "Dripping",
    "Dropped",
    "Endless",
    "Fault",
    "FaultPlan",
    "Garbled",
    "Instead",
    "Late",
    "Recut",
    "Refused",
    "Stalled",
    "Truncated",
    "apply",
    "failure",
    "html_page",
]


class Fault(ABC):
    """One thing that can go wrong."""

    __slots__ = ()

    @abstractmethod
    def rewrite(self, answer: Answer) -> Iterator[Step]:
        """Yield what happens in place of `answer`; this may never end."""


def apply(fault: Fault | None, answer: Answer) -> Iterator[Step]:
    """Yield the steps of `answer` as `fault` leaves them."""
    return answer.steps() if fault is None else fault.rewrite(answer)


@dataclass(frozen=True, slots=True)
class Refused(Fault):
    """The connection is refused."""

    def rewrite(self, answer: Answer) -> Iterator[Step]:
        yield Refuse()


@dataclass(frozen=True, slots=True)
class Dropped(Fault):
    """The connection is reset before the head."""

    def rewrite(self, answer: Answer) -> Iterator[Step]:
        yield Reset()


@dataclass(frozen=True, slots=True)
class Late(Fault):
    """The answer comes `by_s` seconds later; for ever is never."""

    by_s: float

    def rewrite(self, answer: Answer) -> Iterator[Step]:
        yield _pause(self.by_s)
        if self.by_s < math.inf:
            yield from answer.steps()


@dataclass(frozen=True, slots=True)
class Instead(Fault):
    """Something else is sent in place of the answer: an error, or what no client expects."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def rewrite(self, answer: Answer) -> Iterator[Step]:
        return whole(
            self.body, status=self.status, content_type=self.content_type, headers=self.headers
        ).steps()


@dataclass(frozen=True, slots=True)
class Cut(Fault):
    """The connection is reset once `after_bytes` of the body are sent."""

    after_bytes: int

    def rewrite(self, answer: Answer) -> Iterator[Step]:
        before, _ = _split(answer.pieces, self.after_bytes)
        yield from replace(answer, pieces=before).steps()
        yield Reset()


@dataclass(frozen=True, slots=True)
class Stalled(Fault):
    """Once `after_bytes` of the body are sent, nothing more comes for `for_s` seconds."""

    after_bytes: int
    for_s: float = math.inf

    def rewrite(self, answer: Answer) -> Iterator[Step]:
        before, after = _split(answer.pieces, self.after_bytes)
        yield from replace(answer, pieces=before).steps()
        yield _pause(self.for_s)
        if self.for_s < math.inf:
            yield from sends(after)


@dataclass(frozen=True, slots=True)
class Dripping(Fault):
    """The body comes in drops of `drop_bytes`, one every `every_s` seconds."""

    drop_bytes: int
    every_s: float

    def rewrite(self, answer: Answer) -> Iterator[Step]:
        drops = _cut(answer.body, repeat(self.drop_bytes))
        return replace(answer, pieces=tuple(Piece(drop, self.every_s) for drop in drops)).steps()


@dataclass(frozen=True, slots=True)
class Recut(Fault):
    """The body is cut anew, into pieces of one to `most_bytes` that heed no frame or character.

    They follow each other at once.
    """

    seed: int
    most_bytes: int = 7

    def rewrite(self, answer: Answer) -> Iterator[Step]:
        rng = random.Random(self.seed)
        sizes = (rng.randint(1, self.most_bytes) for _ in repeat(None))
        return replace(answer, pieces=tuple(map(Piece, _cut(answer.body, sizes)))).steps()


@dataclass(frozen=True, slots=True)
class Truncated(Fault):
    """The answer ends cleanly, as if complete, with the first `share` of its body."""

    share: float = 0.5

    def rewrite(self, answer: Answer) -> Iterator[Step]:
        length = int(len(answer.body) * self.share)
        before, _ = _split(answer.pieces, length)
        headers = _without_length(answer.headers)
        return replace(answer, pieces=before, headers=headers).steps()


@dataclass(frozen=True, slots=True)
class Garbled(Fault):
    """`junk` stands between the pieces of the body, after `after_pieces` of them."""

    after_pieces: int = 1
    junk: bytes = b'data: {"choices": [}\n\n'

    def rewrite(self, answer: Answer) -> Iterator[Step]:
        pieces = list(answer.pieces)
        pieces.insert(self.after_pieces, Piece(self.junk))
        headers = _without_length(answer.headers)
        return replace(answer, pieces=tuple(pieces), headers=headers).steps()


@dataclass(frozen=True, slots=True)
class Endless(Fault):
    """After `after_pieces` of the body, `filler` follows every `every_s` seconds for ever.

    The default filler is a comment, with which servers keep an event stream alive.
    """

    after_pieces: int = 1
    filler: bytes = b": keep-alive\n\n"
    every_s: float = 0.01

    def __post_init__(self) -> None:
        if not self.every_s > 0:
            raise ValueError(f"every_s must be above 0, not {self.every_s}: time has to pass")

    def rewrite(self, answer: Answer) -> Iterator[Step]:
        pieces = answer.pieces[: self.after_pieces]
        headers = _without_length(answer.headers)
        yield from replace(answer, pieces=pieces, headers=headers).steps()
        while True:
            yield Wait(self.every_s)
            yield Send(self.filler)


def failure(
    status: int, *, code: str | None = None, message: str = "", retry_after_s: float | None = None
) -> Instead:
    """Return the fault of a provider that answers `status` with an error body.

    Args:
        code: The error's code; by default what belongs to the status.
        retry_after_s: Sent as a Retry-After header, in seconds.
    """
    body = error_body(status, message or f"{status} on purpose", code=code)
    headers = {} if retry_after_s is None else {"retry-after": f"{retry_after_s:g}"}
    return Instead(status, body, headers=headers)


def html_page(status: int = 200) -> Instead:
    """Return the fault of a proxy that answers for the provider, with a page."""
    page = b"<!DOCTYPE html><html><body><h1>It works!</h1></body></html>"
    return Instead(status, page, content_type="text/html")


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Which fault befalls which request.

    Attributes:
        faults: Each fault with its probability; together at most 1. The rest go well.
        seed: Of the draws.
        script: The faults of the first requests, in order, None for none. `faults` apply after.
    """

    faults: Sequence[tuple[Fault, float]] = ()
    seed: int = 0
    script: Sequence[Fault | None] = ()

    def __post_init__(self) -> None:
        probabilities = [probability for _, probability in self.faults]
        if not (all(p >= 0 for p in probabilities) and math.fsum(probabilities) <= 1 + 1e-9):
            raise ValueError(
                f"probabilities must not be negative and add up to at most 1: {probabilities}"
            )

    def draw(self, request_index: int) -> Fault | None:
        """Return the fault of the request with this index, counted from 0."""
        if request_index < len(self.script):
            return self.script[request_index]
        draw = random.Random(f"{self.seed}:{request_index}").random()
        for fault, probability in self.faults:
            if draw < probability:
                return fault
            draw -= probability
        return None


def _pause(seconds: float) -> Step:
    return Wait(seconds) if seconds < math.inf else Hang()


def _cut(body: bytes, sizes: Iterator[int]) -> Iterator[bytes]:
    start = 0
    while start < len(body):
        stop = start + next(sizes)
        yield body[start:stop]
        start = stop


def _split(pieces: Iterable[Piece], n_bytes: int) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
    """Return the pieces up to `n_bytes`, and those that follow; one may be cut in two."""
    before: list[Piece] = []
    after: list[Piece] = []
    for piece in pieces:
        kept, rest = piece.data[:n_bytes], piece.data[n_bytes:]
        if kept:
            before.append(Piece(kept, piece.after_s))
        if rest:
            after.append(Piece(rest, 0.0 if kept else piece.after_s))
        n_bytes -= len(kept)
    return tuple(before), tuple(after)


def _without_length(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "content-length"}
