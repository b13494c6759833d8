from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from orchestrator.core.errors import InvalidRequestError
from orchestrator.engine.json_schema import check_schema, matches

OBJECT = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "tags": {"type": "array", "items": {"enum": ["a"]}}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "fits", "does_not"),
    [
        ({"type": "integer"}, [1, 1.0, -3], [1.5, True, "1", None]),
        ({"type": "number"}, [1, 1.5], [True, "1"]),
        ({"type": "boolean"}, [True], [1, "true"]),
        ({"type": ["string", "null"]}, ["", None], [0, []]),
        ({"type": "array", "items": {"type": "string"}}, [[], ["a"]], [["a", 1], "a"]),
        ({"enum": ["a", 1, None]}, ["a", 1, None], ["b", True, 2]),
        ({"const": {"a": 1}}, [{"a": 1}], [{"a": 2}, {}]),
        (
            OBJECT,
            [{"n": 1}, {"n": 1, "tags": ["a"]}],
            [{}, {"n": 1, "x": 1}, {"n": 1, "tags": [2]}],
        ),
        ({"additionalProperties": {"type": "string"}}, [{"a": "b"}, 7], [{"a": 1}]),
        ({"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 3}]}, ["", 3], [2, None]),
        ({"minimum": 1, "exclusiveMaximum": 2}, [1, 1.9, "text"], [0, 2]),
        ({"maximum": 1, "exclusiveMinimum": 0}, [1], [0, 2]),
        ({"minLength": 1, "maxLength": 2, "pattern": "^a"}, ["a", "ab", 5], ["", "abc", "b"]),
        ({"minItems": 1, "maxItems": 2}, [[1], {}], [[], [1, 2, 3]]),
        (True, [None, {}], []),
        (False, [], [None, {}]),
    ],
)
def test_what_a_schema_says_holds(schema: Any, fits: list[Any], does_not: list[Any]):
    check_schema(schema)

    assert [value for value in fits if not matches(value, schema)] == []
    assert [value for value in does_not if matches(value, schema)] == []


class Leaf(BaseModel):
    name: str
    weight: float | None = None


class Tree(BaseModel):
    leaves: list[Leaf]
    left: Tree | None = None


def test_schemas_that_pydantic_writes_are_checked_through_their_references():
    schema = Tree.model_json_schema()
    check_schema(schema)
    good = Tree(leaves=[Leaf(name="a")], left=Tree(leaves=[Leaf(name="b", weight=1)]))

    assert matches(good.model_dump(), schema)
    assert not matches({"leaves": [{"name": "a"}], "left": {"leaves": [{"name": 7}]}}, schema)


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        ({"items": {"oneOf": []}}, r"schema\.items\.oneOf cannot be checked"),
        ({"anyOf": [{}, {"not": {}}]}, r"schema\.anyOf\[1\]\.not cannot be checked"),
        ({"$defs": {"a": {"multipleOf": 2}}}, r"schema\.\$defs\.a\.multipleOf"),
        ({"type": "text"}, r"schema\.type is no type: 'text'"),
        ({"properties": {"a": "string"}}, r"schema\.properties\.a is no JSON schema"),
        ("string", "schema is no JSON schema"),
    ],
)
def test_what_cannot_be_checked_is_refused_with_its_place(schema: Any, where: str):
    with pytest.raises(InvalidRequestError, match=where):
        check_schema(schema)


def test_a_reference_that_leads_nowhere_is_an_error():
    with pytest.raises(InvalidRequestError, match="leads nowhere"):
        matches(1, {"$ref": "#/$defs/missing"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.text(max_size=2), inside),
    max_leaves=8,
)


@given(JSON, JSON)
def test_a_value_keeps_to_the_schema_that_names_it_and_only_that(value: Any, other: Any):
    assert matches(value, {"const": value})
    assert matches(value, {"enum": [other, value]})
    assert other == value or not matches(other, {"const": value})
