"""What manager and registry remember from one process to the next, as one JSON document.

Only what was decided or measured while running: what the configuration says is not repeated here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, ClassVar, Final, Literal, NamedTuple, TypeAlias, TypeVar

import orjson
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from orchestrator.core.errors import ConfigurationError, InternalError
from orchestrator.core.ports import ResidentSpec

__all__ = [
    "MOST_BYTES",
    "SCHEMA",
    "Known",
    "MeasuredResident",
    "SavedModel",
    "SavedResident",
    "SavedState",
    "StateDocument",
    "UnreadableStateError",
    "carried",
    "document",
    "fingerprint",
    "fitting",
    "parsed",
]

SCHEMA: Final = 1
"""Rises with every change of the document, so that a key that is not known is always a mistake."""
MOST_BYTES: Final = 64 * 2**20
"""What is bigger is no state: ten thousand models with two facts each take 1.2 megabytes."""

_T = TypeVar("_T")
_Seconds: TypeAlias = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Bytes: TypeAlias = Annotated[int, Field(ge=0)]
_STRICT: Final = ConfigDict(extra="forbid", strict=True)


class UnreadableStateError(ConfigurationError):
    """A document is not one of ours, or was written by a later version of this library.

    Attributes:
        newer: Which of the two.
    """

    code = "unreadable_state"

    def __init__(self, message: str, *, newer: bool = False) -> None:
        super().__init__(message)
        self.newer = newer


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredResident:
    """What a resident took when it was last loaded.

    Attributes:
        of: The `fingerprint` of what was loaded: of anything else this says nothing.
        memory_bytes: By device; empty where nothing could be measured.
        load_s: How long its loads take.
    """

    __pydantic_config__: ClassVar = _STRICT

    of: str
    memory_bytes: Mapping[str, _Bytes]
    load_s: _Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedResident:
    """What is remembered of one resident.

    Attributes:
        pinned: It is to stay in memory.
        keep_alive_s: What was set in place of the configuration's; None is nothing.
        measured: None before its first load.
    """

    __pydantic_config__: ClassVar = _STRICT

    pinned: bool = False
    keep_alive_s: _Seconds | Literal["forever"] | None = None
    measured: MeasuredResident | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedModel:
    """What was changed of one model while running; None is as configured.

    Attributes:
        disabled: It is not to be chosen.
    """

    __pydantic_config__: ClassVar = _STRICT

    priority: int | None = None
    aliases: tuple[str, ...] | None = None
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedState:
    """What is remembered.

    Attributes:
        current: The key of the model that serves whoever asks for the current one.
        loaded: The residents that were in memory, in the order in which to load them again.
        residents: By name; those of which there is nothing to say are left out.
        models: By key; the same.
    """

    __pydantic_config__: ClassVar = _STRICT

    current: str | None = None
    loaded: tuple[str, ...] = ()
    residents: Mapping[str, SavedResident] = field(default_factory=dict)
    models: Mapping[str, SavedModel] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDocument:
    """The whole file.

    Attributes:
        saved_at: When, in UTC by ISO 8601.
        node: The engine that wrote it.
    """

    __pydantic_config__: ClassVar = _STRICT

    schema: Annotated[int, Field(ge=1, le=SCHEMA)] = SCHEMA
    saved_at: str
    node: str
    state: SavedState


class Known(NamedTuple):
    """What a running engine has.

    Attributes:
        residents: Fingerprints by name.
        models: Keys.
    """

    residents: Mapping[str, str]
    models: Container[str]


_DOCUMENT: Final = TypeAdapter(StateDocument)


def document(content: StateDocument) -> bytes:
    """Return it as JSON that `parsed` reads back as the same.

    Raises:
        InternalError: It holds what no state may, such as a time below zero.
    """
    try:
        data = _DOCUMENT.dump_json(content, indent=2, exclude_none=True)
        same = parsed(data) == content
    except (UnreadableStateError, ValueError) as error:
        raise InternalError(f"the state cannot be written down: {error}") from error
    if not same:
        raise InternalError("the state is not what is read back of it")
    return data + b"\n"


def parsed(data: bytes) -> StateDocument:
    """Return what a document says.

    Raises:
        UnreadableStateError: It is none of ours, or from the future.
    """
    if len(data) > MOST_BYTES:
        raise UnreadableStateError(f"it has more than {MOST_BYTES:,} bytes")
    try:
        found = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise UnreadableStateError(f"it is not JSON: {error}") from error
    schema = found.get("schema") if isinstance(found, dict) else None
    if type(schema) is int and schema > SCHEMA:
        raise UnreadableStateError(
            f"it has schema {schema}, and this version knows up to {SCHEMA}", newer=True
        )
    try:
        return _DOCUMENT.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise UnreadableStateError(f"{where}: {first['msg']}") from error


def fitting(state: SavedState, known: Known) -> SavedState:
    """Return what of it holds for what there is now.

    Whoever the configuration no longer has is left out, and so is what was measured of a resident
    that is another one by now: another file, or other settings.
    """

    def of(name: str, saved: SavedResident) -> SavedResident:
        measured = saved.measured
        same = measured is not None and measured.of == known.residents[name]
        return saved if same else replace(saved, measured=None)

    return SavedState(
        current=state.current if state.current in known.models else None,
        loaded=tuple(name for name in state.loaded if name in known.residents),
        residents=_told(
            {n: of(n, saved) for n, saved in state.residents.items() if n in known.residents}
        ),
        models=_told({k: saved for k, saved in state.models.items() if k in known.models}),
    )


def carried(state: SavedState, before: SavedState, known: Known) -> SavedState:
    """Return what is to be written: what holds, and what was remembered of whoever is not here.

    A model that is left out of the configuration for a while finds its facts again. Which one is
    current and which are loaded is said by what holds alone.
    """
    return replace(
        state,
        residents=_told(
            {n: r for n, r in before.residents.items() if n not in known.residents}
            | dict(state.residents)
        ),
        models=_told(
            {k: m for k, m in before.models.items() if k not in known.models} | dict(state.models)
        ),
    )


def fingerprint(spec: ResidentSpec) -> str:
    """Return what changes whenever a resident is another one, without its secrets."""
    said = orjson.dumps([spec.command, spec.size])
    return hashlib.sha256(said).hexdigest()[:16]


def _told(entries: Mapping[str, _T]) -> dict[str, _T]:
    """Return them without those that say nothing."""
    return {name: entry for name, entry in entries.items() if entry != type(entry)()}
