"""What a request demands of a model, and where each demand came from."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from enum import Enum
from typing import Any, Final

from typing_extensions import TypedDict

from orchestrator.core.capabilities import capability_mask, capability_names
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.keys import canonical_provider

__all__ = [
    "ANYTHING",
    "LimitOptions",
    "RequirementOptions",
    "Requirements",
    "as_count",
    "as_limit",
]


class LimitOptions(TypedDict, total=False):
    """Demands that go with any kind of work and any provider."""

    capabilities: Collection[str]
    max_cost: float | None
    min_speed: float | None
    context_length: int | None
    exclude_models: Iterable[str]
    prefer: str | None
    allow_unknown_cost: bool
    allow_unknown_speed: bool


class RequirementOptions(LimitOptions, total=False):
    """The keywords by which a caller demands something; `Requirements` says what each means."""

    model_type: str | None
    provider: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """Demands that every eligible model meets.

    Attributes:
        capabilities: Bits of `orchestrator.core.capabilities` that are all needed.
        model_type: The kind of work, a `ModelType` or any registered string.
        max_cost: USD for the whole request, all attempts together.
        min_speed: Output tokens per second.
        context_length: Tokens that the window must hold.
        max_tokens: Output tokens that one answer must be able to have.
        exclude_models: Keys, bare names or aliases that may not serve.
        provider: Only this provider's models may serve.
        prefer: This provider's models are taken first where they are eligible (not a demand).
        allow_unknown_cost: Under ``max_cost``, let models of unknown price serve too.
        allow_unknown_speed: Under ``min_speed``, let models serve whose speed is neither declared
            nor measured. True unless somebody says no: calls are what measures a speed, so that a
            new pool could never begin, while the first answer settles it.
        origins: Who demanded what, in order: ``("function_calling", "request: tools")``.
    """

    capabilities: int = 0
    model_type: str | None = None
    max_cost: float | None = None
    min_speed: float | None = None
    context_length: int = 0
    max_tokens: int = 0
    exclude_models: tuple[str, ...] = ()
    provider: str | None = None
    prefer: str | None = None
    allow_unknown_cost: bool = False
    allow_unknown_speed: bool = True
    origins: tuple[tuple[str, str], ...] = ()
    shape: tuple[object, ...] = field(init=False, repr=False, compare=False)
    """The demands that only what models declare has to meet; masks are kept by it."""

    def __post_init__(self) -> None:
        shape = (self.capabilities, self.model_type, self.provider, self.exclude_models)
        object.__setattr__(self, "shape", shape)

    @classmethod
    def of(cls, options: Mapping[str, Any], origin: str = "caller") -> Requirements:
        """Build from keywords.

        Raises:
            InvalidRequestError: A limit is negative or not a number, or a keyword is unknown.
            UnknownCapabilityError: A capability is not one of ours.
        """
        if not options:
            return ANYTHING
        # Services ask for the same again and again: reading each time costs a third of a decision.
        parts: list[Any] = [origin]
        for name, value in options.items():
            parts.append(name)
            parts.append(value if value.__class__ in _PLAIN else _frozen(value))
        key = tuple(parts)
        try:
            found = _READ.get(key)
        except TypeError:  # something unhashable, which its reader will refuse by name
            return cls._read(dict(zip(parts[1::2], parts[2::2], strict=True)), origin)
        if found is None:
            found = cls._read(dict(zip(parts[1::2], parts[2::2], strict=True)), origin)
            if len(_READ) >= _MAX_READ:
                _READ.clear()
            _READ[key] = found
        return found

    @classmethod
    def _read(cls, options: Mapping[str, Any], origin: str) -> Requirements:
        values: dict[str, Any] = {}
        origins: list[tuple[str, str]] = []
        for name, value in options.items():
            reader = _READERS.get(name)
            if reader is None:
                raise InvalidRequestError(
                    f"there is no requirement {name!r}",
                    param=name,
                    hint=f"known: {', '.join(_READERS)}",
                )
            if value is None or value == ():
                continue
            read: Any = reader(name, value)
            if isinstance(read, bool) and read is getattr(ANYTHING, name):
                continue  # as it is for everybody, so nobody's demand
            values[name] = read
            if name == "capabilities":
                origins.extend((c, origin) for c in sorted(capability_names(read)))
            else:
                origins.append((name, origin))
        return cls(origins=tuple(origins), **values)

    def joined(self, other: Requirements) -> Requirements:
        """Return the demands of both: who meets the result meets each.

        Raises:
            InvalidRequestError: They contradict each other (two providers, two model types).
        """
        if other is ANYTHING or other is self:
            return self
        if self is ANYTHING:
            return other
        # The same two meet again and again: who asks, and what such requests imply.
        key = (id(self), id(other))
        known = _JOINED.get(key)
        if known is not None and known[0] is self and known[1] is other:
            return known[2]
        found = self._with(other)
        if len(_JOINED) >= _MAX_READ:
            _JOINED.clear()
        _JOINED[key] = (self, other, found)
        return found

    def _with(self, other: Requirements) -> Requirements:
        return Requirements(
            capabilities=self.capabilities | other.capabilities,
            model_type=_the_one("model_type", self.model_type, other.model_type),
            max_cost=_tighter(min, self.max_cost, other.max_cost),
            min_speed=_tighter(max, self.min_speed, other.min_speed),
            context_length=max(self.context_length, other.context_length),
            max_tokens=max(self.max_tokens, other.max_tokens),
            exclude_models=_union(self.exclude_models, other.exclude_models),
            provider=_the_one("provider", self.provider, other.provider),
            prefer=self.prefer or other.prefer,
            allow_unknown_cost=_allowed("allow_unknown_cost", "max_cost", self, other),
            allow_unknown_speed=_allowed("allow_unknown_speed", "min_speed", self, other),
            origins=_union(self.origins, other.origins),
        )

    def describe(self) -> dict[str, Any]:
        """Return the demands that are set, for people and JSON."""
        found = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("origins", "shape") and getattr(self, f.name) != f.default
        }
        if self.capabilities:
            found["capabilities"] = sorted(capability_names(self.capabilities))
        return found


class _Flag(Enum):
    """True and False as values of their own: to a dict, True is 1."""

    FALSE = False
    TRUE = True

    def __repr__(self) -> str:
        return repr(self.value)


_READ: Final[dict[tuple[Any, ...], Requirements]] = {}
_JOINED: Final[dict[tuple[int, int], tuple[Requirements, Requirements, Requirements]]] = {}
_MAX_READ: Final = 4096


def _frozen(value: Any) -> Any:
    kind = value.__class__
    if kind is bool:
        return _Flag(value)
    if kind is set or kind is frozenset:
        return frozenset(value)
    return value if isinstance(value, str) or not isinstance(value, Iterable) else tuple(value)


_PLAIN: Final = frozenset({str, int, float, type(None)})


def _allowed(flag: str, limit: str, a: Requirements, b: Requirements) -> bool:
    # A side without a limit has no opinion on what is unknown. Where neither has one, what is not
    # as it is for everybody is kept.
    opinions = [getattr(r, flag) for r in (a, b) if getattr(r, limit) is not None]
    if opinions:
        return all(opinions)
    usual: bool = getattr(ANYTHING, flag)
    return usual if usual is getattr(a, flag) is getattr(b, flag) else not usual


def _tighter(pick: Any, a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return b if a is None else a
    result: float = pick(a, b)
    return result


def _the_one(name: str, a: str | None, b: str | None) -> str | None:
    if a is not None and b is not None and a != b:
        raise InvalidRequestError(f"{name} cannot be both {a!r} and {b!r}", param=name)
    return b if a is None else a


def _union(a: tuple[Any, ...], b: tuple[Any, ...]) -> tuple[Any, ...]:
    return a if not b else tuple(dict.fromkeys(a + b))


_LARGEST: Final = sys.float_info.max


def as_limit(name: str, value: Any) -> float:
    """Read a number from 0 up; raises `InvalidRequestError`, which names it."""
    if value.__class__ is float and 0.0 <= value <= _LARGEST:  # as nearly always
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequestError(f"{name} is not a number: {value!r}", param=name)
    if not 0 <= value <= _LARGEST:
        raise InvalidRequestError(f"{name} must be at least 0, not {value!r}", param=name)
    return float(value)


def as_count(name: str, value: Any) -> int:
    """Read a whole number from 0 up; raises `InvalidRequestError`, which names it."""
    if value.__class__ is int and 0 <= value <= _LARGEST:
        return int(value)
    number = as_limit(name, value)
    if number != int(number):
        raise InvalidRequestError(f"{name} must be a whole number, not {value!r}", param=name)
    return int(number)


def _word(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidRequestError(f"{name} must be a name, not {value!r}", param=name)
    return str(value)


def _words(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, tuple | frozenset):
        raise InvalidRequestError(f"{name} takes a list of names, not {value!r}", param=name)
    return tuple(dict.fromkeys(_word(name, v) for v in value))


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, _Flag):
        raise InvalidRequestError(f"{name} is true or false, not {value!r}", param=name)
    return value.value


_READERS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "capabilities": lambda name, value: capability_mask(_words(name, value)),
    "model_type": lambda name, value: str(_word(name, value)),
    "max_cost": as_limit,
    "min_speed": as_limit,
    "context_length": as_count,
    "max_tokens": as_count,
    "exclude_models": _words,
    "provider": lambda name, value: canonical_provider(_word(name, value)),
    "prefer": lambda name, value: canonical_provider(_word(name, value)),
    "allow_unknown_cost": _flag,
    "allow_unknown_speed": _flag,
}

ANYTHING: Final = Requirements()
"""No demand at all."""
