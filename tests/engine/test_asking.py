from __future__ import annotations

from typing import Any

import pytest

from orchestrator.core.capabilities import capability_names
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.params import EmbeddingParams, OwnParams, TextGenerationParams
from orchestrator.core.statistics import MAX_SEGMENTS, OTHER_SEGMENT, Statistics
from orchestrator.engine.asking import Asking
from orchestrator.engine.contexts import DEFAULT_SEGMENT, Contexts
from orchestrator.engine.options import split
from orchestrator.engine.recorder import Recorder
from orchestrator.engine.trials import Trials
from orchestrator.routing.derive import Size, size_of
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.routes import Routes
from orchestrator.routing.text_features import word_features
from orchestrator.selectors import LinUCBSelector
from tests.routing.pools import model

HELLO = TextGenerationParams(prompt="hello", max_tokens=50)


def asking(contexts: Contexts | None = None) -> Asking:
    registry = ModelRegistry([model("a:x")])
    trials = Trials("n", (), Recorder("n"), lambda kind, **facts: None)
    return Asking("n", Routes(registry), contexts or Contexts(Statistics("n")), 120.0, trials)


def test_keywords_go_to_whom_they_concern():
    routing, needs, params = split(
        {"model": "a:x", "deadline_s": 5, "max_cost": 1, "provider": "a", "temperature": 0.5}
    )

    assert routing == {"model": "a:x", "deadline_s": 5}
    assert needs == {"max_cost": 1, "provider": "a"}
    assert params == {"temperature": 0.5}


def test_what_the_caller_demands_is_joined_with_what_the_request_implies():
    ask = asking().for_request(
        HELLO, {}, {"capabilities": ["vision"], "max_cost": 1.0}, stream=True
    )

    assert capability_names(ask.needs.capabilities) == {"vision", "text_generation", "streaming"}
    assert ask.needs.origins == (
        ("vision", "caller"),
        ("max_cost", "caller"),
        ("text_generation", "request: text"),
        ("streaming", "request: stream"),
    )
    assert ask.size == size_of(HELLO)


def test_requests_are_numbered():
    ask = asking()

    ids = [ask.for_request(HELLO, {}, {}).request_id for _ in range(3)]

    assert ids == ["r-n-1", "r-n-2", "r-n-3"]


@pytest.mark.parametrize(
    ("routing", "name"),
    [({}, "auto"), ({"model": "x"}, "x"), ({"model": "a:x"}, "a:x"), ({"route": "x"}, "x")],
)
def test_a_model_or_a_route_may_be_named(routing: Any, name: str):
    assert [r.name for r in asking().for_request(HELLO, routing, {}).chain] == [name]


def test_the_time_is_the_callers_or_the_engines():
    assert asking().for_request(HELLO, {}, {}).deadline_s == 120.0
    assert asking().for_request(HELLO, {"deadline_s": 5}, {}).deadline_s == 5.0


@pytest.mark.parametrize(
    ("context", "segment"),
    [
        (None, DEFAULT_SEGMENT),
        ({"task": ""}, DEFAULT_SEGMENT),
        ({"task": "code"}, "code"),
        ({"task": 0}, "0"),
    ],
)
def test_the_context_names_the_kind_of_request(context: Any, segment: str):
    assert asking().for_request(HELLO, {"context": context}, {}).segment == segment


def test_kinds_of_requests_past_the_limit_share_one():
    ask = asking()
    for n in range(MAX_SEGMENTS):
        ask.for_request(HELLO, {"context": {"task": n}}, {})

    assert ask.for_request(HELLO, {"context": {"task": "new"}}, {}).segment == OTHER_SEGMENT
    assert ask.for_request(HELLO, {"context": {"task": 5}}, {}).segment == "5"


@pytest.mark.parametrize(
    ("params", "what"),
    [
        (HELLO, "text"),
        (EmbeddingParams(input="x"), "text:embedding"),
        (OwnParams(value=1), "OwnParams"),
    ],
)
def test_what_is_asked_for_is_told_in_messages(params: Any, what: str):
    assert asking().for_request(params, {}, {}).what == what
    assert asking().for_request(params, {}, {}, what="video").what == "video"


def test_a_selection_may_say_how_large_its_request_will_be():
    known = asking().for_selection({"prompt_tokens": 100, "max_tokens": 50})
    unknown = asking().for_selection({})

    assert (known.size.prompt, known.size.output, known.size.window) == (100, 50, 150)
    assert unknown.size == Size(origin=unknown.size.origin)
    assert unknown.size.window == 0


def test_a_selection_whose_request_is_known_demands_both():
    ask = asking()
    selected = ask.for_selection({"max_cost": 1.0, "context": {"task": "code"}, "deadline_s": 9})

    narrowed = ask.narrowed(selected, HELLO, stream=True)

    assert narrowed.needs.max_cost == 1.0
    assert capability_names(narrowed.needs.capabilities) == {"text_generation", "streaming"}
    assert (narrowed.size, narrowed.segment) == (size_of(HELLO), "code")
    assert (narrowed.deadline_s, narrowed.what) == (9.0, "text")
    assert narrowed.request_id == selected.request_id
    assert ask.narrowed(selected, HELLO, again=True).request_id == "r-n-2"


def test_a_selection_whose_request_is_known_has_the_features_of_its_text_or_its_own():
    contexts = Contexts(Statistics("n"))
    contexts.read_by([LinUCBSelector(2)])
    ask = asking(contexts)
    own = ask.for_selection({"context": {"features": [3.0, 4.0]}})
    none = ask.for_selection({})

    found, kept = ask.narrowed(none, HELLO).features, ask.narrowed(own, HELLO).features

    assert none.features is None
    assert found is not None
    assert (found == word_features("hello", 2)).all()
    assert kept is not None
    assert kept.tolist() == [3.0, 4.0]


def test_an_option_that_nobody_knows_is_refused():
    with pytest.raises(InvalidRequestError, match="colour"):
        asking().for_selection({"colour": "red"})
