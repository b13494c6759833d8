"""What tells kinds of requests apart, as it is configured."""

from __future__ import annotations

from pathlib import Path

import orjson

from orchestrator.config.configuration import Configuration
from orchestrator.config.places import at
from orchestrator.core.errors import ConfigurationError
from orchestrator.routing.segments import ByCentroid, ByKind, ByText, Segmenter

__all__ = ["configured_segmenter"]


def configured_segmenter(configuration: Configuration) -> Segmenter | None:
    """Build the segmenter of a configuration, or return None.

    Raises:
        ConfigurationError: The file of segments is missing, cannot be read, is something else, or
            is given where nobody reads it.
    """
    selection = configuration.settings.selection
    centroids = selection.segmenter == "centroids"
    with at(configuration.sources.place(("selection", "segments"))):
        if centroids != (selection.segments is not None):
            raise ConfigurationError(
                'segmenter = "centroids" and segments = FILE belong together',
                hint="`orchestrator segments train` writes such a file",
            )
        if selection.segments is not None:
            folder = Path() if configuration.path is None else configuration.path.parent
            return _read(folder / Path(selection.segments).expanduser())
    if selection.segmenter is None:
        return None
    return ByKind() if selection.segmenter == "kind" else ByText()


def _read(path: Path) -> ByCentroid:
    try:
        data = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    try:
        return ByCentroid.from_dict(data)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}", hint=error.hint) from error
