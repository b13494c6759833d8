from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.model_types import ModelType
from orchestrator.routing.complexity import analyze_complexity, select_model_for_task

SIMPLE = (
    "Hi",
    "What is the capital of France?",
    "Translate 'good morning' into Spanish.",
    "Fix the spelling: recieve",
    "Name a planet that was planted with plants.",
    "Which class of train goes to Rome?",
)
MIDDLING = (
    "Explain how photosynthesis works to a ten-year-old. Use one everyday example.",
    "Compare lists and tuples in Python. When would you use each?",
    "Summarise this report in five bullet points. Each must name a figure:\n"
    + "Revenue in the north rose while costs stood still. " * 8,
    "Implement a function that reverses a linked list:\n```python\nclass Node: ...\n```",
)
HARD = (
    "Design a distributed rate limiter for an API in several regions. Analyse the trade-offs "
    "between consistency and latency, justify the choice of algorithm, and propose a plan to "
    "migrate without downtime.",
    "Prove that the sum of the first n odd numbers is n squared, by induction and then by a "
    "picture. Explain why each step holds, and derive the formula for even numbers: "
    "∑ 2k ≤ n(n+1).",
    "Diagnose the root cause from the log below, evaluate three fixes, compare their risks, and "
    "recommend one. It must run without a restart, and at most 5 % of requests may fail.\n"
    "```\nERROR timeout\n```",
)
GROWING = (
    "Sort a list.",
    "Sort a list in Python without the standard library.",
    "Sort a list in Python without the standard library. Explain the algorithm.",
    "Sort a list in Python without the standard library. Explain the algorithm, and compare it "
    "with two others.",
    "Sort a list in Python without the standard library. Explain the algorithm, and compare it "
    "with two others. Prove that it is correct, and analyse its cost in the worst case.",
)
TIERS = (ModelType.TEXT_SMALL, ModelType.TEXT_MEDIUM, ModelType.TEXT_LARGE)


@pytest.mark.parametrize(
    ("task", "tier"),
    [(task, t) for t, tasks in zip(TIERS, (SIMPLE, MIDDLING, HARD), strict=True) for task in tasks],
)
def test_a_task_gets_the_size_that_people_would_give_it(task: str, tier: ModelType):
    assert select_model_for_task(task).model_type is tier


def test_a_task_that_asks_for_more_each_time_looks_harder_each_time():
    found = [analyze_complexity(task) for task in GROWING]

    assert found == sorted(set(found))


@given(st.text(), st.text())
def test_more_of_a_task_never_looks_easier(task: str, more: str):
    assert 0 <= analyze_complexity(task) <= analyze_complexity(f"{task}\n{more}") <= 1


@given(st.integers(1, 400))
def test_length_alone_makes_no_task_a_large_one(n: int):
    assert select_model_for_task("and so on " * n).model_type is not ModelType.TEXT_LARGE


@pytest.mark.parametrize(
    ("complexity", "tier", "temperature", "max_tokens"),
    [
        (0.0, ModelType.TEXT_SMALL, 0.3, None),
        (0.299, ModelType.TEXT_SMALL, 0.3, None),
        (0.3, ModelType.TEXT_MEDIUM, 0.5, None),
        (0.699, ModelType.TEXT_MEDIUM, 0.5, None),
        (0.7, ModelType.TEXT_LARGE, 0.7, 2000),
        (1.0, ModelType.TEXT_LARGE, 0.7, 2000),
    ],
)
def test_a_size_has_its_temperature_and_its_bounds_go_up(
    complexity: float, tier: ModelType, temperature: float, max_tokens: int | None
):
    model_type, params = select_model_for_task("a task", complexity)

    assert model_type is tier
    assert (params.prompt, params.temperature, params.max_tokens) == (
        "a task",
        temperature,
        max_tokens,
    )


@pytest.mark.parametrize("complexity", [-0.1, 1.1, float("nan"), "x", "0.5"])
def test_a_complexity_outside_its_range_is_refused(complexity: Any):
    with pytest.raises(InvalidRequestError, match="complexity") as refusal:
        select_model_for_task("a task", complexity)

    assert refusal.value.param == "complexity"


@pytest.mark.parametrize("complexity", [np.float32(0.5), 1])
def test_a_complexity_may_be_any_real_number(complexity: Any):
    assert select_model_for_task("a task", complexity).model_type in TIERS[1:]


@pytest.mark.parametrize("task", [None, 3, b"a task"])
@pytest.mark.parametrize(
    "judge", [analyze_complexity, select_model_for_task, lambda t: select_model_for_task(t, 0.5)]
)
def test_a_task_that_is_no_text_is_refused(judge: Any, task: Any):
    with pytest.raises(InvalidRequestError, match="a task is text, not") as refusal:
        judge(task)

    assert refusal.value.param == "task"
