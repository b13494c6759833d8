"""What a configuration says of memory, health and profiling, as an engine gets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config import build
from orchestrator.lifecycle.policy import LifecyclePolicy
from orchestrator.lifecycle.schedule import ProfilingSchedule
from tests.config.files import bare, refusal, share_model_files, written
from tests.integrations.real_engine import smollm2_file

LOCAL = """
[residents.smollm2]
file = "smollm2"
[[models]]
name = "plain"
resident = "smollm2"
"""


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bare(monkeypatch, tmp_path)


def test_gigabytes_become_bytes(tmp_path: Path):
    text = "[lifecycle]\nram_gb = 1.5\ngpu_gb = { 0 = 24 }\nmax_loaded_models = 2\n"

    policy = build(written(tmp_path, text))["lifecycle"]

    assert policy.budget.limits == {"ram": 1_500_000_000, "gpu:0": 24_000_000_000, "models": 2}


def test_nothing_said_is_no_limit_and_the_usual_patience(tmp_path: Path):
    found = build(written(tmp_path, ""))

    assert found["lifecycle"] == LifecyclePolicy()
    assert (found["load"], found["auto_switch"], found["profiling"]) == ([], None, None)


def test_the_first_local_model_is_the_default_to_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    share_model_files(tmp_path)
    smollm2_file()
    monkeypatch.setenv("MODEL_MANAGER_AUTO_LOAD_DEFAULT", "1")
    monkeypatch.setenv("MODEL_MANAGER_MAX_LOADED", "10")

    found = build(written(tmp_path, LOCAL))

    assert found["load"] == ["embedded:plain"]
    assert found["lifecycle"].budget.max_loaded_models == 10


def test_models_are_checked_unless_that_is_turned_off(tmp_path: Path):
    on = build(written(tmp_path, "[engine.breaker]\nfailure_threshold = 5\n"))["health_monitor"]
    off = build(written(tmp_path, "[health]\nactive = false\n"))["health_monitor"]

    assert (on.check_interval, on.failure_threshold) == (300.0, 5)
    assert off is None


def test_profiling_has_a_schedule_where_there_is_a_section(tmp_path: Path):
    found = build(written(tmp_path, "[profiling]\nn = 3\n"))["profiling"]

    assert found == ProfilingSchedule(n=3)


@pytest.mark.parametrize(
    "text",
    [
        "[lifecycle]\nram_gb = -1\n",
        "[lifecycle]\nparallel_loads = 0\n",
        "[lifecycle]\nauto_switch = { threshold = 2 }\n",
        "[health]\ncheck_interval_s = 0\n",
        "[profiling]\nn = 0\n",
    ],
)
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, text: str):
    section, key = text.partition("\n")[0].strip("[]"), text.split("\n")[1].split(" ")[0]

    assert section in refusal(tmp_path, text)
    assert key in refusal(tmp_path, text)
