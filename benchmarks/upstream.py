"""A provider that answers every request alike and costs always the same.

A body that asks for a stream gets `STREAM_TEXT` in 20 events, each sent on its own; any other
request gets `UNARY_TEXT`. It prints its base URL and serves until its standard input is closed.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from typing import Any, Final

__all__ = ["PROMPTS", "STREAM_TEXT", "UNARY_TEXT"]

PROMPTS: Final[list[list[Any]]] = [
    [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Tell me about the sea. " + "Mind the tides. " * length},
    ]
    for length in range(40)
]
"""What every benchmark asks, in turn: requests of one length would flatter whoever keeps what
follows from a length."""
UNARY_TEXT: Final = (
    "The sea is never quite the same twice, and whoever has watched it for a morning "
    "from the end of a pier has seen more weather than most books hold."
)
_WORDS: Final = [f"word{number:02d} " for number in range(20)]
STREAM_TEXT: Final = "".join(_WORDS)

_HEAD: Final = {"id": "chatcmpl-1", "created": 1_760_000_000, "model": "mock"}
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAM: Final = re.compile(rb'"stream": *true')


def _usage(completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": 24,
        "completion_tokens": completion_tokens,
        "total_tokens": 24 + completion_tokens,
    }


def _unary() -> bytes:
    message = {"role": "assistant", "content": UNARY_TEXT, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    completion = {**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _usage(32)}
    body = json.dumps(completion).encode()
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return head.encode() % len(body) + body


def _event(**facts: Any) -> bytes:
    chunk = {**_HEAD, "object": "chat.completion.chunk", **facts}
    return b"data: %b\n\n" % json.dumps(chunk, separators=(",", ":")).encode()


def _delta(delta: dict[str, str], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return _event(choices=[choice])


def _stream() -> list[bytes]:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    opening = _delta({"role": "assistant", "content": ""})
    pieces = [_delta({"content": word}) for word in _WORDS]
    end = _delta({}, "stop") + _event(choices=[], usage=_usage(20)) + b"data: [DONE]\n\n"
    first, *others = [b"%x\r\n%b\r\n" % (len(data), data) for data in (opening, *pieces, end)]
    others[-1] += b"0\r\n\r\n"
    return [head + first, *others]


class _Provider(asyncio.Protocol):
    unary: Final = _unary()
    stream: Final = _stream()

    def __init__(self) -> None:
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        head_ends = received.find(b"\r\n\r\n")
        length = _LENGTH.search(received, 0, head_ends) if head_ends > 0 else None
        if length is None or len(received) < head_ends + 4 + int(length[1]):
            self._received = received
            return
        self._received = b""
        if _STREAM.search(received, head_ends):
            for piece in self.stream:
                if self._transport.is_closing():  # the client has left
                    break
                self._transport.write(piece)
        else:
            self._transport.write(self.unary)


async def serve() -> None:
    """Serve on any free port of the loopback address."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Provider, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    ended = asyncio.Event()
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve())
