"""Within which bounds a resident's process has to keep, and how one notices that it hangs."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from orchestrator.core.errors import InvalidRequestError

__all__ = ["Liveness", "ProcessBounds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """When a process that lives, and whose port may even answer, counts as hung.

    It is asked only while it does not compute, since whoever computes is no case of this, and an
    answer of any kind, be it an error, is one.

    Attributes:
        every_s: How often to look; 0 is never.
        answer_within_s: How long an answer may take.
        failures: Questions in a row without an answer after which it is killed.
        path: What to GET, from the server's root: something that its worker answers rather than
            the thread at the door. None asks for one token.
    """

    every_s: float = 30.0
    answer_within_s: float = 20.0
    failures: int = 2
    path: str | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.every_s < inf:
            raise InvalidRequestError(
                f"every_s must be at least 0, not {self.every_s!r}", param="every_s"
            )
        if not 0 < self.answer_within_s < inf:
            raise InvalidRequestError(
                f"answer_within_s must be above 0, not {self.answer_within_s!r}",
                param="answer_within_s",
            )
        if self.failures < 1:
            raise InvalidRequestError(
                f"failures must be at least 1, not {self.failures}", param="failures"
            )
        if self.path is not None and not self.path.startswith("/"):
            raise InvalidRequestError(
                f"path must begin with a slash, unlike {self.path!r}", param="path"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessBounds:
    """What a resident's process may take of the machine.

    Attributes:
        memory_bytes: Of main memory, its children with it; with more it is killed. None is no
            limit.
        nice: Added to our own niceness: 19 leaves the processor to whoever else wants it.
        cores: The processor's cores it may run on, by number; none given are all. Linux only.
        liveness: When it counts as hung.
    """

    memory_bytes: int | None = None
    nice: int = 0
    cores: tuple[int, ...] = ()
    liveness: Liveness = Liveness()

    def __post_init__(self) -> None:
        if self.memory_bytes is not None and self.memory_bytes < 1:
            raise InvalidRequestError(
                f"memory_bytes must be at least 1, not {self.memory_bytes}", param="memory_bytes"
            )
        if not 0 <= self.nice <= 19:
            raise InvalidRequestError(f"nice must be 0 to 19, not {self.nice}", param="nice")
        if any(core < 0 for core in self.cores):
            raise InvalidRequestError("cores are numbered from 0", param="cores")
