"""Reading a streamed answer to its end: progress watched, the connection given back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from orchestrator.core.errors import ModelError, ModelTimeoutError
from orchestrator.core.ports import HttpStream, Timeouts
from orchestrator.core.results import TextChunk
from orchestrator.integrations.openai_stream import ChatStreamDecoder

__all__ = ["StreamReader"]


class StreamReader:
    """Iterates over the chunks of an answer.

    Bytes alone are no progress: a server that only keeps the connection alive runs into the same
    times as one that sends nothing. Once the answer is whole, nothing that goes wrong with its
    connection matters any more; at worst its usage is unknown.

    Iterating raises `ModelTimeoutError` if no chunk came for too long, and every `ModelError` that
    the transport and the decoder raise.

    Args:
        body: What the server sends.
        decoder: Reads it.
        timeouts: How long the first chunk, and each further one, may take.
        sign: Puts the model's name to an error, and takes secrets out of it.
    """

    __slots__ = ("_body", "_clock", "_decoder", "_ended", "_next", "_sign", "_wait")

    def __init__(
        self,
        body: HttpStream,
        decoder: ChatStreamDecoder,
        timeouts: Timeouts,
        sign: Callable[[ModelError], None],
    ) -> None:
        self._body = body
        self._decoder = decoder
        self._sign = sign
        self._clock = asyncio.get_running_loop().time
        self._wait = [("idle", timeouts.idle_s), ("first_token", timeouts.first_token_s)]
        self._next: list[TextChunk] = []
        self._ended = False

    def __aiter__(self) -> StreamReader:
        return self

    @property
    def ready(self) -> bool:
        """Whether the next chunk, or the end, is there without waiting."""
        return bool(self._next) or self._ended

    async def __anext__(self) -> TextChunk:
        ready = self._next
        if ready:
            return ready.pop(0)
        since = self._clock()  # not since the last chunk, which its reader may have pondered
        while not ready:
            if self._ended:
                raise StopAsyncIteration
            try:
                ready += await self._read(since)
            except ModelError as error:
                self._ended = True
                if not self._decoder.complete:
                    self._sign(error)
                    raise
        return ready.pop(0)

    async def _read(self, since: float) -> Sequence[TextChunk]:
        try:
            data = await self._body.__anext__()
        except StopAsyncIteration:
            self._ended = True
            return self._decoder.finish()
        decoder = self._decoder
        chunks = decoder.feed(data)
        if decoder.done:
            self._ended = True
            self._body.leave()
        if chunks:
            del self._wait[1:]
            return chunks
        phase, patience_s = self._wait[-1]
        if self._clock() - since > patience_s and not self._ended:
            raise ModelTimeoutError(
                f"the stream was kept alive, but no chunk came for {patience_s:g} s", phase=phase
            )
        return ()
