from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.core.ports import ResidentSpec
from orchestrator.lifecycle.book import Resident
from orchestrator.lifecycle.victims import choose

HOLDS = st.fixed_dictionaries({"ram": st.integers(0, 5), "gpu:0": st.integers(0, 3)})
SHORT = st.dictionaries(st.sampled_from(["ram", "gpu:0"]), st.integers(1, 9), min_size=1)


def residents(holds: Sequence[dict[str, int]]) -> list[Resident]:
    return [Resident(ResidentSpec(str(n), (), {}), {}, holds=one) for n, one in enumerate(holds)]


def suffice(victims: Sequence[Resident], short: dict[str, int]) -> bool:
    return all(sum(v.holds.get(d, 0) for v in victims) >= s for d, s in short.items())


@given(holds=st.lists(HOLDS, max_size=6), short=SHORT)
def test_victims_are_the_first_that_suffice_and_none_more(
    holds: list[dict[str, int]], short: dict[str, int]
):
    line = residents(holds)
    victims = choose(line, short)

    if victims is None:
        assert not suffice(line, short)
        return
    assert suffice(victims, short)
    for fewer in combinations(victims, len(victims) - 1):
        assert not suffice(fewer, short), "one too many"
    last = line.index(victims[-1])
    assert not suffice(line[:last], short), "earlier ones would have done"
    assert victims == sorted(victims, key=line.index)


def test_where_nothing_is_short_nobody_goes():
    assert choose(residents([{"ram": 1}]), {}) == []
