"""Every setting that holds, with where it came from; secrets masked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from orchestrator.config.configuration import Configuration
from orchestrator.config.variables import join_path

__all__ = ["Setting", "listing"]


class Setting(NamedTuple):
    """One setting.

    Attributes:
        path: Where it stands in a file, such as ``models[2].price.input``.
        value: What holds, JSON-ready; of a secret only that there is one.
        origin: argument, environment, file or default.
    """

    path: str
    value: Any
    origin: str


def listing(configuration: Configuration) -> list[Setting]:
    """Return every setting, in the order of the sections."""
    values = configuration.settings.model_dump(mode="json")
    return [
        Setting(_joined(location), value, configuration.sources.origin(location))
        for location, value in _leaves(values, ())
    ]


def _leaves(
    value: Any, location: tuple[int | str, ...]
) -> Iterator[tuple[tuple[int | str, ...], Any]]:
    if isinstance(value, dict) and value:
        for name, inside in value.items():
            yield from _leaves(inside, (*location, name))
    elif isinstance(value, list) and any(isinstance(inside, dict) for inside in value):
        for position, inside in enumerate(value):
            yield from _leaves(inside, (*location, position))
    else:
        yield location, value


def _joined(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path = join_path(path, part)
    return path
