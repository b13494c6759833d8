"""What tells kinds of requests apart, as it is configured."""

from __future__ import annotations

from pathlib import Path

import orjson

from orchestrator.config.configuration import Configuration
from orchestrator.config.faults import suggestion
from orchestrator.config.places import at
from orchestrator.core.capabilities import capability_mask
from orchestrator.core.errors import ConfigurationError
from orchestrator.routing.registry import ModelRegistry
from orchestrator.routing.segments import ByCentroid, ByEmbedding, ByKind, ByText, Segmenter

__all__ = ["configured_segmenter"]


def configured_segmenter(
    configuration: Configuration, registry: ModelRegistry
) -> Segmenter | ByEmbedding | None:
    """Build the segmenter of a configuration, or return None.

    Raises:
        ConfigurationError: The file of segments is missing, cannot be read, is something else, or
            is given where nobody reads it; or the pool has no embedding model as it rests on.
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
            return _read(folder / Path(selection.segments).expanduser(), registry)
    if selection.segmenter is None:
        return None
    return ByKind() if selection.segmenter == "kind" else ByText()


def _read(path: Path, registry: ModelRegistry) -> ByCentroid | ByEmbedding:
    try:
        data = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    try:
        if not (isinstance(data, dict) and "embedding" in data):
            return ByCentroid.from_dict(data)
        found = ByEmbedding.from_dict(data)
        _check(found.model, registry)
        return found
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.message}", hint=error.hint) from error


def _check(key: str, registry: ModelRegistry) -> None:
    pool = registry.pool
    if key not in pool.index:
        raise ConfigurationError(
            f"it rests on {key!r}, which is not in the pool", hint=suggestion(key, pool.keys)
        )
    if not pool.models[pool.index[key]].spec.capabilities & capability_mask(("embeddings",)):
        raise ConfigurationError(
            f"it rests on {key!r}, which does not embed",
            hint='say so where it does: capabilities = ["embeddings"]',
        )
