"""The decisions that late feedback may still name: a ring of numbers, not of objects."""

from __future__ import annotations

from array import array
from typing import Final, NamedTuple

from orchestrator.core.decisions import Decision
from orchestrator.core.errors import ConfigurationError

__all__ = ["DecisionLog", "Remembered"]

_DAY_MINUTES: Final = 1440
_GROWTH: Final = 1024
_UNRATED: Final = -1.0
_UNUSED: Final = -2.0
"""Stands where a quality would: nobody was called, so that there is none."""


class Remembered(NamedTuple):
    """What is kept of one decision."""

    minute: int
    segment: str
    key: str
    closed: bool
    quality: float | None
    used: bool = True


class DecisionLog:
    """The last decisions of this process, found by their sequence number.

    Some thirty bytes a decision in plain arrays: a hundred thousand objects would be the largest
    thing in the process. The last few stay whole, for whoever asks why.

    Args:
        limit: Decisions kept; older ones than a day are forgotten all the same.
        whole: Decisions kept as they are.
    """

    def __init__(self, limit: int = 100_000, whole: int = 256) -> None:
        if limit < 1:
            raise ConfigurationError(f"at least 1 decision has to be kept, not {limit!r}")
        self.limit = limit
        self._whole_limit = whole
        self._whole: dict[int, Decision] = {}
        self._names: list[str] = []
        self._ids: dict[str, int] = {}
        self._minute = array("i")
        self._sequence = array("q")
        self._key = array("i")
        self._segment = array("i")
        self._quality = array("d")
        # Apart from the ring, so that a decision can end however many followed it.
        self._open: set[int] = set()

    def append(self, decision: Decision) -> None:
        """Remember a decision that has just been made; sequences start at 0 without gaps."""
        sequence, ids = decision.sequence, self._ids
        slot = sequence % self.limit
        if slot >= len(self._minute):
            self._grow()
        key, segment = ids.get(decision.key), ids.get(decision.segment)
        self._minute[slot] = decision.bucket
        self._sequence[slot] = sequence
        self._key[slot] = self._new_id(decision.key) if key is None else key
        self._segment[slot] = self._new_id(decision.segment) if segment is None else segment
        self._quality[slot] = _UNRATED
        self._open.add(sequence)
        self._whole[sequence] = decision
        self._whole.pop(sequence - self._whole_limit, None)

    def find(self, sequence: int, minute: int) -> Remembered | None:
        """Return what is remembered of a decision at the present minute, or None."""
        slot = self._slot(sequence)
        if slot is None or minute - self._minute[slot] > _DAY_MINUTES:
            return None
        quality = self._quality[slot]
        return Remembered(
            self._minute[slot],
            self._names[self._segment[slot]],
            self._names[self._key[slot]],
            sequence not in self._open,
            None if quality < 0 else quality,
            quality != _UNUSED,
        )

    def whole(self, sequence: int) -> Decision | None:
        """Return a decision as it was made, if it is among the last few."""
        return self._whole.get(sequence)

    def close(self, sequence: int) -> bool:
        """Mark a decision's end; False if it had ended already."""
        if sequence not in self._open:
            return False
        self._open.remove(sequence)
        return True

    def withdraw(self, sequence: int) -> None:
        """Keep that nobody was called."""
        self.rate(sequence, _UNUSED)

    def rate(self, sequence: int, quality: float) -> None:
        """Keep the quality that was given."""
        slot = self._slot(sequence)
        if slot is not None:
            self._quality[slot] = quality

    def forget_qualities(self) -> None:
        """Take back every quality that was given."""
        for slot, quality in enumerate(self._quality):
            self._quality[slot] = min(quality, _UNRATED)

    def _slot(self, sequence: int) -> int | None:
        slot = sequence % self.limit
        known = slot < len(self._sequence) and self._sequence[slot] == sequence
        return slot if known else None

    def _new_id(self, name: str) -> int:
        found = self._ids.setdefault(name, len(self._names))
        if found == len(self._names):  # else it has just been given, to a segment called alike
            self._names.append(name)
        return found

    def _grow(self) -> None:
        more = min(max(len(self._minute), _GROWTH), self.limit - len(self._minute))
        for column in (self._minute, self._key, self._segment):
            column.frombytes(bytes(column.itemsize * more))
        self._sequence.extend([-1] * more)
        self._quality.extend([_UNRATED] * more)
