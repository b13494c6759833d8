from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.routing.affinity import Affinity

steps = st.lists(
    st.tuples(
        st.sampled_from("rst"), st.sampled_from((None, "p:a", "p:b")), st.floats(0, 20).map(round)
    ),
    max_size=40,
)


def test_a_session_stays_with_who_answered_it_last_and_no_other_session_does():
    affinity = Affinity()
    affinity.answered("s", "p:a", 0.0, 60.0)
    affinity.answered("s", "p:b", 1.0, 60.0)

    assert affinity.model("s", 2.0) == "p:b"
    assert affinity.model("t", 2.0) is None


def test_time_runs_from_the_last_answer_and_its_end_is_an_end():
    affinity = Affinity()
    affinity.answered("s", "p:a", 0.0, 60.0)
    affinity.answered("s", "p:a", 50.0, 60.0)

    assert affinity.model("s", 109.9) == "p:a"
    assert affinity.model("s", 110.0) is None
    assert len(affinity) == 0


def test_an_answer_that_lasts_no_time_lets_the_session_go():
    affinity = Affinity()
    affinity.answered("s", "p:a", 0.0, 60.0)
    affinity.answered("s", "p:b", 1.0, 0.0)

    assert affinity.model("s", 1.0) is None


def test_past_the_limit_the_session_answered_longest_ago_is_forgotten():
    affinity = Affinity(limit=2)
    for now, session in enumerate("rsrt"):
        affinity.answered(session, "p:a", float(now), 60.0)

    assert [affinity.model(session, 4.0) for session in "rst"] == ["p:a", None, "p:a"]


@given(steps, st.integers(1, 3))
def test_it_remembers_what_a_list_of_the_latest_answers_would(
    history: list[tuple[str, str | None, int]], limit: int
):
    affinity, latest, now = Affinity(limit), OrderedDict[str, tuple[str, float]](), 0.0
    for session, key, later in history:
        now += later
        if key is not None:
            affinity.answered(session, key, now, 30.0)
            latest.pop(session, None)
            latest[session] = (key, now + 30.0)
            latest = OrderedDict([*latest.items()][-limit:])
        known = latest.get(session)

        assert affinity.model(session, now) == (known[0] if known and now < known[1] else None)
        assert len(affinity) <= limit
