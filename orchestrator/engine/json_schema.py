"""Whether a value keeps to a JSON schema: as much of the standard as answers are asked for in."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from orchestrator.core.errors import InvalidRequestError

__all__ = ["check_schema", "matches"]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    # 1.0 is an integer, as the standard has it.
    "integer": lambda value: _is_number(value) and value == int(value),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_LIMITS: Final[Mapping[str, tuple[str, Callable[[Any, Any], bool]]]] = {
    "minimum": ("number", lambda value, limit: value >= limit),
    "maximum": ("number", lambda value, limit: value <= limit),
    "exclusiveMinimum": ("number", lambda value, limit: value > limit),
    "exclusiveMaximum": ("number", lambda value, limit: value < limit),
    "minLength": ("string", lambda value, limit: len(value) >= limit),
    "maxLength": ("string", lambda value, limit: len(value) <= limit),
    "pattern": ("string", lambda value, pattern: re.search(pattern, value) is not None),
    "minItems": ("array", lambda value, limit: len(value) >= limit),
    "maxItems": ("array", lambda value, limit: len(value) <= limit),
    "required": ("object", lambda value, names: all(name in value for name in names)),
}
"""By keyword: of which type of value it says something, and what."""
_CHECKED: Final = {
    *("type", "enum", "const", "properties", "additionalProperties", "items", "anyOf", "$ref"),
    *_LIMITS,
}
_SAYS_NOTHING: Final = {
    *("$schema", "$id", "$defs", "definitions", "$comment", "title", "description", "default"),
    *("examples", "deprecated", "readOnly", "writeOnly", "format", "strict", "name"),
}
_INSIDE: Final = ("properties", "$defs", "definitions")
"""Keywords that hold schemas by name."""


def check_schema(schema: Any, path: str = "schema") -> None:
    """Refuse a schema that `matches` cannot judge whole.

    Known are type, enum, const, properties, required, additionalProperties, items, anyOf, local
    ``$ref``, pattern, and the limits of numbers, lengths and items; what only describes is passed
    over.

    Raises:
        InvalidRequestError: It is no schema, or has another keyword; `param` says where.
    """
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict):
        raise InvalidRequestError(f"{path} is no JSON schema: {schema!r}", param=path)
    for keyword, said in schema.items():
        where = f"{path}.{keyword}"
        if keyword not in _CHECKED | _SAYS_NOTHING:
            raise InvalidRequestError(
                f"{where} cannot be checked", param=where, hint="check it in a function of your own"
            )
        if keyword == "type" and not {*_listed(said)} <= _TYPES.keys():
            raise InvalidRequestError(f"{where} is no type: {said!r}", param=where)
        if keyword in _INSIDE:
            for name, inside in said.items():
                check_schema(inside, f"{where}.{name}")
        elif keyword in ("items", "additionalProperties"):
            check_schema(said, where)
        elif keyword == "anyOf":
            for position, inside in enumerate(said):
                check_schema(inside, f"{where}[{position}]")


def matches(value: Any, schema: Any, root: Any = None) -> bool:
    """Return whether a value, as JSON has it, keeps to a schema.

    Args:
        value: The value.
        schema: What `check_schema` passes.
        root: The schema that references start from; the schema itself if not given.

    Raises:
        InvalidRequestError: A reference leads nowhere.
    """
    if isinstance(schema, bool):
        return schema
    root = schema if root is None else root
    return (
        _is_listed(value, schema)
        and all(
            limit(value, schema[keyword])
            for keyword, (kind, limit) in _LIMITS.items()
            if keyword in schema and _TYPES[kind](value)
        )
        and ("$ref" not in schema or matches(value, _referred(schema["$ref"], root), root))
        and ("anyOf" not in schema or any(matches(value, one, root) for one in schema["anyOf"]))
        and all(matches(inside, its, root) for inside, its in _parts(value, schema))
    )


def _is_listed(value: Any, schema: Mapping[str, Any]) -> bool:
    if "type" in schema and not any(_TYPES[name](value) for name in _listed(schema["type"])):
        return False
    if "const" in schema and not _same(value, schema["const"]):
        return False
    return "enum" not in schema or any(_same(value, one) for one in schema["enum"])


def _parts(value: Any, schema: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """Return what is inside a value, each with the schema that holds for it."""
    if isinstance(value, list):
        return [(inside, schema.get("items", True)) for inside in value]
    if isinstance(value, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        return [(inside, known.get(name, others)) for name, inside in value.items()]
    return []


def _referred(reference: str, root: Any) -> Any:
    found = root
    for part in reference.removeprefix("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if not (isinstance(found, dict) and name in found):
            raise InvalidRequestError(f"$ref {reference!r} leads nowhere in the schema")
        found = found[name]
    return found


def _same(one: Any, other: Any) -> bool:
    """Whether two values are one in JSON, where a truth value is no number."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _listed(types: Any) -> list[Any]:
    return types if isinstance(types, list) else [types]
