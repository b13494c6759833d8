from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping

import pytest

from orchestrator.core.errors import ModelAPIError, ModelError, ModelTimeoutError
from orchestrator.core.params import TextGenerationParams
from orchestrator.core.ports import Timeouts
from orchestrator.core.results import TextChunk
from orchestrator.integrations.openai_codec import OpenAICodec
from orchestrator.integrations.openai_dialect import Dialect
from orchestrator.integrations.stream_reader import StreamReader
from orchestrator.testing.loop import run_simulated

TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"
TIMES = Timeouts(connect_s=5, first_token_s=30, idle_s=10)

Step = bytes | float | Exception
"""What a body does next: it gives bytes, lets seconds pass, or breaks."""


class Body:
    """Implements `orchestrator.core.ports.HttpStream`."""

    status = 200
    headers: Mapping[str, str] = {}

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = iter(steps)

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, bytes):
                return step
            await asyncio.sleep(step)
        raise StopAsyncIteration

    async def read(self) -> bytes:
        raise AssertionError("a stream is not read whole")

    def leave(self) -> None:
        self._steps = iter(())


def repeat_steps(times: int, *steps: Step) -> list[Step]:
    return [*steps] * times


def sign(error: ModelError) -> None:
    error.model = "plain:m"


async def consumed(
    steps: Iterable[Step], consume: Callable[[], Awaitable[None]] | None = None
) -> tuple[list[TextChunk], float]:
    """Return the chunks, and the seconds it took."""
    codec = OpenAICodec(Dialect(name="plain"))
    wire = codec.encode_text("m", TextGenerationParams(prompt="Hi"), {}, stream=True)
    clock = asyncio.get_running_loop().time
    begin = clock()
    chunks = []
    async for chunk in StreamReader(Body(steps), codec.stream_decoder(wire), TIMES, sign):
        chunks.append(chunk)
        if consume is not None:
            await consume()
    return chunks, clock() - begin


def read(
    steps: Iterable[Step], consume: Callable[[], Awaitable[None]] | None = None
) -> tuple[list[TextChunk], float]:
    return run_simulated(lambda: consumed(steps, consume))


def failure_of(steps: Iterable[Step]) -> tuple[ModelTimeoutError, float]:
    async def main() -> tuple[ModelTimeoutError, float]:
        clock = asyncio.get_running_loop().time
        begin = clock()
        with pytest.raises(ModelTimeoutError) as caught:
            await consumed(steps)
        return caught.value, clock() - begin

    return run_simulated(main)


def test_a_stream_kept_alive_without_a_first_chunk_times_out():
    error, seconds = failure_of(repeat_steps(1000, 1.0, PING))
    assert (error.phase, error.model) == ("first_token", "plain:m")
    assert 30 < seconds <= 31


def test_a_stream_kept_alive_without_further_chunks_times_out():
    error, seconds = failure_of([TEXT, *repeat_steps(20, 1.0, PING)])
    assert error.phase == "idle"
    assert 10 < seconds <= 11


def test_pings_between_chunks_do_no_harm():
    chunks, _ = read([*repeat_steps(50, 9.0, PING, 1.0, TEXT), STOP, DONE])
    assert len(chunks) == 51


def test_a_slow_consumer_is_not_the_servers_fault():
    async def dawdle() -> None:
        await asyncio.sleep(60)

    chunks, _ = read([TEXT, PING, TEXT, PING, STOP, DONE], dawdle)
    assert [chunk.finish_reason for chunk in chunks] == [None, None, "stop"]


def test_a_whole_answer_is_not_held_up_by_a_connection_that_stays_open():
    chunks, seconds = read([TEXT, STOP, DONE, math.inf])
    assert chunks[-1].finish_reason == "stop"
    assert seconds == 0


def test_a_whole_answer_is_not_held_up_by_a_server_that_sends_on_for_ever():
    chunks, seconds = read([TEXT, STOP, DONE, *repeat_steps(1000, 0.25, PING)])
    assert chunks[-1].finish_reason == "stop"
    assert seconds == 0


def test_a_whole_answer_whose_usage_never_comes_is_an_answer():
    chunks, seconds = read([TEXT, STOP, *repeat_steps(1000, 1.0, PING)])
    assert chunks[-1].finish_reason == "stop"
    assert seconds <= 11


@pytest.mark.parametrize("last", [[STOP], [STOP, DONE]])
def test_a_whole_answer_whose_connection_breaks_is_an_answer(last: list[Step]):
    chunks, _ = read([TEXT, *last, ModelAPIError("reset")])
    assert chunks[-1].finish_reason == "stop"
