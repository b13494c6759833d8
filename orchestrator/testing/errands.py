"""What the clients of the simulated world want, drawn from a seed before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal, TypeAlias

from orchestrator.core.model_types import ModelType
from orchestrator.core.prices import Price
from orchestrator.engine.streaming import OnInterrupt
from orchestrator.testing.arms import OWN_TYPE, Pool

__all__ = ["Errand", "ErrandKind", "Rating", "Use", "draw_errands"]

ErrandKind: TypeAlias = Literal["generate", "stream", "embed", "use_model", "select", "explain"]

_KINDS: Final[dict[ErrandKind, float]] = {
    "generate": 34,
    "stream": 30,
    "select": 16,
    "use_model": 9,
    "embed": 8,
    "explain": 3,
}
_WORDS: Final = ("river", "lantern", "quietly", "seven", "orbit", "because", "maple", "under")
_TOOL: Final = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look something up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
    },
}
_SCHEMA: Final = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "schema": {"type": "object", "properties": {"word": {"type": "string"}}},
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A quality that a client gives, some time after its answer; any number, wrong ones too."""

    after_s: float
    quality: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How an answer is asked for and read.

    Attributes:
        params: Fields of `TextGenerationParams` beside the prompt.
        streamed: In pieces or whole.
        entered: Whether a stream of a selection is entered; else it is forgotten.
        leave_after: Chunks after which a reader leaves, None for none.
        read_every_s: Seconds a reader takes for each chunk.
    """

    params: dict[str, Any] = field(default_factory=dict)
    streamed: bool = False
    entered: bool = True
    on_interrupt: OnInterrupt = "error"
    leave_after: int | None = None
    read_every_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """One client's business.

    Attributes:
        tag: Names it in its prompt, so that a provider's call can be traced back to it.
        at_s: When it comes.
        prompt: What it asks, its tag included.
        options: Requirements and routing.
        model_type: Of `use_model`.
        size: Of a selection made before its request is known.
        pause_s: Seconds between a selection and its use.
        uses: How often a selection is used; the first is that of every other kind.
        releases: Whether a selection that is not used is given back, or forgotten.
        cancelled_after_s: When the client is cancelled, in seconds from `at_s`; perhaps twice.
        ratings: Of its answer.
    """

    tag: str
    at_s: float
    kind: ErrandKind
    prompt: str
    options: dict[str, Any]
    uses: tuple[Use, ...] = (Use(),)
    model_type: str | None = None
    size: dict[str, Any] = field(default_factory=dict)
    pause_s: float = 0.0
    releases: bool = False
    cancelled_after_s: tuple[float, ...] = ()
    ratings: tuple[Rating, ...] = ()


def draw_errands(
    rng: Random, pool: Pool, routes: Sequence[str], n_errands: int, duration_s: float
) -> list[Errand]:
    """Draw the whole day's work, in the order in which it comes."""
    times: list[float] = []
    while len(times) < n_errands:
        at_s = rng.uniform(0, duration_s)
        burst = rng.randint(2, 16) if rng.random() < 0.1 else 1
        times += [at_s] * burst
    return [
        _errand(rng, pool, routes, str(number), at_s)
        for number, at_s in enumerate(sorted(times[:n_errands]))
    ]


def _errand(rng: Random, pool: Pool, routes: Sequence[str], tag: str, at_s: float) -> Errand:
    kind = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
    n_words = rng.choice((3, 8, 8, 20, 20, 60, 600))
    prompt = " ".join((f"#{tag}#", *rng.choices(_WORDS, k=n_words)))
    options = _requirements(rng, pool) | _routing(rng, pool, routes)
    model_type = None
    if kind == "use_model":
        model_type = rng.choice((ModelType.TEXT_SMALL.value, ModelType.TEXT_LARGE.value, OWN_TYPE))
        for name in ("capabilities", "model_type", "context_length"):
            options.pop(name, None)
    elif kind == "embed":
        options.pop("capabilities", None)
        options.pop("model_type", None)
    uses = _uses(rng, kind)
    if any(use.on_interrupt != "error" and use.streamed for use in uses) and rng.random() < 0.5:
        options["max_cost"] = _limit_usd(rng, pool)
    return Errand(
        tag=tag,
        at_s=at_s,
        kind=kind,
        prompt=prompt,
        options=options,
        uses=uses,
        model_type=model_type,
        size={"prompt_tokens": 2 * n_words, "max_tokens": 40} if rng.random() < 0.5 else {},
        pause_s=rng.choice((0.0, 0.0, rng.uniform(0, 20), 70.0)),
        releases=rng.random() < 0.5,
        cancelled_after_s=_cancellations(rng),
        ratings=_ratings(rng),
    )


def _uses(rng: Random, kind: ErrandKind) -> tuple[Use, ...]:
    if kind == "stream":
        return (_use(rng, streamed=True),)
    if kind == "select":
        count = rng.choice((0, 1, 1, 1, 2))
        return tuple(_use(rng, streamed=rng.random() < 0.4) for _ in range(count))
    return (_use(rng, streamed=False),)


def _use(rng: Random, *, streamed: bool) -> Use:
    params: dict[str, Any] = {}
    if rng.random() < 0.7:
        params["max_tokens"] = rng.choice((1, 5, 20, 60))
    if rng.random() < 0.06:
        params["tools"] = [_TOOL]
    elif rng.random() < 0.06:
        params["response_format"] = rng.choice(({"type": "json_object"}, _SCHEMA))
    return Use(
        params=params,
        streamed=streamed,
        entered=rng.random() < 0.9,
        on_interrupt=rng.choice(("error", "restart", "continue")),
        leave_after=rng.randint(0, 6) if rng.random() < 0.15 else None,
        read_every_s=rng.uniform(0.01, 1.0) if rng.random() < 0.1 else 0.0,
    )


def _requirements(rng: Random, pool: Pool) -> dict[str, Any]:
    keys = list(pool.arms)
    options: dict[str, Any] = {}
    if rng.random() < 0.12:
        options["capabilities"] = {rng.choice(("chat_completion", "function_calling", "vision"))}
    if rng.random() < 0.08:
        options["model_type"] = rng.choice((ModelType.TEXT_SMALL, ModelType.TEXT_LARGE)).value
    if rng.random() < 0.2:
        options["max_cost"] = _limit_usd(rng, pool)
        if rng.random() < 0.3:
            options["allow_unknown_cost"] = True
    if rng.random() < 0.06:
        options["min_speed"] = rng.choice((1e-3, 30.0))
    if rng.random() < 0.05:
        options["context_length"] = rng.choice((100, 2_000, 100_000))
    if rng.random() < 0.15:
        excluded = rng.sample(keys, min(len(keys), rng.randint(1, 2)))
        options["exclude_models"] = [
            key if rng.random() < 0.7 else key.partition(":")[2] for key in excluded
        ]
    if rng.random() < 0.06:
        options["provider"] = rng.choice(keys).partition(":")[0]
    if rng.random() < 0.08:
        options["prefer"] = rng.choice(keys).partition(":")[0]
    return options


def _limit_usd(rng: Random, pool: Pool) -> float:
    """Return about what some model takes for a request: enough for one attempt, hardly for two."""
    prices = [arm.model.spec.price for arm in pool.arms.values()]
    price = rng.choice([price for price in prices if price is not None] or [Price.free()])
    return rng.uniform(0.3, 4.0) * (50 * price.input_usd + 40 * price.output_usd)


def _routing(rng: Random, pool: Pool, routes: Sequence[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    draw = rng.random()
    if draw < 0.07:
        arm = rng.choice(list(pool.arms.values()))
        options["model"] = rng.choice((arm.key, *arm.model.spec.aliases))
    elif draw < 0.32:
        options["route"] = rng.choice(routes)
    if rng.random() < 0.5:
        options["deadline_s"] = rng.choice((0.3, 2.0, 8.0, 20.0, 40.0, 90.0))
    if rng.random() < 0.3:
        options["context"] = {"task": rng.choice(("code", "mail", "maths"))}
    return options


def _cancellations(rng: Random) -> tuple[float, ...]:
    if rng.random() > 0.12:
        return ()
    first_s = rng.choice((0.0, rng.uniform(0, 1), rng.uniform(0, 10)))
    return (first_s, first_s + rng.choice((0.0, 0.2))) if rng.random() < 0.3 else (first_s,)


def _ratings(rng: Random) -> tuple[Rating, ...]:
    if rng.random() > 0.4:
        return ()
    first = Rating(after_s=rng.choice((0.0, 5.0, 90.0)), quality=round(rng.random(), 3))
    again = rng.random()
    if again < 0.15:
        return first, first
    if again < 0.3:
        return first, Rating(after_s=first.after_s + 1, quality=round(rng.random(), 3))
    if again < 0.4:
        return first, Rating(after_s=first.after_s, quality=rng.choice((-0.1, 1.5, float("nan"))))
    return (first,)
