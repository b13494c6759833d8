from __future__ import annotations

from typing import Any

import pytest

from orchestrator.core.errors import ConfigurationError, ModelNotFoundError
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.routes import AUTO, Route, Routes
from tests.routing.pools import model

KEYS = ("openai:gpt-4", "openai:mini", "anthropic:opus", "local:opus")


def routes(*more: Route) -> Routes:
    registry = ModelRegistry(
        [model(key, aliases=["best"] if key == "openai:gpt-4" else ()) for key in KEYS]
    )
    found = Routes(registry)
    found.add(more)
    return found


def chain(routes: Routes, name: str) -> list[tuple[str, Any]]:
    return [(route.name, routes.candidates(route)) for route in routes.chain(name)]


def test_auto_is_there_from_the_start_and_takes_every_model():
    assert chain(routes(), AUTO) == [("auto", None)]


def test_a_route_may_name_keys_bare_names_aliases_and_patterns():
    found = routes(
        Route(name="r", models=("best", "openai:*", "opus"), exclude=("anthropic:*",)),
        Route(name="rest", exclude=("opus",)),
        Route(name="nobody", models=("nothing",)),
    )

    assert chain(found, "r") == [("r", ("openai:gpt-4", "openai:mini", "local:opus"))]
    assert chain(found, "rest") == [("rest", ("openai:gpt-4", "openai:mini"))]
    assert chain(found, "nobody") == [("nobody", ())]


@pytest.mark.parametrize("name", ["openai:gpt-4", "gpt-4", "best"])
def test_a_model_stands_wherever_a_route_may(name: str):
    assert chain(routes(), name) == [(name, ("openai:gpt-4",))]


def test_a_route_goes_before_a_model_of_the_same_name():
    assert chain(routes(Route(name="gpt-4")), "gpt-4") == [("gpt-4", None)]


@pytest.mark.parametrize("name", ["nothing", "opus"])
def test_neither_a_route_nor_a_single_model_is_refused_with_the_routes_there_are(name: str):
    with pytest.raises(ModelNotFoundError, match="routes: auto, fast"):
        routes(Route(name="fast")).chain(name)


def test_what_a_route_falls_back_to_comes_after_it_in_order():
    found = routes(
        Route(name="a", models=("openai:*",), fallback=("b", "local:opus")),
        Route(name="b", models=("mini",), fallback=("best",)),
    )

    assert [name for name, _ in chain(found, "a")] == ["a", "b", "best", "local:opus"]


def test_a_fallback_that_has_left_the_pool_serves_nobody_and_spoils_nothing():
    found = routes(Route(name="a", models=("opus",), fallback=("best", "mini")))

    found.registry.unregister_model("best")

    assert chain(found, "a") == [
        ("a", ("anthropic:opus", "local:opus")),
        ("best", ()),
        ("mini", ("openai:mini",)),
    ]


def test_candidates_follow_the_pool():
    found = routes(Route(name="r", models=("openai:*",)))
    before = chain(found, "r")

    found.registry.register_model(model("openai:new"))

    assert chain(found, "r") == [("r", (*before[0][1], "openai:new"))]


def test_a_route_of_a_known_name_takes_its_place_at_once():
    found = routes(Route(name="r", models=("openai:*",)))
    assert chain(found, "r")
    version = found.version

    found.add([Route(name="r", models=("mini",))])

    assert chain(found, "r") == [("r", ("openai:mini",))]
    assert found.version > version


@pytest.mark.parametrize(
    "circle",
    [
        [Route(name="a", fallback=("a",))],
        [Route(name="a", fallback=("b",)), Route(name="b", fallback=("a",))],
        [Route(name="auto", fallback=("b",)), Route(name="b", fallback=("best", "auto"))],
    ],
)
def test_fallbacks_that_go_in_a_circle_are_refused_and_nothing_is_added(circle: list[Route]):
    found = routes()
    before = dict(found.routes)

    with pytest.raises(ConfigurationError, match="->"):
        found.add([Route(name="fine"), *circle])

    assert found.routes == before


def test_a_route_may_be_reached_twice_without_being_a_circle():
    found = routes(
        Route(name="a", fallback=("b", "c")),
        Route(name="b", fallback=("c",)),
        Route(name="c", models=("mini",)),
    )

    assert [name for name, _ in chain(found, "a")] == ["a", "b", "c", "c"]
