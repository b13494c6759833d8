"""How much of what is scarce a resident takes: bytes by device, and places.

Everything that limits what may be in memory together is one more dimension of the same sum: the
number of loaded models is a dimension in which each takes 1, and a group of which only one may be
loaded is a dimension with room for 1. So there is one rule of what fits, and one way to make room.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from orchestrator.core.ports import ResidentSpec

__all__ = ["MODELS", "Amounts", "estimate", "fits", "group", "room_for", "shortage", "total_bytes"]

Amounts: TypeAlias = dict[str, int]
"""How much, by dimension: ``ram`` and ``gpu:0`` in bytes, ``models`` and ``group:NAME`` in places.
A dimension that is absent from the limits is unlimited."""

MODELS: Final = "models"
_RAM: Final = "ram"
_GROUP: Final = "group:"


def group(name: str) -> str:
    """Return the dimension of residents that must not be together."""
    return _GROUP + name


def estimate(spec: ResidentSpec) -> Amounts:
    """Return what a resident will take, as far as is known before its first load."""
    size = spec.size
    amounts = {MODELS: 1, _RAM: size.overhead_bytes}
    amounts[size.device] = amounts.get(size.device, 0) + size.weights_bytes + size.cache_bytes
    return amounts | {group(name): 1 for name in spec.groups}


def room_for(limits: Mapping[str, int], *taken: Mapping[str, int]) -> Amounts:
    """Return what is left of the limits, below zero where they are broken."""
    return {
        dimension: limit - sum(one.get(dimension, 0) for one in taken)
        for dimension, limit in limits.items()
    }


def shortage(needs: Mapping[str, int], room: Mapping[str, int]) -> Amounts:
    """Return by how much the room is too small; what is not needed cannot be short."""
    return {
        dimension: needed - room[dimension]
        for dimension, needed in needs.items()
        if needed and dimension in room and needed > room[dimension]
    }


def fits(needs: Mapping[str, int], room: Mapping[str, int]) -> bool:
    """Whether there is room."""
    for dimension, left in room.items():
        needed = needs.get(dimension)
        if needed and needed > left:
            return False
    return True


def total_bytes(amounts: Mapping[str, int]) -> int:
    """Return the bytes of all devices together, without the places."""
    return sum(
        amount
        for dimension, amount in amounts.items()
        if dimension != MODELS and not dimension.startswith(_GROUP)
    )
