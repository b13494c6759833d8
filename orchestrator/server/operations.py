"""Every address of the gateway: who serves it, and what it takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from aiohttp.typedefs import Handler
from pydantic import BaseModel

from orchestrator.core.capabilities import CAPABILITIES
from orchestrator.engine import Orchestrator
from orchestrator.lifecycle.state import Status
from orchestrator.server import model_answers as answers
from orchestrator.server import model_requests as requests
from orchestrator.server.chat import ChatCompletions
from orchestrator.server.decisions import Decisions
from orchestrator.server.descriptions import Descriptions
from orchestrator.server.embeddings import Embeddings
from orchestrator.server.event_stream import EventStream
from orchestrator.server.health import Health
from orchestrator.server.local_models import LocalModels
from orchestrator.server.measuring import Measuring
from orchestrator.server.models import Models

__all__ = ["Operation", "Shape", "operations"]

Shape: TypeAlias = type[BaseModel] | Mapping[str, Any]
"""A model of ours, or a JSON schema."""

_ANY: Final[Mapping[str, Any]] = {"type": "object"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one address.

    Attributes:
        path: As aiohttp routes it; the first that fits serves.
        about: What it does, a sentence.
        body: What it takes, or None.
        answer: What it gives.
        answer_type: The content type of that.
        query: What its query may say, by name: a JSON schema with a description.
        errors: Statuses of its refusals besides those that every address has.
    """

    method: Literal["GET", "POST"]
    path: str
    handler: Handler
    about: str
    body: Shape | None = None
    answer: Shape = field(default_factory=lambda: _ANY)
    answer_type: str = "application/json"
    query: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    errors: tuple[int, ...] = ()


def operations(orchestrator: Orchestrator, events: EventStream) -> list[Operation]:
    """Return what a gateway to this engine serves, what goes first first."""
    descriptions = Descriptions(orchestrator)
    models = Models(orchestrator, descriptions)
    local, measuring = (
        LocalModels(orchestrator, descriptions),
        Measuring(orchestrator),
    )
    decisions, health = Decisions(orchestrator), Health(orchestrator)
    chat, embeddings = ChatCompletions(orchestrator), Embeddings(orchestrator)

    def get(path: str, handler: Handler, about: str, **facts: Any) -> Operation:
        return Operation(method="GET", path=path, handler=handler, about=about, **facts)

    def post(path: str, handler: Handler, about: str, **facts: Any) -> Operation:
        return Operation(method="POST", path=path, handler=handler, about=about, **facts)

    return [
        post(
            "/v1/chat/completions",
            chat.create,
            "Answer a chat, whole or as server-sent events, as OpenAI's API does.",
            body=_CHAT,
            errors=(404, 429, 502, 503, 504),
        ),
        post(
            "/v1/embeddings",
            embeddings.create,
            "Turn texts into vectors, as OpenAI's API does.",
            body=_EMBEDDINGS,
            errors=(404, 429, 502, 503, 504),
        ),
        get("/v1/models", models.list, "List routes and models, as OpenAI's API does."),
        get("/v1/models/{id:.+}", models.retrieve, "Describe a route or a model.", errors=(404,)),
        get(
            "/api/v1/models",
            models.describe,
            "List the models that fit.",
            query=_FILTERS,
            answer=answers.Listed,
        ),
        get(
            "/api/v1/models/loaded",
            models.loaded,
            "List the models in our own memory.",
            answer=answers.Loaded,
        ),
        get(
            "/api/v1/models/current",
            models.current,
            "Describe the current model.",
            answer=answers.OneModel,
            errors=(404,),
        ),
        get(
            "/api/v1/models/statistics",
            models.statistics,
            "Count the pool.",
            answer=answers.PoolStatistics,
        ),
        post(
            "/api/v1/models/load",
            local.load,
            "Bring a model into memory.",
            body=requests.Load,
            answer=answers.LoadedOne,
            errors=(404, 502, 503, 507),
        ),
        post(
            "/api/v1/models/switch",
            local.switch,
            "Make a model the current one, loading it first.",
            body=requests.Switch,
            answer=answers.Switched,
            errors=(404, 409, 502, 503, 507),
        ),
        post(
            "/api/v1/models/unload",
            local.unload,
            "Take a model out of memory once its calls have ended.",
            body=requests.Unload,
            answer=answers.Moved,
            errors=(404,),
        ),
        post(
            "/api/v1/models/discover",
            measuring.discover,
            "Ask every provider's servers which models they list.",
            body=requests.Discover,
            answer=answers.Discovered,
        ),
        post(
            "/api/v1/models/save-state",
            local.save_state,
            "Write the state file now.",
            answer=answers.StateWritten,
            errors=(503,),
        ),
        post(
            "/api/v1/models/{key:.+}/profile",
            measuring.profile,
            "Measure a model with real calls.",
            body=requests.Profile,
            answer=answers.Profiled,
            errors=(404, 503),
        ),
        post(
            "/api/v1/models/{key:.+}/pin",
            local.pin,
            "Keep a model in memory, or let it be evicted again.",
            body=requests.Pin,
            answer=answers.Pinned,
            errors=(404,),
        ),
        get(
            "/api/v1/models/{key:.+}/capabilities",
            measuring.capabilities,
            "Say what a model can do, and how that is known.",
            answer=answers.Capabilities,
            errors=(404,),
        ),
        get(
            "/api/v1/models/{name:.+}",
            models.named,
            "List a provider's models, or describe one model.",
            answer={"anyOf": [answers.Listed, answers.OneModel]},
            errors=(404,),
        ),
        get(
            "/api/v1/health",
            health.report,
            "Say how every model is.",
            answer=answers.HealthOfAll,
        ),
        get(
            "/api/v1/health/{key:.+}",
            health.of_one,
            "Say how one model is, and what was seen of it.",
            answer=answers.HealthOfOne,
            errors=(404,),
        ),
        get(
            "/api/v1/events",
            events.serve,
            "Follow what happens, as server-sent events.",
            query={"types": _text("Only these types of events, separated by commas.")},
            answer={"type": "string"},
            answer_type="text/event-stream",
        ),
        post(
            "/api/v1/feedback",
            decisions.feedback,
            "Say how good an answer was.",
            body=_FEEDBACK,
            errors=(404,),
        ),
        post(
            "/api/v1/explain",
            decisions.explain,
            "Say how a request would be decided, and why.",
            body=_CHAT | {"required": []},
        ),
        get("/healthz", health.check, "Say that the gateway is there, and what is out of service."),
    ]


def _text(description: str, **facts: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **facts}


_FILTERS: Final = {
    "provider": _text("Only this provider's."),
    "capability": _text("Only those that can do this.", enum=list(CAPABILITIES)),
    "status": _text(
        "Only those that are this, or one of several separated by commas.",
        examples=[status.value for status in Status],
    ),
}
_DEMANDS: Final = {"type": "object", "description": "What the request demands of a model."}
_CHAT: Final[dict[str, Any]] = {
    "type": "object",
    "description": "A chat completion request of OpenAI's API, and what it demands.",
    "properties": {
        "model": _text("A key, an alias, a name or a route.", default="auto"),
        "messages": {"type": "array", "items": {"type": "object"}, "minItems": 1},
        "stream": {"type": "boolean", "default": False},
        "orchestrator": _DEMANDS,
    },
    "required": ["messages"],
    "additionalProperties": True,
}
_EMBEDDINGS: Final = {
    "type": "object",
    "description": "An embeddings request of OpenAI's API, and what it demands.",
    "properties": {
        "model": _text("A key, an alias, a name or a route.", default="auto"),
        "input": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "dimensions": {"type": "integer", "minimum": 1},
        "encoding_format": {"enum": ["float", "base64"]},
        "orchestrator": _DEMANDS,
    },
    "required": ["input"],
    "additionalProperties": True,
}
_FEEDBACK: Final = {
    "type": "object",
    "properties": {
        "decision_id": _text("The answer's X-Orchestrator-Decision-Id."),
        "quality": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["decision_id", "quality"],
}
