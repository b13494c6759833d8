"""Prompts as vectors of an embedding model of the configured pool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator.cli.engine import configured
from orchestrator.cli.output import note
from orchestrator.cli.progress import Watching
from orchestrator.core.capabilities import capability_mask
from orchestrator.core.errors import InvalidRequestError
from orchestrator.core.money import format_usd

if TYPE_CHECKING:
    from orchestrator.core.estimates import FloatArray
    from orchestrator.core.prices import Price

__all__ = ["Embedded", "embedded"]

_AT_ONCE: Final = 16
"""Texts of one request: servers limit them, and each request has to be answered in its time."""
_DEADLINE_S: Final = 600.0
"""Of one request: the first may have to load the model."""
_TASK: Final = "segment"


class Embedded(NamedTuple):
    """Texts as vectors.

    Attributes:
        model: Key of the model that made them.
        vectors: Of length 1, shape ``(n_texts, n_dimensions)``; all 0 for a text without words.
        cost_usd: What that cost.
    """

    model: str
    vectors: FloatArray
    cost_usd: float


async def embedded(
    texts: Sequence[str], model: str, config: Path | None, watching: Watching, *, paid: bool
) -> Embedded:
    """Embed texts, each as it is read when requests are told apart.

    Args:
        texts: Of any length.
        model: Key, alias or name of the model.
        config: The configuration of its pool, or None.
        watching: Shows how far it is.
        paid: Whether models that cost money join the pool.

    Raises:
        ConfigurationError: The configuration is wrong.
        ModelNotFoundError: The pool has no such model.
        InvalidRequestError: The model does not embed, or no text has a word.
        OrchestratorError: It failed, or may not be called.
    """
    import numpy as np

    from orchestrator.core.tokens import estimate_tokens
    from orchestrator.routing.segments import unit_vector
    from orchestrator.routing.text_features import excerpt

    # What is to be trained may not be there yet.
    nobody = {"segmenter": None, "segments": None}
    orchestrator = configured(config, paid=paid, serves=False, selection=nobody).orchestrator
    spec = orchestrator.registry.get_model(model).spec
    key = spec.key.text
    if not spec.capabilities & capability_mask(("embeddings",)):
        raise InvalidRequestError(f"{key} does not embed", param="embedding-model")
    read = [excerpt(text, spec.context_window) for text in texts]
    places = [place for place, text in enumerate(read) if text.strip()]
    if not places:
        raise InvalidRequestError("there is no word in any prompt", param="prompts")
    tokens = sum(estimate_tokens(read[place]) for place in places)
    note(f"{key} reads about {tokens:,} tokens, {_cost(spec.price, tokens)}")
    on_step = watching(f"embedding {len(places):,} prompts", len(places))
    rows: list[FloatArray] = []
    cost_usd = 0.0
    async with orchestrator:
        for begin in range(0, len(places), _AT_ONCE):
            result = await orchestrator.embed(
                [read[place] for place in places[begin : begin + _AT_ONCE]],
                model=key,
                context={"task": _TASK},
                deadline_s=_DEADLINE_S,
            )
            cost_usd += result.cost_usd
            for vector in result.vectors:
                rows.append(unit_vector(vector, len(rows[0]) if rows else None, key))
            on_step(len(rows))
    vectors = np.zeros((len(texts), len(rows[0])))
    vectors[places] = rows
    return Embedded(key, vectors, cost_usd)


def _cost(price: Price | None, tokens: int) -> str:
    if price is None:
        return "at a price that is not known"
    usd = tokens * price.input_usd
    return f"for about {format_usd(usd)}" if usd else "for nothing"
