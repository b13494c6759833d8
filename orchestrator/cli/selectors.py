"""A selector, by the name that an option gives, for prompts with so many features."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Annotated, Final, TypeAlias

import typer

if TYPE_CHECKING:
    from orchestrator.core.estimates import FloatArray
    from orchestrator.core.selector import Selector

__all__ = ["DEFAULT_SELECTOR", "SelectorName", "selector_for"]

DEFAULT_SELECTOR: Final = "default"

SelectorName: TypeAlias = Annotated[str, typer.Option("--selector", help="Who is to choose.")]


def selector_for(name: str, features: FloatArray | None) -> Selector:
    """Build a selector; one that reads features is told how many there are.

    Raises:
        ConfigurationError: There is none of this name.
    """
    from orchestrator.selectors import make_selector

    selector = make_selector(name)
    if features is None or "n_features" not in signature(type(selector)).parameters:
        return selector
    return make_selector(name, {"n_features": features.shape[1]})
