"""The gateway's addresses as an OpenAPI 3.1 document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from orchestrator.server.operations import Operation, Shape

__all__ = ["document", "public_path"]

_PARAMETER: Final = re.compile(r"\{(\w+)(?::[^{}]*)?\}")
_REFERENCE: Final = "#/components/schemas/{model}"
_COMMON: Final = (400, 401, 403, 421)
"""Refusals of every address."""
_ERROR: Final = {
    "type": "object",
    "description": "What went wrong, and what to try.",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}


def document(operations: Sequence[Operation], version: str) -> dict[str, Any]:
    """Return the document.

    Args:
        operations: What is served.
        version: Of this program.
    """
    schemas = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = paths.setdefault(public_path(operation.path), {})
        path[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "orchestrator",
            "version": version,
            "description": "One pool of every model you can reach, behind HTTP.",
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": _ERROR},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        # A gateway on a loopback address may do without a key.
        "security": [{"key": []}, {}],
    }


def public_path(path: str) -> str:
    """Return an address as people write it: ``/v1/models/{id}``."""
    return _PARAMETER.sub(r"{\1}", path)


def _described(operation: Operation) -> dict[str, Any]:
    method, path = operation.method.lower(), public_path(operation.path)
    found: dict[str, Any] = {
        "operationId": "_".join([method, *re.findall(r"\w+", path)]),
        "summary": operation.about,
        "parameters": [*_parameters(operation)],
        "responses": {
            "200": {
                "description": "It is done.",
                "content": {operation.answer_type: {"schema": _reference(operation.answer)}},
            },
            **{str(status): _refusal(status) for status in sorted({*_COMMON, *operation.errors})},
        },
    }
    if operation.body is not None:
        content = {"application/json": {"schema": _reference(operation.body)}}
        found["requestBody"] = {"required": _is_needed(operation.body), "content": content}
    return found


def _parameters(operation: Operation) -> Iterator[dict[str, Any]]:
    for name in _PARAMETER.findall(operation.path):
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": "Names what is meant; `/` and `:` may be percent-encoded.",
            "schema": {"type": "string"},
        }
    for name, schema in operation.query.items():
        yield {"name": name, "in": "query", "schema": dict(schema)}


def _refusal(status: int) -> dict[str, Any]:
    return {
        "description": HTTPStatus(status).phrase,
        "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(model="Error")}}},
    }


def _is_needed(shape: Shape) -> bool:
    if isinstance(shape, Mapping):
        return bool(shape.get("required"))
    return any(field.is_required() for field in shape.model_fields.values())


def _reference(shape: Any) -> Any:
    """Return a schema in which models are named rather than written out."""
    if isinstance(shape, type):
        return {"$ref": _REFERENCE.format(model=shape.__name__)}
    if isinstance(shape, Mapping):
        return {name: _reference(inner) for name, inner in shape.items()}
    return [_reference(inner) for inner in shape] if isinstance(shape, list) else shape


def _schemas(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the schema of every model that the operations name, and of those inside them."""
    wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {}
    for operation in operations:
        wanted |= dict.fromkeys((model, "validation") for model in _models(operation.body))
        wanted |= dict.fromkeys((model, "serialization") for model in _models(operation.answer))
    _, found = models_json_schema(list(wanted), ref_template=_REFERENCE)
    return dict(found.get("$defs", {}))


def _models(shape: Any) -> Iterator[type[BaseModel]]:
    if isinstance(shape, type):
        yield shape
    elif isinstance(shape, Mapping):
        for inner in shape.values():
            yield from _models(inner)
    elif isinstance(shape, list):
        for inner in shape:
            yield from _models(inner)
