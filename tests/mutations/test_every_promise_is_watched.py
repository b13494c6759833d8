"""Each check of the simulated world notices when what it watches is broken."""

from __future__ import annotations

import pytest

from tests.mutations.catalogue import MUTATIONS, Mutation
from tests.mutations.source import mutated
from tests.simulation.checks import CHECKS, COMES_TO_AN_END, IS_REPEATABLE, LEAVES_NO_TASK, judge

_MOST_SEEDS = 400


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_is_noticed(mutation: Mutation):
    noticed: set[str] = set()
    with mutated(mutation.where, mutation.old, mutation.new):
        for seed in (mutation.at, *range(_MOST_SEEDS)):
            twice = mutation.check == IS_REPEATABLE
            noticed |= {violation.check for violation in judge(seed, twice=twice)}
            if mutation.check in noticed:
                return
    pytest.fail(f"nobody noticed that {mutation.name}, but {sorted(noticed) or 'nothing'}")


def test_every_check_has_a_mutation_that_it_notices():
    watched = {mutation.check for mutation in MUTATIONS}

    assert watched == {*CHECKS, COMES_TO_AN_END, LEAVES_NO_TASK, IS_REPEATABLE}
