from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from orchestrator import Model, Orchestrator, Price, Timeouts
from orchestrator.core.errors import (
    AttemptsExhaustedError,
    DeadlineExceededError,
    InvalidRequestError,
    ModelAPIError,
    ModelTimeoutError,
    NoEligibleModelsError,
    StreamInterruptedError,
)
from orchestrator.core.events import CallFailed, FailedOver, ModelUsed
from orchestrator.core.model import Call
from orchestrator.core.params import TextGenerationParams
from orchestrator.core.results import TextChunk, ToolCall, ToolCallDelta, Usage
from orchestrator.core.tokens import estimate_tokens
from tests.engine.world import down, engine, invalid, listen, pending, says, simulated

FIRST, SECOND = TextChunk(text="Hello "), TextChunk(text="world")
END = TextChunk(finish_reason="stop")


@dataclass(frozen=True)
class Pause:
    """Nothing arrives for a while."""

    seconds: float


@dataclass(eq=False)
class Opened:
    """One stream that a model began."""

    params: TextGenerationParams
    closed_at: float | None = None


@dataclass(frozen=True)
class Closing:
    """How closing a stream goes."""

    takes_s: float = 0.0
    error: Exception | None = None


class Streams(Model):
    """Sends, stream after stream, the pieces it was given; the last stream again and again."""

    def __init__(self, name: str, *streams: list[Any], **facts: Any) -> None:
        self.streams = streams
        self.closing = facts.pop("closing", Closing())
        self.opened: list[Opened] = []
        facts.setdefault("capabilities", ("text_generation", "streaming"))
        super().__init__(name, "p", **facts)

    @asynccontextmanager
    async def _stream(
        self, params: TextGenerationParams, call: Call
    ) -> AsyncIterator[AsyncIterator[TextChunk]]:
        pieces = self.streams[min(len(self.opened), len(self.streams) - 1)]
        opened = Opened(params)
        self.opened.append(opened)
        try:
            yield self._send(pieces)
        finally:
            await asyncio.sleep(self.closing.takes_s)
            opened.closed_at = asyncio.get_running_loop().time()
            if self.closing.error is not None:
                raise self.closing.error

    async def _send(self, pieces: list[Any]) -> AsyncIterator[TextChunk]:
        for piece in pieces:
            if isinstance(piece, Pause):
                await asyncio.sleep(piece.seconds)
            elif isinstance(piece, Exception):
                raise piece
            else:
                yield piece


async def read(orchestrator: Orchestrator, **options: Any) -> tuple[list[TextChunk], Any]:
    """Read a stream to its end and return its chunks, and itself."""
    async with orchestrator.stream("hi", **options) as stream:
        return [chunk async for chunk in stream], stream


def text_of(chunks: list[TextChunk]) -> str:
    return "".join(chunk.text for chunk in chunks)


# -- an answer in pieces -----------------------------------------------------------------------


@simulated
async def test_an_answer_arrives_in_pieces_and_is_whole_in_the_end():
    model = Streams("a", [Pause(2), FIRST, Pause(3), SECOND, END, TextChunk(usage=Usage(10, 2))])
    async with engine(model) as orchestrator:
        used = listen(orchestrator, ModelUsed)
        chunks, stream = await read(orchestrator)

        assert pending(orchestrator) == 0
        assert orchestrator.get_model_statistics()["p:a"]["tokens_out"] == 2

    result = stream.result
    assert text_of(chunks) == result.text == "Hello world"
    assert (result.usage, result.answer.finish_reason) == (Usage(10, 2), "stop")
    assert (result.first_token_s, result.latency_s) == (2.0, 5.0)
    assert (stream.model, stream.decision_id) == ("p:a", result.decision_id)
    assert [(e.first_token_s, e.latency_s) for e in used] == [(2.0, 5.0)]
    assert model.opened[0].closed_at == 5.0


@simulated
async def test_usage_that_nobody_reports_is_estimated():
    async with engine(Streams("a", [FIRST, SECOND, END])) as orchestrator:
        _, stream = await read(orchestrator)

    assert stream.result.usage.estimated
    assert stream.result.usage.completion_tokens == estimate_tokens("Hello world")


@simulated
async def test_calls_of_tools_are_put_together_from_their_pieces():
    pieces = [
        TextChunk(tool_calls=(ToolCallDelta(1, "call-b", "second", '{"x"'),)),
        TextChunk(tool_calls=(ToolCallDelta(0, "call-a", "first", "{}"), ToolCallDelta(1))),
        TextChunk(tool_calls=(ToolCallDelta(1, arguments=": 1}"),), finish_reason="tool_calls"),
    ]
    async with engine(Streams("a", pieces)) as orchestrator:
        _, stream = await read(orchestrator)

    assert stream.result.tool_calls == (
        ToolCall("call-a", "first", "{}"),
        ToolCall("call-b", "second", '{"x": 1}'),
    )
    assert stream.result.answer.finish_reason == "tool_calls"


@simulated
async def test_everything_that_arrives_is_part_of_the_answer():
    pieces = [
        TextChunk(reasoning="I think, "),
        TextChunk(reasoning="so I speak", model_version="a-2026"),
        TextChunk(text="Hi"),
        TextChunk(refusal="but no more"),
        TextChunk(finish_reason="stop", warnings=("seed is ignored",)),
        TextChunk(warnings=("seed is ignored",)),
    ]
    async with engine(Streams("a", pieces)) as orchestrator:
        _, stream = await read(orchestrator)

    answer = stream.result.answer
    assert (answer.text, answer.reasoning) == ("Hi", "I think, so I speak")
    assert (answer.refusal, answer.warnings) == ("but no more", ("seed is ignored",))
    assert answer.model_version == "a-2026"


@simulated
async def test_an_answer_may_be_empty():
    async with engine(Streams("a", [END])) as orchestrator:
        chunks, stream = await read(orchestrator)

    assert (text_of(chunks), stream.result.text) == ("", "")


@simulated
async def test_only_a_model_that_streams_is_asked_for_a_stream():
    class Whole(Model):
        async def generate_response(self, prompt: str, **options: Any) -> str:
            return "whole"

    async with engine(Whole("a", "p"), says("b")) as orchestrator:
        _, stream = await read(orchestrator)
        assert stream.model == "p:b"
        with pytest.raises(NoEligibleModelsError, match="it lacks streaming"):
            await read(orchestrator, model="a")


# -- until the first token ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [
        [down()],
        [Pause(1), down()],
        [ValueError("on purpose")],
        [TextChunk(), down()],
        [],
        [TextChunk()],
        [TextChunk(model_version="a-2026"), Pause(100)],
    ],
    ids=["at once", "late", "any error", "after nothing", "ended", "ended too", "silent"],
)
@simulated
async def test_a_stream_cut_before_its_first_token_fails_over(start: list[Any]):
    first, second = Streams("a", start), Streams("b", [FIRST, SECOND, END])
    async with engine(first, second) as orchestrator:
        told = listen(orchestrator, FailedOver)
        chunks, stream = await read(orchestrator)

        assert pending(orchestrator) == 0
        assert orchestrator.get_model_statistics()["p:a"]["ok"] == 0
    assert text_of(chunks) == "Hello world"
    assert [a.model for a in stream.result.attempts] == ["p:a", "p:b"]
    assert [(e.from_model, e.to_model) for e in told] == [("p:a", "p:b")]
    assert first.opened[0].closed_at is not None
    assert not any(chunk.restarted for chunk in chunks)
    assert stream.result.answer.model_version is None, "the first model's was not part of it"


@simulated
async def test_silence_before_the_first_token_has_a_limit_of_its_own():
    silent = Streams("a", [Pause(7), FIRST, END])
    limits = Timeouts(first_token_s=5.0, idle_s=60.0)
    async with engine(silent, says("b"), timeouts=limits) as orchestrator:
        _, stream = await read(orchestrator)

    error = stream.result.attempts[0].error
    assert isinstance(error, ModelTimeoutError)
    assert error.phase == "first_token"


@simulated
async def test_if_nobody_begins_every_attempt_is_there():
    async with engine(Streams("a", [down()]), Streams("b", [down()])) as orchestrator:
        failures = listen(orchestrator, CallFailed)
        with pytest.raises(AttemptsExhaustedError) as exhausted:
            await read(orchestrator)

        assert pending(orchestrator) == 0
    assert {f.request_id for f in failures} == {exhausted.value.request_id}
    assert len(exhausted.value.attempts) == len(failures) == 5


@simulated
async def test_the_callers_fault_ends_a_stream_before_it_began():
    other = Streams("b", [FIRST, END])
    async with engine(Streams("a", [invalid()]), other) as orchestrator:
        with pytest.raises(ModelAPIError, match="no such option"):
            await read(orchestrator)

    assert other.opened == []


@simulated
async def test_the_deadline_ends_at_the_first_token():
    slow = Streams("a", [Pause(3), FIRST, Pause(20), SECOND, END])
    async with engine(slow) as orchestrator:
        chunks, _ = await read(orchestrator, deadline_s=5.0)
        with pytest.raises(DeadlineExceededError, match="no first token within 2 s"):
            await read(orchestrator, deadline_s=2.0)

        statistics = orchestrator.get_model_statistics()["p:a"]
        assert (statistics["calls"], statistics["ok"]) == (2, 1)
        assert pending(orchestrator) == 0
    assert text_of(chunks) == "Hello world"
    assert slow.opened[1].closed_at is not None


# -- after it ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cut", [[down()], [Pause(31), SECOND], [ValueError("on purpose")]], ids=["cut", "idle", "any"]
)
@simulated
async def test_a_stream_cut_later_ends_in_a_typed_error_with_what_had_arrived(cut: list[Any]):
    first, second = Streams("a", [FIRST, *cut]), Streams("b", [FIRST, END])
    seen = ""
    async with engine(first, second) as orchestrator:
        failures = listen(orchestrator, CallFailed)
        with pytest.raises(StreamInterruptedError, match="p:a broke off after 6") as broken:
            async with orchestrator.stream("hi") as stream:
                async for chunk in stream:
                    seen += chunk.text

        assert pending(orchestrator) == 0
        assert orchestrator.get_model_statistics()["p:a"]["calls"] == 1
    assert (broken.value.partial_text, seen) == ("Hello ", "Hello ")
    assert (broken.value.model, broken.value.request_id) == ("p:a", failures[0].request_id)
    assert broken.value.__cause__ is not None
    assert second.opened == []


@simulated
async def test_what_was_written_before_the_cut_is_paid_for():
    model = Streams("a", [FIRST, down()], price=Price.per_1k(0, 1.0))
    async with engine(model, budget_usd_per_day=100.0) as orchestrator:
        failures = listen(orchestrator, CallFailed)
        with pytest.raises(StreamInterruptedError):
            await read(orchestrator)

        spent = orchestrator.spent_today_usd
        assert orchestrator.get_model_statistics()["p:a"]["cost"] == spent
    assert failures[0].cost_usd == spent == pytest.approx(estimate_tokens("Hello ") / 1000)


@simulated
async def test_a_restart_begins_anew_with_another_model_and_says_so():
    first, second = Streams("a", [FIRST, down()]), Streams("b", [SECOND, END])
    async with engine(first, second) as orchestrator:
        chunks, stream = await read(orchestrator, on_interrupt="restart")

        assert pending(orchestrator) == 0
    assert [(c.text, c.restarted) for c in chunks] == [
        ("Hello ", False),
        ("", True),
        ("world", False),
        ("", False),
    ]
    assert (stream.result.text, stream.model) == ("world", "p:b")
    assert [a.model for a in stream.result.attempts] == ["p:a", "p:b"]
    assert second.opened[0].params == first.opened[0].params


@simulated
async def test_a_restart_that_fails_itself_is_still_announced_by_the_next():
    models = (
        Streams("a", [FIRST, down()]),
        Streams("b", [down()]),
        Streams("c", [SECOND, down()]),
        Streams("d", [TextChunk(text="!"), END]),
    )
    async with engine(*models) as orchestrator:
        chunks, stream = await read(orchestrator, on_interrupt="restart")

    assert [c.text or c.restarted for c in chunks] == ["Hello ", True, "world", True, "!", False]
    assert stream.result.text == "!"
    assert [a.model for a in stream.result.attempts] == ["p:a", "p:b", "p:c", "p:d"]


@simulated
async def test_one_model_alone_may_restart_itself():
    model = Streams("a", [FIRST, down()], [FIRST, SECOND, END])
    async with engine(model) as orchestrator:
        _, stream = await read(orchestrator, on_interrupt="restart")

    assert stream.result.text == "Hello world"
    assert len(model.opened) == 2


@simulated
async def test_going_on_gives_the_next_model_what_has_arrived():
    first = Streams("a", [FIRST, down()], price=Price.per_1k(1, 1))
    second = Streams("b", [SECOND, END], price=Price.per_1k(1, 1))
    async with engine(first, second) as orchestrator:
        chunks, stream = await read(orchestrator, on_interrupt="continue", system_prompt="be kind")

        costs = {key: t["cost"] for key, t in orchestrator.get_model_statistics().items()}
        tokens = orchestrator.get_model_statistics()["p:b"]["tokens_out"]
    assert text_of(chunks) == stream.result.text == "Hello world"
    assert not any(c.restarted for c in chunks)
    assert second.opened[0].params.conversation() == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello "},
    ]
    assert tokens == estimate_tokens("world"), "what the first wrote is not the second's"
    assert stream.result.cost_usd == pytest.approx(sum(costs.values()))


@simulated
async def test_going_on_twice_tells_everything_once():
    models = (
        Streams("a", [FIRST, TextChunk(usage=Usage(5, 1)), down()]),
        Streams("b", [SECOND, down()]),
        Streams("c", [TextChunk(text="!"), END]),
    )
    async with engine(*models) as orchestrator:
        _, stream = await read(orchestrator, on_interrupt="continue")

    assert stream.result.text == "Hello world!"
    assert models[2].opened[0].params.conversation() == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello world"},
    ]
    assert stream.result.usage.estimated, "the first model's count is not the last one's"


@pytest.mark.parametrize("on_interrupt", ["restart", "continue"])
@simulated
async def test_if_nobody_can_go_on_the_error_holds_what_had_arrived(on_interrupt: Any):
    models = Streams("a", [FIRST, down()], [down()]), Streams("b", [down()])
    async with engine(*models) as orchestrator:
        with pytest.raises(StreamInterruptedError) as broken:
            await read(orchestrator, on_interrupt=on_interrupt)

        assert pending(orchestrator) == 0
    assert broken.value.partial_text == "Hello "
    assert isinstance(broken.value.__cause__, AttemptsExhaustedError)
    assert str(broken.value).startswith("p:a broke off after 6 characters, and nobody went on: ")
    assert broken.value.hint is None


# -- leaving early -----------------------------------------------------------------------------


@simulated
async def test_a_stream_that_is_left_early_is_no_outcome_but_costs_what_it_wrote():
    model = Streams("a", [FIRST, Pause(1), SECOND, END], price=Price.per_1k(0, 1.0))
    async with engine(model, budget_usd_per_day=100.0) as orchestrator:
        failures = listen(orchestrator, CallFailed)
        async with orchestrator.stream("hi") as stream:
            await anext(stream)

        statistics, spent = orchestrator.get_model_statistics()["p:a"], orchestrator.spent_today_usd
        assert (statistics["calls"], statistics["expired"]) == (0, 1)
        assert statistics["cost"] == spent == pytest.approx(estimate_tokens("Hello ") / 1000)
        assert pending(orchestrator) == 0
    assert [f.classification for f in failures] == ["cancelled"]
    assert model.opened[0].closed_at == 0.0


@simulated
async def test_who_leaves_after_all_was_said_has_the_whole_answer():
    model = Streams("a", [FIRST, SECOND, END, Pause(5), TextChunk(usage=Usage(10, 2))])
    async with engine(model) as orchestrator:
        async with orchestrator.stream("hi") as stream:
            async for chunk in stream:
                if chunk.finish_reason:
                    break

        statistics = orchestrator.get_model_statistics()["p:a"]
        assert (statistics["ok"], statistics["expired"]) == (1, 0)
    assert stream.result.text == "Hello world"
    assert model.opened[0].closed_at == 0.0


@pytest.mark.parametrize("at_s", [1.0, 3.0], ids=["before the first token", "after it"])
@simulated
async def test_a_cancelled_stream_closes_its_connection_and_leaves_nothing_pending(at_s: float):
    model = Streams("a", [Pause(2), FIRST, Pause(10), SECOND, END])
    async with engine(model) as orchestrator:
        reading = asyncio.create_task(read(orchestrator))
        await asyncio.sleep(at_s)
        reading.cancel()
        await asyncio.wait([reading])

        assert reading.cancelled()
        assert orchestrator.get_model_statistics()["p:a"]["expired"] == 1
        assert pending(orchestrator) == 0
    assert model.opened[0].closed_at == at_s


@simulated
async def test_cancelled_again_while_it_is_closing_it_still_settles():
    model = Streams("a", [Pause(2), FIRST], closing=Closing(takes_s=1.0))
    async with engine(model) as orchestrator:
        reading = asyncio.create_task(read(orchestrator))
        await asyncio.sleep(1)
        reading.cancel()
        await asyncio.sleep(0.5)
        reading.cancel()
        await asyncio.wait([reading])

        assert reading.cancelled()
        assert pending(orchestrator) == 0


@simulated
async def test_cancelled_while_a_failed_attempt_is_closing_it_settles():
    model = Streams("a", [down()], closing=Closing(takes_s=1.0))
    async with engine(model, Streams("b", [FIRST, END])) as orchestrator:
        reading = asyncio.create_task(read(orchestrator))
        await asyncio.sleep(0.5)
        reading.cancel()
        await asyncio.wait([reading])

        assert reading.cancelled()
        assert pending(orchestrator) == 0


@simulated
async def test_a_connection_that_will_not_close_is_given_up():
    model = Streams("a", [down()], closing=Closing(takes_s=1000.0))
    async with engine(model, Streams("b", [FIRST, END])) as orchestrator:
        _, stream = await read(orchestrator)

    assert stream.model == "p:b"
    assert stream.result.latency_s == 2.0


@simulated
async def test_what_goes_wrong_in_closing_changes_nothing():
    broken = Closing(error=OSError("the socket is gone"))
    async with engine(
        Streams("a", [down()], closing=broken), Streams("b", [FIRST, END], closing=broken)
    ) as orchestrator:
        chunks, stream = await read(orchestrator)

        assert pending(orchestrator) == 0
    assert (text_of(chunks), stream.result.text) == ("Hello ", "Hello ")


@simulated
async def test_an_error_in_the_callers_own_code_passes_through():
    async with engine(Streams("a", [FIRST, SECOND, END])) as orchestrator:
        with pytest.raises(KeyError, match="mine"):
            async with orchestrator.stream("hi") as stream:
                async for _ in stream:
                    raise KeyError("mine")

        assert pending(orchestrator) == 0


# -- using it wrongly --------------------------------------------------------------------------


@simulated
async def test_a_stream_has_to_be_entered_and_read():
    async with engine(Streams("a", [FIRST, END])) as orchestrator:
        stream = orchestrator.stream("hi")
        with pytest.raises(InvalidRequestError, match="async with"):
            await anext(stream)
        with pytest.raises(InvalidRequestError, match="async with"):
            assert stream.model
        with pytest.raises(InvalidRequestError, match="async with"):
            _ = stream.result
        async with stream:
            with pytest.raises(InvalidRequestError, match="has not ended"):
                _ = stream.result
        with pytest.raises(InvalidRequestError, match="was left before its end"):
            _ = stream.result
        assert orchestrator.get_model_statistics()["p:a"]["opened"] == 1


@simulated
async def test_a_streams_time_begins_when_it_is_entered():
    async with engine(Streams("a", [Pause(2), down()], [FIRST, END])) as orchestrator:
        stream = orchestrator.stream("hi", deadline_s=10.0)
        await asyncio.sleep(60)
        async with stream:
            assert text_of([chunk async for chunk in stream]) == "Hello "

    assert stream.result.latency_s < 10
    assert stream.result.attempts[0].started_s == 0


@pytest.mark.parametrize("wrong", ["retry", "", None])
@simulated
async def test_what_to_do_on_an_interruption_is_one_of_three(wrong: Any):
    async with engine(Streams("a", [FIRST, END])) as orchestrator:
        with pytest.raises(InvalidRequestError, match="error, restart, continue") as refusal:
            orchestrator.stream("hi", on_interrupt=wrong)

    assert refusal.value.param == "on_interrupt"
