"""Which kind of request this is, where the caller names none.

A segment's name begins with the version of what found it, so that statistics of two ways to tell
requests apart are never added up, on one node or on several.
"""

from __future__ import annotations

import math
from functools import lru_cache
from hashlib import blake2b, shake_256
from typing import Any, Final, Protocol, Self

import numpy as np

from orchestrator.core.capabilities import capability_mask, capability_names
from orchestrator.core.errors import ConfigurationError, ModelResponseError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.params import Params
from orchestrator.core.requirements import Requirements
from orchestrator.core.statistics import MAX_SEGMENTS
from orchestrator.routing.text_features import FEATURES_VERSION, text_features

__all__ = [
    "N_FEATURES",
    "ByCentroid",
    "ByEmbedding",
    "ByKind",
    "ByText",
    "Segmenter",
    "unit_vector",
]

N_FEATURES: Final = 256
"""Of a text that is assigned to a segment. Enough that the words of a prompt seldom collide."""
_DECIMALS: Final = 6
_EMBEDDING_VERSION: Final = 1
"""Raised when the same text is handed to an embedding model in another way."""
_HINT: Final = "`orchestrator segments train` writes them"
_EVERYDAY: Final = ~capability_mask(("chat_completion", "streaming"))
"""Without what says how an answer comes rather than what is asked."""


class Segmenter(Protocol):
    """Tells kinds of requests apart; pure, and fast, since every request waits for it.

    Attributes:
        version: Another one for every other way to tell them apart; segments begin with it.
    """

    @property
    def version(self) -> str: ...

    def segment(self, params: Params | None, needs: Requirements) -> str | None:
        """Return a request's segment.

        Args:
            params: The request, or None where a model is selected without one.
            needs: What the caller demands and the request implies.

        Returns:
            A name, or None where there is nothing to tell it by. It does not begin with
            `orchestrator.core.statistics.RESERVED`.
        """
        ...


class ByKind:
    """By the kind of work and the capabilities a request needs, such as tools or vision.

    >>> from orchestrator.core.params import TextGenerationParams
    >>> needs = Requirements.of({"model_type": "text:large", "capabilities": ["vision"]})
    >>> ByKind().segment(TextGenerationParams(prompt="What is this?"), needs)
    'kind-1:text:large+vision'
    """

    version: Final = "kind-1"

    def segment(self, params: Params | None, needs: Requirements) -> str | None:
        """Return the segment; None where nothing is demanded."""
        return _kind(needs.model_type, needs.capabilities & _EVERYDAY)


@lru_cache(maxsize=1024)
def _kind(model_type: str | None, capabilities: int) -> str | None:
    parts = [*((model_type,) if model_type else ()), *sorted(capability_names(capabilities))]
    return f"{ByKind.version}:{'+'.join(parts)}" if parts else None


class _Nearest:
    """By the nearest of some points."""

    def __init__(self, version: str, points: FloatArray) -> None:
        self.version = version
        self._points = points
        # The nearest is the one for which x @ c - c @ c / 2 is largest.
        self._half_squares = np.vecdot(points, points) / 2
        self._names = [f"{version}:{number}" for number in range(len(points))]

    def _nearest(self, x: FloatArray) -> str:
        return self._names[int(np.argmax(self._points @ x - self._half_squares))]


class _ByWords(_Nearest):
    """By the nearest of some points to the features of a request's text."""

    def segment(self, params: Params | None, needs: Requirements) -> str | None:
        """Return the segment; None where the request has no words."""
        features = text_features(params, self._points.shape[-1])
        return self._nearest(features) if features.any() else None


class ByText(_ByWords):
    """By the words of a request's text, untrained: alike texts mostly share a segment.

    It knows nothing of what matters, so several kinds of work share a segment and one is spread
    over several; `ByCentroid`, trained on prompts of one's own, separates them better.

    Args:
        n_segments: How many segments there are.

    Raises:
        ConfigurationError: There are too few or too many.

    Source:
        Charikar (2002), "Similarity estimation techniques from rounding algorithms": fixed random
        directions keep alike vectors together.
    """

    def __init__(self, n_segments: int = 32) -> None:
        if not 2 <= n_segments <= MAX_SEGMENTS:
            raise ConfigurationError(
                f"n_segments must be between 2 and {MAX_SEGMENTS:,}, not {n_segments!r}"
            )
        # From bytes of a hash: a generator's numbers may change with the next numpy.
        drawn = b"".join(shake_256(b"%d" % s).digest(N_FEATURES) for s in range(n_segments))
        directions: FloatArray = np.frombuffer(drawn, np.uint8).astype(np.float64) - 127.5
        directions = directions.reshape(n_segments, N_FEATURES)
        directions /= np.sqrt(np.vecdot(directions, directions))[:, None]
        super().__init__(f"text-{FEATURES_VERSION}.{n_segments}", directions)


class ByCentroid(_ByWords):
    """By the nearest centroid; ``orchestrator segments train`` finds them in prompts of one's own.

    Args:
        centroids: In the space of `text_features`, shape ``(n_segments, n_features)``. They are
            rounded to six decimals, and the version is a hash of them.

    Raises:
        ConfigurationError: They are no such array, or too many.
    """

    def __init__(self, centroids: FloatArray) -> None:
        points = _checked(centroids)
        super().__init__(f"centroids-{FEATURES_VERSION}.{_digest(points)}", points)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data, from which `from_dict` makes the same again."""
        return {"features": FEATURES_VERSION, "centroids": self._points.tolist()}

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Build from what `to_dict` returns.

        Raises:
            ConfigurationError: It is something else, or was trained on other features.
        """
        version, centroids = _read(data, "features")
        if version != FEATURES_VERSION:
            raise ConfigurationError(
                f"these segments rest on version {version!r} of text features, not "
                f"{FEATURES_VERSION}",
                hint=_HINT,
            )
        return cls(centroids)


class ByEmbedding(_Nearest):
    """By the nearest centroid to what an embedding model makes of a request's text.

    No `Segmenter`: a vector has to be awaited. An engine has the text embedded, and goes on in the
    default segment where that takes too long.

    Args:
        model: Key of the embedding model.
        centroids: Among its vectors made as long as 1, shape ``(n_segments, n_dimensions)``. They
            are rounded to six decimals, and the version is a hash of the model and of them.

    Attributes:
        model: Key of the embedding model.
        n_dimensions: Of its vectors.
        version: Another one for every other model and training; segments begin with it.

    Raises:
        ConfigurationError: They are no such array, or too many.
    """

    def __init__(self, model: str, centroids: FloatArray) -> None:
        points = _checked(centroids)
        digest = _digest(points, f"{model} {points.shape[1]} ".encode())
        super().__init__(f"embedding-{_EMBEDDING_VERSION}.{digest}", points)
        self.model = model
        self.n_dimensions = points.shape[1]

    def segment(self, vector: Any) -> str:
        """Return the segment of a text with this vector, of any length but 0.

        Raises:
            ModelResponseError: It is no vector of finite numbers, not of as many as the centroids
                have, or all 0.
        """
        return self._nearest(unit_vector(vector, self.n_dimensions, self.model))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data, from which `from_dict` makes the same again."""
        return {
            "embedding": _EMBEDDING_VERSION,
            "model": self.model,
            "dimensions": self.n_dimensions,
            "centroids": self._points.tolist(),
        }

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Build from what `to_dict` returns.

        Raises:
            ConfigurationError: It is something else, or its parts contradict each other.
        """
        version, centroids = _read(data, "embedding")
        if version != _EMBEDDING_VERSION:
            raise ConfigurationError(
                f"these segments rest on version {version!r} of how texts are embedded, not "
                f"{_EMBEDDING_VERSION}",
                hint=_HINT,
            )
        model = data.get("model")
        if not isinstance(model, str):
            raise ConfigurationError(f"a model is named by its key, not {model!r}", hint=_HINT)
        found = cls(model, centroids)
        if data.get("dimensions") != found.n_dimensions:
            raise ConfigurationError(
                f"the centroids have {found.n_dimensions} dimensions, not "
                f"{data.get('dimensions')!r} as is said of them",
                hint=_HINT,
            )
        return found


def unit_vector(vector: Any, n_dimensions: int | None, model: str) -> FloatArray:
    """Return what a model made of a text as a vector of length 1.

    Args:
        vector: What it gave.
        n_dimensions: How many numbers there should be, or None for any.
        model: Its key, for the error.

    Raises:
        ModelResponseError: It is no vector of finite numbers, not of so many, or all 0.
    """
    try:
        found = np.asarray(vector, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ModelResponseError(f"{model} gave no vector: {error}", model=model) from error
    if found.ndim != 1 or len(found) != (n_dimensions or len(found)):
        wanted = f"{n_dimensions} numbers" if n_dimensions else "a vector"
        raise ModelResponseError(
            f"{model} gave an array of shape {found.shape}, not {wanted}", model=model
        )
    with np.errstate(over="ignore", invalid="ignore"):
        length = math.sqrt(found @ found)
    if not 0 < length < math.inf:  # nan neither
        raise ModelResponseError(f"{model} gave a vector of length {length}", model=model)
    return found / length


def _checked(centroids: FloatArray) -> FloatArray:
    if centroids.ndim != 2 or not centroids.size or len(centroids) > MAX_SEGMENTS:
        raise ConfigurationError(
            f"centroids are 1 to {MAX_SEGMENTS:,} vectors of the same length, not an array of "
            f"shape {centroids.shape}"
        )
    if not np.abs(centroids).max() <= 1.0:  # nan neither
        raise ConfigurationError("a centroid of vectors of length 1 has numbers in [-1, 1]")
    return np.round(centroids, _DECIMALS) + 0.0  # not -0.0, whose bytes are others


def _digest(points: FloatArray, of: bytes = b"") -> str:
    return blake2b(of + points.astype("<f8").tobytes(), digest_size=4).hexdigest()


def _read(data: Any, version: str) -> tuple[Any, FloatArray]:
    try:
        return data[version], np.array(data["centroids"], dtype=np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"these are no segments: {error!r}", hint=_HINT) from error
