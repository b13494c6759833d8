"""``orchestrator demo``: real models answer, the selector learns, one dies, nothing is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from orchestrator.cli.failure import FAILED, OK
from orchestrator.cli.options import AsJson
from orchestrator.cli.output import console, note, write_json
from orchestrator.core.errors import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    from orchestrator.cli.demo.audit import Audit
    from orchestrator.cli.demo.questions import Question
    from orchestrator.cli.demo.story import Story

__all__ = ["EXAMPLE", "demo"]

EXAMPLE: Final = "Example: orchestrator demo --seed 7"


def demo(
    rounds: Annotated[
        int, typer.Option(help="How often every question is asked.", min=1, max=100)
    ] = 3,
    questions: Annotated[
        int | None, typer.Option(help="Take only so many of the questions.", min=2)
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is left to chance.")] = 1,
    log: Annotated[
        Path | None,
        typer.Option(help="Keep the decision log here; by default demo.db in the data folder."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Watch the pool learn from feedback, and survive a death.

    Four arms of a small model, which is fetched first if need be, answer questions. They differ in
    instructions, temperature, distance and price, and each answer is checked. Half way, the engine
    of the arm that has answered most is killed in the middle of an answer. At the end every arm is
    asked every question, which shows what the choice has cost. Every decision is kept in a log, for
    ``orchestrator log``, ``replay`` and ``ope``, and for a notebook.

    Nothing is scripted, so the numbers differ a little from machine to machine. Takes one
    to two minutes and 600 MB of memory.
    """
    from orchestrator.cli.demo.questions import read_questions
    from orchestrator.cli.demo.report import as_dict, print_report

    asked = read_questions()
    if questions is not None and questions > len(asked):
        raise InvalidRequestError(
            f"there are {len(asked)} questions, not {questions}",
            param="questions",
            hint="--rounds says how often each is asked",
        )
    random.Random(seed).shuffle(asked)
    log = _free(log)
    begun = perf_counter()
    with _beside(log) as new:
        story, audit = asyncio.run(_play(asked[:questions], rounds, seed, new, note))
    seconds = perf_counter() - begun
    if as_json:
        write_json(as_dict(story, audit, seconds, seed, log))
    else:
        print_report(story, audit, seconds, log, console())
    return FAILED if story.lost else OK


def _free(log: Path | None) -> Path:
    """Return where the log goes.

    Raises:
        ConfigurationError: There is something in a place of the caller's own.
    """
    from orchestrator.core.data_folder import data_folder

    if log is None:
        return data_folder() / "demo.db"
    if log.exists():
        raise ConfigurationError(
            f"there is a file {log} already", hint="the demo begins with nothing learned"
        )
    return log


@contextmanager
def _beside(log: Path) -> Iterator[Path]:
    """Give a log a place beside its own, to which it moves when the story has been told.

    Until then there is the log of the last one, whatever becomes of this.

    Raises:
        ConfigurationError: The folder cannot be written to.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        beside = TemporaryDirectory(prefix="demo-", dir=log.parent)
    except OSError as error:
        raise ConfigurationError(f"{log} cannot be written: {error.strerror}") from error
    with beside as folder:
        yield Path(folder) / log.name
        # What belongs to a log that was not closed moves too, and what is left of the last goes.
        for name in (f"{log.name}-wal", f"{log.name}-shm", log.name):
            if (new := Path(folder, name)).exists():
                new.replace(log.with_name(name))
            else:
                log.with_name(name).unlink(missing_ok=True)


async def _play(
    questions: list[Question], rounds: int, seed: int, log: Path, report: Callable[[str], Any]
) -> tuple[Story, Audit]:
    from orchestrator.cli.demo.audit import audited
    from orchestrator.cli.demo.display import display
    from orchestrator.cli.demo.stage import COST_WEIGHT, load_engines, staged
    from orchestrator.cli.demo.story import Theatre

    rng = random.Random(seed)
    programme = [
        question for _ in range(rounds) for question in rng.sample(questions, len(questions))
    ]
    async with staged(seed, log, report) as orchestrator:
        arms = orchestrator.registry.list_models()
        with display(arms, len(programme), console(stderr=True)) as audience:
            theatre = Theatre(orchestrator, audience)
            await load_engines(orchestrator, report)
            story = await theatre.play(programme, seed=seed)
        report(f"now every arm is asked each of the {len(questions)} questions")
        audit = await audited(orchestrator, story, questions, cost_weight=COST_WEIGHT, seed=seed)
    return story, audit
