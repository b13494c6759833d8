"""The server itself: an address, the application behind it, and their life."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Collection
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from aiohttp import web
from pydantic import SecretStr

from orchestrator.core.errors import ConfigurationError
from orchestrator.engine import Orchestrator
from orchestrator.server.access import is_loopback
from orchestrator.server.app import MAX_BODY_BYTES, build_app

__all__ = ["Gateway"]

_CLOSING_S = 5.0
"""How long requests in flight may take once the server stops."""
_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}
"""Addresses that stand for every one of the machine, and one of them to be called at."""


class Gateway:
    """Serves a running engine over HTTP: ``async with Gateway(orchestrator) as gateway``.

    Args:
        orchestrator: Answers; it has to outlive the gateway.
        host: Where to listen.
        port: The same; 0 is any that is free.
        api_key: What every request has to present as a bearer token. Only on a loopback address
            it may be missing; an empty one is missing.
        allowed_hosts: Names under which it is reached, besides the loopback ones and ``host``.
        allowed_origins: Origins of web pages that may call it, as ``https://example.com``.
        max_body_bytes: The largest body that is taken.

    Raises:
        ConfigurationError: The address is open to others and there is no key, or an argument is
            not what it should be.
    """

    def __init__(
        self,
        orchestrator: Orchestrator,
        *,
        host: str = "127.0.0.1",
        port: int = 3001,
        api_key: SecretStr | None = None,
        allowed_hosts: Collection[str] = (),
        allowed_origins: Collection[str] = (),
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        if not 0 <= port <= 65535:
            raise ConfigurationError(f"{port} is no port", hint="give one from 0 to 65535")
        if not (is_loopback(host) or (api_key is not None and api_key.get_secret_value())):
            raise ConfigurationError(
                f"whoever reaches {host!r} could spend your money without a key",
                hint="set ORCHESTRATOR_API_KEY, or listen on 127.0.0.1",
            )
        self._app = build_app(
            orchestrator,
            api_key=api_key,
            allowed_hosts=allowed_hosts if host in _ANY else [host, *allowed_hosts],
            allowed_origins=allowed_origins,
            max_body_bytes=max_body_bytes,
        )
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it is reached, without a slash at the end; the port is known once it listens."""
        host = _ANY.get(self._host, self._host)
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    async def __aenter__(self) -> Self:
        runner = web.AppRunner(
            self._app, access_log=None, handler_cancellation=True, shutdown_timeout=_CLOSING_S
        )
        async with AsyncExitStack() as undo:
            undo.push_async_callback(runner.cleanup)
            await runner.setup()
            try:
                await web.TCPSite(runner, self._host, self._port).start()
            except (OSError, UnicodeError) as error:
                raise self._cannot_listen(error) from error
            undo.pop_all()
        self._runner = runner
        self._port = runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def serve_forever(self) -> None:
        """Serve until cancelled, entering the gateway first if need be."""
        if self._runner is not None:
            await asyncio.get_running_loop().create_future()
        async with self:
            await asyncio.get_running_loop().create_future()

    def _cannot_listen(self, error: Exception) -> ConfigurationError:
        where = f"{self._host}:{self._port}"
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return ConfigurationError(
                f"port {self._port} of {self._host} is in use",
                hint="stop what listens there, or take another port; 0 is any that is free",
            )
        if isinstance(error, OSError) and error.errno == errno.EACCES:
            return ConfigurationError(
                f"this user may not listen on {where}", hint="take a port from 1024 upwards"
            )
        if isinstance(error, socket.gaierror | UnicodeError):
            return ConfigurationError(
                f"{self._host!r} is no address of this machine", hint="try 127.0.0.1"
            )
        return ConfigurationError(f"cannot listen on {where}: {error}")
