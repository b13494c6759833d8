from __future__ import annotations

import math
import random
from collections.abc import Iterable
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


def test_an_unknown_model_gets_the_estimate_as_it_is():
    estimator = TokenEstimator()
    assert estimator.calibrated("openai:new", 123) == 123
    assert estimator.error_bound("openai:new") == pytest.approx(0.6)


@given(st.floats(0.25, 4.0), st.integers(20, 2000))
def test_calibration_converges_to_the_true_ratio(ratio, length):
    estimator = TokenEstimator()
    for _ in range(math.ceil(40_000 / length)):
        estimator.observe("m", length, round(length * ratio))
    assert estimator.calibrated("m", 10_000) == pytest.approx(10_000 * ratio, rel=0.05)
    assert estimator.error_bound("m") < 0.2


@given(st.lists(st.tuples(COUNTS, COUNTS), max_size=30), st.randoms(use_true_random=False))
def test_calibration_does_not_depend_on_order_or_on_who_has_seen_what(pairs, rng):
    together, first, second = TokenEstimator(), TokenEstimator(), TokenEstimator()
    for pair in pairs:
        together.observe("m", *pair)
    shuffled = random.Random(rng.random()).sample(pairs, len(pairs))
    for position, pair in enumerate(shuffled):
        (first if position % 2 else second).observe("m", *pair)
    first.merge(second)
    assert first.calibrated("m", 54_321) == together.calibrated("m", 54_321)
    assert first.error_bound("m") == together.error_bound("m")


def test_one_short_prompt_moves_the_ratio_little():
    estimator = TokenEstimator()
    estimator.observe("m", 10, 40)
    assert estimator.calibrated("m", 1000) < 1150


def test_a_count_that_text_cannot_explain_is_limited():
    estimator, limited = TokenEstimator(), TokenEstimator()
    estimator.observe("m", 100, 1_000_000)
    limited.observe("m", 100, 500)
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
    assert estimator.calibrated(tokenizer, estimated) == pytest.approx(actual, rel=0.04)


@pytest.mark.parametrize("tokenizer", [*CURRENT, *SMALL_OR_OLD])
def test_the_error_bound_holds_for_nine_of_ten_prompts_even_in_mixed_languages(tokenizer):
    estimator = TokenEstimator()
    pairs = [(estimate_tokens(row["text"]), row["tokens"][tokenizer]) for row in COUNTED]
    for pair in pairs:
        estimator.observe(tokenizer, *pair)
    bound = estimator.error_bound(tokenizer)
    kept = [
        abs(estimator.calibrated(tokenizer, estimated) - actual) <= bound * actual
        for estimated, actual in pairs
    ]
    assert sum(kept) >= 0.9 * len(kept)


def test_the_error_bound_narrows_with_even_traffic_and_widens_with_uneven():
    even, uneven = TokenEstimator(), TokenEstimator()
    for number in range(100):
        even.observe("m", 300, 360)
        uneven.observe("m", 300, 150 if number % 2 else 600)
    assert even.error_bound("m") < 0.1
    assert uneven.error_bound("m") > 0.6
