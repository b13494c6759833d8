"""Questions whose answers a program can check."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files

__all__ = ["Question", "read_questions"]


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the words of which one has to stand in its answer, in lower case."""

    text: str
    answers: frozenset[str]

    def quality(self, answer: str) -> float:
        """Return 1 for an answer that is right, else 0."""
        return float(not self.answers.isdisjoint(re.findall(r"\w+", answer.lower())))


def read_questions() -> list[Question]:
    """Return the questions of the file beside this module."""
    lines = files(__package__).joinpath("questions.txt").read_text("utf-8").splitlines()
    pairs = (line.partition("|") for line in lines if line and not line.startswith("#"))
    return [Question(text.strip(), frozenset(answers.split())) for text, _, answers in pairs]
