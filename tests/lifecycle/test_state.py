from __future__ import annotations

import pytest

from orchestrator.core.errors import InternalError
from orchestrator.lifecycle.state import TRANSITIONS, Cause, Status, diagram, next_status


@pytest.mark.parametrize(("was", "cause"), sorted(TRANSITIONS))
def test_a_legal_change_leads_where_the_table_says(was: Status, cause: Cause):
    assert next_status(was, cause) is TRANSITIONS[was, cause]


def test_every_other_change_is_our_own_fault():
    illegal = [(s, c) for s in Status for c in Cause if (s, c) not in TRANSITIONS]
    assert len(illegal) == len(Status) * len(Cause) - 13
    for was, cause in illegal:
        with pytest.raises(InternalError, match=f"{was} cannot change by {cause}"):
            next_status(was, cause)


def test_every_status_can_be_reached_and_left():
    assert set(TRANSITIONS.values()) | {Status.AVAILABLE} == set(Status)
    assert {was for was, _ in TRANSITIONS} == set(Status)


def test_there_is_no_way_back_from_eviction():
    assert [now for (was, _), now in TRANSITIONS.items() if was is Status.EVICTING] == [
        Status.UNLOADED
    ]


def test_the_diagram_draws_every_change():
    lines = diagram().splitlines()

    assert lines[:2] == ["stateDiagram-v2", "    [*] --> available"]
    assert "    loading --> loaded: ready" in lines
    assert len(lines) == len(TRANSITIONS) + 2
