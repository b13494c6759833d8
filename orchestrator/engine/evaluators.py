"""Who says how good an answer is where nobody else does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeAlias

import orjson

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.model import Answer
from orchestrator.core.params import Params, TextGenerationParams
from orchestrator.core.results import TextAnswer
from orchestrator.engine.json_schema import check_schema, matches
from orchestrator.engine.judge import JudgeModel

__all__ = ["Contains", "Evaluator", "MatchesSchema", "ValidJson", "make_evaluator"]

Evaluator: TypeAlias = Callable[[Params, Answer], Awaitable[float | None]]
"""From a request's parameters and its answer to a quality in [0, 1]; None: cannot say.

Any async function will do. It may also have

- ``sample``: the share of answers it is asked about, 1 if it has none;
- ``bind(orchestrator, clock)``: called once, with the engine that it judges for.

What it raises becomes an `EvaluationFailed`. Requests that it makes itself are not evaluated.
"""

_NO_JSON: Final = object()


class ValidJson:
    """1 for an answer that is JSON and nothing else, 0 for any other text."""

    name: ClassVar[str] = "valid-json"

    async def __call__(self, params: Params, answer: Answer) -> float | None:
        """Judge a text; None for tool calls and whatever is no text."""
        text = _text(answer)
        return None if text is None else float(_parsed(text) is not _NO_JSON)


class MatchesSchema:
    """1 for an answer that is JSON and keeps to a schema, 0 for any other text.

    Args:
        schema: See `orchestrator.engine.json_schema` for what is checked; None: the one that the
            request demands in ``response_format``, and no judgement of requests that demand none.

    Raises:
        InvalidRequestError: The schema says something that cannot be checked.
    """

    name: ClassVar[str] = "matches-schema"

    def __init__(self, schema: dict[str, Any] | None = None) -> None:
        if schema is not None:
            check_schema(schema)
        self._schema = schema

    async def __call__(self, params: Params, answer: Answer) -> float | None:
        """Judge a text; None for tool calls and whatever is no text.

        Raises:
            InvalidRequestError: The request's schema says something that cannot be checked.
        """
        text, schema = _text(answer), self._schema
        if schema is None:
            schema = _demanded(params)
            check_schema(True if schema is None else schema)
        if text is None or schema is None:
            return None
        value = _parsed(text)
        return float(value is not _NO_JSON and matches(value, schema))


class Contains:
    """1 for an answer that contains all of some texts, 0 for any other text.

    Args:
        texts: What to look for, at least one.
        ignore_case: Whether capitals and small letters are the same.
    """

    name: ClassVar[str] = "contains"

    def __init__(self, *texts: str, ignore_case: bool = False) -> None:
        if not texts or "" in texts:
            raise ConfigurationError(f"contains looks for one or more texts, not {texts!r}")
        self._ignore_case = ignore_case
        self._texts = [self._folded(text) for text in texts]

    async def __call__(self, params: Params, answer: Answer) -> float | None:
        """Judge a text; None for tool calls and whatever is no text."""
        found = _text(answer)
        if found is None:
            return None
        found = self._folded(found)
        return float(all(text in found for text in self._texts))

    def _folded(self, text: str) -> str:
        return text.casefold() if self._ignore_case else text


def make_evaluator(wanted: Evaluator | str | Mapping[str, Any]) -> Evaluator:
    """Return an evaluator, built by its name if it is said so.

    Args:
        wanted: An evaluator; the name of one of ours, such as ``valid-json``; or a mapping of
            ``name`` and its arguments, as configuration has them.

    Raises:
        ConfigurationError: There is none of this name, or it does not take these arguments.
        InvalidRequestError: A schema says something that cannot be checked.
    """
    if callable(wanted):
        return wanted
    options = {"name": wanted} if isinstance(wanted, str) else dict(wanted)
    name = options.pop("name", None)
    build = _OURS.get(name)
    if build is None:
        raise ConfigurationError(
            f"there is no evaluator {name!r}", hint=f"known: {', '.join(_OURS)}"
        )
    try:
        return build(**options)
    except TypeError as error:
        raise ConfigurationError(f"evaluator {name!r}: {error}") from error


def _contains(texts: Sequence[str], **options: Any) -> Contains:
    return Contains(*texts, **options)


_OURS: Final[Mapping[Any, Callable[..., Evaluator]]] = {
    ValidJson.name: ValidJson,
    MatchesSchema.name: MatchesSchema,
    Contains.name: _contains,
    JudgeModel.name: JudgeModel,
}


def _text(answer: Answer) -> str | None:
    """Return the text of an answer, or None if it is something else, such as tool calls."""
    if not isinstance(answer, TextAnswer) or answer.tool_calls:
        return None
    return answer.text


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return _NO_JSON


def _demanded(params: Params) -> Any:
    """Return the schema that a request wants its answer to keep to, or None."""
    if not isinstance(params, TextGenerationParams) or params.response_format is None:
        return None
    return params.response_format.get("json_schema", {}).get("schema")
