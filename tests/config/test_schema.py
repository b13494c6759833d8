from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.config.schema import json_schema
from tests.house.project import ROOT

PUBLISHED = ROOT / "docs" / "config.schema.json"
NAMES_THAT_SAY_IT_ALL = {
    "ModelConstraints.max_requests_per_minute",
    "ModelConstraints.max_concurrent_requests",
    "ModelConstraints.required_memory_gb",
    "ModelConstraints.required_gpu_memory_gb",
    "Timeouts.connect_s",
}


def test_the_published_schema_is_the_current_one():
    published = json.loads(PUBLISHED.read_text("utf-8"))

    assert published == json_schema(), "run `orchestrator config schema > docs/config.schema.json`"


def settings(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, table in {"": schema, **schema["$defs"]}.items():
        for option in (table, *table.get("anyOf", ())):
            for key, setting in option.get("properties", {}).items():
                yield f"{name}.{key}", setting


def test_every_setting_says_what_it_is():
    undocumented = {
        name
        for name, setting in settings(json_schema())
        if not (setting.get("description") or "$ref" in setting)
    }

    assert undocumented == NAMES_THAT_SAY_IT_ALL


@pytest.mark.parametrize(
    "name", ["EngineSection.deadline_s", "ServerSection.port", "PriceSection.input"]
)
def test_a_variable_may_stand_where_a_number_is_wanted(name: str):
    setting = dict(settings(json_schema()))[name]

    texts = [option for option in setting["anyOf"] if option.get("type") == "string"]
    assert texts or {"$ref": "#/$defs/Variable"} in setting["anyOf"]


def test_every_table_refuses_keys_that_it_does_not_know():
    open_tables = {
        name
        for name, table in json_schema()["$defs"].items()
        if "properties" in table and table.get("additionalProperties") is not False
    }

    assert open_tables == set()
