"""What a request demands beside OpenAI's fields, in its body or in its headers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from orchestrator.core.errors import InvalidRequestError
from orchestrator.routing.routes import AUTO

__all__ = ["FIELD", "read_demands", "route_of"]

FIELD: Final = "orchestrator"
"""The body's field that holds them."""
_PREFIX: Final = "x-orchestrator-"
_ON_INTERRUPT: Final = ("error", "restart", "continue")


def read_demands(headers: Mapping[str, str], field: Any) -> dict[str, Any]:
    """Return the demands by the names that the engine's calls give them, and ``on_interrupt``.

    Args:
        headers: ``X-Orchestrator-Max-Cost: 0.01`` says the same as ``max_cost`` in the body.
        field: The body's `FIELD` or None; what it says goes before the headers.

    Raises:
        InvalidRequestError: There is no such demand, or its value is not of its kind. Whether a
            value of the right kind makes sense is for the engine to say.
    """
    found = _from_headers(headers)
    if field is not None:
        found |= _from_body(field)
    for name, value in found.items():
        _check(name, value)
    return found


def route_of(model: Any, route: Any) -> dict[str, str]:
    """Return the option that says which route a request takes, and what it says.

    ``model`` may name a route, ``route`` always does.

    Raises:
        InvalidRequestError: One is not a name, or they name two things.
    """
    for param, name in (("model", model), ("route", route)):
        if name is not None and (not isinstance(name, str) or not name):
            raise InvalidRequestError(f"{param} must be a name, not {name!r}", param=param)
    if route is None:
        return {"model": model or AUTO}
    if model not in (None, AUTO, route):
        raise InvalidRequestError(
            f"model names {model!r} and route {route!r}",
            param="model",
            hint=f"name one of them, or {AUTO!r} as the model",
        )
    return {"route": route}


def _from_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for header in headers:
        if header[: len(_PREFIX)].lower() != _PREFIX:
            continue
        name = header[len(_PREFIX) :].lower().replace("-", "_")
        reader = _READERS.get(name)
        if reader is None:
            known = ", ".join(f"X-Orchestrator-{_spelled(n)}" for n in _READERS)
            raise InvalidRequestError(
                f"there is no header {header}", param=header, hint=f"known: {known}"
            )
        try:
            found[name] = reader(headers[header].strip())
        except ValueError as error:
            raise InvalidRequestError(
                f"{header} cannot be {headers[header]!r}", param=header
            ) from error
    return found


def _from_body(field: Any) -> dict[str, Any]:
    if not isinstance(field, dict):
        raise InvalidRequestError(f"{FIELD} must be an object, not {field!r}", param=FIELD)
    for name in field:
        if name not in _READERS:
            raise InvalidRequestError(
                f"there is no {FIELD}.{name}",
                param=f"{FIELD}.{name}",
                hint=f"known: {', '.join(_READERS)}",
            )
    return {name: value for name, value in field.items() if value is not None}


def _check(name: str, value: Any) -> None:
    if name in ("capabilities", "exclude_models"):
        if not isinstance(value, list):
            raise InvalidRequestError(f"{name} must be a list of names", param=name)
    elif name == "context":
        if not isinstance(value, dict):
            raise InvalidRequestError("context must be an object", param=name)
    elif name == "on_interrupt" and value not in _ON_INTERRUPT:
        raise InvalidRequestError(
            f"on_interrupt cannot be {value!r}", param=name, hint=f"one of {_ON_INTERRUPT}"
        )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _spelled(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("_"))


_READERS: Final[dict[str, Callable[[str], Any]]] = {
    "capabilities": _names,
    "max_cost": float,
    "min_speed": float,
    "context_length": float,
    "exclude_models": _names,
    "provider": str,
    "prefer": str,
    "route": str,
    "context": orjson.loads,
    "deadline_s": float,
    "allow_unknown_cost": _flag,
    "allow_unknown_speed": _flag,
    "on_interrupt": str,
}
"""How a header's text becomes the value that stands in a body."""
