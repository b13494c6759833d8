"""The default reply: the user's last words again, in whatever form the request asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import orjson

from orchestrator.testing.openai_wire import Reply, Request, ToolCall, prompt_text

__all__ = ["Schema", "echo", "example"]

Schema = Mapping[str, Any]


def echo(request: Request) -> Reply:
    """Call a tool if one is offered and not yet answered, else say the user's last words.

    With `response_format` they come as a JSON object, or as one that its schema admits.
    """
    said = _last_words(request)
    tool = _wanted_tool(request)
    if tool is not None:
        arguments = example(tool.get("parameters") or {}, said)
        return Reply(tool_calls=(ToolCall(tool["name"], orjson.dumps(arguments).decode()),))
    form = request.get("response_format") or {}
    if form.get("type") == "json_schema":
        answer = example(form["json_schema"]["schema"], said)
    elif form.get("type") == "json_object":
        answer = {"echo": said}
    else:
        return Reply(text=said)
    return Reply(text=orjson.dumps(answer).decode())


def example(schema: Schema, text: str) -> Any:
    """Return a value that `schema` admits, the same each time; its strings are `text`.

    Knows what structured outputs allow: objects, arrays, enums, references, alternatives and
    bounds, but neither patterns nor formats.
    """
    return _example(schema, text, schema)


def _example(schema: Schema, text: str, root: Schema) -> Any:
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    match _kind(schema):
        case "object":
            properties = schema.get("properties") or {}
            names = schema.get("required", properties)
            return {name: _example(properties.get(name, {}), text, root) for name in names}
        case "array":
            item = schema.get("items") or {}
            return [_example(item, text, root) for _ in range(schema.get("minItems", 0))]
        case "string":
            return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return True
        case _:
            return None


def _resolved(schema: Schema, root: Schema) -> Schema:
    """Follow references and choose among alternatives, null first, which ends a recursion."""
    while True:
        if "$ref" in schema:
            target: Any = root
            for part in schema["$ref"].removeprefix("#/").split("/"):
                target = target[part] if part != "#" else root
            schema = target
        elif alternatives := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
            schema = min(alternatives, key=lambda one: one.get("type") != "null")
        else:
            return schema


def _kind(schema: Schema) -> str:
    kind = schema.get("type", "object")
    return str(kind if isinstance(kind, str) else kind[0])


def _number(schema: Schema) -> float:
    """Return 0 if the bounds admit it, else a number at or between them."""
    low = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf))
    high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf))
    excluded = (schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum"))
    candidates: list[float] = [0, low, low + 1, high, high - 1, (low + high) / 2]
    return next(
        number
        for number in candidates
        if math.isfinite(number) and low <= number <= high and number not in excluded
    )


def _last_words(request: Request) -> str:
    messages = request["messages"]
    return next(
        (prompt_text(message) for message in reversed(messages) if message.get("role") == "user"),
        prompt_text(messages[-1]),
    )


def _wanted_tool(request: Request) -> Mapping[str, Any] | None:
    """Return the function to call, or None: nothing offered, `none` chosen, or results are in."""
    functions: list[Mapping[str, Any]] = [tool["function"] for tool in request.get("tools") or ()]
    choice = request.get("tool_choice") or "auto"
    answered = request["messages"][-1].get("role") == "tool"
    if not functions or choice == "none" or (choice == "auto" and answered):
        return None
    if isinstance(choice, str):
        return functions[0]
    named = choice["function"]["name"]
    return next(function for function in functions if function["name"] == named)
