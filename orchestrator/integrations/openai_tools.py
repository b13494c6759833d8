"""How a request's tools are written: natively where the server heeds the choice, else emulated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.core.errors import InvalidRequestError
from orchestrator.integrations.openai_dialect import Dialect
from orchestrator.integrations.tool_emulation import ToolEmulation, emulate_tools
from orchestrator.integrations.tool_messages import as_plain_messages

__all__ = ["add_tools"]


def add_tools(
    body: dict[str, Any], asked: Mapping[str, Any], dialect: Dialect
) -> ToolEmulation | None:
    """Write the tools into a request body, or what emulates them, which is returned.

    Args:
        body: The request so far, its messages and response format among it.
        asked: Fields of `TextGenerationParams` that are set.
        dialect: The server's.

    Raises:
        InvalidRequestError: The choice fits no tool, or a tool or message is misshapen.
    """
    tools = asked.get("tools") or ()
    choice = asked.get("tool_choice") or "auto"
    if isinstance(choice, str) and choice not in ("auto", "none", "required"):
        choice = {"type": "function", "function": {"name": choice}}
    mode = "named" if isinstance(choice, dict) else choice
    if not tools and mode in ("required", "named"):
        raise InvalidRequestError("a tool has to be called, but there are none", param="tools")
    try:
        if not tools or choice == "none" or mode in dialect.native_tools:
            _write(body, asked, choice, dialect)
            return None
        return _emulate(body, tools, choice)
    except (LookupError, TypeError, AttributeError) as error:
        raise InvalidRequestError(
            f"the tools or tool calls are not as OpenAI's format has them ({error!r})",
            param="tools",
        ) from error


def _write(
    body: dict[str, Any], asked: Mapping[str, Any], choice: str | dict[str, Any], dialect: Dialect
) -> None:
    if not dialect.native_tools:
        body["messages"] = as_plain_messages(body["messages"])
    elif tools := asked.get("tools"):
        body["tools"] = tools
        if "tool_choice" in asked:
            body["tool_choice"] = choice
        if "parallel_tool_calls" in asked and "parallel_tool_calls" not in dialect.unsupported:
            body["parallel_tool_calls"] = asked["parallel_tool_calls"]
        for name, value in dialect.with_tools:
            body.setdefault(name, value)


def _emulate(body: dict[str, Any], tools: list[Any], choice: str | dict[str, Any]) -> ToolEmulation:
    name = choice["function"]["name"] if isinstance(choice, dict) else None
    if name is not None and name not in [tool["function"]["name"] for tool in tools]:
        raise InvalidRequestError(f"there is no tool named {name!r}", param="tool_choice")
    emulation = emulate_tools(
        body["messages"],
        tools,
        name=name,
        may_reply=choice == "auto",
        response_format=body.get("response_format"),
    )
    body["messages"] = emulation.messages
    body["response_format"] = emulation.response_format
    return emulation
