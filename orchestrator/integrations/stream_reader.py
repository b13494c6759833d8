"""Reading a streamed answer to its end: progress watched, the connection given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Final

from orchestrator.core.errors import ModelError, ModelTimeoutError
from orchestrator.core.ports import HttpStream, Timeouts
from orchestrator.core.results import TextChunk
from orchestrator.integrations.openai_stream import ChatStreamDecoder

__all__ = ["read_stream"]

_DRAIN_S: Final = 1.0
"""How long a finished stream may take to free its connection for the next request."""


async def read_stream(
    body: HttpStream,
    decoder: ChatStreamDecoder,
    timeouts: Timeouts,
    sign: Callable[[ModelError], None],
) -> AsyncGenerator[TextChunk, None]:
    """Yield the chunks of an answer.

    Bytes alone are no progress: a server that only keeps the connection alive runs into the same
    times as one that sends nothing. Once the answer is whole, nothing that goes wrong with its
    connection matters any more; at worst its usage is unknown.

    Args:
        body: What the server sends.
        decoder: Reads it.
        timeouts: How long the first chunk, and each further one, may take.
        sign: Puts the model's name to an error, and takes secrets out of it.

    Raises:
        ModelTimeoutError: No chunk came for too long.
        ModelError: As the transport and the decoder raise.
    """
    clock = asyncio.get_running_loop().time
    progress_at = clock()
    phase, patience_s = "first_token", timeouts.first_token_s
    try:
        async for data in body:
            if chunks := decoder.feed(data):
                for chunk in chunks:
                    yield chunk
                phase, patience_s = "idle", timeouts.idle_s
                progress_at = clock()
            elif clock() - progress_at > patience_s:
                raise ModelTimeoutError(
                    f"the stream was kept alive, but no chunk came for {patience_s:g} s",
                    phase=phase,
                )
            if decoder.done:
                break
        else:
            for chunk in decoder.finish():
                yield chunk
    except ModelError as error:
        if not decoder.complete:
            sign(error)
            raise
    if decoder.done:
        with suppress(ModelError, TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                async for _ in body:
                    pass
