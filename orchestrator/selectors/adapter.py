"""For selectors of your own: two methods instead of arrays."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import numpy as np

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.estimates import FloatArray
from orchestrator.core.selector import Candidates
from orchestrator.core.statistics import Outcome
from orchestrator.core.views import ALL, Evidence, Memory

__all__ = ["ModelSelector"]

_PER_MODEL = ("cost_usd", "penalty", "priority", "local", "streaming", "speed")


class ModelSelector(ABC):
    """Subclass it, say in `select` which model to take, and learn in `update` what came of it.

    A subclass is a selector as any other: give an instance where one is asked for. What it keeps
    is its own: local to this process, neither merged with other nodes nor kept over a restart. Its
    decisions are recorded as certain, so it should not draw at random where logs are to judge
    other policies.

    Attributes:
        name: How decisions call it; the class's name unless set.

    >>> class Alternate(ModelSelector):
    ...     calls = 0
    ...
    ...     def select(self, models, context):
    ...         return models[self.calls % len(models)]
    ...
    ...     def update(self, model, reward, outcome=None):
    ...         self.calls += outcome is not None
    >>> Alternate.name
    'Alternate'
    """

    name: ClassVar[str] = "model-selector"
    segmented: ClassVar[bool] = False
    memory: Memory = ALL
    n_extra: int = 0
    floor: float = 0.0

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if "name" not in cls.__dict__:
            cls.name = cls.__name__

    @abstractmethod
    def select(self, models: Sequence[str], context: Mapping[str, Any]) -> str:
        """Choose one of the models that may serve a request.

        Args:
            models: Their keys, in the order of registration; at least one.
            context: ``cost_usd`` (of one attempt; nan if unknown), ``penalty`` (what the objective
                takes, in points of quality), ``priority``, ``local``, ``streaming`` and ``speed``
                (tokens per second; nan if unknown), each by key; and ``features`` of the request,
                or None.

        Returns:
            One of ``models``.
        """

    def update(  # noqa: B027 - not abstract: many have nothing to learn
        self, model: str, reward: float, outcome: Outcome | None = None
    ) -> None:
        """Learn from one call; see `orchestrator.core.selector.UpdatedSelector`."""

    @final
    def scores(
        self, evidence: Evidence, candidates: Candidates, rng: np.random.Generator
    ) -> FloatArray:
        """Return 1 for the model that `select` chooses and 0 for every other.

        Raises:
            ConfigurationError: `select` returned something else than one of the models.
        """
        shape = evidence.total.mean.shape
        scores = np.zeros(shape)
        keys = candidates.keys or [str(arm) for arm in range(shape[-1])]
        facts = {name: np.broadcast_to(getattr(candidates, name), shape) for name in _PER_MODEL}
        eligible = np.broadcast_to(candidates.eligible, shape)
        for run in np.ndindex(*shape[:-1]):
            arms = {keys[arm]: arm for arm in np.flatnonzero(eligible[run]).tolist()}
            context: dict[str, Any] = {
                name: {key: values[run].item(arm) for key, arm in arms.items()}
                for name, values in facts.items()
            }
            features = candidates.features
            context["features"] = None if features is None else features[run]
            chosen = self.select(list(arms), context)
            if chosen not in arms:
                raise ConfigurationError(
                    f"{type(self).__name__}.select returned {chosen!r}",
                    hint="return one of the keys it is given",
                )
            scores[run][arms[chosen]] = 1.0
        return scores
