"""Importing the library is quick and quiet: nothing optional, nothing slow, no network."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.house.project import CORE_REQUIREMENTS, EXTRAS, ROOT, modules_of, sources

SLOW = {"aiohttp", "httptools", "scipy", "pydantic_settings"}
"""Core dependencies that load on first use, since they cost more than all the rest."""

REFUSING_SOCKETS = """
import sys

def refuse(event, arguments):
    if event.startswith("socket."):
        raise AssertionError(f"the import asked for the network: {event}{arguments}")

sys.addaudithook(refuse)
"""


def test_importing_the_library_loads_nothing_optional_and_nothing_slow():
    optional = modules_of(line for extra in EXTRAS.values() for line in extra) - {"orchestrator"}
    assert optional >= {"diskcache", "openai", "typer", "xllamacpp"}, "the extras are not installed"

    loaded = python("import orchestrator, json, sys; print(json.dumps(list(sys.modules)))")

    assert (optional | SLOW) & set(json.loads(loaded)) == set()


def test_importing_the_library_opens_no_socket():
    python(f"{REFUSING_SOCKETS}\nimport orchestrator")


@pytest.mark.parametrize(
    "statement",
    ["import socket; socket.socket()", "import socket; socket.getaddrinfo('localhost', 1)"],
)
def test_the_watch_over_sockets_notices(statement: str):
    with pytest.raises(subprocess.CalledProcessError) as failure:
        python(f"{REFUSING_SOCKETS}\n{statement}")

    assert "the import asked for the network" in failure.value.stderr


def test_every_library_that_is_imported_is_declared():
    runtime = [line for name, extra in EXTRAS.items() if name != "dev" for line in extra]
    # Part of what pydantic and aiohttp themselves hand out, and never without them.
    theirs = {"pydantic_core", "multidict"}
    declared = modules_of([*CORE_REQUIREMENTS, *runtime])
    known = declared | theirs | sys.stdlib_module_names | {"orchestrator"}

    imported = {
        (name, module)
        for name, path in sources().items()
        for module in imported_modules(ast.parse((ROOT / path).read_text("utf-8")))
    }

    assert [(name, module) for name, module in sorted(imported) if module not in known] == []


def test_imports_inside_functions_count_and_those_for_type_checkers_do_not():
    source = """
import os.path
if TYPE_CHECKING:
    import seen_by_mypy_only
def late():
    from scipy.special import digamma
"""

    assert set(imported_modules(ast.parse(source))) == {"os", "scipy"}


def imported_modules(node: ast.AST) -> Iterator[str]:
    """Yield the top-level name of each module that this code imports when it runs."""
    match node:
        case ast.Import(names=aliases):
            yield from (alias.name.partition(".")[0] for alias in aliases)
        case ast.ImportFrom(module=str(origin)):
            yield origin.partition(".")[0]
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            pass
        case _:
            for child in ast.iter_child_nodes(node):
                yield from imported_modules(child)


def python(program: str) -> str:
    """Run a program in an interpreter of its own, in the project's folder; return its output."""
    return subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout
