from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from orchestrator.server.garbage import collect_rarely


@pytest.fixture(autouse=True)
def collector_as_before() -> Iterator[None]:
    threshold = gc.get_threshold()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()


def test_what_is_there_is_never_looked_at_again_and_the_rest_less_often():
    before = gc.get_threshold()[0]
    collect_rarely()
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold()[0] > 5 * before


def test_cycles_are_still_found():
    class Node:
        alive = 0

        def __init__(self) -> None:
            self.itself = self
            Node.alive += 1

        def __del__(self) -> None:
            Node.alive -= 1

    collect_rarely()
    for _ in range(30_000):
        Node()
    assert Node.alive < 30_000
