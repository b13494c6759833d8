from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.core.capabilities import CAPABILITIES, capability_mask
from orchestrator.core.errors import InvalidRequestError, UnknownCapabilityError
from orchestrator.core.model_types import ModelType
from orchestrator.core.requirements import ANYTHING, Requirements, as_count, as_limit

numbers = st.floats(0, 100, allow_subnormal=False) | st.integers(0, 100)
providers = st.sampled_from(["openai", "anthropic"])
capabilities = st.lists(st.sampled_from(CAPABILITIES[:5]), max_size=3)

options = st.fixed_dictionaries(
    {},
    optional={
        "capabilities": capabilities,
        "model_type": st.sampled_from(["text:large", "text:small"]),
        "max_cost": numbers,
        "min_speed": numbers,
        "context_length": st.integers(0, 100),
        "max_tokens": st.integers(0, 100),
        "exclude_models": st.lists(st.sampled_from(["a", "b", "c"]), max_size=3),
        "provider": providers,
        "prefer": providers,
        "allow_unknown_cost": st.booleans(),
        "allow_unknown_speed": st.booleans(),
    },
)
requirements = options.map(Requirements.of)


class Facts(NamedTuple):
    """A model as far as requirements look at it; None is unknown."""

    name: str
    provider: str
    model_type: str
    capabilities: int
    window: int
    max_output: int
    cost_usd: float | None
    speed: float | None


models = st.builds(
    Facts,
    st.sampled_from(["a", "b", "c", "d"]),
    providers,
    st.sampled_from(["text:large", "text:small"]),
    capabilities.map(capability_mask),
    st.integers(0, 100),
    st.integers(0, 100),
    st.none() | numbers,
    st.none() | numbers,
)


def meets(model: Facts, needs: Requirements) -> bool:
    """What every requirement means, one by one."""
    if needs.max_cost is not None:
        if model.cost_usd is None:
            if not needs.allow_unknown_cost:
                return False
        elif model.cost_usd > needs.max_cost:
            return False
    if needs.min_speed is not None:
        if model.speed is None:
            if not needs.allow_unknown_speed:
                return False
        elif model.speed < needs.min_speed:
            return False
    return (
        model.capabilities & needs.capabilities == needs.capabilities
        and needs.model_type in (None, model.model_type)
        and model.window >= needs.context_length
        and model.max_output >= needs.max_tokens
        and model.name not in needs.exclude_models
        and needs.provider in (None, model.provider)
    )


def join(a: Requirements, b: Requirements) -> Requirements:
    """Join what does not contradict itself."""
    for name in ("provider", "model_type"):
        assume(None in (getattr(a, name), getattr(b, name)) or getattr(a, name) == getattr(b, name))
    return a.joined(b)


def values(needs: Requirements) -> Requirements:
    """The demands alone: in no order, and without the wish."""
    return replace(
        needs, exclude_models=tuple(sorted(needs.exclude_models)), prefer=None, origins=()
    )


# -- joining -----------------------------------------------------------------------------------


@given(models, requirements, requirements)
def test_who_meets_both_demands_meets_each_and_the_other_way_round(
    model: Facts, a: Requirements, b: Requirements
):
    assert meets(model, join(a, b)) == (meets(model, a) and meets(model, b))


@given(requirements, requirements)
def test_the_order_of_joining_does_not_matter(a: Requirements, b: Requirements):
    assert values(join(a, b)) == values(join(b, a))


@given(requirements, requirements, requirements)
def test_nor_does_who_is_joined_first(a: Requirements, b: Requirements, c: Requirements):
    assert values(join(join(a, b), c)) == values(join(a, join(b, c)))


@given(requirements)
def test_joining_with_oneself_or_with_nothing_changes_nothing(a: Requirements):
    assert a.joined(replace(a)) == a.joined(a) == a
    assert a.joined(ANYTHING) == ANYTHING.joined(a) == a
    assert values(a.joined(replace(ANYTHING))) == values(a)


@pytest.mark.parametrize("name", ["provider", "model_type"])
def test_demands_that_contradict_each_other_are_refused_by_name(name: str):
    one, other = Requirements.of({name: "x"}), Requirements.of({name: "y"})

    with pytest.raises(InvalidRequestError, match="'x' and 'y'") as refusal:
        one.joined(other)

    assert refusal.value.param == name


def test_of_two_preferences_the_first_stands():
    one, other = Requirements.of({"prefer": "openai"}), Requirements.of({"prefer": "anthropic"})

    assert one.joined(other).prefer == "openai"


def test_a_route_with_a_limit_is_not_loosened_by_a_caller_without_one():
    caller = Requirements.of({"allow_unknown_cost": True})
    route = Requirements.of({"max_cost": 1.0})

    assert not caller.joined(route).allow_unknown_cost


def test_an_unknown_speed_is_allowed_unless_whoever_limits_it_says_no():
    fast, strict = {"min_speed": 20}, {"min_speed": 5, "allow_unknown_speed": False}
    said = {"allow_unknown_speed": False}

    assert Requirements.of(fast).allow_unknown_speed
    assert not Requirements.of(strict).joined(Requirements.of(fast)).allow_unknown_speed
    assert not Requirements.of(said).joined(Requirements.of({"provider": "p"})).allow_unknown_speed
    assert Requirements.of(strict).describe() == strict
    assert ("allow_unknown_speed", "caller") in Requirements.of(strict).origins
    assert Requirements.of({**fast, "allow_unknown_speed": True}) == Requirements.of(fast)


def test_every_demand_says_where_it_came_from():
    caller = Requirements.of({"max_cost": 1, "capabilities": ["vision", "audio"]})
    request = Requirements.of({"capabilities": ["vision"]}, "request: image part")

    assert caller.joined(request).origins == (
        ("max_cost", "caller"),
        ("audio", "caller"),
        ("vision", "caller"),
        ("vision", "request: image part"),
    )


# -- reading -----------------------------------------------------------------------------------


def test_no_keywords_demand_nothing():
    assert Requirements.of({}) is ANYTHING
    assert Requirements.of({"max_cost": None, "exclude_models": [], "prefer": None}) == ANYTHING


def test_a_provider_is_understood_under_its_other_names():
    assert Requirements.of({"provider": "claude", "prefer": "claude"}) == Requirements(
        provider="anthropic",
        prefer="anthropic",
        origins=(("provider", "caller"), ("prefer", "caller")),
    )


def test_a_model_type_is_its_text():
    assert Requirements.of({"model_type": ModelType.TEXT_LARGE}).model_type == "text:large"


@given(options)
def test_reading_the_same_again_gives_the_same(keywords: dict[str, Any]):
    assert Requirements.of(keywords) == Requirements.of(dict(keywords))


def test_what_looks_alike_to_a_dictionary_is_read_apart():
    assert Requirements.of({"max_cost": 1}).max_cost == 1.0
    with pytest.raises(InvalidRequestError):
        Requirements.of({"max_cost": True})
    assert Requirements.of({"allow_unknown_cost": True}).allow_unknown_cost
    with pytest.raises(InvalidRequestError):
        Requirements.of({"allow_unknown_cost": 1})


NOT_NUMBERS = [True, False, "5", [5], math.nan, math.inf, -math.inf, -1, -1e-9, 10**400]
NOT_LISTS = ["vision", 5, True, False, [5], [None], [["vision"]]]
BAD = [
    *[("max_cost", value) for value in NOT_NUMBERS],
    *[("min_speed", value) for value in NOT_NUMBERS],
    *[("context_length", value) for value in [*NOT_NUMBERS, 0.5]],
    *[("max_tokens", value) for value in [*NOT_NUMBERS, 0.5]],
    *[("capabilities", value) for value in NOT_LISTS],
    *[("exclude_models", value) for value in NOT_LISTS],
    *[(name, value) for name in ("model_type", "provider", "prefer") for value in ("", 5, False)],
    *[("allow_unknown_cost", value) for value in (0, 1, "yes")],
    *[("allow_unknown_speed", value) for value in (0, 1, "yes")],
    ("colour", "red"),
    ("colour", None),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_bad_value_is_refused_by_name(name: str, value: Any):
    with pytest.raises(InvalidRequestError, match=name) as refusal:
        Requirements.of({name: value})

    assert refusal.value.param == name


def test_an_unknown_capability_is_refused():
    with pytest.raises(UnknownCapabilityError, match="'vision'"):
        Requirements.of({"capabilities": ["vison"]})


def test_a_whole_number_may_be_written_as_a_float():
    assert as_count("context_length", 8000.0) == 8000
    assert as_limit("max_cost", 0) == 0.0


# -- telling -----------------------------------------------------------------------------------


def test_what_is_demanded_is_told_and_nothing_else():
    needs = Requirements.of({"capabilities": {"vision"}, "max_cost": 0, "exclude_models": ["a"]})

    assert needs.describe() == {
        "capabilities": ["vision"],
        "max_cost": 0.0,
        "exclude_models": ("a",),
    }


@given(requirements)
def test_a_demand_that_can_refuse_somebody_is_told(needs: Requirements):
    told = needs.describe()

    assert {name for name in told if getattr(needs, name) == getattr(ANYTHING, name)} == set()
    assert needs == replace(
        needs, **{n: getattr(ANYTHING, n) for n in ANYTHING.__slots__ if n not in (*told, *INNER)}
    )


INNER = ("origins", "shape")
