"""The store as it is configured."""

from __future__ import annotations

from pathlib import Path

from orchestrator.config.configuration import Configuration
from orchestrator.config.places import at
from orchestrator.core.data_folder import data_folder
from orchestrator.store.sql import SqliteStore, sqlite_path

__all__ = ["configured_store", "store_path"]


def configured_store(configuration: Configuration) -> SqliteStore | None:
    """Return the store of the configuration, not opened yet, or None.

    Raises:
        ConfigurationError: Its URL is wrong.
        MissingExtraError: It needs packages that are not installed.
    """
    path = store_path(configuration)
    return None if path is None else SqliteStore(path)


def store_path(configuration: Configuration) -> Path | None:
    """Return the file that the configuration names, or None.

    Raises:
        ConfigurationError: Its URL is wrong.
    """
    url = configuration.settings.store.url
    if url is None:
        return None
    with at(configuration.sources.place(("store", "url"))):
        return sqlite_path(url, data_folder())
