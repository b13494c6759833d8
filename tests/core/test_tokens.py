from __future__ import annotations

import math
import random
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.tokens import (
    IMAGE_TOKENS,
    MESSAGE_TOKENS,
    REPLY_TOKENS,
    Observed,
    TokenEstimator,
    estimate_message_tokens,
    estimate_tokens,
)

# Counted with the tokenizers themselves: SmolLM2 by llama.cpp, o200k by tiktoken, Tekken from
# mistral-common, DeepSeek and Claude (version 2) from the files that litellm ships.
COUNTED: list[dict[str, Any]] = orjson.loads(
    Path(__file__).with_name("token_counts.json").read_bytes()
)
CURRENT = ("o200k", "deepseek", "tekken")
SMALL_OR_OLD = ("smollm2", "claude")

TEXTS = st.text() | st.text(alphabet="aZ 9.,\n") | st.text(alphabet="é我한ж😀\u200d")
COUNTS = st.integers(1, 100_000)


def errors(groups: Iterable[str], tokenizers: Iterable[str]) -> list[float]:
    return [
        estimate_tokens(row["text"]) / row["tokens"][tokenizer] - 1
        for row in COUNTED
        if row["group"] in groups
        for tokenizer in tokenizers
    ]


def root_mean_square(values: list[float]) -> float:
    return math.sqrt(sum(value * value for value in values) / len(values))


# -- the estimate ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "typical", "most"),
    [
        (["English"], 0.07, 0.11),
        (["English", "code and data"], 0.18, 0.45),
        (["other languages", "emoji"], 0.20, 0.62),
    ],
)
def test_the_estimate_is_as_near_to_current_tokenizers_as_it_says(groups, typical, most):
    off = errors(groups, CURRENT)
    assert root_mean_square(off) <= typical
    assert max(map(abs, off)) <= most


def test_no_tokenizer_measured_takes_more_than_about_three_times_the_estimate():
    off = errors({row["group"] for row in COUNTED}, SMALL_OR_OLD)
    assert min(off) >= 1 / 3.1 - 1


def test_nothing_is_no_token_and_something_is_at_least_one():
    assert estimate_tokens("") == 0
    assert estimate_tokens(" ") == 1
    assert estimate_tokens("\ud800") >= 1


@given(TEXTS, TEXTS)
def test_joining_texts_adds_their_estimates_but_for_rounding(one, other):
    joined = estimate_tokens(one + other)
    parts = estimate_tokens(one), estimate_tokens(other)
    assert joined >= max(parts)
    assert sum(parts) - 1 <= joined <= sum(parts)


@pytest.mark.parametrize("unit", ["word ", "é", "ж", "我", "😀", "\x00", "\x7f", "\U0010ffff"])
def test_a_long_text_is_summed_without_overflow(unit):
    hundred = estimate_tokens(unit * 100)
    assert estimate_tokens(unit * 100_000) == hundred * 1000


# -- messages ----------------------------------------------------------------------------------


def test_a_chat_is_its_texts_and_what_frames_them():
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}]},
        {"role": "assistant", "content": None},
    ]
    assert estimate_message_tokens(messages) == (
        REPLY_TOKENS
        + 3 * MESSAGE_TOKENS
        + estimate_tokens("Be brief.")
        + estimate_tokens("What is this?")
    )


def test_an_image_counts_the_same_however_long_its_data():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    alone = estimate_message_tokens([{"role": "user", "content": [image]}])
    assert alone == REPLY_TOKENS + MESSAGE_TOKENS + IMAGE_TOKENS


def test_tools_and_tool_calls_count_as_their_json():
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    plain = [{"role": "assistant", "content": ""}]
    calling = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    as_json = [estimate_tokens(orjson.dumps(each).decode()) for each in (tool, [call])]
    framed = estimate_message_tokens(plain)
    assert estimate_message_tokens(plain, [tool]) == framed + as_json[0]
    assert estimate_message_tokens(calling) == framed + as_json[1]


# -- calibration -------------------------------------------------------------------------------


SHORT, LONG = st.integers(5, 60), st.integers(800, 8000)
ADDED, SLOPE = st.floats(0, 600), st.floats(0.4, 3.5)


def tokens_of(length: int, added: float, slope: float) -> int:
    return max(1, round(added + slope * length))


def test_an_unknown_model_gets_the_estimate_as_it_is():
    assert TokenEstimator().calibrated("openai:new", 123) == 123


@given(
    ADDED,
    SLOPE,
    st.lists(SHORT, min_size=20, max_size=60),
    st.lists(LONG, min_size=20, max_size=60),
    st.integers(5, 8000),
    st.randoms(use_true_random=False),
)
def test_what_a_model_adds_and_its_slope_are_told_apart(added, slope, short, long, asked, rng):
    """Of a length never seen, within 15 % and 15 tokens, where counts are off by up to 10 %."""
    estimator = TokenEstimator()
    for length in rng.sample(short + long, len(short) + len(long)):
        noise = 1 + 0.1 * rng.uniform(-1, 1)
        estimator.observe("m", length, tokens_of(length, noise * added, noise * slope))
    truth = tokens_of(asked, added, slope)
    assert abs(estimator.calibrated("m", asked) - truth) <= 0.15 * truth + 15


@given(ADDED, st.lists(SHORT, min_size=1, max_size=20), st.integers(0, 12), LONG)
def test_any_number_of_short_prompts_says_little_of_a_long_one(added, short, doublings, asked):
    """Within a tenth of what is added and the estimate as it is: nobody can know more."""
    estimator = TokenEstimator()
    for length in short:
        estimator.observe("m", length, tokens_of(length, added, 1.0))
    for _ in range(doublings):
        estimator.merge(deepcopy(estimator))
    assert estimator.calibrated("m", asked) == pytest.approx(added + asked, rel=0.1)


@given(
    ADDED,
    SLOPE,
    st.tuples(SHORT, st.integers(0, 14)),
    st.tuples(LONG, st.integers(4, 14)),
)
def test_a_few_prompts_of_a_length_are_enough_whatever_came_before(added, slope, short, long):
    """Sixteen long ones correct the slope after 16,000 short ones, and the other way round."""
    estimator = TokenEstimator()
    for length, doublings in (short, long):
        seen = TokenEstimator()
        seen.observe("m", length, tokens_of(length, added, slope))
        for _ in range(doublings):
            seen.merge(deepcopy(seen))
        estimator.merge(seen)
    length = long[0]
    assert estimator.calibrated("m", length) == pytest.approx(
        tokens_of(length, added, slope), rel=0.1
    )


@pytest.mark.parametrize("length", [8, 2000, 1_000_000])
def test_a_thousand_million_prompts_of_one_length_are_counted_as_they_were(length):
    observed = Observed()
    observed.add(length, 3 * length + 20)
    for _ in range(30):
        observed.merge(replace(observed))
    added, slope = observed.line
    assert added + slope * length == pytest.approx(3 * length + 20, rel=0.01)


@given(st.lists(st.tuples(COUNTS, COUNTS), max_size=30), st.randoms(use_true_random=False))
def test_calibration_does_not_depend_on_order_or_on_who_has_seen_what(pairs, rng):
    together, first, second = TokenEstimator(), TokenEstimator(), TokenEstimator()
    for pair in pairs:
        together.observe("m", *pair)
    shuffled = random.Random(rng.random()).sample(pairs, len(pairs))
    for position, pair in enumerate(shuffled):
        (first if position % 2 else second).observe("m", *pair)
    list(first.lines())
    first.merge(second)
    assert list(first.lines()) == list(together.lines())


@given(st.lists(st.tuples(COUNTS, COUNTS), max_size=30))
def test_neither_leaves_its_limits_whatever_providers_count(pairs):
    observed = Observed()
    for pair in pairs:
        observed.add(*pair)
    added, slope = observed.line
    assert 0 <= added <= 1000
    assert 0.2 <= slope <= 5


def test_one_short_prompt_says_little_of_a_long_one():
    estimator = TokenEstimator()
    estimator.observe("m", 10, 40)
    assert estimator.calibrated("m", 10) == 40
    assert estimator.calibrated("m", 1000) < 1050


def test_a_count_that_text_cannot_explain_is_limited():
    estimator, limited = TokenEstimator(), TokenEstimator()
    estimator.observe("m", 100, 1_000_000)
    limited.observe("m", 100, 1500)
    assert estimator.calibrated("m", 1000) == limited.calibrated("m", 1000)


@pytest.mark.parametrize(("estimated", "actual"), [(0, 5), (5, 0)])
def test_a_missing_count_teaches_nothing(estimated, actual):
    estimator = TokenEstimator()
    estimator.observe("m", estimated, actual)
    assert estimator.calibrated("m", 100) == 100


@pytest.mark.parametrize("tokenizer", [*CURRENT, *SMALL_OR_OLD])
def test_calibration_removes_the_bias_of_a_vocabulary(tokenizer):
    estimator = TokenEstimator()
    for row in COUNTED:
        estimator.observe(tokenizer, estimate_tokens(row["text"]), row["tokens"][tokenizer])
    estimated = sum(estimate_tokens(row["text"]) for row in COUNTED)
    actual = sum(row["tokens"][tokenizer] for row in COUNTED)
    found = estimator.calibrated(tokenizer, estimated, prompts=len(COUNTED))
    assert found == pytest.approx(actual, rel=0.04)
