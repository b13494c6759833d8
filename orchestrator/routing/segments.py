"""Which kind of request this is, where the caller names none.

A segment's name begins with the version of what found it, so that statistics of two ways to tell
requests apart are never added up, on one node or on several.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b, shake_256
from typing import Any, Final, Protocol, Self

import numpy as np

from orchestrator.core.capabilities import capability_mask, capability_names
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.params import Params
from orchestrator.core.requirements import Requirements
from orchestrator.core.statistics import MAX_SEGMENTS
from orchestrator.routing.text_features import FEATURES_VERSION, text_features

__all__ = ["N_FEATURES", "ByCentroid", "ByKind", "ByText", "Segmenter"]

N_FEATURES: Final = 256
"""Of a text that is assigned to a segment. Enough that the words of a prompt seldom collide."""
_DECIMALS: Final = 6
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
            A name, or None where there is nothing to tell it by.
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
    """By the nearest of some points to the features of a request's text."""

    def __init__(self, version: str, points: FloatArray) -> None:
        self.version = version
        self._points = points
        # The nearest is the one for which x @ c - c @ c / 2 is largest.
        self._half_squares = np.vecdot(points, points) / 2
        self._names = [f"{version}:{number}" for number in range(len(points))]

    def segment(self, params: Params | None, needs: Requirements) -> str | None:
        """Return the segment; None where the request has no words."""
        features = text_features(params, self._points.shape[-1])
        if not features.any():
            return None
        return self._names[int(np.argmax(self._points @ features - self._half_squares))]


class ByText(_Nearest):
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


class ByCentroid(_Nearest):
    """By the nearest centroid; ``orchestrator segments train`` finds them in prompts of one's own.

    Args:
        centroids: In the space of `text_features`, shape ``(n_segments, n_features)``. They are
            rounded to six decimals, and the version is a hash of them.

    Raises:
        ConfigurationError: They are no such array, or too many.
    """

    def __init__(self, centroids: FloatArray) -> None:
        if centroids.ndim != 2 or not centroids.size or len(centroids) > MAX_SEGMENTS:
            raise ConfigurationError(
                f"centroids are 1 to {MAX_SEGMENTS:,} vectors of the same length, not an array of "
                f"shape {centroids.shape}"
            )
        if not np.abs(centroids).max() <= 1.0:  # nan neither
            raise ConfigurationError("a centroid of vectors of length 1 has numbers in [-1, 1]")
        points = np.round(centroids, _DECIMALS) + 0.0  # not -0.0, whose bytes are others
        digest = blake2b(points.astype("<f8").tobytes(), digest_size=4).hexdigest()
        super().__init__(f"centroids-{FEATURES_VERSION}.{digest}", points)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-ready data, from which `from_dict` makes the same again."""
        return {"features": FEATURES_VERSION, "centroids": self._points.tolist()}

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Build from what `to_dict` returns.

        Raises:
            ConfigurationError: It is something else, or was trained on other features.
        """
        hint = "`orchestrator segments train` writes them"
        try:
            version = data["features"]
            centroids = np.array(data["centroids"], dtype=np.float64)
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError(f"these are no segments: {error!r}", hint=hint) from error
        if version != FEATURES_VERSION:
            raise ConfigurationError(
                f"these segments rest on version {version!r} of text features, not "
                f"{FEATURES_VERSION}",
                hint=hint,
            )
        return cls(centroids)
