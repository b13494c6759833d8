"""What selection learns a request by: its segment, and its features where a selector reads them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from orchestrator.core.errors import ConfigurationError, InvalidRequestError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.params import EmbeddingParams, Params
from orchestrator.core.regressions import n_features_of
from orchestrator.core.requirements import Requirements
from orchestrator.core.selector import Selector
from orchestrator.core.statistics import Statistics
from orchestrator.routing.segments import ByEmbedding, Segmenter
from orchestrator.routing.text_features import text_features, text_of

__all__ = ["DEFAULT_SEGMENT", "Contexts"]

DEFAULT_SEGMENT: Final = "all"
"""The kind of a request of which nothing tells the kind."""


class Contexts:
    """Reads contexts, and what they leave unsaid from the requests themselves.

    Args:
        statistics: Knows the segments.
        segmenter: Tells kinds of requests apart that name no task; None: they are all one.

    Attributes:
        n_features: How many features selectors read; 0 where none does, and nobody works any out.
        embeds: Whether requests that name no task are told apart by vectors of their texts.
        read_requests: Whether anything is learned from requests whose caller gives no context.
    """

    def __init__(
        self, statistics: Statistics, segmenter: Segmenter | ByEmbedding | None = None
    ) -> None:
        self._statistics = statistics
        self._segmenter = None if isinstance(segmenter, ByEmbedding) else segmenter
        self.embeds = isinstance(segmenter, ByEmbedding)
        self.n_features = 0
        self.read_requests = segmenter is not None

    def read_by(self, selectors: Iterable[Selector | None]) -> None:
        """Work out the features that these selectors read, from now on.

        Raises:
            ConfigurationError: They read other numbers of features, or others do already.
        """
        wanted = {n_features_of(s.n_extra) for s in selectors if s is not None and s.n_extra}
        if self.n_features:
            wanted.add(self.n_features)
        if len(wanted) > 1:
            numbers = " and ".join(map(str, sorted(wanted)))
            raise ConfigurationError(
                f"selectors of one engine read {numbers} features; a request has one vector",
                hint="give all of them the same n_features",
            )
        self.n_features = next(iter(wanted), 0)
        self.read_requests = self.read_requests or self.n_features > 0

    def segment(self, task: str | None, params: Params | None, needs: Requirements) -> str:
        """Return the kind of a request: the task that its caller names, else what is found.

        Raises:
            InvalidRequestError: The name begins as only those of other rows than segments' do.
        """
        if task is None and self._segmenter is not None:
            task = self._segmenter.segment(params, needs)
        return DEFAULT_SEGMENT if task is None else self._statistics.segment(task)

    def text(self, params: Params | None) -> str | None:
        """Return the text whose vector is to tell a request's segment, or None if none is.

        For a request that wants vectors itself none is: it would cost twice, and take longer.
        """
        if not self.embeds or isinstance(params, EmbeddingParams):
            return None
        text = text_of(params)
        return text if text.strip() else None

    def features(self, context: Mapping[str, Any], params: Params | None) -> FloatArray | None:
        """Return a request's features: its caller's, else its text's; None where nobody reads any.

        Without a request at hand they are None too, which stands for features that are all 0.

        Raises:
            InvalidRequestError: The caller's are no finite numbers, or not as many as are read.
        """
        if not self.n_features:
            return None
        given = context.get("features")
        if given is not None:
            return _checked(given, self.n_features)
        return None if params is None else text_features(params, self.n_features)


def _checked(given: Any, n_features: int) -> FloatArray:
    try:
        found = np.asarray(given)
    except ValueError as error:  # lists of different lengths
        raise _refusal("must be a list of numbers") from error
    if found.dtype.kind not in "biuf" or found.ndim != 1:
        raise _refusal(f"must be a list of numbers, not {given!r}")
    if len(found) != n_features:
        raise _refusal(f"must be {n_features} numbers, as many as selectors read, not {len(found)}")
    found = found.astype(np.float64)  # a copy: it is learned from later
    # As sums of squares, in which they are learned from, they have to be finite too.
    with np.errstate(over="ignore"):
        if not math.isfinite(np.vdot(found, found)):
            raise _refusal("must be finite numbers, whose squares add up to one")
    return found


def _refusal(what: str) -> InvalidRequestError:
    return InvalidRequestError(f"context.features {what}", param="context.features")
