"""Models as the management API describes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

from orchestrator.core.capabilities import capability_names
from orchestrator.core.events import ModelLoaded
from orchestrator.core.model import Model
from orchestrator.engine import Orchestrator
from orchestrator.lifecycle.profile import Profile
from orchestrator.lifecycle.snapshot import ResidentSnapshot
from orchestrator.lifecycle.state import Status
from orchestrator.server.model_answers import Memory, Metrics, ModelDescription, ModelEntry

__all__ = ["Descriptions", "Moment", "metrics_of"]

_MS: Final = 1e3
_MB: Final = 1e6


class Descriptions:
    """Describes the models of one engine.

    Args:
        orchestrator: Whose models. When they were loaded is known from now on.
    """

    def __init__(self, orchestrator: Orchestrator) -> None:
        self._orchestrator = orchestrator
        self._loaded_at: dict[str, float] = {}
        orchestrator.events.on(ModelLoaded, self._note)

    def now(self) -> Moment:
        """Return the pool as it is at this moment."""
        return Moment(self._orchestrator, self._loaded_at)

    def _note(self, event: ModelLoaded) -> None:
        self._loaded_at[event.resident] = event.wall


class Moment:
    """The models of one engine at one moment.

    Args:
        orchestrator: Whose models.
        loaded_at: When residents were loaded, in seconds since 1970, as far as that is known.
    """

    def __init__(self, orchestrator: Orchestrator, loaded_at: Mapping[str, float]) -> None:
        self._orchestrator = orchestrator
        self._loaded_at = loaded_at
        self._residents = {held.name: held for held in orchestrator.memory().residents}

    def status(self, model: Model) -> Status:
        """Return what it is; one that runs elsewhere is always available."""
        held = self._held(model)
        return Status.AVAILABLE if held is None else held.status

    def description(self, model: Model) -> ModelDescription:
        """Describe what it declares and what it is."""
        spec = model.spec
        return ModelDescription(
            id=spec.key.name,
            name=spec.key.name,
            key=spec.key.text,
            provider=spec.key.provider,
            context_window=spec.context_window,
            max_tokens=spec.max_output_tokens,
            capabilities=sorted(capability_names(spec.capabilities)),
            status=self.status(model),
        )

    def current(self) -> ModelDescription | None:
        """Describe the current model, if there is one."""
        key = self._orchestrator.current_model
        return None if key is None else self.description(self._orchestrator.registry.get_model(key))

    def entry(self, model: Model) -> ModelEntry:
        """Describe it with what it has done."""
        held, metrics = self._held(model), self._metrics(model)
        loaded_at = None
        if held is not None and held.status is Status.LOADED:
            loaded_at = self._loaded_at.get(held.name)
        return ModelEntry(
            key=model.key.text,
            model=self.description(model),
            loaded_at=None if loaded_at is None else _iso(loaded_at),
            total_inferences=metrics.total_inferences,
            performance_metrics=metrics,
            memory=None if held is None else Memory(resident=held.name, **_shown(held)),
        )

    def _metrics(self, model: Model) -> Metrics:
        """Return what all its calls have shown."""
        key = model.key.text
        sums = self._orchestrator.get_model_statistics().get(key, {})
        calls, ok, seconds = (sums.get(name, 0.0) for name in ("calls", "ok", "seconds"))
        profile, held = self._orchestrator.profiles.get(key), self._held(model)
        return Metrics(
            average_latency=seconds / ok * _MS if ok else None,
            tokens_per_second=sums["tokens_out"] / seconds if seconds else None,
            total_inferences=int(calls),
            success_rate=ok / calls if calls else None,
            last_benchmarked=None if profile is None else _iso(profile.at),
            memory_usage=held.memory_bytes / _MB if held and held.memory_bytes else None,
        )

    def _held(self, model: Model) -> ResidentSnapshot | None:
        return self._residents.get(model.spec.resident or "")


def metrics_of(profile: Profile) -> Metrics:
    """Return a profile as metrics."""
    latency, held = profile.latency_s, profile.memory_bytes
    return Metrics(
        average_latency=None if latency is None else latency.mean * _MS,
        tokens_per_second=profile.tokens_per_s,
        total_inferences=profile.calls,
        success_rate=profile.success_rate,
        last_benchmarked=_iso(profile.at),
        memory_usage=None if held is None else held / _MB,
    )


def _shown(held: ResidentSnapshot) -> dict[str, Any]:
    facts = asdict(held)
    return {name: facts[name] for name in Memory.model_fields if name in facts}


def _iso(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
