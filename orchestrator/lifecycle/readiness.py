"""Asking a server on a loopback port whether it serves yet."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import anyio

from orchestrator.core.errors import ModelError, ProcessError
from orchestrator.core.ports import Endpoint, HttpRequest, HttpResponse, Timeouts, Transport

__all__ = ["free_port", "get", "until_served"]

_FIRST_WAIT_S: Final = 0.02
_LONGEST_WAIT_S: Final = 0.5
_ONE_LOOK: Final = Timeouts(connect_s=2.0, first_token_s=10.0, idle_s=10.0)
_NO_SUCH_PATH: Final = (404, 405, 501)
_REFUSED: Final = (401, 403)


def free_port() -> int:
    """Return a port of the loopback address where nobody listens now.

    Nothing keeps it until the server takes it. Somebody else who does so first would be met by the
    server's failure to listen, and mostly by its end.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until_served(transport: Transport, endpoint: Endpoint, paths: Sequence[str]) -> None:
    """Wait until the first of these paths that the server knows answers well. Set a limit outside.

    Args:
        transport: Sends the questions.
        endpoint: Where the server is going to be.
        paths: From the server's root; one that it does not know (404) gives way to the next.

    Raises:
        ProcessError: It does not take the key that it was given.
    """
    wait_s = _FIRST_WAIT_S
    while True:
        status = await _status(transport, endpoint, paths)
        if 200 <= status < 300:
            return
        if status in _REFUSED:
            raise ProcessError(
                f"refuses the key it was given (status {status})",
                hint="say {key} where the command or its environment takes a key, or nothing",
            )
        await anyio.sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_WAIT_S)


async def get(
    transport: Transport, endpoint: Endpoint, path: str, timeouts: Timeouts = _ONE_LOOK
) -> HttpResponse:
    """Get a path from the server's root; raises as `Transport.request` does."""
    root = urlsplit(endpoint.base_url)
    headers = {}
    if endpoint.credential is not None:
        headers["Authorization"] = f"Bearer {endpoint.credential.get_secret_value()}"
    url = f"{root.scheme}://{root.netloc}{path}"
    return await transport.request(HttpRequest("GET", url, headers), timeouts)


async def _status(transport: Transport, endpoint: Endpoint, paths: Sequence[str]) -> int:
    """Return what the first path it knows answers; 0 if nobody is there yet."""
    status = 0
    for path in paths:
        try:
            status = (await get(transport, endpoint, path)).status
        except ModelError:
            return 0
        if status not in _NO_SUCH_PATH:
            break
    return status
