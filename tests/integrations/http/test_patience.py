from __future__ import annotations

import asyncio
from math import inf

from orchestrator.core.errors import OrchestratorError
from orchestrator.integrations.http.patience import GRAIN_S, Patience
from tests.engine.world import simulated


class Wait:
    """Waits until it is due, and once more for each time in ``again``."""

    def __init__(self, patience: Patience, due: float, *again: float) -> None:
        self.patience = patience
        self.due = due
        self.again = list(again)
        self.struck: list[float] = []
        patience.waiting[self] = None
        patience.expect(due)

    def overdue(self) -> None:
        self.struck.append(asyncio.get_running_loop().time())
        self.due = self.again.pop(0) if self.again else inf

    def fail(self, error: OrchestratorError) -> None:
        raise error


@simulated
async def test_a_wait_ends_when_it_is_due_and_at_most_a_grain_later():
    patience = Patience(asyncio.get_running_loop())
    waits = [Wait(patience, due) for due in (3.0, 1.0, 1.01, 1.049, 2.0)]
    await asyncio.sleep(10)

    for wait, due in zip(waits, (3.0, 1.0, 1.01, 1.049, 2.0), strict=True):
        (at,) = wait.struck
        assert due <= at <= due + GRAIN_S


@simulated
async def test_a_wait_that_is_put_off_is_struck_when_it_is_due_again():
    patience = Patience(asyncio.get_running_loop())
    wait = Wait(patience, 1.0, 5.0, 7.0)
    await asyncio.sleep(10)

    assert wait.struck == [1.0, 5.0, 7.0]


@simulated
async def test_who_has_left_is_not_struck():
    patience = Patience(asyncio.get_running_loop())
    wait = Wait(patience, 1.0)
    del patience.waiting[wait]
    await asyncio.sleep(10)

    assert wait.struck == []
    assert patience.at == inf


@simulated
async def test_a_moment_at_which_everybody_has_got_what_they_waited_for_leaves_no_timer():
    patience = Patience(asyncio.get_running_loop())
    wait = Wait(patience, 1.0)
    wait.due = inf
    await asyncio.sleep(2)
    assert (wait.struck, patience.at) == ([], inf)

    wait.due = 5.0
    patience.expect(5.0)
    await asyncio.sleep(10)
    assert wait.struck == [5.0]


@simulated
async def test_a_closed_one_strikes_nobody():
    patience = Patience(asyncio.get_running_loop())
    wait = Wait(patience, 1.0)
    patience.close()
    await asyncio.sleep(10)

    assert wait.struck == []
