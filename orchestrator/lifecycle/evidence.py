"""What speaks for and against each capability of a model, and what follows from all of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from orchestrator.core.capabilities import capability_mask

__all__ = ["Evidence", "Source", "holding", "joined", "kept"]


class Source(IntEnum):
    """Where evidence comes from, the weaker before the stronger.

    A name is a guess. A file's header says what the model was trained for, and a server's listing
    what that server makes of it. Who declares a model knows more than either, such as a gateway
    that emulates tools. A probe was seen to happen, so it outranks everybody's word.
    """

    NAME = 1
    HEADER = 2
    LISTING = 3
    DECLARED = 4
    PROBE = 5


@dataclass(frozen=True, slots=True, order=True)
class Evidence:
    """One reason to believe that a model has a capability, or that it has not.

    Raises:
        UnknownCapabilityError: The capability is none of ours.

    Attributes:
        capability: One of `orchestrator.core.capabilities.CAPABILITIES`.
        present: Whether it speaks for the capability.
        source: Where it comes from.
        at: When it was found, in seconds since 1970.
        detail: What was found, for people.
    """

    capability: str
    present: bool
    source: Source
    at: float
    detail: str

    def __post_init__(self) -> None:
        capability_mask((self.capability,))

    def __str__(self) -> str:
        verb = "has" if self.present else "lacks"
        return f"{verb} {self.capability} ({self.source.name.lower()}: {self.detail})"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data."""
        return {
            "capability": self.capability,
            "present": self.present,
            "source": self.source.name.lower(),
            "at": self.at,
            "detail": self.detail,
        }


_IMPLIES: Final = {"chat_completion": "text_generation", "json_schema": "json_mode"}
"""Who chats writes text, who keeps to a schema keeps to JSON; and who does not, cannot."""
_IMPLIED_BY: Final = {implied: capability for capability, implied in _IMPLIES.items()}


def joined(evidence: Iterable[Evidence], *, weakest: Source = Source.NAME) -> dict[str, Evidence]:
    """Return what decides each capability that anything is known of.

    The strongest source decides; of two that are as strong the later one; at the same time, what
    speaks against, since a request that is sent in vain costs more than one that goes elsewhere.
    The order in which evidence is given does not matter.

    Args:
        evidence: All there is of one model.
        weakest: Weaker sources are left out.
    """
    found: dict[str, Evidence] = {}
    for one in evidence:
        if one.source < weakest:
            continue
        for each in (one, *_implied(one)):
            best = found.get(each.capability)
            if best is None or _weight(each) > _weight(best):
                found[each.capability] = each
    return found


def holding(decided: Mapping[str, Evidence]) -> frozenset[str]:
    """Return the capabilities that a model has by what `joined` returned."""
    return frozenset(name for name, evidence in decided.items() if evidence.present)


def kept(known: Iterable[Evidence], found: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Return evidence of before with what was found since: of each source its last word."""
    latest = {(one.source, one.capability): one for one in (*known, *found)}
    return tuple(latest.values())


def _implied(one: Evidence) -> tuple[Evidence, ...]:
    other = (_IMPLIES if one.present else _IMPLIED_BY).get(one.capability)
    if other is None:
        return ()
    verb = "has" if one.present else "lacks"
    detail = f"{one.detail}; it {verb} {one.capability}"
    return (Evidence(other, one.present, one.source, one.at, detail),)


def _weight(one: Evidence) -> tuple[Source, float, bool, str]:
    return one.source, one.at, not one.present, one.detail
