"""The demonstration: its questions, its arithmetic, and the story itself on real engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cli.demo.audit import Audit, judged
from orchestrator.cli.demo.questions import Question, read_questions
from orchestrator.cli.demo.story import Answered, Story
from tests.cli.command import command, command_beside, process
from tests.config.files import share_model_files
from tests.integrations.real_engine import smollm2_file

EASY = Question("What is the capital of France?", frozenset({"paris"}))


def answered(model: str, quality: float, cost_usd: float = 0.0) -> Answered:
    return Answered(EASY, model, "Paris", quality, cost_usd, 0.1, ())


def test_every_question_can_be_answered_and_none_stands_twice():
    questions = read_questions()

    assert len({question.text for question in questions}) == len(questions) >= 40
    for question in questions:
        assert question.text.endswith("?")
        for word in question.answers:
            assert question.quality(word) == 1.0


@pytest.mark.parametrize(
    ("answer", "quality"),
    [
        ("Paris", 1.0),
        ("The capital of France is PARIS.", 1.0),
        ("It is Parisian", 0.0),
        ("London", 0.0),
        ("", 0.0),
    ],
)
def test_an_answer_is_right_if_the_word_stands_in_it(answer: str, quality: float):
    assert EASY.quality(answer) == quality


def test_regret_is_what_the_pulls_of_each_arm_lost_against_the_best():
    # Worth by itself: good 1 - 100 x 0.002 = 0.8, fair 0.5, bad 0.
    alone = {
        "good": [answered("good", 1.0, 0.002)] * 2,
        "fair": [answered("fair", 1.0), answered("fair", 0.0)],
        "bad": [answered("bad", 0.0)] * 2,
    }
    pulls = [answered("good", 1.0, 0.002)] * 7 + [answered("fair", 1.0)] * 2 + [answered("bad", 0)]

    audit = judged(Story(asked=10, answers=pulls), alone, cost_weight=100)

    assert [arm.key for arm in audit.arms] == ["good", "fair", "bad"]
    assert [arm.pulls for arm in audit.arms] == [7, 2, 1]
    assert [arm.worth for arm in audit.arms] == pytest.approx([0.8, 0.5, 0.0])
    assert [arm.regret for arm in audit.arms] == pytest.approx([0.0, 0.6, 0.8])
    assert audit.regret == pytest.approx(1.4)
    assert audit.regret_of_chance == pytest.approx(10 * (0.8 - 1.3 / 3))
    assert audit.arms[0].spent_usd == pytest.approx(0.014)


async def test_the_story_loses_no_question_although_an_engine_is_killed(
    tmp_path: Path,
):
    share_model_files(tmp_path)
    smollm2_file()
    log = tmp_path / "story.db"
    play = ("--rounds", "1", "--questions", "10", "--seed", "3")
    words = ("demo", *play, "--log", str(log), "--json")

    async with process(*words) as running:
        stdout, stderr = await running.communicate()

    told = json.loads(stdout)
    assert running.returncode == 0
    assert (told["asked"], told["answered"], told["lost"]) == (10, 10, [])
    assert told["killed"]["question"] >= 6
    assert told["failovers"] >= 1
    assert sum(arm["pulls"] for arm in told["arms"]) == 10
    assert {arm["key"] for arm in told["arms"]} == {
        "embedded:teacher",
        "embedded:plain",
        "embedded:hot",
        "cloud:scholar",
    }
    assert told["best"] == told["arms"][0]["key"]
    assert f"kill -9 {told['killed']['pid']}" in stderr.decode()
    kept = await command_beside("log", "info", "--log", str(log), "--json")
    assert told["log"] == str(log)
    assert kept.json["qualities"] >= 10


def test_more_questions_than_there_are_cannot_be_asked():
    n = len(read_questions())

    ran = command("demo", "--questions", str(n + 1), "--json")

    assert ran.code == 2
    assert ran.json["error"]["message"] == f"there are {n} questions, not {n + 1}"
    assert "--rounds" in ran.json["error"]["hint"]


@pytest.fixture
def last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the last demo has left, and a part of it that was not closed."""
    monkeypatch.setenv("ORCHESTRATOR_DATA_DIR", str(tmp_path / "data"))
    log = tmp_path / "data" / "demo.db"
    log.parent.mkdir()
    log.write_text("the last")
    log.with_name("demo.db-wal").write_text("a part of it")
    return log


def test_a_demo_that_is_interrupted_leaves_the_last_log_as_it_was(
    last: Path, monkeypatch: pytest.MonkeyPatch
):
    before = {path.name: path.read_text() for path in last.parent.iterdir()}

    def interrupted(questions: Any, rounds: int, seed: int, log: Path, report: Any) -> Any:
        log.write_text("half a story")
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.cli.demo.command._play", interrupted)

    assert command("demo").code == 130
    assert {path.name: path.read_text() for path in last.parent.iterdir()} == before


def test_a_demo_that_has_ended_replaces_the_last_log(last: Path, monkeypatch: pytest.MonkeyPatch):
    story = Story(asked=1, answers=[answered("good", 1.0)])
    audit = judged(story, {"good": [answered("good", 1.0)]}, cost_weight=1)

    async def ended() -> tuple[Story, Audit]:
        return story, audit

    def played(questions: Any, rounds: int, seed: int, log: Path, report: Any) -> Any:
        log.write_text("a new story")
        return ended()

    monkeypatch.setattr("orchestrator.cli.demo.command._play", played)

    ran = command("demo", "--json")

    assert (ran.code, ran.json["log"]) == (0, str(last))
    assert {path.name: path.read_text() for path in last.parent.iterdir()} == {
        "demo.db": "a new story"
    }


def test_a_log_that_cannot_be_written_is_said_before_the_story(tmp_path: Path):
    (tmp_path / "file").write_text("no folder")

    ran = command("demo", "--log", str(tmp_path / "file" / "log.db"))

    assert ran.code == 2
    assert "log.db cannot be written: " in ran.stderr


def test_a_log_that_is_there_already_is_left_alone(tmp_path: Path):
    log = tmp_path / "mine.db"
    log.write_text("mine")

    ran = command("demo", "--log", str(log))

    assert ran.code == 2
    assert "there is a file" in ran.stderr
    assert log.read_text() == "mine"
