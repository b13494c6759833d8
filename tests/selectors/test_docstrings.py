from __future__ import annotations

import doctest
import pkgutil
from importlib import import_module

import pytest

from orchestrator import selectors
from orchestrator.core import regressions
from orchestrator.selectors import make_selector, selector_names

MODULES = [f"{selectors.__name__}.{m.name}" for m in pkgutil.iter_modules(selectors.__path__)]


@pytest.mark.parametrize("module", [*MODULES, regressions.__name__])
def test_every_worked_example_gives_what_it_says(module: str):
    found = doctest.testmod(import_module(module))

    assert found.failed == 0


@pytest.mark.parametrize("name", selector_names())
def test_every_policy_shows_an_example(name: str):
    module = import_module(type(make_selector(name)).__module__)

    assert any(found.examples for found in doctest.DocTestFinder().find(module))
