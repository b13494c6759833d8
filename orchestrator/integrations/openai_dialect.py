"""What differs between servers that speak OpenAI's wire format, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from orchestrator.core.records import record
from orchestrator.integrations.tool_emulation import ToolEmulation

__all__ = ["Dialect", "ToolMode", "WireRequest"]

ToolMode: TypeAlias = Literal["auto", "required", "named"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One kind of server.

    Attributes:
        name: The kind, for its error table and for messages.
        max_tokens_field: What it calls the limit of output tokens.
        unsupported: Fields of `TextGenerationParams` it refuses; they are dropped with a warning.
        native_tools: The tool choices it honours; the others are emulated.
        with_tools: Fields it wants beside native tools, sent unless the request sets them.
        developer_role: Whether it knows that role; if not, those messages are sent as ``system``.
        stream_usage: Whether it can be asked for usage at the end of a stream.
        closes_after_stream: Whether it closes a connection that has carried a stream without
            saying so; the next request on it would be lost.
        auth_header: The header with the key.
        auth_scheme: What stands before the key there, or nothing.
    """

    name: str
    max_tokens_field: str = "max_tokens"
    unsupported: frozenset[str] = frozenset()
    native_tools: frozenset[ToolMode] = frozenset(("auto", "required", "named"))
    with_tools: tuple[tuple[str, str], ...] = ()
    developer_role: bool = False
    stream_usage: bool = True
    closes_after_stream: bool = False
    auth_header: str = "Authorization"
    auth_scheme: str = "Bearer"


@record()
class WireRequest:
    """A request body with what its answer has to be read by.

    Attributes:
        path: Follows the base URL.
        body: JSON.
        warnings: What the dialect could not honour, a sentence each.
        emulation: How the answer is turned into tool calls, or None if the server does that.
        may_be_empty: Whether an answer without text can be what was asked for.
    """

    path: str
    body: bytes
    warnings: tuple[str, ...] = ()
    emulation: ToolEmulation | None = None
    may_be_empty: bool = False
