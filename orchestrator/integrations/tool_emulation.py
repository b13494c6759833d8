"""Tools for models without them: the tools go into the prompt, and a schema shapes the answer.

The server is asked for JSON that can only be a call of one of the functions, or, where the model
may choose, a plain reply; that JSON is turned back into what native tools would have given. It
works on any server that constrains output to a JSON schema, whatever the model was trained for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

import orjson

from orchestrator.core.errors import ModelResponseError
from orchestrator.core.params import Message, ToolSpec
from orchestrator.core.results import FinishReason, ToolCall
from orchestrator.integrations.tool_messages import as_plain_messages, with_instructions

__all__ = ["EmulatedReply", "ToolEmulation", "emulate_tools"]

_NO_PARAMETERS: Final = {"type": "object", "properties": {}}
_PARTIAL_REPLY: Final = re.compile(
    r'\s*\{\s*"reply"\s*:\s*("(?:[^"\\]|\\u[0-9a-fA-F]{4}|\\["\\/bfnrt])*)'
)


@dataclass(frozen=True, slots=True)
class EmulatedReply:
    """What constrained output means: a plain reply or a function call."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: FinishReason


@dataclass(frozen=True, slots=True)
class ToolEmulation:
    """One request's tools, as constrained output.

    Attributes:
        messages: The conversation with the functions described and earlier calls as text.
        schema: What the output must match.
        only: The one function that can be called; the output is its arguments and no more.
        call_id: The id of the call that may come of it.
    """

    messages: list[Message]
    schema: dict[str, Any]
    only: str | None
    call_id: str

    @property
    def response_format(self) -> dict[str, Any]:
        """The schema as the wire format wants it."""
        return {
            "type": "json_schema",
            "json_schema": {"name": "function_call", "schema": self.schema},
        }

    def read(self, output: str, finish_reason: FinishReason) -> EmulatedReply:
        """Turn the model's constrained output back.

        Output that ``max_tokens`` cut gives as much of a plain reply as there is, and no call:
        half of one would be a call that the model never made.

        Raises:
            ModelResponseError: The server did not keep to the schema.
        """
        try:
            return self._read(orjson.loads(output))
        except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError) as error:
            if finish_reason != "stop":
                return EmulatedReply(_partial_reply(output), (), finish_reason)
            raise ModelResponseError(
                f"the server did not keep to the schema of the function call: {output[:200]!r}",
                hint="it has to support response_format json_schema",
            ) from error

    def _read(self, value: Any) -> EmulatedReply:
        if self.only is None and "reply" in value:
            reply = value["reply"]
            return EmulatedReply(reply if isinstance(reply, str) else _json(reply), (), "stop")
        name = self.only or value["function"]
        arguments = value if self.only else value["arguments"]
        if not isinstance(arguments, dict) or not (self.only or name in self.schema["$defs"]):
            raise TypeError("this is no call of a function that was offered")
        return EmulatedReply("", (ToolCall(self.call_id, name, _json(arguments)),), "tool_calls")


def emulate_tools(
    messages: Sequence[Message],
    tools: Sequence[ToolSpec],
    *,
    name: str | None = None,
    may_reply: bool = False,
    response_format: Mapping[str, Any] | None = None,
) -> ToolEmulation:
    """Prepare the emulation of one request.

    Args:
        messages: The conversation.
        tools: The functions; at least one, and the named one among them.
        name: The one function to call, or None for any.
        may_reply: Whether the model may also answer by itself.
        response_format: What a plain reply must look like.
    """
    functions = [tool["function"] for tool in tools if name in (None, tool["function"]["name"])]
    if may_reply:
        only = None
        schema = _with_reply(_choice_schema(functions), _reply_schema(response_format or {}))
    elif len(functions) == 1:
        only = functions[0]["name"]
        schema = _parameters(functions[0])
    else:
        only = None
        schema = _choice_schema(functions)
    instructions = _instructions(functions, only, may_reply=may_reply)
    return ToolEmulation(
        messages=with_instructions(as_plain_messages(messages), instructions),
        schema=schema,
        only=only,
        call_id=_call_id(messages),
    )


def _instructions(functions: list[dict[str, Any]], only: str | None, *, may_reply: bool) -> str:
    # Worded as the smallest model we know, SmolLM2-135M, understood them best.
    listed = "\n".join(
        f"- {f['name']}: {f.get('description') or ''} Arguments: {_json(_parameters(f))}"
        for f in functions
    )
    if only:
        return f"Call this function: write its arguments as JSON, nothing else.\n{listed}"
    call = '{"function": its name, "arguments": {...}}'
    if not may_reply:
        return f"Call one of these functions: write {call}, nothing else.\n{listed}"
    return (
        f"You have these functions:\n{listed}\nIf you need one to answer, write {call}. If you can"
        ' answer yourself or already have the result, write {"reply": your answer}.'
    )


def _choice_schema(functions: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of one call of any of these functions."""
    variants = [
        _object(function={"const": f["name"]}, arguments={"$ref": f"#/$defs/{f['name']}"})
        for f in functions
    ]
    definitions = {f["name"]: _anchored(_parameters(f), f"#/$defs/{f['name']}") for f in functions}
    return {"anyOf": variants, "$defs": definitions}


def _with_reply(schema: dict[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of such a call or a plain reply."""
    # No function's name has a dollar sign, so this name is free.
    return {
        "anyOf": [_object(reply={"$ref": "#/$defs/$reply"}), *schema["anyOf"]],
        "$defs": {**schema["$defs"], "$reply": _anchored(reply, "#/$defs/$reply")},
    }


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _anchored(schema: Any, anchor: str) -> Any:
    """Return a schema whose references to its own root lead to where it now stands."""
    if isinstance(schema, list):
        return [_anchored(part, anchor) for part in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: anchor + part[1:]
        if key == "$ref" and isinstance(part, str) and part.startswith("#")
        else _anchored(part, anchor)
        for key, part in schema.items()
    }


def _reply_schema(response_format: Mapping[str, Any]) -> dict[str, Any]:
    kind = response_format.get("type")
    if kind == "json_schema":
        return dict(response_format["json_schema"]["schema"])
    return {"type": "object" if kind == "json_object" else "string"}


def _parameters(function: dict[str, Any]) -> dict[str, Any]:
    return function.get("parameters") or _NO_PARAMETERS


def _call_id(messages: Sequence[Message]) -> str:
    """Return an id that no other turn of this conversation has, the same in each replay."""
    return "call_" + blake2b(orjson.dumps(messages), digest_size=12).hexdigest()


def _partial_reply(output: str) -> str:
    found = _PARTIAL_REPLY.match(output)
    if found is None:
        return ""
    try:
        text: str = orjson.loads(found[1] + '"')
    except orjson.JSONDecodeError:  # the cut went through a surrogate pair
        return ""
    return text


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
