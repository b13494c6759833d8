"""Breaking the code on purpose: one piece of one function's source is replaced, for a while."""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any


@contextmanager
def mutated(where: str, old: str, new: str) -> Iterator[None]:
    """Run with one function changed.

    Args:
        where: The function, as ``package.module:Class.method``.
        old: A piece of its source that occurs exactly once, whatever the indentation.
        new: What stands there instead.
    """
    module_name, _, path = where.partition(":")
    module = import_module(module_name)
    *owners, name = path.split(".")
    owner: Any = module
    for part in owners:
        owner = getattr(owner, part)
    original = inspect.getattr_static(owner, name)
    source = textwrap.dedent(inspect.getsource(getattr(original, "fget", None) or original))
    assert source.count(old) == 1, f"{old!r} occurs {source.count(old)} times in {where}:\n{source}"
    code = compile(
        source.replace(old, new),
        f"<mutated {where}>",
        "exec",
        flags=__future__.annotations.compiler_flag,
    )
    made: dict[str, Any] = {}
    exec(code, vars(module), made)
    owners_of_it = [owner, *_importers_of(original, name)]
    for one in owners_of_it:
        setattr(one, name, made[name])
    try:
        yield
    finally:
        for one in owners_of_it:
            setattr(one, name, original)


def _importers_of(function: object, name: str) -> list[Any]:
    """Return the modules that have imported a function by its name."""
    modules = [m for n, m in sys.modules.items() if n.startswith("orchestrator.")]
    return [module for module in modules if vars(module).get(name) is function]
