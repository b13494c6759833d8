"""The registered models as arrays: one immutable snapshot per version of the registry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from orchestrator.core.capabilities import capability_mask
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.model import Model
from orchestrator.core.selector import BoolArray

__all__ = ["Pool", "type_bits"]

_BitArray: TypeAlias = npt.NDArray[np.uint64]

_STREAMING = np.uint64(capability_mask(("streaming",)))


class Pool:
    """What eligibility and selection read of the models, an array entry per model.

    Immutable: a decision keeps the pool it was made on, so that its refusals and scores stay
    right however the registry changes. Array positions mean nothing outside their pool.

    Attributes:
        version: Counts the changes of the registry.
        models: The models, in the order in which they were registered.
        keys: Their keys.
        index: Position of each key.
        capabilities: Bits of `orchestrator.core.capabilities`.
        types: Bits of the kinds of work, see `type_bit`.
        provider_ids: Position of each model's provider in `providers`.
        window: Tokens; inf where unknown.
        max_output: Tokens; inf where unknown.
        default_output: Most tokens where a request sets no limit; inf where the model sets none.
        usd_in, usd_out: USD per token; nan where unknown.
        priority: Higher is preferred.
        declared_speed: Output tokens per second; nan where unknown.
        local, streaming: Which run on machines of ours, which can stream.
    """

    def __init__(self, version: int, models: Sequence[Model]) -> None:
        specs = [m.spec for m in models]
        nan, inf = float("nan"), float("inf")
        self.version = version
        self.models = tuple(models)
        self.keys = tuple(s.key.text for s in specs)
        self.index = {key: i for i, key in enumerate(self.keys)}
        self.providers = tuple(dict.fromkeys(s.key.provider for s in specs))
        positions = {p: i for i, p in enumerate(self.providers)}
        self._type_bits = type_bits(models)
        self.capabilities: _BitArray = np.array([s.capabilities for s in specs], dtype=np.uint64)
        self.types: _BitArray = np.array(
            [sum(self._type_bits[t] for t in s.types) for s in specs], dtype=np.uint64
        )
        self.provider_ids = np.array([positions[s.key.provider] for s in specs], dtype=np.int64)
        self.window = _floats([s.context_window or inf for s in specs])
        self.max_output = _floats([s.max_output_tokens or inf for s in specs])
        self.default_output = _floats([m.default_max_tokens or inf for m in models])
        self.usd_in = _floats([nan if s.price is None else s.price.input_usd for s in specs])
        self.usd_out = _floats([nan if s.price is None else s.price.output_usd for s in specs])
        self.priority = _floats([s.priority for s in specs])
        self.declared_speed = _floats([nan if s.speed is None else s.speed for s in specs])
        self.local: BoolArray = np.array([s.local for s in specs], dtype=np.bool_)
        self.streaming: BoolArray = (self.capabilities & _STREAMING) != 0

    def __len__(self) -> int:
        return len(self.keys)

    def type_bit(self, name: str) -> int:
        """Return the bit of a kind of work, 0 if no model serves it."""
        return self._type_bits.get(name, 0)


def type_bits(models: Iterable[Model]) -> dict[str, int]:
    """Give each kind of work that these models serve a bit of its own.

    Raises:
        ConfigurationError: There are more than 64.
    """
    names = sorted(set().union(*(m.spec.types for m in models)))
    if len(names) > 64:
        raise ConfigurationError(f"the pool serves {len(names)} model types; 64 is the most")
    return {name: 1 << position for position, name in enumerate(names)}


def _floats(values: Sequence[float]) -> FloatArray:
    return np.array(values, dtype=np.float64)
