"""A configuration that was read: the settings, where each came from, and what was discovered."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError
from pydantic_settings import SettingsError

from orchestrator.config.discovery import Offer, offers
from orchestrator.config.document import find_file, read_file
from orchestrator.config.faults import (
    Sources,
    check_variable_names,
    configuration_error,
    meaningless_variables,
)
from orchestrator.config.settings import Settings, environment_settings, merged
from orchestrator.config.variables import join_path, substituted
from orchestrator.core.errors import ConfigurationError

__all__ = ["DISCOVERY_BUDGET_USD", "Configuration", "read_configuration"]

DISCOVERY_BUDGET_USD: Final = 1.0
"""What discovered models may cost per day where nothing else is said."""
_KEY_FIELD: Final = "api_key"


@dataclass(frozen=True, slots=True)
class Configuration:
    """Settings with their origins.

    Attributes:
        settings: What holds.
        sources: What each source said.
        offers: What the environment offers, if that was to be looked for.
        warnings: What is better done otherwise, a sentence each.
    """

    settings: Settings
    sources: Sources
    offers: tuple[Offer, ...]
    warnings: tuple[str, ...]

    @property
    def path(self) -> Path | None:
        """The file, or None."""
        return self.sources.path

    @property
    def joining(self) -> tuple[Offer, ...]:
        """The offers that are taken: what costs money only where it was allowed to."""
        return tuple(offer for offer in self.offers if self.settings.paid or not offer.paid)

    @property
    def budget_usd_per_day(self) -> float | None:
        """The cap on spending: discovered models that cost money bring one along."""
        budget = self.settings.engine.budget_usd_per_day
        if budget is None and any(offer.paid for offer in self.joining):
            return DISCOVERY_BUDGET_USD
        return budget


def read_configuration(path: str | Path | None = None, **arguments: Any) -> Configuration:
    """Read the file, the environment and arguments, and check their shape.

    Args:
        path: The file; None takes the one that ``ORCHESTRATOR_CONFIG`` names, else
            orchestrator.toml, .yaml or .yml of the working folder, else none.
        arguments: Settings that go before all others, such as ``paid=True``.

    Raises:
        ConfigurationError: A value is wrong, a key unknown or a variable missing.
        MissingExtraError: The file is YAML, which needs a library.
    """
    file = find_file(path)
    document = {} if file is None else read_file(file)
    variables = dict(os.environ)
    check_variable_names(variables)
    literal = (
        f"{file}: {where} is a literal key; write ${{VARIABLE}} and set that in the environment"
        for where in _literal_keys(document)
    )
    warnings = (*literal, *meaningless_variables(variables))
    try:
        document = substituted(document, variables)
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error.message}", hint=error.hint) from None
    try:
        sources = Sources(file, document, environment_settings(), arguments)
        settings = merged(document, arguments)
    except SettingsError as error:
        raise ConfigurationError(f"the environment: {error}") from error
    except ValidationError as error:
        # Without the cause, which quotes values, keys among them.
        raise configuration_error(error, sources) from None
    discover = file is None if settings.discover is None else settings.discover
    known = {model.identity.text for model in settings.models}
    found = offers(variables, known, settings.residents) if discover else []
    return Configuration(settings, sources, tuple(found), warnings)


def _literal_keys(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, inside in value.items():
            where = join_path(path, name)
            if name == _KEY_FIELD and isinstance(inside, str) and inside and "${" not in inside:
                yield where
            yield from _literal_keys(inside, where)
