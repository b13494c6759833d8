"""Where in a configuration something went wrong while it was put to use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.core.errors import ConfigurationError, MissingExtraError, OrchestratorError

__all__ = ["at"]


@contextmanager
def at(place: str) -> Iterator[None]:
    """Turn our errors into one that begins with the place.

    Raises:
        ConfigurationError: Something inside the context raised an error of ours.
        MissingExtraError: It needs packages that are not installed.
    """
    try:
        yield
    except MissingExtraError:
        raise
    except OrchestratorError as error:
        raise ConfigurationError(f"{place}: {error.message}", hint=error.hint) from error
