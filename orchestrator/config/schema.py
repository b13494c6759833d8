"""The settings as a JSON schema, with which editors complete and check the file."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any, Final

from orchestrator.config.settings import Settings
from orchestrator.core.bounds import Liveness
from orchestrator.core.model import ModelConstraints
from orchestrator.core.objective import Objective
from orchestrator.core.ports import Timeouts
from orchestrator.lifecycle.restart import RestartPolicy
from orchestrator.lifecycle.schedule import ProfilingSchedule
from orchestrator.routing.attempts import AttemptPolicy
from orchestrator.routing.auto_switch import AutoSwitchPolicy
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.routing.ejection import EjectionPolicy

__all__ = ["json_schema"]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_VARIABLE: Final = {
    "type": "string",
    "pattern": r"\$\{",
    "description": "A text with ${NAME} or ${NAME:-default}, from the environment.",
}
_DOCUMENTED_BY_DOCSTRING: Final = (
    AttemptPolicy,
    AutoSwitchPolicy,
    BreakerPolicy,
    EjectionPolicy,
    Liveness,
    ModelConstraints,
    Objective,
    ProfilingSchedule,
    RestartPolicy,
    Timeouts,
)


def json_schema() -> dict[str, Any]:
    """Return the schema of a configuration file, with every description."""
    schema = Settings.model_json_schema()
    for kind in _DOCUMENTED_BY_DOCSTRING:
        _describe(schema["$defs"][kind.__name__], kind)
    _admit_variables(schema)
    _drop_titles(schema)
    schema["$defs"]["Variable"] = _VARIABLE
    return {"$schema": _DIALECT, "title": "orchestrator", **schema}


def _describe(schema: dict[str, Any], kind: type) -> None:
    """Give each key the sentence that the class's docstring has for it."""
    text = inspect.getdoc(kind) or ""
    schema["description"] = text.partition("\n")[0]
    for field in dataclasses.fields(kind):
        found = re.search(rf"^    {field.name}: (.+(?:\n {{5,}}.+)*)", text, re.MULTILINE)
        if found:
            sentence = " ".join(found[1].split()).replace("``", "")
            schema["properties"][field.name]["description"] = sentence


def _admit_variables(node: Any) -> None:
    """Let a variable stand where a number or a truth value is wanted."""
    for inside in _children(node):
        _admit_variables(inside)
    if isinstance(node, dict) and node.get("type") in ("integer", "number", "boolean"):
        about = ("default", "description")
        plain = {key: node.pop(key) for key in list(node) if key not in about}
        node["anyOf"] = [plain, {"$ref": "#/$defs/Variable"}]


def _drop_titles(node: Any) -> None:
    """Remove the names that pydantic makes up for each key."""
    if isinstance(node, dict) and isinstance(node.get("title"), str):
        del node["title"]
    for inside in _children(node):
        _drop_titles(inside)


def _children(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
