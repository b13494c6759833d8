"""OpenAI's wire format: parameters become request bodies, answer bodies become answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import orjson
from pydantic import SecretStr

from orchestrator.core.errors import InvalidRequestError, ModelError, ModelResponseError
from orchestrator.core.params import EmbeddingParams, Message, TextGenerationParams
from orchestrator.core.results import EmbeddingAnswer, TextAnswer
from orchestrator.integrations.openai_answer import read_completion, read_embeddings
from orchestrator.integrations.openai_dialect import Dialect, WireRequest
from orchestrator.integrations.openai_stream import ChatStreamDecoder
from orchestrator.integrations.openai_tools import add_tools
from orchestrator.integrations.provider_errors import error_from_response

__all__ = ["OpenAICodec"]

_WIRE_NAMES: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "stop_sequences": "stop",
    "seed": "seed",
    "response_format": "response_format",
}
_INSTRUCTING: Final = ("system", "developer")


class OpenAICodec:
    """Speaks one dialect of the format. Pure: it sends nothing and knows no clock."""

    models_path: Final = "/models"

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._unsupported = sorted(dialect.unsupported)
        names = {**_WIRE_NAMES, "max_tokens": dialect.max_tokens_field}
        self._wire_names = [n for n in names.items() if n[0] not in dialect.unsupported]

    def headers(self, credential: SecretStr | None, *, stream: bool) -> dict[str, str]:
        """Return the headers of requests for a stream, or of all others; they hold the key."""
        headers = {"Content-Type": "application/json"}
        if credential is not None:
            key = credential.get_secret_value()
            scheme = self.dialect.auth_scheme
            headers[self.dialect.auth_header] = f"{scheme} {key}" if scheme else key
        if stream and self.dialect.closes_after_stream:
            headers["Connection"] = "close"
        return headers

    def listed(self, body: bytes, model: str) -> dict[str, Any] | None:
        """Return what a list of models says of one, or None if it is not on it.

        llama.cpp lists each model twice, in two formats; both are joined.
        """
        try:
            named = [e for e in _entries(body) if model in _names(e)]
        except (orjson.JSONDecodeError, AttributeError, TypeError):
            return None  # it lists models in a way we do not read
        return {key: value for entry in named for key, value in entry.items()} or None

    def listed_names(self, body: bytes) -> list[str]:
        """Return every model of a list, each by one name.

        Raises:
            ModelResponseError: It is no list of models that we can read.
        """
        try:
            names = [name for entry in _entries(body) for name in _names(entry)[:1]]
        except (orjson.JSONDecodeError, AttributeError, TypeError) as error:
            raise ModelResponseError(
                f"the list of models of {self.dialect.name} cannot be read"
            ) from error
        return list(dict.fromkeys(names))

    def encode_text(
        self,
        model: str,
        params: TextGenerationParams,
        defaults: Mapping[str, Any],
        *,
        stream: bool,
    ) -> WireRequest:
        """Write a chat completion request.

        Args:
            model: The model's name at the provider, unless the parameters name another.
            params: What was asked for.
            defaults: Fields of `TextGenerationParams` for what the parameters leave unset; a
                system prompt among them gives way to a system message.
            stream: Whether the answer shall come in pieces.

        Raises:
            InvalidRequestError: The tool choice fits no tool, or something is not JSON.
        """
        asked = {name: value for name, value in vars(params).items() if value is not None}
        body: dict[str, Any] = {}
        if defaults or "extra" in asked:
            body = {**defaults.get("extra", {}), **asked.get("extra", {})}
            asked = {**defaults, **asked}
        body["model"] = asked.get("model", model)
        body["messages"] = self._messages(params, defaults.get("system_prompt"))
        body["stream"] = stream
        if stream and self.dialect.stream_usage:
            body["stream_options"] = {"include_usage": True}
        for name, wire_name in self._wire_names:
            if name in asked:
                body[wire_name] = asked[name]
        emulation = None
        if not self.dialect.native_tools or "tools" in asked or "tool_choice" in asked:
            emulation = add_tools(body, asked, self.dialect)
        warnings = [
            f"{self.dialect.name} does not take {name}, so it was left out"
            for name in self._unsupported
            if name in asked
        ]
        return WireRequest(
            path="/chat/completions",
            body=_json(body),
            warnings=tuple(warnings),
            emulation=emulation,
            may_be_empty="stop_sequences" in asked,
        )

    def decode_text(self, body: bytes, request: WireRequest) -> TextAnswer:
        """Read the answer to such a request; raises as `read_completion` does."""
        return read_completion(body, request, self.dialect.name)

    def stream_decoder(self, request: WireRequest) -> ChatStreamDecoder:
        """Return what reads the streamed answer to such a request."""
        return ChatStreamDecoder(request, self.dialect.name)

    def encode_embedding(self, model: str, params: EmbeddingParams) -> WireRequest:
        """Write an embeddings request; raises `InvalidRequestError` as `encode_text` does."""
        body: dict[str, Any] = {
            "model": params.model or model,
            "input": params.texts,
            "encoding_format": "float",
        }
        if params.dimensions is not None:
            body["dimensions"] = params.dimensions
        return WireRequest("/embeddings", _json(body))

    def decode_embedding(self, body: bytes, params: EmbeddingParams) -> EmbeddingAnswer:
        """Read the answer to such a request; raises as `read_embeddings` does."""
        return read_embeddings(body, params, self.dialect.name)

    def error(
        self, status: int, headers: Mapping[str, str], body: bytes, now_wall: float
    ) -> ModelError:
        """Return what an answer other than 2xx means."""
        return error_from_response(
            status, headers, body, provider=self.dialect.name, now_wall=now_wall
        )

    def _messages(
        self, params: TextGenerationParams, default_system_prompt: str | None
    ) -> list[Message]:
        messages = params.conversation()
        if default_system_prompt is not None and messages[0]["role"] not in _INSTRUCTING:
            messages = [{"role": "system", "content": default_system_prompt}, *messages]
        if self.dialect.developer_role or "developer" not in [m["role"] for m in messages]:
            return messages
        return [{**m, "role": "system"} if m["role"] == "developer" else m for m in messages]


def _entries(body: bytes) -> list[dict[str, Any]]:
    lists = orjson.loads(body)
    if not lists.keys() & {"models", "data"}:
        raise TypeError("there is no list of models in it")
    return [*(lists.get("models") or ()), *(lists.get("data") or ())]


def _names(entry: Mapping[str, Any]) -> list[str]:
    names = (entry.get("id"), entry.get("model"), entry.get("name"))
    return [name for name in names if isinstance(name, str) and name]


def _json(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError as error:
        raise InvalidRequestError(f"the request cannot be written as JSON ({error})") from error
