from __future__ import annotations

import dataclasses
import json

import pytest

from orchestrator.core import events
from orchestrator.core.errors import ErrorClass
from orchestrator.core.events import CallFailed, Event, ModelLoaded, ModelUsed, event_types

KINDS = [getattr(events, name) for name in events.__all__ if name not in ("Event", "event_types")]


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_is_a_frozen_slotted_record_of_keywords(kind: type[Event]):
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__dict__" not in dir(kind)
    assert all(f.kw_only for f in dataclasses.fields(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_an_event_is_found_by_its_name_on_the_wire(kind: type[Event]):
    assert event_types()[kind.name] is kind
    assert kind.name == kind.name.lower()


def test_names_are_words_joined_by_dashes():
    assert ModelLoaded.name == "model-loaded"


def test_events_count_up():
    first = ModelLoaded(at=1.0, wall=2.0, resident="r", load_s=0.5, pid=7)
    second = ModelLoaded(at=1.0, wall=2.0, resident="r", load_s=0.5, pid=7)

    assert second.id > first.id


def test_an_event_turns_into_plain_json():
    event = CallFailed(
        at=1.5,
        wall=2.5,
        id=7,
        request_id="r",
        decision_id="d",
        model="a:b",
        attempt=1,
        latency_s=0.25,
        cost_usd=0.5,
        classification=ErrorClass.TIMEOUT,
        message="slow",
    )

    assert json.loads(json.dumps(event.to_dict())) == {
        "event": "call-failed",
        "at": 1.5,
        "wall": 2.5,
        "id": 7,
        "request_id": "r",
        "decision_id": "d",
        "model": "a:b",
        "attempt": 1,
        "latency_s": 0.25,
        "cost_usd": 0.5,
        "classification": "timeout",
        "message": "slow",
    }


def test_an_event_does_not_change():
    event = ModelLoaded(at=1.0, wall=2.0, resident="r", load_s=0.5, pid=7)

    with pytest.raises(dataclasses.FrozenInstanceError):
        event.pid = 8  # type: ignore[misc]


def test_a_use_tells_what_a_dashboard_needs():
    told = {f.name for f in dataclasses.fields(ModelUsed)}

    assert told >= {"model", "latency_s", "prompt_tokens", "completion_tokens", "cost_usd"}
