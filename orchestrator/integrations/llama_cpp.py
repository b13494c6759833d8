"""Models that a llama.cpp server serves, on this machine or another."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from pydantic import SecretStr

from orchestrator.core.capabilities import ModelCapabilities
from orchestrator.core.prices import Price
from orchestrator.integrations.endpoints import credential_id, endpoint_at
from orchestrator.integrations.openai_codec import OpenAICodec
from orchestrator.integrations.openai_dialect import Dialect
from orchestrator.integrations.remote import RemoteModel

__all__ = ["LLAMA_CPP", "LLAMA_CPP_BASE_URL", "LLAMA_CPP_CAPABILITIES", "LlamaCppModel"]

LLAMA_CPP_BASE_URL: Final = "http://localhost:8080"

LLAMA_CPP: Final = Dialect(name="llama_cpp", native_tools=frozenset(), closes_after_stream=True)
"""A llama.cpp server, whatever the model.

It takes tools from everybody, but hands them to the model only if the model's chat template knows
them; else the model answers prose, even to ``tool_choice="required"``. Its schemas bind every
model, so tools are emulated unless somebody knows better.
"""

LLAMA_CPP_CAPABILITIES: Final = frozenset(
    (
        "text_generation",
        "chat_completion",
        "streaming",
        "json_mode",
        "json_schema",
        "function_calling",
    )
)
"""What it can do with any chat model; embeddings and vision depend on how it was started."""


class LlamaCppModel(RemoteModel):
    """A model that a llama.cpp server serves."""

    def __init__(
        self,
        name: str,
        base_url: str | None = None,
        api_key: str | SecretStr | None = None,
        *,
        native_tools: bool = False,
        capabilities: ModelCapabilities | Iterable[str] = LLAMA_CPP_CAPABILITIES,
        price: Price | None = None,
        local: bool = True,
        **spec: Any,
    ) -> None:
        """Describe it.

        Args:
            name: Its name in the pool; the server has one model and does not mind.
            base_url: None takes it from ``LLAMA_CPP_BASE_URL``, else http://localhost:8080.
            api_key: What the server was started with; None sends none.
            native_tools: Whether the model's chat template knows tools.
            capabilities: Add ``embeddings`` for a server with ``--embeddings`` and a pooling
                type, and ``vision`` for one with a projector.
            price: None is free.
            local: Whether it runs on a machine of ours.
            spec: Further keywords of `RemoteModel` and `Model`; ``context_window`` is that of
                one slot.

        Raises:
            ConfigurationError: The base URL or the key cannot be one.
        """
        url = base_url or os.environ.get("LLAMA_CPP_BASE_URL") or LLAMA_CPP_BASE_URL
        endpoint = endpoint_at(f"{url.rstrip('/').removesuffix('/v1')}/v1", api_key)
        spec.setdefault("credential_id", credential_id("llama_cpp", endpoint))
        dialect = LLAMA_CPP
        if native_tools:
            dialect = replace(dialect, native_tools=frozenset(("auto", "required", "named")))
        super().__init__(
            name,
            "llama_cpp",
            codec=OpenAICodec(dialect),
            endpoint=endpoint,
            capabilities=capabilities,
            price=price or Price.free(),
            local=local,
            **spec,
        )
