"""The keywords of the public calls, and which of them are whose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from typing_extensions import TypedDict

from orchestrator.core.params import ToolSpec
from orchestrator.core.requirements import LimitOptions, RequirementOptions

__all__ = [
    "NEEDS",
    "EmbedOptions",
    "RequestOptions",
    "RoutingOptions",
    "SelectOptions",
    "TextOptions",
    "UseOptions",
    "split",
]


class RoutingOptions(TypedDict, total=False):
    """How a call is routed.

    ``route`` (or ``model``, which may also name a model) says among whom to choose. ``context``
    holds a request's ``task``, the kind that statistics are kept for, its ``session``, which
    stays with the model that answered it last, and its ``unit``, which an experiment assigns:
    ``{"task": "code", "session": "s-17", "unit": "user-9"}``; also its ``features``, numbers that
    contextual selectors learn from in place of those of its text. ``deadline_s`` is how long it
    may take in all, in seconds.
    """

    model: str | None
    route: str | None
    context: Mapping[str, Any] | None
    deadline_s: float | None


class RequestOptions(RoutingOptions, RequirementOptions, total=False):
    """What every call takes."""


class UseOptions(RoutingOptions, LimitOptions, total=False):
    """What `use_model` takes, whose kind of work and provider are arguments of their own."""


class SelectOptions(RequestOptions, total=False):
    """What `select_model` takes: with no request at hand, its size may be given."""

    prompt_tokens: int | None
    max_tokens: int | None


class TextOptions(RequestOptions, total=False):
    """What `generate` and `stream` take: the fields of `TextGenerationParams` too."""

    system_prompt: str | None
    temperature: float | None
    max_tokens: int | None
    top_p: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    stop_sequences: list[str] | None
    seed: int | None
    tools: list[ToolSpec] | None
    tool_choice: str | dict[str, Any] | None
    parallel_tool_calls: bool | None
    response_format: dict[str, Any] | None
    extra: dict[str, Any] | None


class EmbedOptions(RequestOptions, total=False):
    """What `embed` takes."""

    dimensions: int | None


_ROUTING: Final = frozenset(RoutingOptions.__annotations__)
NEEDS: Final = frozenset(RequirementOptions.__annotations__)
"""The keywords that are demands."""


def split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return what says how to route, what is demanded, and the parameters of the answer."""
    routing: dict[str, Any] = {}
    needs: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for name, value in options.items():
        if name in NEEDS:
            needs[name] = value
        elif name in _ROUTING:
            routing[name] = value
        else:
            params[name] = value
    return routing, needs, params
