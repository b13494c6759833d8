"""Models in our own memory: llama.cpp in a process of its own, spoken to like any server."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from orchestrator.core.bounds import ProcessBounds
from orchestrator.core.errors import (
    ConfigurationError,
    ErrorClass,
    MissingExtraError,
    ModelAPIError,
    ModelError,
    ModelResponseError,
)
from orchestrator.core.model import Call, ModelConstraints
from orchestrator.core.params import EmbeddingParams, TextGenerationParams
from orchestrator.core.ports import Endpoint, ResidentSize, ResidentSpec, Timeouts, Transport
from orchestrator.core.prices import Price
from orchestrator.integrations.gguf import read_gguf
from orchestrator.integrations.llama_cpp import LLAMA_CPP, LLAMA_CPP_CAPABILITIES
from orchestrator.integrations.openai_codec import OpenAICodec
from orchestrator.integrations.remote import RemoteModel

__all__ = ["EmbeddedModel", "EmbeddedResident", "embedded_resident", "warm_up"]

_CHILD: Final = Path(__file__).with_name("embedded_child.py")
_CODEC: Final = OpenAICodec(LLAMA_CPP)
_CHAT_ONLY: Final = frozenset(("chat_completion", "function_calling"))
# A text to embed has to fit one batch, and a batch takes memory: 40 MB for 2,048 tokens with the
# smallest models. A longer text is refused as too long.
_LONGEST_EMBEDDING: Final = 2048
# The interpreter, the engine and its work space: what a process of a small model holds besides its
# file and its cache, the same to within 2 MB for windows of 512 to 32,768 tokens.
_PROCESS_BYTES: Final = 61_000_000
# What servers of embeddings answer to a chat.
_NO_CHAT: Final = (
    ErrorClass.INVALID_MODEL,
    ErrorClass.INVALID_REQUEST,
    ErrorClass.UNSUPPORTED,
)
# Answered between two batches, by the loop that would hang; a token would take a slot, and with it
# the prompt whose values the slot still holds.
_QUESTION: Final = "/slots"
# Whoever waits for the load sets the limit.
_UNHURRIED: Final = Timeouts(first_token_s=3600.0, idle_s=3600.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedResident(ResidentSpec):
    """One engine process with one model file, and what every model on it has in common.

    Attributes:
        file: The model file, where it can be read.
        slots: Requests it works on at once; more wait in its queue.
        context_window: Tokens of one slot, prompt and answer together.
        capabilities: What its file and its settings allow.
    """

    file: Path | None = None
    slots: int
    context_window: int
    capabilities: frozenset[str]


def embedded_resident(
    name: str,
    path: str | Path,
    *,
    context: int = 4096,
    slots: int = 2,
    threads: int | None = None,
    embeddings: bool = True,
    ready_timeout_s: float = 60.0,
    bounds: ProcessBounds | None = None,
) -> EmbeddedResident:
    """Describe a process that serves a GGUF file. Nothing is started before its first lease.

    Args:
        name: Identifies it among the residents of one engine.
        path: The model file.
        context: Tokens of all slots together; memory for them is taken at the load.
        slots: Requests to work on at once, each with its share of ``context``.
        threads: None leaves one core to the rest of the program.
        embeddings: Also turn texts of up to 2,048 tokens into vectors, the mean over their
            tokens. Chat is the same with it.
        ready_timeout_s: Seconds that the load may take.
        bounds: What its process may take of the machine, and when it counts as hung. A `Liveness`
            without a path asks for what the engine's own loop has to answer.

    Raises:
        MissingExtraError: The engine is not installed.
        ConfigurationError: The file is not a model, or it was not made for so long a window.
    """
    if find_spec("xllamacpp") is None or find_spec("psutil") is None:
        raise MissingExtraError("the embedded engine", "embedded")
    threads = _spare_cores() if threads is None else threads
    _demand(name, "slots", slots)
    _demand(name, "threads", threads)
    _demand(name, "context", context, at_least=slots)
    path = Path(path).expanduser().absolute()
    header = read_gguf(path)
    window = context // slots
    if window > (header.context_length or window):
        raise ConfigurationError(
            f"context {context} over {slots} slots of resident {name!r} is {window} tokens each, "
            f"and {path.name} was trained on {header.context_length}"
        )
    settings = {
        "name": name,
        "path": str(path),
        "context": context,
        "slots": slots,
        "threads": threads,
        "batch": _whole_multiple(min(window, _LONGEST_EMBEDDING), slots) if embeddings else None,
    }
    capabilities = set(LLAMA_CPP_CAPABILITIES)
    if header.chat_template is None:
        capabilities -= _CHAT_ONLY
    if embeddings:
        capabilities.add("embeddings")
    return EmbeddedResident(
        name=name,
        # -P: the program's own folder is not where it looks for modules.
        command=(sys.executable, "-P", str(_CHILD), json.dumps(settings)),
        env={},
        ready_timeout_s=ready_timeout_s,
        bounds=_with_a_question(bounds or ProcessBounds()),
        size=ResidentSize(
            weights_bytes=header.size_bytes,
            cache_bytes=header.cache_bytes(context),
            overhead_bytes=_PROCESS_BYTES,
        ),
        file=path,
        slots=slots,
        context_window=window,
        capabilities=frozenset(capabilities),
    )


class EmbeddedModel(RemoteModel):
    """A model on a resident. Several can share one, each with its own defaults.

    Attributes:
        resident: The process it needs.
    """

    def __init__(
        self,
        name: str,
        resident: EmbeddedResident,
        *,
        defaults: Mapping[str, Any] | None = None,
        **spec: Any,
    ) -> None:
        """Describe it.

        Args:
            name: Its name in the pool.
            resident: As `embedded_resident` describes it.
            defaults: Fields of `TextGenerationParams` for what a request leaves unset, such as
                ``system_prompt`` or ``temperature``.
            spec: Further keywords of `Model`. Unless they say otherwise it is free, and has as
                many requests in flight as there are slots.

        Raises:
            InvalidRequestError: A default is no such field, or its value is out of range.
        """
        facts = {
            "capabilities": resident.capabilities,
            "context_window": resident.context_window,
            "price": Price.free(),
            "constraints": ModelConstraints(max_concurrent_requests=resident.slots),
        }
        super().__init__(
            name,
            "embedded",
            codec=_CODEC,
            endpoint=None,
            wire_name=resident.name,
            defaults=defaults,
            local=True,
            resident=resident.name,
            **{**facts, **spec},
        )
        self.resident = resident
        self._file = resident.file

    def file_facts(self) -> Mapping[str, Any] | None:
        """Return the metadata of its model file."""
        return None if self._file is None else read_gguf(self._file).metadata


async def warm_up(transport: Transport, endpoint: Endpoint) -> None:
    """Have a process that has just become ready produce one token, or one vector if it has no chat.

    Raises:
        ModelError: It cannot.
    """
    name = endpoint.model or "warm-up"
    model = RemoteModel(name, "embedded", codec=_CODEC, endpoint=endpoint)
    model.bind(transport, None)
    call = Call(None, _UNHURRIED)
    try:
        await model.answer(TextGenerationParams(prompt="Hello", max_tokens=1), call)
    except ModelResponseError as error:
        # The one token may be the one that ends an answer.
        if error.classification is not ErrorClass.EMPTY_COMPLETION:
            raise
    except ModelAPIError as error:
        if error.classification not in _NO_CHAT:
            raise
        try:
            await model.answer(EmbeddingParams(input=["Hello"]), call)
        except ModelError:
            raise error from None


def _with_a_question(bounds: ProcessBounds) -> ProcessBounds:
    liveness = bounds.liveness
    return replace(bounds, liveness=replace(liveness, path=liveness.path or _QUESTION))


def _demand(resident: str, what: str, value: int, *, at_least: int = 1) -> None:
    if value < at_least:
        raise ConfigurationError(
            f"{what} of resident {resident!r} is {value}, not at least {at_least}"
        )


def _spare_cores() -> int:
    usable = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(usable(0)) if usable else os.cpu_count() or 1
    return max(1, cores - 1)


def _whole_multiple(number: int, unit: int) -> int:
    # With pooling, the engine aborts where a batch does not split evenly over its slots.
    return -(-number // unit) * unit
