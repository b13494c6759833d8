from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.lifecycle.liveness import Liveliness

looks = st.lists(
    st.tuples(
        st.floats(0.01, 100),  # seconds since the last look
        st.floats(0, 1),  # share of them it computed
        st.sampled_from(["not asked", "answered", "silent"]),
    )
)


def test_silence_at_rest_counts_and_an_answer_ends_it():
    seen = Liveliness(0, 1.0)
    seen = seen.seen(30, 1.0).silent()
    seen = seen.seen(50, 1.0).silent()
    assert seen.unanswered == 2

    assert seen.answered().unanswered == 0


def test_who_has_computed_is_forgiven():
    seen = Liveliness(0, 1.0).seen(30, 1.0).silent().seen(60, 11.0)

    assert (seen.unanswered, seen.rested) == (0, False)
    assert seen.silent().unanswered == 0


def test_a_child_that_ends_and_takes_its_seconds_along_is_no_computing():
    assert Liveliness(0, 10.0).seen(30, 4.0).rested


@given(looks)
def test_what_counts_is_the_silence_since_it_last_computed_or_answered(
    looks: list[tuple[float, float, str]],
):
    seen, at, cpu_s, silent = Liveliness(0, 0), 0.0, 0.0, 0
    for passed_s, share, outcome in looks:
        at, cpu_s = at + passed_s, cpu_s + share * passed_s
        seen = seen.seen(at, cpu_s)
        if not seen.rested:
            silent = 0
        if outcome == "answered":
            seen, silent = seen.answered(), 0
        elif outcome == "silent":
            seen = seen.silent()
            silent += seen.rested
        assert seen.unanswered == silent


@given(st.floats(0.05, 1), st.floats(1, 100), st.integers(1, 20))
def test_a_process_that_computes_is_never_silent(share: float, every_s: float, n: int):
    seen = Liveliness(0, 0)
    for look in range(1, n):
        seen = seen.seen(look * every_s, look * every_s * (share + 0.01)).silent()

    assert seen.unanswered == 0
