"""`__all__` is a module's promise; here it is held against what the module defines."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from importlib import import_module

import pytest

from tests.house.project import ROOT, sources

MODULES = {name: path for name, path in sources().items() if path.stem != "__main__"}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_promises_exactly_its_public_names(module: str):
    path = ROOT / MODULES[module]
    promised = getattr(import_module(module), "__all__", [])

    assert sorted(promised) == sorted(
        public_names(path.read_text("utf-8"), gathers=path.stem == "__init__")
    )


@pytest.mark.parametrize("module", MODULES)
def test_every_promised_name_is_there(module: str):
    loaded = import_module(module)

    assert [name for name in getattr(loaded, "__all__", []) if not hasattr(loaded, name)] == []


SOURCE = '''
from typing import TYPE_CHECKING, Final
import numpy as np
from orchestrator.core.keys import ModelKey
if TYPE_CHECKING:
    from orchestrator.core.decisions import Decision as Choice
LIMIT: Final = 3
"""A constant, documented."""
low, high = 1, 2
_hidden = 4
class Shown:
    inner = 1
async def act():
    local = 2
try:
    def guarded(): ...
except ImportError:
    fallback = None
'''
DEFINED = {"LIMIT", "low", "high", "Shown", "act", "guarded", "fallback"}


def test_a_module_exports_what_it_defines_but_not_what_it_imports():
    assert public_names(SOURCE, gathers=False) == DEFINED


def test_a_package_also_exports_what_it_gathers_from_its_modules():
    assert public_names(SOURCE, gathers=True) == DEFINED | {"ModelKey", "Choice"}


def public_names(source: str, *, gathers: bool) -> set[str]:
    """Return the public names of a module: those it defines and, if it gathers, brings together."""
    bound = bound_names(ast.parse(source).body, gathers=gathers)
    return {name for name in bound if not name.startswith("_")}


def bound_names(statements: Iterable[ast.stmt], *, gathers: bool) -> Iterator[str]:
    for statement in statements:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield statement.name
            case ast.Assign(targets=targets):
                for target in targets:
                    yield from assigned_names(target)
            case ast.AnnAssign(target=target):
                yield from assigned_names(target)
            case ast.ImportFrom(module=str(origin), names=aliases) if gathers:
                if origin.startswith("orchestrator."):
                    yield from (alias.asname or alias.name for alias in aliases)
            case ast.If(body=body, orelse=orelse):
                yield from bound_names([*body, *orelse], gathers=gathers)
            case ast.Try(body=body, handlers=handlers, orelse=orelse):
                handled = [line for handler in handlers for line in handler.body]
                yield from bound_names([*body, *handled, *orelse], gathers=gathers)


def assigned_names(target: ast.expr) -> Iterator[str]:
    """Yield the plain names of an assignment's left side; `a.b = c` binds none."""
    match target:
        case ast.Name(id=name):
            yield name
        case ast.Tuple(elts=parts):
            for part in parts:
                yield from assigned_names(part)
