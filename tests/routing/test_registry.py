from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import (
    ConfigurationError,
    DuplicateModelError,
    InvalidRequestError,
    ModelNotFoundError,
)
from orchestrator.core.model import Model
from orchestrator.routing.registry import ModelRegistry
from tests.routing.pools import model

NAMES = ("a:x", "b:x", "a:y", "b:z@1")
ALIASES = ("fast", "x", "y", "z@1", "a:x")


def picture(registry: ModelRegistry) -> Any:
    """Everything that can be seen of a registry."""
    asked = (*NAMES, *ALIASES, "nothing")
    return (
        registry.list_models(),
        registry.list_providers(),
        {name: registry.matches(name) for name in asked},
        [id(m) for m in registry.pool.models],
        id(registry.pool),
    )


# -- registering -------------------------------------------------------------------------------


def test_models_are_listed_in_the_order_in_which_they_came():
    registry = ModelRegistry()
    assert len(registry) == 0

    registry.register_model(model("b:x"))
    registry.register_models([model("a:x"), model("b:y")])

    assert registry.list_models() == ["b:x", "a:x", "b:y"]
    assert registry.list_models("b") == ["b:x", "b:y"]
    assert registry.list_providers() == ["b", "a"]
    assert "a:x" in registry
    assert "x" not in registry


def test_a_key_is_taken_once():
    registry = ModelRegistry([model("a:x")])

    with pytest.raises(DuplicateModelError, match="replace=True"):
        registry.register_model(model("a:x"))
    with pytest.raises(ValueError, match="registered already"):
        registry.register_model(model("a:x"))


def test_a_model_may_be_put_in_the_place_of_another():
    registry = ModelRegistry([model("a:x"), model("a:y")])
    new = model("a:x", priority=7)

    registry.register_model(new, replace=True)

    assert registry.get_model("a:x") is new
    assert registry.list_models() == ["a:x", "a:y"]


def test_a_new_pool_follows_every_change_and_the_old_one_stays_as_it_was():
    registry = ModelRegistry([model("a:x")])
    before = registry.pool
    assert registry.pool is before

    registry.register_model(model("a:y"))

    assert (before.keys, registry.pool.keys) == (("a:x",), ("a:x", "a:y"))
    assert registry.pool.version > before.version


def with_a_flaw(kind: str) -> Any:
    class Unfinished(Model):
        def __init__(self) -> None:
            pass

    return {
        "a taken key": model("a:x"),
        "an alias that is a key": model("c:m", aliases=["a:x"]),
        "an alias that is another's name": model("c:m", aliases=["y"]),
        "an alias that is another's alias": model("c:m", aliases=["fast"]),
        "an empty alias": model("c:m", aliases=[""]),
        "a name that is another's alias": model("c:fast"),
        "no model at all": "c:m",
        "a model that never called its base": Unfinished(),
        "too many kinds of work": model("c:m", model_types=[f"k{n}" for n in range(65)]),
    }[kind]


@pytest.mark.parametrize(
    "kind",
    [
        "a taken key",
        "an alias that is a key",
        "an alias that is another's name",
        "an alias that is another's alias",
        "an empty alias",
        "a name that is another's alias",
        "no model at all",
        "a model that never called its base",
        "too many kinds of work",
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_registration_that_fails_leaves_everything_as_it_was(kind: str, place: int):
    registry = ModelRegistry([model("a:x"), model("a:y", aliases=["fast"])])
    before = picture(registry)
    batch = [model("d:fine")]
    batch.insert(place, with_a_flaw(kind))

    with pytest.raises((DuplicateModelError, InvalidRequestError, ConfigurationError)):
        registry.register_models(batch)

    assert picture(registry) == before


def test_of_two_alike_in_one_batch_neither_is_registered():
    registry = ModelRegistry()

    with pytest.raises(DuplicateModelError):
        registry.register_models([model("a:x"), model("a:x")])

    assert len(registry) == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["register", "replace", "unregister"]),
            st.lists(
                st.tuples(st.sampled_from(NAMES), st.lists(st.sampled_from(ALIASES), max_size=2)),
                min_size=1,
                max_size=2,
            ),
        ),
        max_size=12,
    )
)
def test_any_run_of_changes_keeps_every_name_pointing_at_what_has_it(run: list[Any]):
    registry, shadow = ModelRegistry(), dict[str, Model]()
    for what, batch in run:
        before = picture(registry)
        models = [model(key, aliases=aliases) for key, aliases in batch]
        act: Callable[[], Any] = {
            "register": lambda models=models: registry.register_models(models),
            "replace": lambda models=models: registry.register_models(models, replace=True),
            "unregister": lambda key=batch[0][0]: registry.unregister_model(key),
        }[what]
        try:
            gone = act()
        except (DuplicateModelError, ModelNotFoundError):
            assert picture(registry) == before
            continue
        if what == "unregister":
            assert shadow.pop(gone.key.text) is gone
        else:
            shadow |= {m.key.text: m for m in models}
        assert registry.list_models() == list(shadow)
        for key, member in shadow.items():
            assert registry.get_model(key) is member
            assert all(registry.matches(alias) == [key] for alias in member.spec.aliases)
            assert key in registry.matches(member.name) or registry.matches(member.name) == [
                member.name
            ]


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["openrouter:meta/llama:free", "meta/llama:free"])
def test_names_may_hold_colons_and_slashes(name: str):
    registry = ModelRegistry([model("openrouter:meta/llama:free"), model("a:x")])

    assert registry.resolve(name) == "openrouter:meta/llama:free"


@pytest.mark.parametrize("name", ["local:m@v2", "m@v2"])
def test_a_name_may_hold_an_at_sign(name: str):
    registry = ModelRegistry([model("local:m@v2"), model("local:m")])

    assert registry.resolve(name) == "local:m@v2"
    assert registry.resolve("m") == "local:m"


@pytest.mark.parametrize("name", ["claude:opus", "anthropic:opus", "opus", "best"])
def test_a_provider_answers_to_its_other_names(name: str):
    registry = ModelRegistry([model("claude:opus", aliases=["best"])])

    assert registry.resolve(name) == "anthropic:opus"
    assert registry.list_models("claude") == ["anthropic:opus"]


def test_a_bare_name_that_two_have_is_ambiguous_for_one_and_excludes_both():
    registry = ModelRegistry([model("a:x"), model("b:x")])

    with pytest.raises(ModelNotFoundError, match="a:x, b:x"):
        registry.resolve("x")
    assert registry.matches("x") == ["a:x", "b:x"]
    assert registry.resolve("x", provider="b") == "b:x"


def test_a_key_goes_before_a_bare_name_of_the_same_text():
    registry = ModelRegistry([model("p:a:x"), model("a:x")])

    assert registry.resolve("a:x") == "a:x"


def test_an_alias_may_be_asked_for_with_its_provider():
    registry = ModelRegistry([model("claude:opus", aliases=["best"]), model("b:x")])

    assert registry.resolve("best", provider="claude") == "anthropic:opus"
    with pytest.raises(ModelNotFoundError):
        registry.resolve("best", provider="b")


def test_a_model_may_name_itself_as_its_alias():
    registry = ModelRegistry([model("a:x", aliases=["x", "x"])])

    assert registry.resolve("x") == "a:x"


def test_an_unknown_name_is_refused_with_the_nearest_or_with_those_there_are():
    registry = ModelRegistry([model("openai:gpt-4")])

    with pytest.raises(ModelNotFoundError, match=r"did you mean 'openai:gpt-4'\?"):
        registry.get_model("openai:gpt-5")
    with pytest.raises(ModelNotFoundError, match="registered: openai:gpt-4"):
        registry.get_model("zzz")
    with pytest.raises(ModelNotFoundError, match="registered: none"):
        ModelRegistry().get_model("zzz")


# -- leaving -----------------------------------------------------------------------------------


def test_a_model_that_leaves_takes_its_names_along():
    registry = ModelRegistry([model("a:x", aliases=["fast"]), model("b:x")])

    gone = registry.unregister_model("fast")

    assert gone.key.text == "a:x"
    assert registry.matches("fast") == []
    assert registry.resolve("x") == "b:x"
    registry.register_model(model("c:fast"))


def test_what_is_not_there_cannot_leave():
    registry = ModelRegistry([model("a:x"), model("b:x")])
    before = picture(registry)

    for name in ("x", "nothing"):
        with pytest.raises(ModelNotFoundError):
            registry.unregister_model(name)

    assert picture(registry) == before
