"""The pool of the simulated world, drawn from a seed: models, where they serve, and the truth."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import exp
from random import Random
from typing import Any, Final, Literal, TypeAlias

from orchestrator.core.handlers import HandlerModel
from orchestrator.core.model import Model, ModelConstraints
from orchestrator.core.model_types import ModelType
from orchestrator.core.prices import Price
from orchestrator.integrations.embedded import EmbeddedModel, EmbeddedResident
from orchestrator.integrations.llama_cpp import LLAMA_CPP_CAPABILITIES
from orchestrator.integrations.openai_dialect import Dialect
from orchestrator.integrations.openai_model import OpenAICompatibleModel
from orchestrator.testing.openai_provider import OpenAIProvider
from orchestrator.testing.openai_wire import prompt_text
from orchestrator.testing.scripted import ScriptedModel
from orchestrator.testing.simulated_server import SimulatedServer
from orchestrator.testing.transport import SimulatedTransport
from orchestrator.testing.troubles import Condition
from orchestrator.testing.voices import reply_to, said

__all__ = ["OWN_TYPE", "Arm", "Pool", "Site", "draw_pool"]

OWN_TYPE: Final = "video:summary"
"""A kind of work of the user's own."""

_Kind: TypeAlias = Literal["hosted", "process", "plain"]
_CHAT: Final = ("text_generation", "chat_completion")


@dataclass(slots=True, eq=False)
class Site:
    """A place where models serve: what is up or down together.

    Attributes:
        name: The provider or the resident.
        server: Where hosted models serve; None for processes, which come and go, and plain models.
        resident: What a process is started from.
    """

    name: str
    kind: _Kind
    condition: Condition
    server: SimulatedServer | None = None
    resident: EmbeddedResident | None = None


@dataclass(slots=True, eq=False)
class Arm:
    """One model, and what is true of it whether the engine knows or not.

    Attributes:
        tokens_ratio: Tokens that it counts for each of our estimate's.
        script: The calls it got, where these do not go over the wire.
        present: When it was in the pool: from, to, in seconds of the loop.
    """

    model: Model
    site: Site
    tokens_ratio: float = 1.0
    script: ScriptedModel | None = None
    present: list[tuple[float, float]] = field(default_factory=list)

    @property
    def key(self) -> str:
        return self.model.key.text


@dataclass(slots=True)
class Pool:
    """All sites and arms of one world, by name and by key."""

    sites: dict[str, Site] = field(default_factory=dict)
    arms: dict[str, Arm] = field(default_factory=dict)

    def add(self, arm: Arm) -> None:
        self.sites[arm.site.name] = arm.site
        self.arms[arm.key] = arm


def draw_pool(
    rng: Random, transport: SimulatedTransport, condition: Callable[[_Kind], Condition]
) -> Pool:
    """Draw at least one model, mostly half a dozen.

    Args:
        rng: Draws.
        transport: Where servers serve.
        condition: Draws how a place fares.
    """
    pool = Pool()
    for provider in ("acme", "bolt", "cirrus")[: rng.choice((1, 2, 2, 3))]:
        _add_hosted(pool, rng, provider, transport, condition("hosted"))
    for resident in ("small", "tiny")[: rng.choice((0, 0, 1, 1, 2))]:
        _add_local(pool, rng, resident, condition("process"))
    for provider in ("plain", "second")[: rng.choice((0, 1, 2))]:
        _add_plain(pool, rng, provider, condition("plain"))
    if rng.random() < 0.4:
        _add_handlers(pool, rng, condition("plain"))
    return pool


# -- the kinds of arms -------------------------------------------------------------------------


def _add_hosted(
    pool: Pool, rng: Random, provider: str, transport: SimulatedTransport, condition: Condition
) -> None:
    names = rng.sample(("large", "medium", "small", "vectors"), rng.randint(1, 3))
    site = Site(provider, "hosted", condition)
    ratios = {name: rng.uniform(0.7, 1.6) for name in names}
    site.server = SimulatedServer(
        OpenAIProvider(
            lambda request: reply_to(request, ratios[request["model"]]),
            models=names,
            api_key=f"sk-{provider}-secret",
            first_token_s=rng.uniform(0.02, 1.5),
            tokens_per_s=rng.uniform(10, 300),
        ),
        faults=condition,
    )
    url = f"https://api.{provider}.test/v1"
    transport.serve(url, site.server)
    dialect = Dialect(name=provider, stream_usage=rng.random() < 0.8)
    for name in names:
        model = OpenAICompatibleModel(
            name,
            provider,
            url,
            f"sk-{provider}-secret",
            capabilities=("embeddings",) if name == "vectors" else _capabilities(rng),
            dialect=dialect,
            price=_price(rng),
            context_window=rng.choice((None, 512, 4_096, 128_000)),
            max_output_tokens=rng.choice((None, None, 64)),
            aliases=(f"{provider}-{name}-latest",) if rng.random() < 0.3 else (),
            **_common(rng),
        )
        pool.add(Arm(model, site, ratios[name]))


def _add_local(pool: Pool, rng: Random, resident: str, condition: Condition) -> None:
    slots = rng.randint(1, 6)
    spec = EmbeddedResident(
        name=resident,
        command=("engine", resident),
        env={},
        ready_timeout_s=rng.choice((5.0, 20.0)),
        slots=slots,
        context_window=4_096,
        capabilities=LLAMA_CPP_CAPABILITIES | {"embeddings"},
    )
    site = Site(resident, "process", condition, resident=spec)
    for variant in ("plain", "terse", "hot")[: rng.randint(1, 3)]:
        pool.add(Arm(EmbeddedModel(f"{resident}-{variant}", spec, **_common(rng, slots)), site))


def _add_plain(pool: Pool, rng: Random, provider: str, condition: Condition) -> None:
    for name in ("one", "two")[: rng.randint(1, 2)]:
        site = Site(f"{provider}-{name}", "plain", condition)
        model = _scripted(rng, name, provider, condition, price=_price(rng), **_common(rng))
        pool.add(Arm(model, site, script=model))


def _add_handlers(pool: Pool, rng: Random, condition: Condition) -> None:
    for kind, provider in ((ModelType.TEXT_SMALL.value, "handy"), (OWN_TYPE, "films")):
        script = _scripted(rng, provider, provider, condition)

        async def handler(
            runtime: object, params: Any, script: ScriptedModel = script
        ) -> str | dict[str, str]:
            if isinstance(params, dict):
                return {"summary": await script.generate_response(str(params["prompt"]))}
            return await script.generate_response(params.prompt or prompt_text(params.messages[-1]))

        site = Site(provider, "plain", condition)
        model = HandlerModel(kind, handler, provider, rng.randint(-2, 2), price=_price(rng))
        pool.add(Arm(model, site, script=script))


# -- what they are like ------------------------------------------------------------------------


class _Prepared(ScriptedModel):
    """A plain model that takes its time before its first call, and may fail at that."""

    def __init__(self, rng: Random, *args: Any, **facts: Any) -> None:
        super().__init__(*args, **facts)
        self._rng = rng

    async def initialize(self) -> None:
        await asyncio.sleep(self._rng.uniform(0, 2))
        if self._rng.random() < 0.3:
            raise RuntimeError("not prepared, on purpose")


def _scripted(
    rng: Random, name: str, provider: str, condition: Condition, **facts: Any
) -> ScriptedModel:
    after_s, every_s = rng.uniform(0.01, 1.0), rng.uniform(0.0, 0.05)
    kind = partial(_Prepared, Random(rng.random())) if rng.random() < 0.3 else ScriptedModel
    return kind(
        name,
        lambda prompt: condition.turn(said(name, prompt), after_s, every_s),
        provider,
        **facts,
    )


def _capabilities(rng: Random) -> Sequence[str]:
    more = ("function_calling", "json_mode", "json_schema", "vision", "code_generation")
    return (*_CHAT, *(name for name in more if rng.random() < 0.5))


def _price(rng: Random) -> Price | None:
    draw = rng.random()
    if draw < 0.1:
        return None
    if draw < 0.3:
        return Price.free()
    usd = round(exp(rng.uniform(-3, 3)), 4)
    return Price.per_million(usd, round(3 * usd, 4))


def _common(rng: Random, slots: int | None = None) -> dict[str, Any]:
    limited = rng.random() < 0.3
    return {
        "priority": rng.randint(-2, 2),
        "quality": rng.choice((None, None, 0.4, 0.8)),
        "speed": rng.choice((None, None, 20.0, 100.0)),
        "constraints": ModelConstraints(
            max_concurrent_requests=rng.randint(1, 4) if limited else slots,
            max_requests_per_minute=rng.choice((60, 240)) if rng.random() < 0.1 else None,
            max_queue=rng.randint(0, 8),
            max_wait_s=rng.uniform(0.5, 15),
        ),
    }
