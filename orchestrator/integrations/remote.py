"""Models behind HTTP: a codec says what to send, a transport sends it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import Any, Final

from orchestrator.core.errors import ConfigurationError, ModelError, OrchestratorError
from orchestrator.core.model import Answer, Call, Model, TextStream
from orchestrator.core.params import EmbeddingParams, Params, TextGenerationParams, validated
from orchestrator.core.ports import Endpoint, HttpRequest, HttpStream, Timeouts, Transport
from orchestrator.core.results import EmbeddingAnswer, TextAnswer, TextChunk
from orchestrator.integrations.endpoints import checked_headers
from orchestrator.integrations.openai_codec import OpenAICodec
from orchestrator.integrations.openai_dialect import WireRequest
from orchestrator.integrations.openai_stream import whole_calls
from orchestrator.integrations.stream_reader import StreamReader

__all__ = ["RemoteModel"]

_THERE_ALL_THE_SAME: Final = (404, 405, 429)
_PROBE_TIMEOUTS: Final = Timeouts(connect_s=5.0, first_token_s=5.0, idle_s=5.0)


class RemoteModel(Model):
    """A model that a server serves.

    Attributes:
        transport: Sends its requests; the engine binds its own.
    """

    keeps_timeouts = True

    def __init__(
        self,
        name: str,
        provider: str,
        *,
        codec: OpenAICodec,
        endpoint: Endpoint | None,
        wire_name: str | None = None,
        defaults: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> None:
        """Describe it.

        Args:
            name: Its name in the pool.
            provider: Who runs it.
            codec: Speaks the server's wire format.
            endpoint: Where it serves, its base URL ending before ``/chat/completions``; None if
                every call brings a leased one.
            wire_name: Its name at the server where that is another: several arms can be one
                model with different defaults.
            defaults: Fields of `TextGenerationParams` for what a request leaves unset.
            headers: Further headers of every request.
            spec: Further keywords of `Model`.

        Raises:
            InvalidRequestError: A default is no such field, or its value is out of range.
            ConfigurationError: A header cannot be sent.
        """
        super().__init__(name, provider, **spec)
        self.transport: Transport | None = None
        self._codec = codec
        self._wire_name = wire_name or name
        self._defaults = _validated_defaults(defaults or {})
        self.default_max_tokens = self._defaults.get("max_tokens")
        self._headers = checked_headers(headers or {})
        self._own = None if endpoint is None else _Address(endpoint, codec, self._headers)
        self._leased: _Address | None = None

    def bind(self, transport: Transport, runtime: object = None) -> None:
        """Take this transport, unless there is one already."""
        if self.transport is None:
            self.transport = transport

    # -- what the engine calls -----------------------------------------------------------------

    async def answer(self, params: Params, call: Call) -> Answer:
        """Answer in whole; raises as `Model.answer` does."""
        if isinstance(params, TextGenerationParams):
            wire = self._encode(params, stream=False)
        elif isinstance(params, EmbeddingParams):
            wire = self._codec.encode_embedding(self._wire_name, params)
        else:
            raise self._unsupported(f"serve {type(params).__name__}")
        address = self._address(call)
        try:
            response = await self._bound_transport().request(address.post(wire), call.timeouts)
            if response.status // 100 != 2:
                raise self._codec.error(
                    response.status, response.headers, response.body, time.time()
                )
            if isinstance(params, TextGenerationParams):
                return self._codec.decode_text(response.body, wire)
            return self._codec.decode_embedding(response.body, params)
        except ModelError as error:
            self._sign(address, error)
            raise

    def stream(
        self, params: TextGenerationParams, call: Call
    ) -> AbstractAsyncContextManager[TextStream]:
        """Answer in pieces; raises as `Model.answer` does, also in the middle."""
        wire = self._encode(params, stream=True)
        address = self._address(call)
        request = address.post(wire, stream=True)
        http = self._bound_transport().stream(request, call.timeouts)
        return _Streamed(http, self._codec, wire, call.timeouts, partial(self._sign, address))

    # -- what can be called without an engine --------------------------------------------------

    async def generate_response(self, prompt: str, **options: Any) -> str:
        """Answer a prompt; options are fields of `TextGenerationParams`."""
        params = validated(TextGenerationParams, {"prompt": prompt, **options})
        answer = await self.answer(params, Call(None, Timeouts()))
        assert isinstance(answer, TextAnswer)
        return answer.text

    async def stream_response(self, prompt: str, **options: Any) -> AsyncIterator[str]:
        """Answer in pieces of text; close the iterator if you leave it early."""
        params = validated(TextGenerationParams, {"prompt": prompt, **options})
        async with self.stream(params, Call(None, Timeouts())) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    yield chunk.text

    async def embed(self, texts: list[str], **options: Any) -> list[list[float]]:
        """Turn each text into a vector; options are fields of `EmbeddingParams`."""
        params = validated(EmbeddingParams, {"input": texts, **options})
        answer = await self.answer(params, Call(None, Timeouts()))
        assert isinstance(answer, EmbeddingAnswer)
        return answer.vectors

    async def health_check(self) -> bool:
        """Say whether its server lists its models now.

        A model without an endpoint of its own is as well as the process that is leased for it,
        which is watched elsewhere.
        """
        try:
            await self._server_list()
        except ModelError as error:
            # One without such a list, or that has heard enough from us for now, is there.
            return error.status in _THERE_ALL_THE_SAME
        except OrchestratorError:
            return False
        return True

    async def listing(self) -> Mapping[str, Any] | None:
        """Return its entry in its server's list of models, or None where there is none."""
        try:
            body = await self._server_list()
        except OrchestratorError:
            return None  # a server that is down tells nothing of its models
        return None if body is None else self._codec.listed(body, self._wire_name)

    async def served_names(self) -> list[str] | None:
        """Return the names of all models on its server's list; None if it has no server of its own.

        Raises:
            ModelError: The server could not be asked, refused, or lists them in its own way.
        """
        body = await self._server_list()
        return None if body is None else self._codec.listed_names(body)

    @property
    def wire_name(self) -> str:
        """Its name at its server."""
        return self._wire_name

    @property
    def endpoint(self) -> Endpoint | None:
        """Where its own server is, or None if every call brings a leased one."""
        return None if self._own is None else self._own.endpoint

    def sibling(self, name: str, **facts: Any) -> RemoteModel:
        """Return another model of the same server, spoken to in the same way.

        Args:
            name: Its name in the pool, and at the server.
            facts: Further keywords of `Model`.
        """
        spec = self.spec
        known = {
            "local": spec.local,
            "credential_id": spec.credential_id,
            "price": spec.price if spec.local else None,  # elsewhere each has a price of its own
        }
        return RemoteModel(
            name,
            self.provider,
            codec=self._codec,
            endpoint=self.endpoint,
            headers=self._headers,
            **{**known, **facts},
        )

    async def _server_list(self) -> bytes | None:
        if self._own is None:
            return None
        address = self._own
        try:
            request = address.get(self._codec.models_path)
            response = await self._bound_transport().request(request, _PROBE_TIMEOUTS)
            if response.status // 100 != 2:
                raise self._codec.error(
                    response.status, response.headers, response.body, time.time()
                )
        except ModelError as error:
            self._sign(address, error)
            raise
        return response.body

    # -- how a request is made -----------------------------------------------------------------

    def _encode(self, params: TextGenerationParams, *, stream: bool) -> WireRequest:
        return self._codec.encode_text(self._wire_name, params, self._defaults, stream=stream)

    def _sign(self, address: _Address, error: ModelError) -> None:
        error.model = error.model or self.key.text
        address.hide_key(error)

    def _bound_transport(self) -> Transport:
        if self.transport is None:
            raise ConfigurationError(
                f"{self.key} has no transport",
                hint="register it with an Orchestrator, or call its bind(HttpTransport())",
            )
        return self.transport

    def _address(self, call: Call) -> _Address:
        if self._own is not None:
            return self._own
        endpoint = call.endpoint
        if endpoint is None:
            raise ConfigurationError(
                f"{self.key} has no endpoint", hint="give it a base URL, or lease its resident"
            )
        # A resident's endpoint changes only when its process is started anew.
        if self._leased is None or self._leased.endpoint is not endpoint:
            self._leased = _Address(endpoint, self._codec, self._headers)
        return self._leased


class _Address:
    """An endpoint as requests need it."""

    __slots__ = ("_base_url", "_headers", "_stream_headers", "endpoint")

    def __init__(self, endpoint: Endpoint, codec: OpenAICodec, headers: Mapping[str, str]) -> None:
        self.endpoint = endpoint
        self._base_url = endpoint.base_url
        self._headers = {**codec.headers(endpoint.credential, stream=False), **headers}
        self._stream_headers = {**codec.headers(endpoint.credential, stream=True), **headers}

    def get(self, path: str) -> HttpRequest:
        return HttpRequest("GET", self._base_url + path, self._headers)

    def post(self, wire: WireRequest, *, stream: bool = False) -> HttpRequest:
        headers = self._stream_headers if stream else self._headers
        return HttpRequest("POST", self._base_url + wire.path, headers, wire.body)

    def hide_key(self, error: ModelError) -> None:
        """Take our key out of an error's words: some servers quote it in theirs."""
        if self.endpoint.credential is None:
            return
        key = self.endpoint.credential.get_secret_value()
        # So short a key is no secret, and its letters stand in every sentence.
        if len(key) >= 8:
            error.message = error.message.replace(key, "[key]")
            error.args = (error.message,)
            if error.provider_message is not None:
                error.provider_message = error.provider_message.replace(key, "[key]")


def _validated_defaults(defaults: Mapping[str, Any]) -> dict[str, Any]:
    params: TextGenerationParams = validated(TextGenerationParams, {"prompt": "", **defaults})
    return params.model_dump(exclude={"prompt", "messages"}, exclude_none=True)


class _Streamed:
    """A request whose answer comes in pieces: sent when entered."""

    __slots__ = ("_codec", "_http", "_sign", "_timeouts", "_wire")

    def __init__(
        self,
        http: AbstractAsyncContextManager[HttpStream],
        codec: OpenAICodec,
        wire: WireRequest,
        timeouts: Timeouts,
        sign: Callable[[ModelError], None],
    ) -> None:
        self._http = http
        self._codec = codec
        self._wire = wire
        self._timeouts = timeouts
        self._sign = sign

    async def __aenter__(self) -> TextStream:
        try:
            answer = await self._http.__aenter__()
            try:
                return await self._chunks(answer)
            except BaseException as error:
                await self._http.__aexit__(type(error), error, error.__traceback__)
                raise
        except ModelError as error:
            self._sign(error)
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def _chunks(self, answer: HttpStream) -> TextStream:
        codec, wire = self._codec, self._wire
        if answer.status // 100 != 2:
            raise codec.error(answer.status, answer.headers, await answer.read(), time.time())
        if "text/event-stream" not in answer.headers.get("content-type", ""):
            # It was asked for a stream, and sent the answer whole.
            return _in_one_piece(codec.decode_text(await answer.read(), wire))
        return StreamReader(answer, codec.stream_decoder(wire), self._timeouts, self._sign)


async def _in_one_piece(answer: TextAnswer) -> TextStream:
    yield TextChunk(
        text=answer.text,
        reasoning=answer.reasoning or "",
        refusal=answer.refusal or "",
        tool_calls=whole_calls(answer.tool_calls),
        finish_reason=answer.finish_reason,
        usage=answer.usage,
        model_version=answer.model_version,
        warnings=answer.warnings,
    )
