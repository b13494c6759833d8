from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest

from orchestrator.cli.progress import beside
from orchestrator.core.errors import ModelLoadError, TryLaterError


async def test_the_work_begins_once_it_is_watched_and_the_watch_ends_with_it():
    told: list[str] = []

    async def watch(watches: Callable[[], None]) -> None:
        told.append("watches")
        watches()
        try:
            await anyio.sleep_forever()
        finally:
            told.append("ends")

    async def work() -> int:
        told.append("works")
        return 7

    assert await beside(watch, work) == 7
    assert told == ["watches", "works", "ends"]


@pytest.mark.parametrize("begins", [True, False])
async def test_what_cannot_be_watched_is_done_all_the_same(begins: bool):
    async def watch(watches: Callable[[], None]) -> None:
        if begins:
            watches()
        raise TryLaterError("the stream is gone")

    async def work() -> int:
        await anyio.lowlevel.checkpoint()
        return 7

    assert await beside(watch, work) == 7


async def test_work_that_fails_is_no_group_of_errors():
    async def watch(watches: Callable[[], None]) -> None:
        watches()

    async def work() -> int:
        raise ModelLoadError("the file is cut off")

    with pytest.raises(ModelLoadError, match="cut off"):
        await beside(watch, work)
