from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.decisions import Refusal, RefusalCode
from orchestrator.core.model import Model, ModelSpec
from orchestrator.core.prices import Price
from orchestrator.core.requirements import ANYTHING, Requirements
from orchestrator.routing.availability import Outage
from orchestrator.routing.eligibility import Counting, Eligibility, Measured, Screening
from orchestrator.routing.refusals import Refusals, refusal_table
from orchestrator.routing.registry import ModelRegistry
from tests.routing.pools import FEW_CAPABILITIES, PROVIDERS, TYPES, model, models

NAN = math.nan

needs_ = st.fixed_dictionaries(
    {},
    optional={
        "capabilities": st.lists(st.sampled_from(FEW_CAPABILITIES), max_size=2),
        "model_type": st.sampled_from([*TYPES, "nobody:does"]),
        "max_cost": st.sampled_from([0.0, 0.001, 0.05]),
        "min_speed": st.sampled_from([0.0, 20.0]),
        "context_length": st.sampled_from([0, 50, 5000]),
        "max_tokens": st.sampled_from([0, 100, 5000]),
        "exclude_models": st.lists(st.sampled_from(["a", "openai:b", "nothing"]), max_size=2),
        "provider": st.sampled_from([*PROVIDERS, "nobody"]),
        "allow_unknown_cost": st.booleans(),
        "allow_unknown_speed": st.booleans(),
    },
).map(Requirements.of)


class Case:
    """A pool, a request, and what is measured of them."""

    def __init__(self, declared: list[Model], draw: Any) -> None:
        n = len(declared)
        self.registry = ModelRegistry(declared)
        self.pool = self.registry.pool
        self.eligibility = Eligibility(self.pool, self.registry)
        self.added = draw(st.lists(st.sampled_from([0.0, 23.0]), min_size=n, max_size=n))
        self.slope = draw(st.lists(st.sampled_from([0.5, 1.0, 1.5]), min_size=n, max_size=n))
        self.needs: Requirements = draw(needs_)
        keys = [m.key.text for m in declared]
        self.candidates: tuple[str, ...] | None = draw(
            st.none() | st.lists(st.sampled_from([*keys, "gone:m"])).map(tuple)
        )
        costs = st.sampled_from([NAN, 0.0, 0.0005, 0.002, 0.04])
        speeds = st.sampled_from([NAN, 5.0, 20.0, 60.0])
        self.measured = Measured(
            np.array(draw(st.lists(costs, min_size=n, max_size=n))),
            np.array(draw(st.lists(speeds, min_size=n, max_size=n))),
            Counting(np.array(self.added), np.array(self.slope)),
            spent_usd=draw(st.sampled_from([0.0, 0.0008])),
            budget_usd=draw(st.sampled_from([None, 0.0, 0.001, 1.0])),
            prompt=draw(st.sampled_from([0, 20, 80])),
            output=draw(st.sampled_from([0, 60])),
            budget_limit_usd=1.0,
            budget_renews_s=60.0,
        )

    def needed(self, arm: int) -> int:
        """The tokens that a model needs its window for, as it counts them."""
        prompt = self.measured.prompt
        if prompt:
            prompt = max(prompt, math.ceil(self.added[arm] + self.slope[arm] * prompt))
        return max(self.needs.context_length, prompt + self.measured.output)

    def screen(self) -> Screening:
        return self.eligibility.screen(self.needs, self.candidates, self.measured)

    def mask(self) -> list[bool]:
        return self.screen().eligible.tolist()  # type: ignore[no-any-return]

    def refusals(self, **more: Any) -> Refusals:
        return Refusals(self.screen(), more.pop("outages", {}), **more)


def may_serve(case: Case, arm: int, spec: ModelSpec) -> bool:
    """The letter of every requirement, model by model."""
    needs, measured = case.needs, case.measured
    cost, speed = measured.cost_usd[arm], measured.speed[arm]
    excluded = {key for name in needs.exclude_models for key in case.registry.matches(name)}
    demands = [
        needs.capabilities & spec.capabilities == needs.capabilities,
        needs.model_type is None or needs.model_type in spec.types,
        needs.provider in (None, spec.key.provider),
        spec.key.text not in excluded,
        case.candidates is None or spec.key.text in case.candidates,
        case.needed(arm) <= (spec.context_window or math.inf),
        max(needs.max_tokens, measured.output) <= (spec.max_output_tokens or math.inf),
        needs.min_speed is None
        or (needs.allow_unknown_speed if math.isnan(speed) else speed >= needs.min_speed),
    ]
    if needs.max_cost is not None:
        unknown = math.isnan(cost)
        demands.append(
            needs.allow_unknown_cost if unknown else cost <= needs.max_cost - measured.spent_usd
        )
    if measured.budget_usd is not None:
        demands.append(not math.isnan(cost) and cost <= measured.budget_usd)
    return all(demands)


@given(models(), st.data())
def test_the_mask_is_what_every_requirement_says_model_by_model(declared: list[Model], data: Any):
    case = Case(declared, data.draw)

    expected = [may_serve(case, arm, m.spec) for arm, m in enumerate(declared)]

    assert case.mask() == expected
    assert case.mask() == expected, "from the cache too"


@given(models(), st.data())
def test_a_model_is_either_eligible_or_has_one_reason_why_not(declared: list[Model], data: Any):
    case = Case(declared, data.draw)
    mask = np.array(case.mask(), dtype=np.bool_)
    keys = [m.key.text for m in declared]
    down = data.draw(st.sets(st.sampled_from(keys))) if keys else set()
    tried = data.draw(st.sets(st.sampled_from(keys))) if keys else set()
    usable = np.array([key not in down | tried for key in keys], dtype=np.bool_)
    outages = {key: Outage(RefusalCode.UNHEALTHY, "it has failed", 10.0) for key in down}

    refused = case.refusals(outages=outages, tried=tried, eligible=mask & usable)

    assert set(refused) == {key for key, ok in zip(keys, mask & usable, strict=True) if not ok}
    assert all(r.code in RefusalCode and len(r.reason) > 5 for r in refused.values())
    assert all(
        refused[key].code in ("tried", "unhealthy")
        for key, meets in zip(keys, mask, strict=True)
        if meets and key in refused
    )


@given(models(), st.data())
def test_a_sentence_never_contradicts_its_code(declared: list[Model], data: Any):
    case = Case(declared, data.draw)
    mask = np.array(case.mask(), dtype=np.bool_)

    for key, refusal in case.refusals(eligible=mask).items():
        spec = case.registry.get_model(key).spec
        arm = case.pool.index[key]
        cost = case.measured.cost_usd[arm]
        said: dict[str, bool] = {
            "excluded": key
            in {k for name in case.needs.exclude_models for k in case.registry.matches(name)},
            "not_candidate": key not in (case.candidates or ()),
            "other_provider": case.needs.provider != spec.key.provider,
            "model_type": case.needs.model_type not in spec.types,
            "capability": bool(case.needs.capabilities & ~spec.capabilities),
            "context_length": case.needed(arm) > (spec.context_window or math.inf),
            "max_tokens": spec.max_output_tokens is not None,
            "max_cost": case.needs.max_cost is not None and not math.isnan(cost),
            "unknown_cost": math.isnan(cost),
            "min_speed": case.needs.min_speed is not None
            and not math.isnan(case.measured.speed[arm]),
            "unknown_speed": math.isnan(case.measured.speed[arm]),
            "budget": case.measured.budget_usd is not None and not math.isnan(cost),
        }
        assert said[refusal.code]


# -- one by one --------------------------------------------------------------------------------


def refusal_of(model: Model, needs: Any = ANYTHING, **measured: Any) -> Refusal | None:
    registry = ModelRegistry([model])
    eligibility = Eligibility(registry.pool, registry)
    of = Measured(
        np.array([measured.pop("cost_usd", 0.0)]),
        np.array([measured.pop("speed", NAN)]),
        **measured,
    )
    mask = eligibility.screen(needs, None, of).eligible
    return Refusals(eligibility.screen(needs, None, of), {}, eligible=mask).get(model.key.text)


@pytest.mark.parametrize(
    ("needs", "facts", "sentence"),
    [
        ({"exclude_models": ["m"]}, {}, "the request excludes it"),
        ({"provider": "b"}, {}, "b is asked for, not a"),
        ({"model_type": "text:embedding"}, {}, "it does not serve text:embedding"),
        ({"capabilities": ["vision", "audio"]}, {}, "it lacks audio, vision"),
        (
            {"context_length": 9000},
            {"context_window": 8192},
            "its window holds 8192 tokens, 9000 are needed",
        ),
        (
            {"max_tokens": 5000},
            {"max_output_tokens": 4096},
            "it answers with at most 4096 tokens, not 5000",
        ),
    ],
)
def test_each_refusal_reads_as_a_sentence(needs: Any, facts: Any, sentence: str):
    refusal = refusal_of(model("a:m", **facts), Requirements.of(needs))

    assert str(refusal) == sentence


@pytest.mark.parametrize(
    ("needs", "measured", "code", "sentence"),
    [
        ({"max_cost": 0.01}, {"cost_usd": 0.02}, "max_cost", "it may cost 0.020000 USD, 0.010000"),
        (
            {"max_cost": 0.01},
            {"cost_usd": 0.005, "spent_usd": 0.02},
            "max_cost",
            "it may cost 0.005000 USD, 0.000000 are allowed",
        ),
        ({"max_cost": 0.01}, {"cost_usd": NAN}, "unknown_cost", "its price is not known"),
        (
            {"min_speed": 20, "allow_unknown_speed": False},
            {"speed": NAN},
            "unknown_speed",
            "its speed is not known",
        ),
        ({"min_speed": 20}, {"speed": 9.5}, "min_speed", "it gives 9.5 tokens/s, 20 are needed"),
        (
            {},
            {"prompt": 7000, "output": 20, "counting": Counting(np.array([23.0]), np.array([1.5]))},
            "context_length",
            "its window holds 8192 tokens, 10543 are needed",
        ),
        ({}, {"cost_usd": NAN, "budget_usd": 1.0}, "unknown_cost", "its price is not known"),
        ({}, {"cost_usd": 0.5, "budget_usd": 0.25}, "budget", "it may cost 0.500000 USD, 0.250000"),
    ],
)
def test_what_was_measured_is_told(needs: Any, measured: Any, code: str, sentence: str):
    declared = model("a:m", context_window=8192)
    refusal = refusal_of(declared, Requirements.of(needs), **measured)

    assert refusal is not None
    assert refusal.code == code
    assert str(refusal).startswith(sentence)


def test_a_spent_budget_says_how_long_to_wait_unless_waiting_will_not_help():
    budget: dict[str, float] = {
        "budget_usd": 0.25,
        "budget_limit_usd": 1.0,
        "budget_renews_s": 3600.0,
    }
    soon = refusal_of(model("a:m"), cost_usd=0.5, **budget)
    never = refusal_of(model("a:m"), cost_usd=1.5, **budget)

    assert soon is not None
    assert never is not None
    assert (soon.retry_after_s, never.retry_after_s) == (3600.0, None)
    assert str(soon) == "it may cost 0.500000 USD, 0.250000 of the day's budget are left"
    assert str(never) == "it may cost 1.500000 USD, the day's whole budget is 1.000000"


def test_a_price_of_nothing_passes_every_limit_and_an_unknown_one_only_if_allowed():
    free, unknown = model("a:free", price=Price.free()), model("a:unknown")

    assert refusal_of(free, Requirements.of({"max_cost": 0}), cost_usd=0.0) is None
    assert refusal_of(unknown, Requirements.of({"max_cost": 0}), cost_usd=NAN) is not None
    allowed = Requirements.of({"max_cost": 0, "allow_unknown_cost": True})
    assert refusal_of(unknown, allowed, cost_usd=NAN) is None


def test_an_unmeasured_speed_is_given_the_benefit_of_the_doubt():
    assert refusal_of(model("a:m"), Requirements.of({"min_speed": 20}), speed=NAN) is None


def test_a_preference_and_a_retry_pass_others_over():
    registry = ModelRegistry([model("a:m"), model("b:m")])
    eligibility = Eligibility(registry.pool, registry)
    measured = Measured(np.zeros(2), np.zeros(2))
    only_b = np.array([False, True])

    for needs, sentence in (
        (Requirements.of({"prefer": "b"}), "b is preferred"),
        (ANYTHING, "another was to be tried again"),
    ):
        refused = Refusals(eligibility.screen(needs, None, measured), {}, eligible=only_b)
        assert dict(refused) == {"a:m": Refusal(RefusalCode.PASSED_OVER, sentence)}


def test_an_outage_says_how_long_it_lasts():
    registry = ModelRegistry([model("a:m")])
    eligibility = Eligibility(registry.pool, registry)
    measured = Measured(np.zeros(1), np.zeros(1))
    outages = {"a:m": Outage(RefusalCode.COOLING, "429 from its endpoint", 130.0)}

    refused = Refusals(eligibility.screen(ANYTHING, None, measured), outages, 100.0)

    assert refused["a:m"] == Refusal(RefusalCode.COOLING, "429 from its endpoint", 30.0)


def test_what_never_changes_is_said_before_what_passes():
    registry = ModelRegistry([model("a:m")])
    eligibility = Eligibility(registry.pool, registry)
    measured = Measured(np.zeros(1), np.zeros(1))
    outages = {"a:m": Outage(RefusalCode.COOLING, "it rests", 130.0)}
    needs = Requirements.of({"capabilities": ["vision"]})

    refused = Refusals(eligibility.screen(needs, None, measured), outages, tried={"a:m"})

    assert refused["a:m"].code is RefusalCode.CAPABILITY


def test_two_routes_with_the_same_demands_have_masks_of_their_own():
    registry = ModelRegistry([model("a:m"), model("b:m")])
    eligibility = Eligibility(registry.pool, registry)
    measured = Measured(np.zeros(2), np.zeros(2))

    masks = [
        eligibility.screen(ANYTHING, named, measured).eligible.tolist()
        for named in (("a:m",), ("b:m",), None, ("a:m",), ())
    ]

    assert masks == [[1, 0], [0, 1], [1, 1], [1, 0], [0, 0]]


@given(models(), st.data())
def test_refusals_are_counted_as_they_are_told(declared: list[Model], data: Any):
    case = Case(declared, data.draw)
    keys = [m.key.text for m in declared]
    some = st.lists(st.sampled_from(keys), unique=True) if keys else st.just([])
    codes = st.sampled_from([RefusalCode.COOLING, RefusalCode.UNHEALTHY])
    outages = {key: Outage(data.draw(codes), "it rests", None) for key in data.draw(some)}
    able = np.array(case.mask(), dtype=np.bool_)
    facts = {
        "outages": outages,
        "tried": data.draw(some),
        "eligible": data.draw(st.none() | st.just(able)),
    }

    counts = case.refusals(**facts).counts()

    assert counts == Counter(refusal.code for refusal in case.refusals(**facts).values())


# -- looked at later ---------------------------------------------------------------------------


def test_refusals_stay_as_they_were_whatever_changes_before_they_are_read():
    registry = ModelRegistry([model("a:m", context_window=100), model("b:m"), model("c:n")])
    eligibility = Eligibility(registry.pool, registry)
    measured = Measured(np.zeros(3), np.zeros(3), Counting(np.zeros(3), np.full(3, 2.0)), prompt=60)
    needs = Requirements.of({"exclude_models": ["b:m"]})
    tried = {"c:n": 1.0}
    refused = Refusals(eligibility.screen(needs, None, measured), {}, tried=tried)

    registry.unregister_model("b:m")
    tried.clear()

    assert {key: refusal.code for key, refusal in refused.items()} == {
        "a:m": "context_length",
        "b:m": "excluded",
        "c:n": "tried",
    }


# -- ten thousand ------------------------------------------------------------------------------


def test_the_refusals_of_ten_thousand_models_are_counted_by_reason():
    registry = ModelRegistry(
        model(f"a:m{n}", context_window=100 if n < 7000 else None) for n in range(10_000)
    )
    eligibility = Eligibility(registry.pool, registry)
    measured = Measured(np.zeros(10_000), np.zeros(10_000), prompt=5000)
    named = tuple(registry.pool.keys[:9_999])
    mask = eligibility.screen(ANYTHING, named, measured).eligible

    refused = Refusals(eligibility.screen(ANYTHING, named, measured), {}, eligible=mask)

    assert mask.sum() == 2999
    assert refusal_table(refused) == "  7,000 models: context_length\n  1 model: not_candidate"


def test_the_refusals_of_a_few_are_a_line_each():
    table = refusal_table(
        {
            "a:m": Refusal(RefusalCode.EXCLUDED, "the request excludes it"),
            "long:name": Refusal(RefusalCode.CAPABILITY, "it lacks vision"),
        }
    )

    assert table == "  a:m        the request excludes it\n  long:name  it lacks vision"


def test_no_model_at_all_is_said_so():
    assert refusal_table({}) == "no model is registered"
