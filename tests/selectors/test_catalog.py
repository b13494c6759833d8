from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType

import pytest

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.views import Memory
from orchestrator.selectors import (
    CostBasedSelector,
    PrioritySelector,
    UCBModelSelector,
    catalog,
    make_selector,
    selector_names,
)


def test_a_selector_is_found_by_its_name_and_takes_its_settings():
    selector = make_selector("ucb", {"exploration_factor": 1.0})

    assert isinstance(selector, UCBModelSelector)
    assert selector.exploration_factor == 1.0
    assert isinstance(make_selector("cost"), CostBasedSelector)


@pytest.mark.parametrize(
    ("name", "index"),
    [("ucb", "tuned"), ("ucb-tuned", "tuned"), ("ucb1", "ucb1"), ("kl-ucb", "kl")],
)
def test_each_index_has_a_name(name: str, index: str):
    assert make_selector(name).index == index  # type: ignore[attr-defined]


LEARNING = [
    "epsilon-greedy",
    "ucb-tuned",
    "ucb1",
    "kl-ucb",
    "thompson",
    "nig-thompson",
    "lin-ucb",
    "lin-ts",
]


@pytest.mark.parametrize("name", LEARNING)
def test_each_that_learns_has_a_form_with_a_window_and_one_that_discounts(name: str):
    whole, window, fading = (make_selector(prefix + name) for prefix in ("", "sw-", "d-"))

    assert whole.memory == Memory()
    assert window.memory == Memory(window_s=86_400)
    assert fading.memory == Memory(half_life_s=43_200)
    assert type(whole) is type(window) is type(fading)
    assert getattr(whole, "index", None) == getattr(fading, "index", None)


def test_the_memory_of_such_a_form_may_be_set():
    found = make_selector("sw-thompson", {"memory": Memory(window_s=600), "floor": 0.0})

    assert (found.memory.window_s, found.floor) == (600, 0.0)


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(ConfigurationError) as refusal:
        make_selector("luck")

    assert all(name in str(refusal.value) for name in ("'luck'", "cost", "performance", "ucb"))


def test_a_setting_that_a_selector_does_not_have_is_refused():
    with pytest.raises(ConfigurationError, match=r"'ucb'.*colour"):
        make_selector("ucb", {"colour": "red"})


def test_a_package_may_bring_a_selector(monkeypatch: pytest.MonkeyPatch):
    package = ModuleType("some_package")
    package.Dice = PrioritySelector  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "some_package", package)
    offered = EntryPoints([EntryPoint("dice", "some_package:Dice", catalog.ENTRY_POINTS)])
    monkeypatch.setattr(catalog, "entry_points", lambda group: offered.select(group=group))

    assert isinstance(make_selector("dice"), PrioritySelector)
    assert "dice" in selector_names()
