"""What a request demands and which models meet that, worked out from what its client said.

None of the engine's own reasoning is used: only what models declare, what clients ask, and what
the world knows. Where the answer hangs on what the engine has measured, it is None: perhaps.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.core.capabilities import capability_names
from orchestrator.core.tokens import estimate_message_tokens, estimate_tokens
from orchestrator.testing.arms import OWN_TYPE, Arm
from orchestrator.testing.trace import Story, Trace

# More than any answer in these worlds is long, and than the engine assumes of an unknown one.
_LONGEST_ANSWER = 2_000
# Where a prompt of n tokens has n over its estimate, up to 200^2 n / (200^2 + (0.3 n)^2) of them
# may be thought to come with every request, by the priors: 333 at most, at n = 667.
_MOST_ADDED = 400
_DEFAULT_PROMPT = 750


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one request demands.

    Attributes:
        candidates: By route of the chain, the keys it names and its own limit on cost.
        prompt: Tokens of the prompt, as we estimate them.
        longest: The part of it that has to fit a window, 0 if unknown.
        output: The most output tokens, None without a limit.
    """

    candidates: tuple[tuple[frozenset[str], float | None], ...]
    capabilities: frozenset[str]
    model_type: str | None
    provider: str | None
    excluded: frozenset[str]
    max_cost: float | None
    allow_unknown_cost: bool
    min_speed: float | None
    context_length: int
    prompt: int
    longest: int
    output: int | None


def demand_of(story: Story, trace: Trace, *, selecting: bool = False) -> Demand:
    """Return what a request demands; of a selection, before its request is known."""
    errand, use = story.errand, story.use
    options = errand.options
    params = {} if use is None else use.params
    capabilities = set(options.get("capabilities", ()))
    model_type = options.get("model_type")
    prompt, longest, output = _DEFAULT_PROMPT, 0, None
    if errand.kind == "use_model":
        model_type = errand.model_type
    if selecting:
        if errand.size:
            prompt = longest = errand.size["prompt_tokens"]
            output = errand.size["max_tokens"]
    elif errand.kind == "embed":
        capabilities.add("embeddings")
        lengths = [estimate_tokens(errand.prompt), estimate_tokens("and another text")]
        prompt, longest, output = sum(lengths), max(lengths), 0
    elif model_type != OWN_TYPE:
        capabilities.add("text_generation")
        tools = params.get("tools", ())
        text = errand.prompt.replace(errand.tag, story.tag, 1)
        message = {"role": "user", "content": text}
        prompt = longest = estimate_message_tokens([message], tools)
        output = params.get("max_tokens")
        if use is not None and use.streamed:
            capabilities.add("streaming")
        if tools:
            capabilities.add("function_calling")
        if form := params.get("response_format"):
            capabilities.add("json_mode" if form["type"] == "json_object" else "json_schema")
    return Demand(
        candidates=tuple(_chain(options.get("model") or options.get("route") or "auto", trace)),
        capabilities=frozenset(capabilities),
        model_type=model_type,
        provider=options.get("provider"),
        excluded=frozenset(options.get("exclude_models", ())),
        max_cost=options.get("max_cost"),
        allow_unknown_cost=options.get("allow_unknown_cost", False),
        min_speed=options.get("min_speed"),
        context_length=options.get("context_length", 0),
        prompt=prompt,
        longest=longest,
        output=output,
    )


def may_serve(arm: Arm, demand: Demand, trace: Trace, spent_usd: float = 0.0) -> bool | None:
    """Say whether a model meets a demand, its health aside; None is perhaps."""
    verdicts = [
        _may_on(arm, demand, trace, limit, spent_usd)
        for keys, limit in demand.candidates
        if arm.key in keys
    ]
    if True in verdicts:
        return True
    return None if None in verdicts else False


def cost_bounds(arm: Arm, demand: Demand) -> tuple[float, float] | None:
    """Return between what one attempt is expected to cost at most, None if nobody knows."""
    price = arm.model.spec.price
    if price is None:
        return None
    low, high = token_ratios(arm)
    least, most = (0, _LONGEST_ANSWER) if demand.output is None else (demand.output,) * 2
    return (
        low * demand.prompt * price.input_usd + least * price.output_usd,
        (added_tokens(arm) + high * demand.prompt) * price.input_usd + most * price.output_usd,
    )


def added_tokens(arm: Arm) -> float:
    """Return the most that the engine may think a model adds to a prompt, where it adds nothing.

    What earlier prompts had over their estimate may as well have been added, until there were
    several lengths of them.
    """
    if arm.site.kind == "plain":
        return 0.0
    return max(token_ratios(arm)[1] - 1.0, 0.0) * _MOST_ADDED


def token_ratios(arm: Arm) -> tuple[float, float]:
    """Return between what the engine may think a model's tokens are, per token of ours."""
    if arm.site.kind == "plain":
        return 1.0, 1.0  # it never reports any
    if arm.site.kind == "process" or "embeddings" in _capabilities(arm):
        return 0.2, 5.0
    # It starts from 1 and moves to the truth; a short prompt's tokens are rounded.
    return min(1.0, arm.tokens_ratio) * 0.93, max(1.0, arm.tokens_ratio) * 1.07


def _may_on(
    arm: Arm, demand: Demand, trace: Trace, limit: float | None, spent_usd: float
) -> bool | None:
    spec = arm.model.spec
    names = {arm.key, spec.key.name, *spec.aliases}
    plainly_not = (
        not demand.capabilities <= _capabilities(arm)
        or demand.model_type not in (None, *spec.types)
        or demand.provider not in (None, spec.key.provider)
        or bool(demand.excluded & names)
        or (demand.output or 0) > (spec.max_output_tokens or _LONGEST_ANSWER)
    )
    if plainly_not:
        return False
    needed = max(demand.context_length, demand.longest + (demand.output or 0))
    window = spec.context_window
    fits = window is None or needed <= window
    surely_fits = window is None or (
        added_tokens(arm) + needed * max(1.0, token_ratios(arm)[1]) <= window
    )
    affordable = _affordable(arm, demand, trace, limit, spent_usd)
    if not fits or affordable is False:
        return False
    fast = demand.min_speed is None or demand.min_speed < 0.01
    return True if surely_fits and affordable and fast else None


def _affordable(
    arm: Arm, demand: Demand, trace: Trace, limit: float | None, spent_usd: float
) -> bool | None:
    limits = [one for one in (demand.max_cost, limit) if one is not None]
    bounds = cost_bounds(arm, demand)
    capped = trace.settings.budget_usd is not None
    if bounds is None:
        if capped:
            return False
        # A route's limit says nothing of unknown prices, so it does not allow them.
        allowed = demand.allow_unknown_cost and limit is None
        return allowed or not limits
    least, most = bounds
    if most == 0:
        return True
    left = min(limits, default=float("inf")) - spent_usd
    if least > left + 1e-12:
        return False
    return None if capped or most > left else True


def _chain(name: str, trace: Trace) -> Iterable[tuple[frozenset[str], float | None]]:
    """Yield the keys of each route of a chain, with its own limit on cost."""
    routes = trace.engine._routes.routes
    everybody = frozenset(trace.pool.arms)
    if name not in routes:
        arms = trace.pool.arms.values()
        yield frozenset(a.key for a in arms if name in (a.key, *a.model.spec.aliases)), None
        return
    route = routes[name]
    among = everybody if route.models is None else _named(route.models, everybody)
    yield among - _named(route.exclude, everybody), route.requirements.max_cost
    for fallback in route.fallback:
        yield from _chain(fallback, trace)


def _named(patterns: Iterable[str], everybody: frozenset[str]) -> frozenset[str]:
    """Return the keys that patterns mean: keys, or ``provider:*``."""
    found: set[str] = set()
    for pattern in patterns:
        head = pattern.removesuffix("*")
        found |= {k for k in everybody if k == pattern or (head != pattern and k.startswith(head))}
    return frozenset(found)


def _capabilities(arm: Arm) -> frozenset[str]:
    return capability_names(arm.model.spec.capabilities)
