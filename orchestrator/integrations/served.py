"""Models that a command serves as a resident: llama.cpp's server, vLLM, SGLang and others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.core.capabilities import ModelCapabilities
from orchestrator.core.ports import ResidentSpec
from orchestrator.core.prices import Price
from orchestrator.integrations.llama_cpp import LLAMA_CPP, LLAMA_CPP_CAPABILITIES
from orchestrator.integrations.openai_codec import OpenAICodec
from orchestrator.integrations.remote import RemoteModel

__all__ = ["ServedModel"]


class ServedModel(RemoteModel):
    """A model on a resident that is a command. Several can share one, each with its own defaults.

    Attributes:
        resident: The process it needs.
    """

    def __init__(
        self,
        name: str,
        resident: ResidentSpec,
        *,
        native_tools: bool = False,
        capabilities: ModelCapabilities | Iterable[str] = LLAMA_CPP_CAPABILITIES,
        defaults: Mapping[str, Any] | None = None,
        **spec: Any,
    ) -> None:
        """Describe it.

        Args:
            name: Its name in the pool.
            resident: As `orchestrator.lifecycle.command.command_resident` describes it.
            native_tools: Whether the server was told how its model calls tools, as vLLM is with
                ``--enable-auto-tool-choice``; else a schema makes it.
            capabilities: What it can do; ``{"embeddings"}`` for a server of embeddings.
            defaults: Fields of `TextGenerationParams` for what a request leaves unset.
            spec: Further keywords of `Model`; unless they say otherwise it is free.

        Raises:
            InvalidRequestError: A default is no such field, or its value is out of range.
        """
        # What is true of the most careful of these servers serves the others too: tools by way of
        # a schema, to which all of them can bind an answer, and a new connection after a stream.
        dialect = LLAMA_CPP
        if native_tools:
            dialect = replace(dialect, native_tools=frozenset(("auto", "required", "named")))
        super().__init__(
            name,
            "embedded",
            codec=OpenAICodec(dialect),
            endpoint=None,
            wire_name=resident.served_name or resident.name,
            capabilities=capabilities,
            defaults=defaults,
            local=True,
            resident=resident.name,
            **{"price": Price.free(), **spec},
        )
        self.resident = resident
