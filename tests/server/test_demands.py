"""Demands in headers and bodies."""

from __future__ import annotations

from typing import Any

import pytest

from orchestrator.core.errors import InvalidRequestError
from orchestrator.server.demands import read_demands, route_of

HEADERS = {
    "Host": "localhost",
    "X-Orchestrator-Capabilities": "vision, json_mode",
    "X-Orchestrator-Max-Cost": "0.01",
    "x-orchestrator-min-speed": "20",
    "X-ORCHESTRATOR-CONTEXT-LENGTH": "8000",
    "X-Orchestrator-Exclude-Models": "gpt-4,acme:slow",
    "X-Orchestrator-Provider": "openai",
    "X-Orchestrator-Prefer": "acme",
    "X-Orchestrator-Route": "cheap",
    "X-Orchestrator-Context": '{"task": "code"}',
    "X-Orchestrator-Deadline-S": "2.5",
    "X-Orchestrator-Allow-Unknown-Cost": "True",
    "X-Orchestrator-Allow-Unknown-Speed": "false",
    "X-Orchestrator-On-Interrupt": "restart",
}
DEMANDS = {
    "capabilities": ["vision", "json_mode"],
    "max_cost": 0.01,
    "min_speed": 20.0,
    "context_length": 8000.0,
    "exclude_models": ["gpt-4", "acme:slow"],
    "provider": "openai",
    "prefer": "acme",
    "route": "cheap",
    "context": {"task": "code"},
    "deadline_s": 2.5,
    "allow_unknown_cost": True,
    "allow_unknown_speed": False,
    "on_interrupt": "restart",
}


def test_every_demand_has_a_header():
    assert read_demands(HEADERS, None) == DEMANDS


def test_every_demand_has_a_field():
    assert read_demands({"Host": "localhost"}, DEMANDS) == DEMANDS


def test_a_field_goes_before_a_header_one_by_one():
    found = read_demands(
        {"X-Orchestrator-Max-Cost": "0.01", "X-Orchestrator-Provider": "acme"},
        {"max_cost": 2, "prefer": "openai"},
    )
    assert found == {"max_cost": 2, "provider": "acme", "prefer": "openai"}


def test_a_field_that_is_null_says_nothing():
    assert read_demands({"X-Orchestrator-Max-Cost": "1"}, {"max_cost": None}) == {"max_cost": 1.0}


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Orchestrator-Maxcost", "1"),  # nobody would notice that the limit does not hold
        ("X-Orchestrator-Max-Cost", "cheap"),
        ("X-Orchestrator-Deadline-S", ""),
        ("X-Orchestrator-Allow-Unknown-Cost", "1"),
        ("X-Orchestrator-Context", "{"),
        ("X-Orchestrator-Context", "[]"),
        ("X-Orchestrator-On-Interrupt", "sometimes"),
    ],
)
def test_a_header_that_means_nothing_is_refused(header: str, value: str):
    with pytest.raises(InvalidRequestError) as caught:
        read_demands({header: value}, None)

    assert caught.value.param is not None
    assert caught.value.param.lower().removeprefix("x-orchestrator-").replace("-", "_") in str(
        caught.value
    ).lower().replace("-", "_")


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ([], "orchestrator"),
        ("auto", "orchestrator"),
        ({"max_cst": 1}, "orchestrator.max_cst"),
        ({"capabilities": "vision"}, "capabilities"),
        ({"exclude_models": {"a": 1}}, "exclude_models"),
        ({"context": "code"}, "context"),
        ({"on_interrupt": 3}, "on_interrupt"),
        ({"on_interrupt": ["error"]}, "on_interrupt"),
    ],
)
def test_a_field_that_means_nothing_is_refused(field: Any, param: str):
    with pytest.raises(InvalidRequestError) as caught:
        read_demands({}, field)

    assert caught.value.param == param


@pytest.mark.parametrize(
    ("model", "route", "taken"),
    [
        (None, None, {"model": "auto"}),
        ("auto", None, {"model": "auto"}),
        ("acme:m", None, {"model": "acme:m"}),
        (None, "cheap", {"route": "cheap"}),
        ("auto", "cheap", {"route": "cheap"}),
        ("cheap", "cheap", {"route": "cheap"}),
    ],
)
def test_the_model_or_the_route_says_where_to_go(model: Any, route: Any, taken: dict[str, str]):
    assert route_of(model, route) == taken


@pytest.mark.parametrize(
    ("model", "route", "param"),
    [("acme:m", "cheap", "model"), (3, None, "model"), ("", None, "model"), (None, [], "route")],
)
def test_two_ways_at_once_or_no_name_are_refused(model: Any, route: Any, param: str):
    with pytest.raises(InvalidRequestError) as caught:
        route_of(model, route)

    assert caught.value.param == param
