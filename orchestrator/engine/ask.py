"""What one request wants of selection, and what it gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from orchestrator.core.decisions import Decision
from orchestrator.core.estimates import FloatArray
from orchestrator.core.model import Model
from orchestrator.core.requirements import Requirements
from orchestrator.engine.trials import Trial
from orchestrator.routing.derive import Size
from orchestrator.routing.routes import Route

__all__ = ["Ask", "Chosen"]


class Ask(NamedTuple):
    """What one request wants of selection, the same for each of its attempts.

    Attributes:
        request_id: The request.
        needs: What the caller demands and the request implies, without the routes' demands.
        chain: The route and its fallbacks, in order.
        size: How large the request is.
        segment: The kind of request statistics are kept for.
        what: What it asks for, for messages: a model type.
        deadline_s: The whole time it has.
        features: A feature vector for contextual selectors, or None.
        session: Stays with the model that answered it last; None where nothing stays.
        trial: Its part in an experiment, or None.
        text: What has to be embedded first to find its segment, or None.
    """

    request_id: str
    needs: Requirements
    chain: Sequence[Route]
    size: Size
    segment: str
    what: str
    deadline_s: float
    features: FloatArray | None = None
    session: str | None = None
    trial: Trial | None = None
    text: str | None = None


class Chosen(NamedTuple):
    """A decision and the model it names."""

    decision: Decision
    model: Model
