"""Answers of the management API: names are camelCase and times in milliseconds on the wire."""

from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

__all__ = [
    "Answer",
    "Capabilities",
    "Discovered",
    "Done",
    "HealthOfAll",
    "HealthOfOne",
    "Listed",
    "Loaded",
    "LoadedOne",
    "Memory",
    "Metrics",
    "ModelDescription",
    "ModelEntry",
    "Moved",
    "OneModel",
    "Pinned",
    "Plan",
    "PoolStatistics",
    "Profiled",
    "ProviderModels",
    "StateWritten",
    "Statistics",
    "Switched",
    "answered",
]


class Answer(BaseModel):
    """Base of all that is sent."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Done(Answer):
    """Base of what was done as asked."""

    success: Literal[True] = True


class ModelDescription(Answer):
    """What a model declares, and what it is now."""

    id: str
    name: str
    key: str
    provider: str
    context_window: int | None
    max_tokens: int | None
    capabilities: list[str]
    status: str


class Metrics(Answer):
    """How a model does; null is unknown."""

    average_latency: float | None
    """Milliseconds."""
    tokens_per_second: float | None
    total_inferences: int
    success_rate: float | None
    last_benchmarked: str | None
    memory_usage: float | None
    """Megabytes."""


class Memory(Answer):
    """How a model is in memory, or how it would get there."""

    resident: str
    """The process; several models may share it."""
    pinned: bool
    current: bool
    memory_bytes: int
    needs_bytes: int
    leases: int
    waiting: int
    idle_s: float | None
    expected_load_s: float
    retry_after_s: float
    error: str | None


class ModelEntry(Answer):
    """A model with what it has done."""

    key: str
    model: ModelDescription
    loaded_at: str | None
    total_inferences: int
    performance_metrics: Metrics
    memory: Memory | None
    """Null for models that run elsewhere."""


class Listed(Done):
    """Models."""

    models: list[ModelDescription]
    count: int


class Loaded(Listed):
    """The models in memory."""

    current_model: ModelDescription | None


class OneModel(Done):
    """One model."""

    model: ModelEntry


class Moved(Done):
    """What became of a model."""

    message: str
    provider: str
    model: str
    key: str


class Switched(Moved):
    """The model that is current now."""

    current_model: ModelDescription
    previous_model: str | None


class Plan(Answer):
    """What a load would do, by processes."""

    load: list[str]
    loaded: list[str]
    evict: list[str]
    needs_bytes: int
    expected_s: float


class LoadedOne(Moved):
    """The model that is in memory now, or (``dryRun``) what it would take."""

    plan: Plan | None


class Pinned(Done):
    """Whether a model is kept in memory."""

    key: str
    pinned: bool


class Profiled(Done):
    """What calls to a model have shown, or (``dryRun``) what they would take."""

    message: str
    metrics: Metrics | None
    profile: dict[str, Any] | None
    """The same in seconds, with percentiles, cost and failures."""
    estimate: dict[str, Any] | None


class Capabilities(Done):
    """What a model can do, and how that is known."""

    key: str
    capabilities: list[str]
    likely: list[str]
    """What weaker sources suggest beyond that; requests are not routed by it."""
    evidence: list[dict[str, Any]]
    context_window: int | None


class ProviderModels(Answer):
    """What the servers of a provider list."""

    found: int
    models: list[str]
    error: str | None


class Discovered(Done):
    """What every provider's servers list."""

    providers: dict[str, ProviderModels]
    count: int
    new: list[str]
    """Keys of those that are not in the pool, or were not."""
    registered: list[str]


class Statistics(Answer):
    """The pool, counted."""

    total_models: int
    loaded_models: int
    current_model: str | None
    total_inferences: int
    provider_counts: dict[str, int]
    capability_counts: dict[str, int]
    status_counts: dict[str, int]
    memory_limits: dict[str, int]
    """By dimension: bytes of ``ram`` and ``gpu:0``, places of ``models``."""
    memory_reserved: dict[str, int]
    waiting: int
    """Callers who wait for a model to be loaded."""


class PoolStatistics(Done):
    """The pool, counted."""

    statistics: Statistics


class StateWritten(Done):
    """Where the state was written."""

    message: str
    path: str


class HealthOfOne(Done):
    """How one model is, in seconds and snake_case as events are."""

    health: dict[str, Any]


class HealthOfAll(Done):
    """How every model is."""

    models: list[dict[str, Any]]
    count: int
    healthy: int


def answered(answer: Answer) -> web.Response:
    """Return it as a response."""
    body = answer.model_dump_json(by_alias=True).encode()
    return web.Response(body=body, content_type="application/json")
