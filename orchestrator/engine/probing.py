"""The engine as a health monitor sees it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from random import Random
from typing import Final

from orchestrator.core.clock import Clock
from orchestrator.core.errors import ErrorClass, ModelError
from orchestrator.core.model import Answer, Call, Model
from orchestrator.core.model_types import TEXT_TYPES, ModelType
from orchestrator.core.params import EmbeddingParams, Params, TextGenerationParams
from orchestrator.core.results import HandlerAnswer
from orchestrator.engine.parts import Places
from orchestrator.routing.availability import Availability, Notice
from orchestrator.routing.budget import DailyBudget
from orchestrator.routing.registry import ModelRegistry

__all__ = ["Probing"]

_PATIENCE_S: Final = 1.0
"""How long a question waits for a place: a model without one is busy, which is no illness."""
_TEXT: Final = TextGenerationParams(prompt="Hi", max_tokens=1)
_VECTOR: Final = EmbeddingParams(input="Hi")
_TEXT_NAMES: Final = frozenset(kind.value for kind in TEXT_TYPES)
_PROMPT_TOKENS: Final = 32
"""What a word becomes at most, with the template and the default system prompt around it."""


class Probing:
    """Implements `orchestrator.monitoring.subject.Subject`.

    Args:
        registry: The models.
        availability: Their service state.
        places: Where each is called.
        loaded: Returns the residents in memory; a cold one is not loaded to see whether it is well.
        budget: The engine's own cap on spending, which holds for checks too, or None.
        clock: Time.
        rng: Draws the jitter.
        tell: Lets subscribers know.
    """

    def __init__(
        self,
        registry: ModelRegistry,
        availability: Availability,
        places: Places,
        loaded: Callable[[], Collection[str]],
        budget: DailyBudget | None,
        clock: Clock,
        rng: Random,
        tell: Callable[[Notice], None],
    ) -> None:
        self.availability = availability
        self.clock = clock
        self.rng = rng
        self.tell = tell
        self._registry = registry
        self._places = places
        self._loaded = loaded
        self._budget = budget
        self._arranged: object = None

    def models(self) -> Sequence[Model]:
        """Return the pool, which `availability` then knows."""
        pool = self._registry.pool
        if pool is not self._arranged:
            self.availability.arrange(pool)
            self._arranged = pool
        return pool.models

    def price(self, model: Model) -> float | None:
        """Return what the smallest question costs in USD at most, or None if there is none."""
        spec = model.spec
        if _question(model) is None or (spec.resident and spec.resident not in self._loaded()):
            return None
        if spec.price is None:
            return 0.0 if spec.local else None
        usd = _PROMPT_TOKENS * spec.price.input_usd + spec.price.output_usd
        if usd and self._budget is not None and self._budget.left(self.clock.wall()) < usd:
            return None
        return usd

    async def ask(self, model: Model) -> float:
        """Ask for one token, or for one vector, and return what that cost in USD."""
        params = _question(model)
        assert params is not None, "it has a price"
        usd = self.price(model) or 0.0
        if self._budget is not None:
            self._budget.reserve(usd)
        spent_usd = 0.0
        try:
            call = self._places.free(model, stream=False)
            if call is not None:
                spent_usd = _usd(model, await _answer(model, params, call), usd)
            else:
                async with self._places.take(model, _PATIENCE_S, stream=False) as call:
                    spent_usd = _usd(model, await _answer(model, params, call), usd)
        finally:
            if self._budget is not None:
                self._budget.settle(usd, spent_usd, self.clock.wall())
        return spent_usd


def _question(model: Model) -> Params | None:
    types = model.spec.types
    if types & _TEXT_NAMES:
        return _TEXT
    return _VECTOR if ModelType.TEXT_EMBEDDING.value in types else None


async def _answer(model: Model, params: Params, call: Call) -> Answer | None:
    try:
        return await model.answer(params, call)
    except ModelError as error:
        # One token is seldom a word to a model that thinks first. It works, and says so.
        if error.classification is not ErrorClass.EMPTY_COMPLETION:
            raise
        return None


def _usd(model: Model, answer: Answer | None, most_usd: float) -> float:
    """Return what an answer cost; where nobody says how many tokens it took, the most it can."""
    price = model.spec.price
    if answer is None or isinstance(answer, HandlerAnswer) or answer.usage is None or price is None:
        return most_usd
    usage = answer.usage
    return usage.prompt_tokens * price.input_usd + usage.completion_tokens * price.output_usd
