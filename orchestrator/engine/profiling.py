"""Measures models with real calls: when somebody asks for it, and from time to time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import cycle, islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import anyio

from orchestrator.core.capabilities import capability_mask
from orchestrator.core.errors import (
    InvalidRequestError,
    ModelError,
    ModelNotFoundError,
    NoEligibleModelsError,
)
from orchestrator.core.events import ModelProfiled, ProfilingStarted
from orchestrator.core.model import ModelSpec
from orchestrator.core.params import TextGenerationParams
from orchestrator.core.requirements import as_limit
from orchestrator.core.results import TextResult
from orchestrator.engine.asking import Asking
from orchestrator.engine.parts import Parts
from orchestrator.engine.pinned import Called, Pinned
from orchestrator.lifecycle.profile import Profile, ProfileEstimate, Sample
from orchestrator.lifecycle.schedule import ProfilingSchedule
from orchestrator.routing.derive import size_of

if TYPE_CHECKING:
    from orchestrator.engine.orchestrator import Orchestrator

__all__ = ["Profiler"]

_PROMPTS: Final = (
    "Explain in a few sentences why the sky is blue.",
    "Write a short note that moves a meeting from Monday to Tuesday.",
    "List five animals that live in the sea, with a word about each.",
    "Sum up the story of Cinderella in a few sentences.",
    "Describe how to boil an egg, step by step.",
)
_MAX_TOKENS: Final = 64
"""Enough that the pace of writing outweighs the wait for its first token."""
_SEGMENT: Final = "profile"
_TEXT: Final = capability_mask(("text_generation",))
_STREAMING: Final = capability_mask(("streaming",))


class Profiler:
    """Measures the models of one engine.

    What it calls is a request like others, of the segment ``profile``: it counts for budgets,
    health and statistics, so that ``min_speed`` and selectors know what it has shown.

    Args:
        engine: Whose models.
        parts: What its requests share.
        asking: Writes what each of them asks.
        say: Publishes an event of a kind with these facts, if anybody wants it.
        memory: Returns the bytes that a model of this key takes in memory, None if unknown.
    """

    def __init__(
        self,
        engine: Orchestrator,
        parts: Parts,
        asking: Asking,
        say: Callable[..., None],
        memory: Callable[[str], int | None] = lambda key: None,
    ) -> None:
        self._engine = engine
        self._parts = parts
        self._asking = asking
        self._say = say
        self._memory = memory
        self._profiles: dict[str, Profile] = {}

    @property
    def profiles(self) -> Mapping[str, Profile]:
        """The last profile of each model that has one, by key."""
        return MappingProxyType(self._profiles)

    def estimate(self, name: str, *, n: int = 10) -> ProfileEstimate:
        """Return what a profile would take; errors as `profile`, of the arguments."""
        _demand_calls(n)
        spec = self._engine.registry.get_model(name).spec
        prompt_tokens = self._parts.estimator.calibrated(
            spec.key.text, sum(size_of(request).prompt for request in _requests(n)), n
        )
        tokens_out = n * _MAX_TOKENS
        usd = None if spec.price is None else float(spec.price.cost(prompt_tokens, tokens_out))
        speed = self._speed(spec)
        return ProfileEstimate(
            model=spec.key.text,
            calls=n,
            prompt_tokens=prompt_tokens,
            max_output_tokens=tokens_out,
            cost_usd=usd,
            seconds=None if speed is None else tokens_out / speed,
        )

    async def profile(self, name: str, *, n: int = 10, max_cost: float | None = None) -> Profile:
        """Call a model n times, one after the other, and return what that has shown.

        A call that fails is part of the result. Where the money for the next call is lacking, or
        the model goes out of service, it ends early, and `Profile.stopped` says why. Cancelling
        it ends the call in flight; nothing else is left to end.

        Args:
            name: Key, alias or name of a model that writes text.
            n: Calls, at least 1.
            max_cost: USD that all calls together may cost, which then has to be known, or None.

        Raises:
            InvalidRequestError: A number is out of range.
            ModelNotFoundError: There is none of this name, or several.
            NoEligibleModelsError: Not even one call may be made; the message says why.
        """
        _demand_calls(n)
        if max_cost is not None:
            max_cost = as_limit("max_cost", max_cost)
        spec = self._engine.registry.get_model(name).spec
        key = spec.key.text
        pinned = Pinned(self._parts, self._asking, key, task=_SEGMENT, max_cost=max_cost)
        self._say(ProfilingStarted, model=key, n=n)
        samples: list[Sample] = []
        stopped: str | None = None
        for request in _requests(n):
            try:
                called = await pinned.call(request, stream=bool(spec.capabilities & _STREAMING))
            except NoEligibleModelsError as error:
                if not samples:
                    raise
                stopped = pinned.refusal(error)
                break
            samples.append(_sample(called))
            if called.error is not None:
                health = await self._engine.get_model_health(key)
                if not health.healthy and len(samples) < n:
                    stopped = "; ".join(health.issues)
                    break
        profile = self._profiles[key] = Profile.of(
            key,
            self._parts.clock.wall(),
            samples,
            memory_bytes=self._memory(key),
            stopped=stopped,
        )
        self._tell(profile)
        return profile

    async def run(self, schedule: ProfilingSchedule) -> None:
        """Measure again and again, until it is cancelled."""
        while True:
            jitter = schedule.jitter * (2 * self._parts.rng.random() - 1)
            await anyio.sleep(schedule.interval_s * (1 + jitter))
            await self.round(schedule)

    async def round(self, schedule: ProfilingSchedule) -> list[Profile]:
        """Measure once what is idle, in memory and in service; see `ProfilingSchedule`.

        Nothing is loaded for it: measuring is no reason to evict a model that somebody uses.
        """
        engine, left_usd = self._engine, schedule.max_cost
        before = engine.get_model_statistics()
        await anyio.sleep(schedule.idle_s)
        now = engine.get_model_statistics()
        made: list[Profile] = []
        for spec in [model.spec for model in engine.registry.pool.models]:
            key = spec.key.text
            if not spec.capabilities & _TEXT or not _idle(before.get(key), now.get(key)):
                continue
            if spec.resident is not None and spec.resident not in engine.loaded:
                continue
            try:
                if not (await engine.get_model_health(key)).healthy:
                    continue
                profile = await self.profile(key, n=schedule.n, max_cost=left_usd)
            except (NoEligibleModelsError, ModelNotFoundError):
                continue  # too dear, or gone meanwhile: the next round asks again
            now = engine.get_model_statistics()  # that took its time
            left_usd = max(left_usd - profile.cost_usd, 0.0)
            made.append(profile)
        return made

    # ------------------------------------------------------------------------------------------

    def _speed(self, spec: ModelSpec) -> float | None:
        sums = self._engine.get_model_statistics().get(spec.key.text)
        if sums is not None and sums["tokens_out"] and sums["seconds"]:
            return sums["tokens_out"] / sums["seconds"]
        return spec.speed

    def _tell(self, profile: Profile) -> None:
        latency, first = profile.latency_s, profile.first_token_s
        self._say(
            ModelProfiled,
            model=profile.model,
            calls=profile.calls,
            success_rate=profile.success_rate,
            first_token_p50_s=None if first is None else first.p50,
            latency_p50_s=None if latency is None else latency.p50,
            latency_p95_s=None if latency is None else latency.p95,
            latency_p99_s=None if latency is None else latency.p99,
            tokens_per_s=profile.tokens_per_s,
            cost_usd=profile.cost_usd,
            memory_bytes=profile.memory_bytes,
            stopped=profile.stopped,
        )


def _requests(n: int) -> list[TextGenerationParams]:
    # Numbered, so that no server answers one from what it has kept of another.
    return [
        TextGenerationParams(prompt=f"Task {number}. {prompt}", max_tokens=_MAX_TOKENS)
        for number, prompt in enumerate(islice(cycle(_PROMPTS), n), start=1)
    ]


def _sample(called: Called) -> Sample:
    error = called.error
    if error is not None:
        kind = error.classification.value if isinstance(error, ModelError) else "unexpected"
        return Sample(latency_s=called.latency_s, cost_usd=called.cost_usd, error=kind)
    assert isinstance(called.result, TextResult)
    return Sample(
        latency_s=called.latency_s,
        first_token_s=called.first_token_s,
        tokens_out=called.result.usage.completion_tokens,
        cost_usd=called.cost_usd,
    )


def _idle(before: Mapping[str, float] | None, now: Mapping[str, float] | None) -> bool:
    """Whether a model of these sums is not being called, and was not in between."""
    if now is None:
        return True
    in_flight = now["opened"] - now["closed"] - now["expired"]
    return in_flight <= 0 and now["opened"] == (0.0 if before is None else before["opened"])


def _demand_calls(n: Any) -> None:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InvalidRequestError(f"n must be a whole number from 1 up, not {n!r}", param="n")
