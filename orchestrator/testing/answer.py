"""An answer as steps: what a provider puts on a connection, and when.

Whoever plays a provider, on a socket or inside the simulated world, carries out the same steps.
When they run out, the answer ends as it should.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

__all__ = [
    "Answer",
    "Hang",
    "Head",
    "Piece",
    "Refuse",
    "Reset",
    "Send",
    "Step",
    "Wait",
    "sends",
    "whole",
]


@dataclass(frozen=True, slots=True)
class Head:
    """The status and headers go out; at most one, before any `Send`."""

    status: int
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes of the body go out in one write."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing happens for a while."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset; the last step."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """No connection comes about; the only step. A server that has accepted already resets."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing ever happens again, while the connection stays open; the last step."""


Step = Head | Send | Wait | Reset | Refuse | Hang


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a body that go out in one write, `after_s` seconds after what came before them."""

    data: bytes
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a healthy provider sends.

    Attributes:
        headers: In lower case; with a content-length only if the body has it.
        head_after_s: Seconds from the request to the head.
    """

    pieces: tuple[Piece, ...]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    head_after_s: float = 0.0

    @property
    def body(self) -> bytes:
        return b"".join(piece.data for piece in self.pieces)

    def steps(self) -> Iterator[Step]:
        if self.head_after_s:
            yield Wait(self.head_after_s)
        yield Head(self.status, self.headers)
        yield from sends(self.pieces)


def sends(pieces: Iterable[Piece]) -> Iterator[Step]:
    """Yield the steps that send `pieces`, each after its wait."""
    for piece in pieces:
        if piece.after_s:
            yield Wait(piece.after_s)
        yield Send(piece.data)


def whole(
    body: bytes,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    after_s: float = 0.0,
) -> Answer:
    """Return an answer that is sent in one piece, of known length."""
    return Answer(
        pieces=(Piece(body),),
        status=status,
        headers={
            "content-type": content_type,
            "content-length": str(len(body)),
            **(headers or {}),
        },
        head_after_s=after_s,
    )
