from __future__ import annotations

from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.errors import ErrorClass, ModelAPIError
from orchestrator.routing.availability import Availability
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.routing.consequences import consequence_of
from orchestrator.routing.ejection import EjectionPolicy
from orchestrator.routing.evidence import Tally
from orchestrator.routing.outliers import Outlier, find_outliers
from tests.routing.pools import pool

BROKEN = ModelAPIError("down", classification=ErrorClass.SERVICE_UNAVAILABLE)
NEVER_BY_ITSELF = BreakerPolicy(
    failure_threshold=10_000, failure_rate=1.0, open_s=1_000.0, max_open_s=1_000.0
)

TALLIES = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=3),
    st.integers(0, 200).flatmap(lambda n: st.builds(Tally, st.just(n), st.integers(0, n))),
    max_size=12,
)


def outliers(
    tallies: dict[str, Tally], deviations: float = 1.9, min_models: int = 5, min_calls: int = 20
) -> list[Outlier]:
    return find_outliers(tallies, deviations=deviations, min_models=min_models, min_calls=min_calls)


def failing(*failures: int, calls: int = 100) -> dict[str, Tally]:
    return {f"m{number}": Tally(calls, failed) for number, failed in enumerate(failures)}


def test_the_one_that_fails_far_more_often_than_the_rest_is_found():
    (found,) = outliers(failing(1, 0, 2, 1, 30))

    assert found.model == "m4"
    assert found.rate == pytest.approx(0.7)
    # Envoy's formula by hand: mean 0.932, deviation 0.1160, and 1.9 of these below.
    assert found.threshold == pytest.approx(0.932 - 1.9 * 0.11617, abs=1e-3)


def test_a_pool_in_which_all_fail_alike_has_no_outlier():
    assert outliers(failing(30, 30, 30, 30, 30)) == []
    assert outliers(failing(100, 100, 100, 100, 100)) == []


def test_the_worst_of_equals_is_not_found_for_being_the_worst():
    # By deviations alone, as 0.98 is 2 of them below the mean.
    assert outliers(failing(0, 0, 0, 0, 2)) == []


def test_fewer_models_or_fewer_calls_are_not_compared():
    assert outliers(failing(0, 0, 0, 90)) == []
    assert outliers({**failing(0, 0, 0, 0), "new": Tally(19, 19)}) == []
    assert outliers({**failing(0, 0, 0, 0), "new": Tally(20, 20)}) != []


def test_infinitely_many_deviations_find_nobody():
    assert outliers(failing(0, 0, 0, 0, 100), deviations=float("inf")) == []


@given(TALLIES)
def test_an_outlier_is_below_the_mean_and_below_its_threshold_and_was_compared(
    tallies: dict[str, Tally],
):
    found = outliers(tallies)

    compared = [1 - t.failures / t.calls for t in tallies.values() if t.calls >= 20]
    for outlier in found:
        assert tallies[outlier.model].calls >= 20
        assert outlier.rate < outlier.threshold <= fmean(compared)
    assert not found or len(compared) >= 5


@given(TALLIES)
def test_the_order_of_the_models_does_not_matter_and_the_worst_come_first(
    tallies: dict[str, Tally],
):
    found = outliers(tallies)

    assert [o.rate for o in found] == sorted(o.rate for o in found)
    again = outliers(dict(reversed(tallies.items())))
    assert {o.model for o in again} == {o.model for o in found}


@given(TALLIES, st.floats(0.5, 4))
def test_more_deviations_find_no_more(tallies: dict[str, Tally], deviations: float):
    strict = {o.model for o in outliers(tallies, deviations + 1)}

    assert strict <= {o.model for o in outliers(tallies, deviations)}


@given(TALLIES)
def test_models_that_do_as_well_as_the_best_are_never_outliers(tallies: dict[str, Tally]):
    best = max((1 - t.failures / t.calls for t in tallies.values() if t.calls >= 20), default=0)

    assert all(outlier.rate < best for outlier in outliers(tallies))


@pytest.mark.parametrize("p_fail", [0.01, 0.05, 0.3])
def test_chance_alone_ejects_next_to_nobody(p_fail: float):
    rng, found = Random(7), 0
    for _ in range(400):
        tallies = failing(*(sum(rng.random() < p_fail for _ in range(60)) for _ in range(8)))
        found += len(outliers({key: Tally(60, t.failures) for key, t in tallies.items()}))

    # 3,200 comparisons at three standard errors, one side: 4 to be expected of a normal
    # distribution, some more of a binomial one, which is skewed where failures are rare.
    assert found <= 24


# -- in a pool ---------------------------------------------------------------------------------


def comparing(n_bad: int, **limits: float) -> tuple[Availability, list[str]]:
    """Return a pool of ten after 40 calls to each, of which the bad ones fail half."""
    keys = [f"p:m{number}" for number in range(10)]
    found = Availability(NEVER_BY_ITSELF, EjectionPolicy(**limits))  # type: ignore[arg-type]
    models = pool(*keys)
    found.arrange(models)
    told = []
    for call in range(80):
        for number, key in enumerate(keys):
            now = 0.5 * call
            ticket, _ = found.begin(key, now)
            if number < n_bad and call % 2:
                spec = models.models[number].spec
                consequence = consequence_of(BROKEN)
                told += found.failure(spec, ticket, BROKEN, consequence, now, Random(1))
            else:
                found.success(key, ticket, now, 0.1)
    return found, [f"{n.model} {n.change.now}" for n in told if n.change is not None]


def test_an_outlier_is_ejected_and_told_of_with_its_rate():
    found, told = comparing(1)

    assert told == ["p:m0 open"]
    assert found.state("p:m0") == "open"
    assert not found.usable(40.0)[0]
    assert found.usable(40.0)[1:].all()


def test_comparisons_eject_no_more_than_their_share_of_the_pool():
    assert len(comparing(2, outlier_deviations=1.0)[1]) == 2
    assert len(comparing(2, outlier_deviations=1.0, max_share=0.1)[1]) == 1
    assert comparing(2, outlier_deviations=1.0, max_share=0.0)[1] == []


def test_who_is_out_is_not_compared():
    found, _ = comparing(1)

    assert found.tally("p:m0", 40.0).calls < found.tally("p:m1", 40.0).calls
