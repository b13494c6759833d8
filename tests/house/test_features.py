"""`tests/features.toml` names tests that exist and run."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from typing import Any

import pytest

from tests.house.project import ROOT

FEATURES: dict[str, dict[str, Any]] = tomllib.loads(
    (ROOT / "tests/features.toml").read_text("utf-8")
)
NOT_ALWAYS_RUN = {"long", "packaging", "bench", "skip", "skipif", "xfail"}


@cache
def marked_tests(path: str) -> dict[str, set[str]]:
    """Return the tests of a file, each with its marks."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {
        node.name: {
            part.attr
            for decorator in node.decorator_list
            for part in ast.walk(decorator)
            if isinstance(part, ast.Attribute)
        }
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


@pytest.mark.parametrize("feature", FEATURES)
def test_a_feature_is_a_sentence_with_a_test_or_a_page(feature: str):
    row = FEATURES[feature]

    assert re.fullmatch(r"[ECNMD]-\d{3}", feature)
    assert row["behaviour"].endswith(".")
    assert len(row["behaviour"]) > 20
    assert row.keys() <= {"behaviour", "tests", "mapped"}
    assert row.get("tests") or row.get("mapped")
    assert "mapped" not in row or (ROOT / row["mapped"]).is_file()


@pytest.mark.parametrize("feature", [f for f, row in FEATURES.items() if row.get("tests")])
def test_every_test_of_a_feature_exists_and_runs(feature: str):
    for test in FEATURES[feature]["tests"]:
        path, _, name = test.partition("::")

        assert (ROOT / path).is_file(), path
        assert name in marked_tests(path), test
        assert not marked_tests(path)[name] & NOT_ALWAYS_RUN, f"{test} does not always run"


def test_the_features_are_in_order():
    assert [*FEATURES] == sorted(FEATURES, key=lambda feature: ("ECNMD".index(feature[0]), feature))
