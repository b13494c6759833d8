"""From the keywords of a call to what is asked of selection."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from orchestrator.core.errors import InvalidRequestError, ModelNotFoundError
from orchestrator.core.params import EmbeddingParams, Params, TextGenerationParams
from orchestrator.core.requirements import Requirements, as_count, as_limit
from orchestrator.engine.ask import Ask
from orchestrator.engine.contexts import DEFAULT_SEGMENT, Contexts
from orchestrator.engine.options import NEEDS, split
from orchestrator.engine.trials import Trials
from orchestrator.routing.derive import Size, derived, size_of
from orchestrator.routing.routes import AUTO, Routes

__all__ = ["Asking"]

_UNKNOWN: Final = Size()
_SOMETHING: Final = "this request"
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Asking:
    """Writes the `Ask` of every request, and numbers them.

    Args:
        node: Name of this process in request ids.
        routes: What route and model names mean.
        contexts: What tells kinds of requests apart, and their features.
        deadline_s: The whole time of a request that names none.
        trials: The experiments that may stand where a route is named.
    """

    def __init__(
        self,
        node: str,
        routes: Routes,
        contexts: Contexts,
        deadline_s: float,
        trials: Trials,
    ) -> None:
        self._prefix = f"r-{node}-"
        self._routes = routes
        self._contexts = contexts
        self._deadline_s = deadline_s
        self._trials = trials
        self._count = 0

    def for_request(
        self,
        params: Params,
        routing: Mapping[str, Any],
        needs: Mapping[str, Any],
        *,
        stream: bool = False,
        what: str | None = None,
    ) -> Ask:
        """Return what a request asks: the caller's demands joined with what it implies.

        Raises:
            RequestError: A demand is wrong, or two contradict each other.
            ModelNotFoundError: There is no such route or model.
        """
        size = size_of(params)
        demanded = Requirements.of(needs).joined(derived(params, stream=stream))
        return self._ask(demanded, size, routing, what or _what(params), params)

    def for_selection(self, options: Mapping[str, Any]) -> Ask:
        """Return what a selection without a request asks; errors as `for_request`."""
        if options.keys() <= NEEDS:
            needs = Requirements.of(options)
            return self._ask(needs, _UNKNOWN, _NOTHING, needs.model_type or _SOMETHING)
        routing, demands, rest = split(options)
        prompt, output = rest.pop("prompt_tokens", None), rest.pop("max_tokens", None)
        if rest:
            raise InvalidRequestError(
                f"there is no option {next(iter(rest))!r}", param=next(iter(rest))
            )
        needs = Requirements.of(demands)
        size = _UNKNOWN
        if output is not None:
            output = as_count("max_tokens", output)
            size = Size(output=output, origin="caller: max_tokens")
        if prompt is not None:
            prompt = as_count("prompt_tokens", prompt)
            size = Size(prompt, output, prompt, "caller: prompt_tokens + max_tokens")
        return self._ask(needs, size, routing, needs.model_type or _SOMETHING)

    def narrowed(
        self, ask: Ask, params: Params, *, stream: bool = False, again: bool = False
    ) -> Ask:
        """Return the ask of a selection once its request is known.

        Args:
            ask: What the selection asked.
            params: The request.
            stream: Whether it is answered in pieces.
            again: The selection has served a request already, so this is another.
        """
        needs = ask.needs.joined(derived(params, stream=stream))
        request_id = self._next_id() if again else ask.request_id
        segment, features, text = ask.segment, ask.features, None
        if segment == DEFAULT_SEGMENT:
            segment = self._contexts.segment(None, params, needs)
            text = self._contexts.text(params)
        if features is None:
            features = self._contexts.features(_NOTHING, params)
        return ask._replace(
            request_id=request_id,
            needs=needs,
            size=size_of(params),
            segment=segment,
            what=_what(params),
            features=features,
            text=text,
        )

    def _ask(
        self,
        needs: Requirements,
        size: Size,
        routing: Mapping[str, Any],
        what: str,
        params: Params | None = None,
    ) -> Ask:
        request_id, name, context = self._next_id(), AUTO, _NOTHING
        deadline_s, trial, session = self._deadline_s, None, None
        if routing:
            name, context = _name(routing), _context(routing)
            deadline_s = self._time(routing.get("deadline_s"))
            if name in self._trials.experiments:
                trial = self._trials.assign(name, _told(context, "unit") or request_id)
                name = trial.variant
        try:
            chain = self._routes.chain(name)
        except ModelNotFoundError as error:
            error.param = _named_by(routing)
            raise
        segment, features, text = DEFAULT_SEGMENT, None, None
        if context or self._contexts.read_requests:
            task = _told(context, "task")
            segment = self._contexts.segment(task, params, needs)
            if task is None:
                text = self._contexts.text(params)
            features = self._contexts.features(context, params)
            if chain[0].affinity_s > 0:
                session = _told(context, "session")
        # NamedTuple's own constructor is a Python function, and takes three times as long.
        return tuple.__new__(
            Ask,
            (
                request_id,
                needs,
                chain,
                size,
                segment,
                what,
                deadline_s,
                features,
                session,
                trial,
                text,
            ),
        )

    def _next_id(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count:x}"

    def _time(self, deadline_s: Any) -> float:
        if deadline_s is None:
            return self._deadline_s
        seconds = as_limit("deadline_s", deadline_s)
        if not seconds:
            raise InvalidRequestError("deadline_s must be above 0", param="deadline_s")
        return seconds


def _context(routing: Mapping[str, Any]) -> Mapping[str, Any]:
    context = routing.get("context")
    if context is None:
        return _NOTHING
    if not isinstance(context, Mapping):
        raise InvalidRequestError(f"context is no mapping: {context!r}", param="context")
    return context


def _told(context: Mapping[str, Any], name: str) -> str | None:
    """Return what the context says under a name, or None if nothing."""
    said = context.get(name)
    return None if said is None or said == "" else str(said)


def _named_by(routing: Mapping[str, Any]) -> str:
    """Return which option says where to go."""
    return "model" if routing.get("model") else "route"


def _name(routing: Mapping[str, Any]) -> str:
    option = _named_by(routing)
    name = routing.get(option) or AUTO
    if not isinstance(name, str):
        raise InvalidRequestError(f"{option} is a name, not {name!r}", param=option)
    return name


def _what(params: Params) -> str:
    if isinstance(params, TextGenerationParams):
        return "text"
    if isinstance(params, EmbeddingParams):
        return "text:embedding"
    return type(params).__name__
