"""How the story is shown while it is played: a table that lives, or plain lines."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from orchestrator.cli.demo.stage import about
from orchestrator.cli.demo.story import Answered, Story
from orchestrator.cli.output import table
from orchestrator.core.money import format_usd

__all__ = ["LiveDisplay", "PlainDisplay", "display"]

_LINES: Final = 6
"""What happened last stays on the screen that long."""
_EVERY: Final = 12
"""Without a terminal, so many questions are told in one line."""


class LiveDisplay:
    """A table of the arms that changes with every answer, and what happened last."""

    def __init__(self, arms: Sequence[str], n_questions: int, console: Console) -> None:
        self._arms = arms
        self._n_questions = n_questions
        self._story = Story()
        self._last: Answered | None = None
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._live = Live(console=console, get_renderable=self._screen, refresh_per_second=10)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def answered(self, story: Story, answer: Answered) -> None:
        """A question was answered."""
        self._story, self._last = story, answer

    def happened(self, text: str) -> None:
        """Something else happened."""
        self._lines.append(text)

    def _screen(self) -> Group:
        asked = self._story.asked
        progress = Table.grid(padding=(0, 1))
        progress.add_row(
            ProgressBar(total=self._n_questions, completed=asked, width=40),
            Text(f"{asked} of {self._n_questions}"),
        )
        parts: list[Table | Text] = [_standings(self._story, self._arms), Text(), progress, Text()]
        if self._last is not None:
            mark = "right" if self._last.quality else "wrong"
            parts.append(Text(self._last.question.text))
            parts.append(Text(" ".join(self._last.text.split()), style="italic"))
            parts.append(Text(f"{self._last.model}, {mark}"))
        return Group(*parts, Text(), *(Text(line, style="dim") for line in self._lines))


class PlainDisplay(AbstractContextManager["PlainDisplay"]):
    """A line for everything that happens, and one now and then for the standings."""

    def __init__(self, arms: Sequence[str], n_questions: int, console: Console) -> None:
        self._arms = arms
        self._n_questions = n_questions
        self._console = console

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def answered(self, story: Story, answer: Answered) -> None:
        """A question was answered."""
        if story.asked % _EVERY == 0:
            pulls = Counter(answer.model for answer in story.answers)
            told = ", ".join(f"{key.partition(':')[2]} {pulls[key]}" for key in self._arms)
            line = f"{story.asked:>4} of {self._n_questions} asked; answered: {told}"
            self._console.print(line, markup=False)

    def happened(self, text: str) -> None:
        """Something else happened."""
        self._console.print(f"     {text}", markup=False)


def display(arms: Sequence[str], n_questions: int, console: Console) -> LiveDisplay | PlainDisplay:
    """Return what suits the terminal, or its absence."""
    kind = LiveDisplay if console.is_terminal else PlainDisplay
    return kind(arms, n_questions, console)


def _standings(story: Story, arms: Sequence[str]) -> Table:
    numbers = ("answered", "right", "spent", "failed")
    shown = table("arm", *numbers, "what it is", right=numbers)
    for key in arms:
        own = [answer for answer in story.answers if answer.model == key]
        right = sum(answer.quality for answer in own) / len(own) if own else None
        failed = sum(answer.failed.count(key) for answer in story.answers)
        shown.add_row(
            key,
            str(len(own)),
            "" if right is None else f"{right:.0%}",
            format_usd(sum(answer.cost_usd for answer in own)),
            str(failed),
            about(key),
        )
    return shown
