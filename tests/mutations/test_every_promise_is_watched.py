"""Each check of the simulated world notices when what it watches is broken."""

from __future__ import annotations

from importlib import import_module

import pytest

from tests.mutations.catalogue import LIFECYCLE_MUTATIONS, MUTATIONS, Mutation
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


@pytest.mark.parametrize("mutation", LIFECYCLE_MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_of_the_lifecycle_is_noticed_by_its_test(mutation: Mutation):
    module, _, name = mutation.check.partition(":")
    test = getattr(import_module(module), name)

    # Whatever it notices it by; what pytest fails with is no Exception.
    noticing = (Exception, BaseExceptionGroup, pytest.fail.Exception)
    with mutated(mutation.where, mutation.old, mutation.new), pytest.raises(noticing):
        test()
    test()


def test_every_check_has_a_mutation_that_it_notices():
    watched = {mutation.check for mutation in MUTATIONS}

    assert watched == {*CHECKS, COMES_TO_AN_END, LEAVES_NO_TASK, IS_REPEATABLE}
