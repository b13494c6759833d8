from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.capabilities import CAPABILITIES
from orchestrator.core.errors import UnknownCapabilityError
from orchestrator.lifecycle.evidence import Evidence, Source, holding, joined, kept

pieces = st.builds(
    Evidence,
    st.sampled_from(CAPABILITIES),
    st.booleans(),
    st.sampled_from(Source),
    st.integers(0, 3).map(float),
    st.sampled_from(("a", "b")),
)
some = st.lists(pieces, max_size=12)


def claim(capability: str, source: Source, present: bool = True, at: float = 0.0) -> Evidence:
    return Evidence(capability, present, source, at, "seen")


@pytest.mark.parametrize("weaker", list(Source)[:-1])
def test_stronger_evidence_outranks_weaker_however_old(weaker: Source):
    stronger = Source(weaker + 1)
    decided = joined([claim("vision", weaker, at=9.0), claim("vision", stronger, False, at=1.0)])

    assert not decided["vision"].present
    assert decided["vision"].source is stronger


def test_of_two_from_one_source_the_later_decides():
    first, second = claim("vision", Source.PROBE, at=1.0), claim("vision", Source.PROBE, False, 2.0)

    assert holding(joined([second, first])) == frozenset()


def test_a_contradiction_at_one_moment_is_decided_against():
    assert not holding(joined([claim("audio", Source.PROBE), claim("audio", Source.PROBE, False)]))


def test_sources_below_the_weakest_that_counts_are_left_out():
    guess = claim("vision", Source.NAME)

    assert joined([guess], weakest=Source.HEADER) == {}
    assert holding(joined([guess])) == {"vision"}


def test_who_keeps_to_no_json_keeps_to_no_schema():
    decided = joined(
        [claim("json_schema", Source.DECLARED), claim("json_mode", Source.PROBE, False)]
    )

    assert holding(decided) == frozenset()
    assert "lacks json_mode" in str(decided["json_schema"])


def test_a_capability_that_is_none_of_ours_is_refused():
    with pytest.raises(UnknownCapabilityError, match="visoin"):
        claim("visoin", Source.PROBE)


def test_evidence_says_what_it_is():
    seen = claim("vision", Source.PROBE, False, 7.0)

    assert str(seen) == "lacks vision (probe: seen)"
    assert seen.to_dict() == {
        "capability": "vision",
        "present": False,
        "source": "probe",
        "at": 7.0,
        "detail": "seen",
    }


@given(some, st.randoms(use_true_random=False))
def test_the_order_of_evidence_does_not_matter(evidence: list[Evidence], rng):
    shuffled = list(evidence)
    rng.shuffle(shuffled)

    assert joined(shuffled) == joined(evidence)


@given(some)
def test_saying_it_twice_changes_nothing(evidence: list[Evidence]):
    assert joined([*evidence, *evidence]) == joined(evidence)
    assert joined(joined(evidence).values()) == joined(evidence)


@given(some, pieces)
def test_weaker_evidence_never_changes_what_stronger_has_decided(
    evidence: list[Evidence], more: Evidence
):
    before = joined(evidence)
    after = joined([*evidence, more])

    for name, decided in before.items():
        if decided.source > more.source:
            assert after[name] == decided


@given(some)
def test_what_holds_fits_together(evidence: list[Evidence]):
    held = holding(joined(evidence))

    assert "chat_completion" not in held or "text_generation" in held
    assert "json_schema" not in held or "json_mode" in held


@given(some)
def test_every_decision_is_backed_by_a_piece_of_its_source_and_date(evidence: list[Evidence]):
    given_at = {(one.source, one.at, one.present) for one in evidence}

    assert all((one.source, one.at, one.present) in given_at for one in joined(evidence).values())


@given(some, some)
def test_of_each_source_its_last_word_is_kept(known: list[Evidence], found: list[Evidence]):
    left = kept(known, found)

    assert len({(one.source, one.capability) for one in left}) == len(left)
    last = {(one.source, one.capability): one for one in found}
    assert set(last.values()) <= set(left)
