"""What `docs/coming-from.md` promises under another name is there under ours."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import pytest

import orchestrator
from orchestrator.engine.options import EmbedOptions, SelectOptions, TextOptions, UseOptions
from tests.house.project import ROOT

PAGE = (ROOT / "docs" / "coming-from.md").read_text("utf-8")
NAME = re.compile(r"(?P<path>[A-Za-z_][\w.]*)(?:\((?P<keywords>[\w=, ]*)\))?")
OPTIONS: dict[str, Any] = {
    "select_model": SelectOptions,
    "use_model": UseOptions,
    "embed": EmbedOptions,
    **dict.fromkeys(("generate", "stream", "explain"), TextOptions),
}


def promised() -> list[str]:
    """Return our names, from the last column of every table."""
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "|---" not in line]
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row.split("|")[-2])]
    return sorted({span for span in spans if is_a_name(span)})


def is_a_name(span: str) -> bool:
    return span.startswith("orchestrator.") or (span[0].isupper() and not span.isupper())


def found(path: str) -> Any:
    """Return what a dotted path names: in the package, or in one of its modules."""
    parts = path.split(".")
    if parts[0] == "orchestrator":
        for cut in range(len(parts), 0, -1):
            try:
                thing: Any = importlib.import_module(".".join(parts[:cut]))
            except ModuleNotFoundError:
                continue
            break
        parts = parts[cut:]
    else:
        thing = orchestrator
    for part in parts:
        thing = getattr(thing, part)
    return thing


def test_the_page_promises_enough_to_be_worth_a_test():
    assert len(promised()) > 70


@pytest.mark.parametrize("span", promised())
def test_a_promised_name_is_there(span: str):
    match = NAME.fullmatch(span)
    assert match is not None, "write a name, with keywords at most"

    thing = found(match["path"])

    keywords = re.findall(r"(\w+)=", match["keywords"] or "")
    options = OPTIONS.get(match["path"].rpartition(".")[2])
    known = {*inspect.signature(thing).parameters} if keywords else set()
    known |= set() if options is None else set(options.__annotations__)
    assert set(keywords) <= known


def test_what_has_a_module_path_there_and_here_is_importable_by_it():
    from orchestrator.core.model import Model
    from orchestrator.integrations.openai_model import OpenAIModel

    assert (Model, OpenAIModel) == (orchestrator.Model, orchestrator.OpenAIModel)
