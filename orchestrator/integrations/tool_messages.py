"""Conversations with tools, as a model without tools can read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from orchestrator.core.params import Message

__all__ = ["as_plain_messages", "with_instructions"]


def as_plain_messages(messages: Sequence[Message]) -> list[Message]:
    """Return the conversation with calls and their results as text.

    A chat template that knows no tools prints an assistant's call as nothing at all, and a
    result as a message of a role that the model has never seen.
    """
    plain: list[Message] = []
    names: dict[str, str] = {}
    after_result = False
    for message in messages:
        if message["role"] == "tool":
            name = names.get(message.get("tool_call_id", ""), "the function")
            result = f"Result of {name}: {_text(message)}"
            if after_result:  # two user messages in a row are too much for some templates
                result = f"{plain.pop()['content']}\n{result}"
            plain.append({"role": "user", "content": result})
        elif calls := message.get("tool_calls"):
            names |= {call["id"]: call["function"]["name"] for call in calls}
            lines = [_text(message), *map(_call_text, calls)]
            plain.append({"role": "assistant", "content": "\n".join(filter(None, lines))})
        else:
            plain.append(message)
        after_result = message["role"] == "tool"
    return plain


def with_instructions(messages: Sequence[Message], instructions: str) -> list[Message]:
    """Return the conversation with instructions at the end of its system message."""
    first, *rest = messages
    if first["role"] not in ("system", "developer"):
        return [{"role": "system", "content": instructions}, *messages]
    return [{"role": first["role"], "content": f"{_text(first)}\n\n{instructions}"}, *rest]


def _call_text(call: dict[str, Any]) -> str:
    # In a sentence: a small model that sees JSON here writes JSON when it should answer.
    function = call["function"]
    return f"I called {function['name']} with {function['arguments'] or '{}'}."


def _text(message: Message) -> str:
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)
