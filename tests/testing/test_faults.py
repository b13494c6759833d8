"""Faults rewrite an answer's steps purely, and a plan draws them the same way each time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from itertools import islice

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.testing.answer import (
    Answer,
    Hang,
    Head,
    Piece,
    Refuse,
    Reset,
    Send,
    Step,
    Wait,
    whole,
)
from orchestrator.testing.faults import (
    Cut,
    Dripping,
    Dropped,
    Endless,
    Fault,
    FaultPlan,
    Garbled,
    Instead,
    Late,
    Recut,
    Refused,
    Stalled,
    Truncated,
    apply,
    failure,
    html_page,
)

seconds = st.floats(0, 10)
pieces = st.lists(st.builds(Piece, st.binary(min_size=1, max_size=30), seconds), max_size=8)
streams = st.builds(
    Answer, pieces.map(tuple), headers=st.just({"content-type": "text/event-stream"})
)
bodies = st.builds(whole, st.binary(max_size=200), after_s=seconds)
answers = streams | bodies
offsets = st.integers(0, 300)


def sent(steps: Iterable[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Send))


def waited(steps: Iterable[Step]) -> float:
    return math.fsum(step.seconds for step in steps if isinstance(step, Wait))


def head(steps: Iterable[Step]) -> Head:
    [only] = [step for step in steps if isinstance(step, Head)]
    return only


class TestAnswers:
    @given(answers)
    def test_without_a_fault_the_answer_is_sent_as_it_is(self, answer: Answer) -> None:
        steps = list(apply(None, answer))
        assert sent(steps) == answer.body
        assert head(steps) == Head(200, answer.headers)
        assert not any(isinstance(step, Reset | Refuse | Hang) for step in steps)

    def test_a_whole_answer_states_its_length(self) -> None:
        answer = whole(b"{}", status=201, headers={"x-request-id": "1"}, after_s=2)
        assert list(answer.steps()) == [
            Wait(2),
            Head(
                201,
                {"content-type": "application/json", "content-length": "2", "x-request-id": "1"},
            ),
            Send(b"{}"),
        ]


class TestConnections:
    @given(answers)
    def test_a_refused_connection_shows_nothing_of_the_answer(self, answer: Answer) -> None:
        assert list(apply(Refused(), answer)) == [Refuse()]

    @given(answers)
    def test_a_dropped_connection_is_reset_before_the_head(self, answer: Answer) -> None:
        assert list(apply(Dropped(), answer)) == [Reset()]

    @given(answers, offsets)
    def test_a_cut_sends_exactly_the_bytes_before_it(self, answer: Answer, offset: int) -> None:
        *steps, last = apply(Cut(offset), answer)
        assert last == Reset()
        assert sent(steps) == answer.body[:offset]
        assert head(steps).headers == answer.headers

    @given(answers, offsets)
    def test_a_stall_for_ever_ends_in_silence(self, answer: Answer, offset: int) -> None:
        *steps, last = apply(Stalled(offset), answer)
        assert last == Hang()
        assert sent(steps) == answer.body[:offset]

    @given(answers, offsets)
    def test_a_stall_for_a_time_delays_the_rest(self, answer: Answer, offset: int) -> None:
        steps = list(apply(Stalled(offset, for_s=7.5), answer))
        assert sent(steps) == answer.body
        assert waited(steps) == pytest.approx(waited(answer.steps()) + 7.5)
        stall = steps.index(Wait(7.5))
        assert sent(steps[:stall]) == answer.body[:offset]


class TestPace:
    @given(answers)
    def test_a_late_answer_is_the_same_answer(self, answer: Answer) -> None:
        first, *rest = apply(Late(3.0), answer)
        assert first == Wait(3.0)
        assert rest == list(answer.steps())

    def test_later_than_ever_is_never(self) -> None:
        assert list(apply(Late(math.inf), whole(b"{}"))) == [Hang()]

    @given(answers, st.integers(1, 20))
    def test_a_drip_sends_the_same_bytes_drop_by_drop(self, answer: Answer, size: int) -> None:
        steps = list(apply(Dripping(size, every_s=0.25), answer))
        assert sent(steps) == answer.body
        drops = [step.data for step in steps if isinstance(step, Send)]
        assert all(len(drop) == size for drop in drops[:-1])
        assert steps.count(Wait(0.25)) >= len(drops)

    @given(answers, st.integers(), st.integers(1, 9))
    def test_recutting_keeps_the_bytes_and_moves_the_boundaries(
        self, answer: Answer, seed: int, most: int
    ) -> None:
        steps = list(apply(Recut(seed, most), answer))
        assert sent(steps) == answer.body
        assert all(1 <= len(step.data) <= most for step in steps if isinstance(step, Send))
        assert steps == list(apply(Recut(seed, most), answer))

    def test_different_seeds_cut_differently(self) -> None:
        answer = whole(bytes(200))
        assert len({tuple(map(repr, apply(Recut(seed), answer))) for seed in range(10)}) == 10


class TestBodies:
    @given(answers, st.floats(0, 1))
    def test_a_truncated_answer_ends_as_if_it_were_complete(
        self, answer: Answer, share: float
    ) -> None:
        steps = list(apply(Truncated(share), answer))
        body = sent(steps)
        assert answer.body.startswith(body)
        assert len(body) == int(len(answer.body) * share)
        assert "content-length" not in head(steps).headers
        assert all(isinstance(step, Head | Send | Wait) for step in steps)

    def test_half_a_json_is_no_json(self) -> None:
        body = sent(apply(Truncated(), whole(b'{"choices": []}')))
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(body)

    @given(answers, st.integers(0, 9))
    def test_junk_stands_between_whole_pieces(self, answer: Answer, after: int) -> None:
        steps = list(apply(Garbled(after, b"<junk>"), answer))
        start = b"".join(piece.data for piece in answer.pieces[:after])
        assert sent(steps) == start + b"<junk>" + answer.body[len(start) :]
        assert "content-length" not in head(steps).headers

    def test_the_usual_junk_is_an_event_without_json(self) -> None:
        event = Garbled().junk
        assert event.startswith(b"data: ")
        assert event.endswith(b"\n\n")
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(event.removeprefix(b"data: "))

    def test_an_endless_stream_goes_on_and_time_passes(self) -> None:
        answer = Answer((Piece(b"a"), Piece(b"b"), Piece(b"[DONE]")))
        steps = list(islice(apply(Endless(2, b".", every_s=0.5), answer), 2_003))
        assert sent(steps) == b"ab" + b"." * 1_000
        assert waited(steps) == 500

    def test_an_endless_stream_must_let_time_pass(self) -> None:
        with pytest.raises(ValueError, match="time has to pass"):
            Endless(every_s=0)

    @given(answers)
    def test_something_else_replaces_head_and_body(self, answer: Answer) -> None:
        fault = Instead(418, b"teapot", "text/plain", {"x-short": "stout"})
        assert list(apply(fault, answer)) == [
            Head(418, {"content-type": "text/plain", "content-length": "6", "x-short": "stout"}),
            Send(b"teapot"),
        ]

    def test_an_html_page_claims_success(self) -> None:
        steps = list(apply(html_page(), whole(b"{}")))
        assert head(steps).status == 200
        assert head(steps).headers["content-type"] == "text/html"
        assert sent(steps).startswith(b"<!DOCTYPE html>")

    @pytest.mark.parametrize(
        ("fault", "status", "type_", "code"),
        [
            (failure(429, retry_after_s=2), 429, "requests", "rate_limit_exceeded"),
            (failure(500), 500, "server_error", None),
            (failure(503), 503, "server_error", None),
            (failure(401), 401, "invalid_request_error", "invalid_api_key"),
            (
                failure(400, code="context_length_exceeded"),
                400,
                "invalid_request_error",
                "context_length_exceeded",
            ),
        ],
    )
    def test_failures_look_as_a_provider_words_them(
        self, fault: Instead, status: int, type_: str, code: str | None
    ) -> None:
        steps = list(apply(fault, whole(b"{}")))
        error = orjson.loads(sent(steps))["error"]
        assert head(steps).status == status
        assert (error["type"], error["code"]) == (type_, code)
        assert error["message"]

    def test_a_failure_says_when_to_retry_only_if_told(self) -> None:
        assert failure(429, retry_after_s=1.5).headers == {"retry-after": "1.5"}
        assert failure(429).headers == {}


class TestPlans:
    faults: tuple[tuple[Fault, float], ...] = ((failure(500), 0.2), (Dropped(), 0.1))

    def test_a_plan_without_faults_lets_all_pass(self) -> None:
        assert {FaultPlan().draw(index) for index in range(100)} == {None}

    def test_draws_depend_on_seed_and_index_alone(self) -> None:
        forward = [FaultPlan(self.faults, seed=7).draw(index) for index in range(500)]
        backward = [FaultPlan(self.faults, seed=7).draw(index) for index in range(499, -1, -1)]
        assert forward == backward[::-1]
        assert forward != [FaultPlan(self.faults, seed=8).draw(index) for index in range(500)]

    def test_faults_come_as_often_as_their_probability_says(self) -> None:
        n = 20_000
        plan = FaultPlan(self.faults, seed=1)
        counts = Counter(type(plan.draw(index)) for index in range(n))
        for kind, probability in ((Instead, 0.2), (Dropped, 0.1), (type(None), 0.7)):
            # Five standard deviations of a binomial count; the seed is fixed besides.
            margin = 5 * math.sqrt(n * probability * (1 - probability))
            assert abs(counts[kind] - n * probability) < margin

    def test_a_script_comes_first_and_in_order(self) -> None:
        script = [failure(500), None, Dropped()]
        plan = FaultPlan([(Refused(), 1.0)], script=script)
        assert [plan.draw(index) for index in range(5)] == [*script, Refused(), Refused()]

    def test_a_sure_fault_always_comes(self) -> None:
        plan = FaultPlan([(Dropped(), 0.3), (Refused(), 0.7)])
        assert None not in {plan.draw(index) for index in range(5_000)}

    @pytest.mark.parametrize("probabilities", [(-0.1,), (0.6, 0.5), (math.nan,)])
    def test_impossible_probabilities_are_refused(self, probabilities: tuple[float, ...]) -> None:
        with pytest.raises(ValueError, match="probabilities"):
            FaultPlan([(Dropped(), probability) for probability in probabilities])
