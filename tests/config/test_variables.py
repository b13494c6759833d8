from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.config.variables import substituted
from orchestrator.core.errors import ConfigurationError

# Two dollars before a brace are a protected one already.
texts = st.text().filter(lambda text: "$${" not in text) | st.just("a ${B:-c} d")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inside: st.lists(inside) | st.dictionaries(st.text(), inside),
    max_leaves=20,
)


def test_a_reference_stands_for_what_the_environment_holds():
    document = {"providers": {"x": {"api_key": "${KEY}", "base_url": "http://${HOST}:80/v1"}}}

    found = substituted(document, {"KEY": "k", "HOST": "h"})

    assert found == {"providers": {"x": {"api_key": "k", "base_url": "http://h:80/v1"}}}


@pytest.mark.parametrize("held", [{}, {"PORT": ""}])
def test_a_default_is_taken_where_a_variable_is_not_set_or_empty(held: dict[str, str]):
    assert substituted(["${PORT:-3001}", "${PORT:-}"], held) == ["3001", ""]


def test_what_is_set_beats_its_default():
    assert substituted("${PORT:-3001}", {"PORT": "80"}) == "80"


def test_a_variable_that_is_not_set_is_named_with_its_place():
    document = {"models": [{"key": "a:b"}, {"key": "${NAME}"}]}

    with pytest.raises(ConfigurationError, match=r"models\[1\]\.key: .*variable NAME is not set"):
        substituted(document, {})


@pytest.mark.parametrize("text", ["${", "${1ST}", "${A-b}", "${}", "${A:=b}"])
def test_a_reference_that_is_none_is_refused(text: str):
    with pytest.raises(ConfigurationError, match=r"engine\.x: a reference that is not one"):
        substituted({"engine": {"x": text}}, {"A": "a"})


def test_a_value_from_the_environment_is_not_read_again():
    assert substituted("${A}", {"A": "${B}", "B": "b"}) == "${B}"


@given(values)
def test_a_doubled_dollar_protects_every_reference(value: object):
    assert substituted(protected(value), {}) == value


def protected(value: object) -> object:
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, list):
        return [protected(inside) for inside in value]
    if isinstance(value, dict):
        return {name: protected(inside) for name, inside in value.items()}
    return value
