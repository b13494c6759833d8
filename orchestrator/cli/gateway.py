"""The gateway that a command talks to: one that runs, or one of its own for as long as it takes."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias
from urllib.parse import quote, urlencode

import typer

from orchestrator.cli.engine import configured
from orchestrator.cli.output import note
from orchestrator.core.errors import (
    ConfigurationError,
    ModelError,
    OrchestratorError,
    RequestError,
    TryLaterError,
)

if TYPE_CHECKING:
    from orchestrator.core.ports import HttpRequest, Transport

__all__ = [
    "DEFAULT_URL",
    "GatewayClient",
    "Url",
    "encoded",
    "found_gateway",
    "gateway",
    "running_gateway",
]

DEFAULT_URL: Final = "http://127.0.0.1:3001"
"""Where a gateway listens unless it is told otherwise."""

Url: TypeAlias = Annotated[
    str | None,
    typer.Option("--url", help=f"A running gateway; else {DEFAULT_URL} if one answers there."),
]

_SILENCE_S: Final = 60.0
"""A gateway that sends no event for so long, not even a sign of life, is gone."""
_PATIENCE_S: Final = 86_400.0
"""The gateway itself limits what it does, and a load may take long."""
_LOOK_S: Final = 2.0
_NOBODY: Final = "start one with `orchestrator serve`, or name one that runs with --url"


class _RefusedError(RequestError):
    """The gateway would not do it."""


class _FailedError(OrchestratorError):
    """The gateway could not do it."""


class GatewayClient:
    """Talks to a gateway.

    Args:
        url: Where it listens.
        key: What it asks of every request, or None.
        transport: Sends the requests.
        own: Whether it is one of our own, whose address means nothing to anybody.
    """

    def __init__(
        self, url: str, key: str | None, transport: Transport, *, own: bool = False
    ) -> None:
        self.url = url.rstrip("/")
        self._own = own
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._transport = transport

    async def get(self, path: str) -> dict[str, Any]:
        """Ask, and return the answer; raises as `post` does."""
        return await self._answer(self._request("GET", path))

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Have something done, however long that takes, and return the answer.

        Raises:
            RequestError: It would not do it; ``code`` is the gateway's own.
            OrchestratorError: It could not do it, or cannot be reached.
        """
        import orjson

        return await self._answer(self._request("POST", path, orjson.dumps(body)))

    @asynccontextmanager
    async def events(self, *kinds: str) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """Follow what happens from now on, event by event as JSON; errors as `post`."""
        from orchestrator.core.ports import HttpStream, Timeouts
        from orchestrator.integrations.sse import SseDecoder

        async def payloads(http: HttpStream) -> AsyncGenerator[bytes, None]:
            decoder = SseDecoder()
            async for data in http:
                for payload in decoder.feed(data):
                    yield payload

        query = f"?{urlencode({'types': ','.join(kinds)})}" if kinds else ""
        request = self._request("GET", f"/api/v1/events{query}")
        timeouts = Timeouts(first_token_s=_SILENCE_S, idle_s=_SILENCE_S)
        async with _reaching(), self._transport.stream(request, timeouts) as http:
            if http.status != 200:
                raise self._error(http.status, await http.read())
            async with aclosing(payloads(http)) as found:
                yield found

    async def is_there(self) -> bool:
        """Whether a gateway of ours answers."""
        import orjson

        from orchestrator.core.ports import Timeouts

        limits = Timeouts(connect_s=_LOOK_S, first_token_s=_LOOK_S, idle_s=_LOOK_S)
        try:
            answer = await self._transport.request(self._request("GET", "/healthz"), limits)
            return answer.status == 401 or "healthy" in orjson.loads(answer.body)
        except (OrchestratorError, orjson.JSONDecodeError, TypeError):
            return False  # nobody is there, or somebody else

    def _request(self, method: str, path: str, body: bytes | None = None) -> HttpRequest:
        from orchestrator.core.ports import HttpRequest

        return HttpRequest(method, self.url + path, self._headers, body)

    async def _answer(self, request: HttpRequest) -> dict[str, Any]:
        import orjson

        from orchestrator.core.ports import Timeouts

        patient = Timeouts(first_token_s=_PATIENCE_S, idle_s=_PATIENCE_S)
        async with _reaching():
            answer = await self._transport.request(request, patient)
        if answer.status != 200:
            raise self._error(answer.status, answer.body)
        found: dict[str, Any] = orjson.loads(answer.body)
        return found

    def _error(self, status: int, body: bytes) -> OrchestratorError:
        import orjson

        try:
            told = orjson.loads(body)["error"]
            message, code = str(told["message"]), str(told["code"])
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return ConfigurationError(
                f"{self.url} answered {status}: that is no gateway of ours",
                hint="name a running one with --url",
            )
        error = (_RefusedError if status < 500 else _FailedError)(
            message if self._own else f"{self.url} answered {status}: {message}"
        )
        vars(error)["code"] = code  # scripts know the gateway's own
        return error


@asynccontextmanager
async def _reaching() -> AsyncIterator[None]:
    """Say what to try where no gateway answers."""
    try:
        yield
    except ModelError as error:
        error.hint = _NOBODY
        raise


def encoded(name: str) -> str:
    """Return a model's name as a part of an address."""
    return quote(name, safe="")


@asynccontextmanager
async def running_gateway(url: str | None) -> AsyncIterator[GatewayClient]:
    """Talk to a gateway that runs. Its key is taken from ORCHESTRATOR_API_KEY.

    Args:
        url: Where; None is where one listens by default.

    Raises:
        TryLaterError: None does there.
    """
    async with _client(url or DEFAULT_URL, os.environ.get("ORCHESTRATOR_API_KEY")) as client:
        if url is None and not await client.is_there():
            raise TryLaterError(
                f"no gateway answers at {client.url}",
                hint=_NOBODY,
            )
        yield client


@asynccontextmanager
async def found_gateway(
    url: str | None, config: Path | None, *, paid: bool = False
) -> AsyncIterator[GatewayClient | None]:
    """Talk to a gateway that runs; yields None if there is none, or one's own is wanted.

    Args:
        url: Where one runs; None looks where one listens by default, if ``config`` and ``paid``
            say nothing.
        config: The configuration of one's own.
        paid: Whether models that cost money join it.

    Raises:
        ConfigurationError: Both are named.
    """
    ours = config is not None or paid
    if url is not None and ours:
        raise ConfigurationError(
            "a gateway that runs has its own configuration", hint="leave out --url, or the others"
        )
    if ours:
        yield None
        return
    async with _client(url or DEFAULT_URL, os.environ.get("ORCHESTRATOR_API_KEY")) as client:
        if url is None:
            if not await client.is_there():
                yield None
                return
            note(f"asking {client.url}")  # nobody named it
        yield client


@asynccontextmanager
async def gateway(
    url: str | None, config: Path | None, *, paid: bool = False
) -> AsyncIterator[GatewayClient]:
    """Talk to a gateway that runs, else to one of our own in front of what is configured.

    Arguments and errors as `found_gateway`; also raises `ConfigurationError` if there is no model.
    """
    async with found_gateway(url, config, paid=paid) as found:
        if found is not None:
            yield found
            return
    from pydantic import SecretStr

    from orchestrator.server import Gateway

    orchestrator = configured(config, paid=paid, serves=False).orchestrator
    key = secrets.token_urlsafe()  # nobody else shall use it meanwhile
    own = Gateway(orchestrator, port=0, api_key=SecretStr(key))
    async with orchestrator, own, _client(own.url, key, own=True) as client:
        yield client


@asynccontextmanager
async def _client(url: str, key: str | None, *, own: bool = False) -> AsyncIterator[GatewayClient]:
    from orchestrator.integrations.http.transport import HttpTransport

    transport = HttpTransport()
    try:
        yield GatewayClient(url, key, transport, own=own)
    finally:
        await transport.aclose()
