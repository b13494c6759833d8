"""Pools of models that are declared and never called."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from orchestrator.core.capabilities import CAPABILITIES
from orchestrator.core.keys import ModelKey
from orchestrator.core.model import Model
from orchestrator.core.prices import Price
from orchestrator.routing.pool import Pool
from orchestrator.routing.registry import ModelRegistry

PROVIDERS = ("openai", "anthropic", "local")
TYPES = ("text:small", "text:large", "video:generation")
FEW_CAPABILITIES = (*CAPABILITIES[:4], "vision")


def model(key: str, **facts: Any) -> Model:
    """Return the model of this key."""
    parsed = ModelKey.parse(key)
    return Model(parsed.name, parsed.provider, **facts)


def pool(*models: Model | str) -> Pool:
    """Return a pool of models, or of plain ones with these keys."""
    registry = ModelRegistry([model(m) if isinstance(m, str) else m for m in models])
    return registry.pool


prices = st.sampled_from([None, Price.free(), Price.per_1k(0.001, 0.002), Price.per_1k(0.03, 0.06)])
facts = st.fixed_dictionaries(
    {
        "capabilities": st.lists(st.sampled_from(FEW_CAPABILITIES), max_size=5),
        "model_types": st.lists(st.sampled_from(TYPES), max_size=2),
        "price": prices,
        "context_window": st.sampled_from([None, 100, 8192]),
        "max_output_tokens": st.sampled_from([None, 50, 4096]),
        "speed": st.sampled_from([None, 10.0, 50.0]),
        "priority": st.integers(-5, 100),
        "local": st.booleans(),
        "credential_id": st.sampled_from([None, "key-1", "key-2"]),
    }
)


@st.composite
def models(draw: st.DrawFn, max_size: int = 6) -> list[Model]:
    """Draw models of several providers, some of which share a bare name."""
    keys = draw(
        st.lists(
            st.tuples(st.sampled_from(PROVIDERS), st.sampled_from("abc")),
            unique=True,
            max_size=max_size,
        )
    )
    return [model(f"{provider}:{name}", **draw(facts)) for provider, name in keys]
