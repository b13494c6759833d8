"""What a model's owner, its file and its server say that it can do, as evidence.

Nothing here calls a model; a field that is absent or of another shape than expected says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from orchestrator.core.errors import InvalidRequestError
from orchestrator.lifecycle.evidence import Evidence, Source

__all__ = [
    "evidence_of_declaration",
    "evidence_of_header",
    "evidence_of_listing",
    "listed_window",
]


def evidence_of_declaration(names: Iterable[str], at: float) -> tuple[Evidence, ...]:
    """Return what a declaration says: what it names. What it leaves out it does not deny.

    Args:
        names: The capabilities that are declared.
        at: Now, in seconds since 1970.
    """
    return tuple(Evidence(name, True, Source.DECLARED, at, "declared") for name in sorted(names))


# -- a GGUF file -------------------------------------------------------------------------------

_POOLING: Final = {1: "mean", 2: "cls", 3: "last"}
_POOLING_RANK: Final = 4


def evidence_of_header(metadata: Mapping[str, Any], at: float) -> tuple[Evidence, ...]:
    """Return what a GGUF file's header says of the model in it.

    A text model's file says nothing of vision, which takes a second file, the projector; the
    header of that one says which of images and sound it reads.

    Args:
        metadata: The header's entries, such as ``general.architecture``.
        at: Now, in seconds since 1970.

    Source:
        ``docs/gguf.md`` of ggml; ``gguf-py/gguf/constants.py`` and ``enum llama_pooling_type`` of
        llama.cpp.
    """
    say = _Teller(Source.HEADER, at)
    architecture = metadata.get("general.architecture")
    if architecture == "clip":
        for encoder, capability in (("vision", "vision"), ("audio", "audio")):
            has = metadata.get(f"clip.has_{encoder}_encoder")
            if isinstance(has, bool):
                say(capability, has, f"projector {'with' if has else 'without'} {encoder} encoder")
        return say.told
    pooling = metadata.get(f"{architecture}.pooling_type")
    if pooling == _POOLING_RANK:
        say("rerank", True, "pooling by rank")
    elif pooling in _POOLING:
        say("embeddings", True, f"pooling by {_POOLING[pooling]}")
    if metadata.get(f"{architecture}.attention.causal") is False:
        say("text_generation", False, "attention both ways")
        return say.told
    template = metadata.get("tokenizer.chat_template")
    if not isinstance(template, str):
        say("chat_completion", False, "no chat template")
        return say.told
    say("chat_completion", True, "chat template")
    # Without them in its template it may still have tools emulated, which is its server's affair.
    if "tools" in template:
        say("function_calling", True, "chat template with tools")
    return say.told


# -- a server's listing ------------------------------------------------------------------------

_OLLAMA: Final = {
    "completion": ("text_generation", "chat_completion"),
    "tools": ("function_calling",),
    "vision": ("vision",),
    "embedding": ("embeddings",),
    "reranking": ("rerank",),
}
_PARAMETERS: Final = {
    "function_calling": ("tools",),
    "json_mode": ("response_format", "structured_outputs"),
    "json_schema": ("structured_outputs",),
}
_FLAGS: Final = {
    "function_calling": "function_calling",
    "supports_function_calling": "function_calling",
    "supports_functions": "function_calling",
    "vision": "vision",
    "supports_vision": "vision",
    "json_mode": "json_mode",
    "supports_json_mode": "json_mode",
    "supports_response_schema": "json_schema",
    "embeddings": "embeddings",
    "streaming": "streaming",
    "supports_streaming": "streaming",
}


def evidence_of_listing(entry: Mapping[str, Any], at: float) -> tuple[Evidence, ...]:
    """Return what a server's entry for a model says.

    Understood are: OpenRouter's ``architecture`` (also llama.cpp's) and ``supported_parameters``;
    the ``capabilities`` of Ollama's ``/api/show`` and of the ``models`` half of llama.cpp's list;
    plain flags such as ``supports_vision``, in the entry or in a mapping ``capabilities``. vLLM's
    entries say nothing but the window; see `listed_window`.

    Args:
        entry: The entry, parsed.
        at: Now, in seconds since 1970.

    Raises:
        InvalidRequestError: It is no mapping.
    """
    _demand_mapping(entry)
    say = _Teller(Source.LISTING, at)
    capabilities = entry.get("capabilities")
    for flags in (entry, capabilities):
        if isinstance(flags, Mapping):
            for field, capability in _FLAGS.items():
                if isinstance(flags.get(field), bool):
                    say(capability, flags[field], f"{field} is {str(flags[field]).lower()}")
    if isinstance(capabilities, list):
        _tell_list(entry, capabilities, say)
    architecture = entry.get("architecture")
    if isinstance(architecture, Mapping):
        _tell_modalities(entry, architecture, say)
    parameters = entry.get("supported_parameters")
    if isinstance(parameters, list):
        for capability, any_of in _PARAMETERS.items():
            has = any(parameter in parameters for parameter in any_of)
            say(capability, has, f"parameters {'with' if has else 'without'} {any_of[0]}")
    return say.told


def listed_window(entry: Mapping[str, Any]) -> int | None:
    """Return how many tokens a server says that a model's window holds, or None.

    That is ``context_length`` (OpenRouter), ``max_model_len`` (vLLM), ``meta.n_ctx``, else
    ``meta.n_ctx_train`` (llama.cpp: of one slot, else as it was trained), or the architecture's
    ``context_length`` in ``model_info`` (Ollama; as it was trained).

    Raises:
        InvalidRequestError: The entry is no mapping.
    """
    _demand_mapping(entry)
    meta, info = _mapping(entry.get("meta")), _mapping(entry.get("model_info"))
    for found in (
        entry.get("context_length"),
        entry.get("max_model_len"),
        meta.get("n_ctx"),
        meta.get("n_ctx_train"),
        info.get(f"{info.get('general.architecture')}.context_length"),
    ):
        if isinstance(found, int | float) and not isinstance(found, bool) and found >= 1:
            return int(found)
    return None


class _Teller:
    """Collects evidence of one source."""

    def __init__(self, source: Source, at: float) -> None:
        self._source = source
        self._at = at
        self.told: tuple[Evidence, ...] = ()

    def __call__(self, capability: str, present: bool, detail: str) -> None:
        self.told += (Evidence(capability, present, self._source, self._at, detail),)


def _tell_list(entry: Mapping[str, Any], listed: list[Any], say: _Teller) -> None:
    if "multimodal" in listed:
        say("vision", True, "multimodal")
    # Only Ollama tells a model's architecture here, and only its list is complete: what is not
    # in it, such a model cannot do. In llama.cpp's, ``completion`` stands for every model.
    if "general.architecture" not in _mapping(entry.get("model_info")):
        return
    for word, capabilities in _OLLAMA.items():
        for capability in capabilities:
            has = word in listed
            say(capability, has, f"capabilities {'with' if has else 'without'} {word}")


def _tell_modalities(entry: Mapping[str, Any], told: Mapping[str, Any], say: _Teller) -> None:
    reads, writes = told.get("input_modalities"), told.get("output_modalities")
    if isinstance(reads, list):
        for modality, capability in (("image", "vision"), ("audio", "audio")):
            has = modality in reads
            say(capability, has, f"input {'with' if has else 'without'} {modality}")
    # llama.cpp lists text as the output of every model, for compatibility.
    if isinstance(writes, list) and entry.get("owned_by") != "llamacpp":
        for modality, names in (
            ("text", ("text_generation", "chat_completion")),
            ("image", ("image_generation",)),
            ("embeddings", ("embeddings",)),
        ):
            has = modality in writes
            for name in names:
                say(name, has, f"output {'with' if has else 'without'} {modality}")


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}


def _demand_mapping(entry: Any) -> None:
    if not isinstance(entry, Mapping):
        raise InvalidRequestError(
            f"a listing's entry is a mapping, not {entry!r}",
            param="listing",
            hint='hand in one entry of "data" of /v1/models',
        )
