"""A load generator, for machines without `wrk`: so many connections that post without pause.

``python -m benchmarks.load URL SECONDS CONNECTIONS FILE`` posts the lines of the file in turn and
prints one JSON object.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

__all__ = ["drive"]

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LAST_CHUNK: Final = b"\r\n0\r\n\r\n"


class _Connection(asyncio.Protocol):
    """Posts, waits for the whole answer, posts again."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.latencies_s: list[float] = []
        self.refused = 0
        self._requests = requests
        self._received = b""
        self._begun = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._post()

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        head_ends = received.find(b"\r\n\r\n")
        if head_ends < 0:
            return
        length = _LENGTH.search(received, 0, head_ends)
        whole = (
            received.endswith(_LAST_CHUNK)
            if length is None
            else len(received) >= head_ends + 4 + int(length[1])
        )
        if whole:
            self.latencies_s.append(time.perf_counter() - self._begun)
            self.refused += not received.startswith(b"HTTP/1.1 200")
            self._post()

    def _post(self) -> None:
        self._received = b""
        self._begun = time.perf_counter()
        self._transport.write(next(self._requests))


async def drive(
    url: str, seconds: float, n_connections: int, bodies: Sequence[bytes]
) -> dict[str, float]:
    """Return how many requests were answered in how many seconds, and how long they took."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    host, port = parts.hostname, parts.port
    head = (
        b"POST %b HTTP/1.1\r\nHost: %b\r\nContent-Type: application/json\r\n"
        b"Content-Length: %%d\r\n\r\n"
    ) % (parts.path.encode(), parts.netloc.encode())
    requests = itertools.cycle([head % len(body) + body for body in bodies])
    loop = asyncio.get_running_loop()
    begun = time.perf_counter()
    connections = [
        (await loop.create_connection(lambda: _Connection(requests), host, port))[1]
        for _ in range(n_connections)
    ]
    await asyncio.sleep(seconds)
    took = time.perf_counter() - begun
    latencies_s = sorted(s for connection in connections for s in connection.latencies_s)
    return {
        "requests": len(latencies_s),
        "seconds": took,
        "p99_ms": latencies_s[int(0.99 * len(latencies_s))] * 1e3,
        "errors": sum(connection.refused for connection in connections),
    }


if __name__ == "__main__":
    _, _url, _seconds, _connections, _file = sys.argv
    _bodies = Path(_file).read_bytes().splitlines()
    print(json.dumps(asyncio.run(drive(_url, float(_seconds), int(_connections), _bodies))))
