from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import InternalError
from orchestrator.core.ports import ResidentSize, ResidentSpec
from orchestrator.core.saved_state import (
    MOST_BYTES,
    SCHEMA,
    Known,
    MeasuredResident,
    SavedModel,
    SavedResident,
    SavedState,
    StateDocument,
    UnreadableStateError,
    carried,
    document,
    fingerprint,
    fitting,
    parsed,
)

SPEC = ResidentSpec("small", ("serve", "small.gguf"), {"KEY": "secret"})

names = st.sampled_from("abc") | st.text(st.characters(codec="utf-8"), max_size=8)
seconds = st.floats(0, allow_nan=False, allow_infinity=False)
measures = st.builds(
    MeasuredResident,
    of=st.sampled_from("xyz"),
    memory_bytes=st.dictionaries(names, st.integers(0, 2**80), max_size=3),
    load_s=seconds,
)
residents = st.builds(
    SavedResident,
    pinned=st.booleans(),
    keep_alive_s=st.none() | st.just("forever") | seconds,
    measured=st.none() | measures,
)
models = st.builds(
    SavedModel,
    priority=st.none() | st.integers(),
    aliases=st.none() | st.lists(names, max_size=3).map(tuple),
    disabled=st.booleans(),
)
states = st.builds(
    SavedState,
    current=st.none() | names,
    loaded=st.lists(names, max_size=4).map(tuple),
    residents=st.dictionaries(names, residents, max_size=4),
    models=st.dictionaries(names, models, max_size=4),
)
knowns = st.builds(
    Known, st.dictionaries(names, st.sampled_from("xyz"), max_size=6), st.frozensets(names)
)


def written(state: SavedState) -> StateDocument:
    return StateDocument(saved_at="2025-06-15T12:00:00+00:00", node="n", state=state)


def plain(**changes: Any) -> dict[str, Any]:
    """Return a document as plain data, with some of it changed."""
    state = SavedState(
        current="p:m",
        loaded=("small",),
        residents={
            "small": SavedResident(
                pinned=True, measured=MeasuredResident(of="x", memory_bytes={"ram": 1}, load_s=0.5)
            )
        },
        models={"p:m": SavedModel(aliases=("mine",))},
    )
    found: dict[str, Any] = json.loads(document(written(state)))
    return found | changes


# -- there and back ----------------------------------------------------------------------------


@given(states)
def test_what_is_written_is_what_is_read(state: SavedState):
    assert parsed(document(written(state))) == written(state)


@given(st.binary(max_size=200))
def test_whatever_the_bytes_they_are_read_or_refused(data: bytes):
    with pytest.raises(UnreadableStateError):
        parsed(data)


@given(st.data())
def test_a_document_that_was_cut_short_is_refused(data: st.DataObject):
    whole = document(written(SavedState(current="small"))).rstrip()
    cut = data.draw(st.integers(0, len(whole) - 1))

    with pytest.raises(UnreadableStateError):
        parsed(whole[:cut])


def test_what_could_not_be_read_back_is_not_written():
    broken = MeasuredResident(of="x", memory_bytes={}, load_s=float("inf"))
    state = SavedState(residents={"small": SavedResident(measured=broken)})

    with pytest.raises(InternalError, match="cannot be written down"):
        document(written(state))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (plain(schema=0), "schema: "),
        (plain(schema="1"), "schema: "),
        (plain(node=None), "node: "),
        (plain(more=1), "more: "),
        (plain(state={"pinned": []}), "state.pinned: "),
        (plain(state={"residents": {"small": {"pinned": 1}}}), "state.residents.small.pinned: "),
        (plain(state={"residents": {"a": {"keep_alive_s": -1}}}), "state.residents.a.keep_alive_s"),
        (plain(state={"models": {"p:m": {"aliases": "mine"}}}), "state.models.p:m.aliases: "),
        ([], "it: "),
    ],
)
def test_a_document_that_is_not_ours_says_where(data: Any, reason: str):
    with pytest.raises(UnreadableStateError) as refused:
        parsed(json.dumps(data).encode())

    assert refused.value.message.startswith(reason)
    assert not refused.value.newer


def test_a_document_from_the_future_says_so_whatever_else_is_in_it():
    with pytest.raises(UnreadableStateError, match="and this version knows up to") as refused:
        parsed(json.dumps({"schema": SCHEMA + 1, "pins": []}).encode())

    assert refused.value.newer


def test_a_document_that_is_too_big_is_not_looked_into():
    with pytest.raises(UnreadableStateError, match="bytes"):
        parsed(b" " * (MOST_BYTES + 1))


# -- what holds, and what is kept ----------------------------------------------------------------


@given(states, knowns)
def test_only_what_is_known_is_restored(state: SavedState, known: Known):
    fits = fitting(state, known)

    assert {*fits.residents, *fits.loaded} <= known.residents.keys()
    assert fits.models.keys() <= set(known.models)  # type: ignore[call-overload]
    assert fits.current is None or fits.current in known.models
    assert fitting(fits, known) == fits


@given(states, knowns)
def test_what_was_measured_of_something_else_is_not_restored(state: SavedState, known: Known):
    for name, resident in fitting(state, known).residents.items():
        assert resident.measured is None or resident.measured.of == known.residents[name]


@given(states, states, knowns)
def test_what_holds_is_written_and_what_is_not_here_is_kept(
    state: SavedState, before: SavedState, known: Known
):
    now = fitting(state, known)
    kept = carried(now, before, known)

    assert fitting(kept, known) == now
    for name in before.residents.keys() - known.residents.keys():
        assert kept.residents.get(name, SavedResident()) == before.residents[name]
    assert carried(now, kept, known) == kept


def test_nothing_is_written_of_whom_there_is_nothing_to_say():
    state = SavedState(residents={"a": SavedResident()}, models={"p:m": SavedModel()})

    assert carried(state, state, Known({}, ())) == SavedState()


# -- fingerprints --------------------------------------------------------------------------------


def test_a_fingerprint_changes_with_what_is_loaded_and_not_with_its_secrets():
    same = ResidentSpec("other", SPEC.command, {"KEY": "another"}, keep_alive_s=1.0)
    longer = ResidentSpec("small", (*SPEC.command, "--context", "8192"), {})
    bigger = ResidentSpec("small", SPEC.command, {}, size=ResidentSize(weights_bytes=7))

    assert fingerprint(same) == fingerprint(SPEC)
    assert len({fingerprint(spec) for spec in (SPEC, longer, bigger)}) == 3
