"""How hard a task looks, and which size of model that calls for."""

from __future__ import annotations

import re
from math import exp
from numbers import Real
from typing import Final, Literal, NamedTuple, TypeAlias

from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.model_types import ModelType
from orchestrator.core.params import TextGenerationParams
from orchestrator.core.tokens import estimate_tokens

__all__ = ["TextType", "TieredTask", "analyze_complexity", "select_model_for_task"]

TextType: TypeAlias = Literal[ModelType.TEXT_SMALL, ModelType.TEXT_MEDIUM, ModelType.TEXT_LARGE]

_MEDIUM_FROM: Final = 0.3
_LARGE_FROM: Final = 0.7

# Points below are judgement, set so that the tasks of `tests/routing/test_complexity.py` fall where
# people put them. 0.36 points make a task medium, 1.2 large.
_POINTS_PER_TOKEN: Final = 1 / 500
_MOST_FOR_LENGTH: Final = 0.8
"""Length alone never makes a task large: a long text to be summarised is still summarised."""
_POINTS_PER_DEMAND: Final = 0.3
_POINTS_PER_CONDITION: Final = 0.12
_POINTS_PER_PART: Final = 0.06
_POINTS_FOR_NOTATION: Final = 0.2

_DEMANDS: Final = re.compile(
    r"\b(?:algorithm|analy[sz]|architect|argue|assess|compar|contrast|critiq|debug|deriv|design"
    r"|diagnos|evaluat|explain|formal|hypothes|implement|implication|infer|investigat|justif"
    r"|optimi[sz]|plan(?:s|ning)?\b|predict|prov(?:e|ing)\b|proof|propos|reason|recommend|refactor"
    r"|root cause|simulat|step[- ]by[- ]step|strateg|synthesi[sz]|theor|trade-?off|why)",
    re.IGNORECASE,
)
_CONDITIONS: Final = re.compile(
    r"\b(?:at (?:least|most)|constraint|each|except|given that|if|must|never|only|provided that"
    r"|unless|while|without)\b",
    re.IGNORECASE,
)
_PARTS: Final = re.compile(r"[.!?;](?=\s|$)|^[ \t]*(?:[-*•]|\d+[.)])\s", re.MULTILINE)
_NOTATION: Final = re.compile(
    r"```|[∑∫∀∃√≤≥∂]|\\(?:frac|sum|int)\b|\bSELECT \w|\b(?:def|class) \w+[(:]"
)


class TieredTask(NamedTuple):
    """A task for a size of model: ``await orchestrator.use_model(*select_model_for_task(task))``.

    Attributes:
        model_type: The kind of work.
        params: The request.
    """

    model_type: TextType
    params: TextGenerationParams


def analyze_complexity(task: str) -> float:
    """Return how hard a task looks, in [0, 1]; more of a task never looks easier.

    Counted are its length in tokens, the different things it demands (such as a comparison, a
    proof, a plan), the different conditions it sets, its sentences and list items, and whether it
    holds code or formulas. Demands and conditions are known in English; in other languages the rest
    decides. A rule of thumb for a pool that has learned nothing yet: where answers are rated, let a
    selector learn who is good at what.

    Raises:
        InvalidRequestError: The task is no text.
    """
    _check(task)
    points = min(estimate_tokens(task) * _POINTS_PER_TOKEN, _MOST_FOR_LENGTH)
    points += _POINTS_PER_DEMAND * _different(_DEMANDS, task)
    points += _POINTS_PER_CONDITION * _different(_CONDITIONS, task)
    points += _POINTS_PER_PART * len(_PARTS.findall(task))
    points += _POINTS_FOR_NOTATION * bool(_NOTATION.search(task))
    return 1.0 - exp(-points)


def select_model_for_task(task: str, complexity: float | None = None) -> TieredTask:
    """Return which size of text model a task calls for, and the request to send to it.

    Below a complexity of 0.3 that is a small one at temperature 0.3, below 0.7 a medium one at 0.5,
    else a large one at 0.7 with at most 2,000 tokens of output.

    Args:
        task: The prompt.
        complexity: How hard it is, in [0, 1]; None judges by `analyze_complexity`.

    Raises:
        InvalidRequestError: The task is no text, or the complexity no number in [0, 1].
    """
    _check(task)
    if complexity is None:
        complexity = analyze_complexity(task)
    elif not (isinstance(complexity, Real) and 0 <= complexity <= 1):
        raise InvalidRequestError(
            f"complexity lies in [0, 1], not {complexity!r}", param="complexity"
        )
    if complexity < _MEDIUM_FROM:
        params = TextGenerationParams(prompt=task, temperature=0.3)
        return TieredTask(ModelType.TEXT_SMALL, params)
    if complexity < _LARGE_FROM:
        params = TextGenerationParams(prompt=task, temperature=0.5)
        return TieredTask(ModelType.TEXT_MEDIUM, params)
    params = TextGenerationParams(prompt=task, temperature=0.7, max_tokens=2000)
    return TieredTask(ModelType.TEXT_LARGE, params)


def _check(task: object) -> None:
    if not isinstance(task, str):
        raise InvalidRequestError(f"a task is text, not {task!r}", param="task")


def _different(pattern: re.Pattern[str], task: str) -> int:
    return len({found.lower() for found in pattern.findall(task)})
