"""What the models of the simulated world say: the same each time, and told apart by its text."""

from __future__ import annotations

import re
import zlib
from random import Random
from typing import Final

from orchestrator.core.tokens import estimate_message_tokens
from orchestrator.testing.echo import echo
from orchestrator.testing.openai_provider import OpenAIProvider
from orchestrator.testing.openai_wire import Reply, Request, prompt_text

__all__ = ["local_provider", "reply_to", "said", "tag_of"]

_TAG: Final = re.compile(r"#([0-9.]+)#")
_MOST_WORDS: Final = 40


def said(name: str, prompt: str) -> str:
    """Return what a model says to a prompt: 3 to 40 words, the same each time."""
    digest = zlib.crc32(f"{name} {prompt}".encode())
    count = 3 + digest % (_MOST_WORDS - 2)
    return " ".join(f"{name}-{digest % 997 + i}" for i in range(count))


def tag_of(prompt: str) -> str | None:
    """Return which request a prompt belongs to, None for one of the engine's own."""
    found = _TAG.search(prompt)
    return None if found is None else found[1]


def reply_to(request: Request, ratio: float = 1.0) -> Reply:
    """Return what a model says to a request.

    Args:
        request: Where it wants a tool or a form, the answer has it.
        ratio: Tokens that the model counts for each of our estimate's.
    """
    messages = request["messages"]
    tools = request.get("tools") or ()
    prompt_tokens = max(1, round(ratio * estimate_message_tokens(messages, tools)))
    if tools or request.get("response_format"):
        answer = echo(request)
        return Reply(answer.text, answer.tool_calls, prompt_tokens)
    last = next(m for m in reversed(messages) if m["role"] == "user")
    return Reply(said(request["model"], prompt_text(last)), prompt_tokens=prompt_tokens)


def local_provider(rng: Random) -> OpenAIProvider:
    """Return what a process of this resident answers."""
    return OpenAIProvider(
        lambda request: reply_to(request),
        first_token_s=rng.uniform(0.05, 0.5),
        tokens_per_s=rng.uniform(10, 60),
    )
