from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.config.schema import json_schema
from tests.cli.command import command, configured
from tests.config.files import written


def test_check_counts_what_it_built(tmp_path: Path):
    configured(tmp_path, "http://127.0.0.1:9/v1", names=("a", "b"))

    ran = command("config", "check")

    assert (ran.code, ran.stdout) == (0, "orchestrator.toml: 2 models, 2 routes, all well\n")
    assert command("config", "check", "--json").json["models"] == ["loop:a", "loop:b"]


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ('host = "0.0.0.0"', "set ORCHESTRATOR_API_KEY"),
        ('allowed_origins = ["example.com"]', "'example.com' is no origin"),
    ],
)
def test_what_serve_would_refuse_is_not_well(tmp_path: Path, server: str, told: str):
    path = configured(tmp_path, "http://127.0.0.1:9/v1")
    path.write_text(f"{path.read_text('utf-8')}[server]\n{server}\n")

    ran = command("config", "check")

    assert (ran.code, ran.stdout) == (2, "")
    assert told in ran.stderr


def test_show_lists_values_with_their_origin_and_masks_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ORCHESTRATOR_API_KEY", "canary-of-the-gateway")
    written(tmp_path, "[engine]\ndeadline_s = 20\n")

    ran = command("config", "show")
    told = {tuple(line.split()) for line in ran.stdout.splitlines()}

    assert ("engine.deadline_s", "20.0", "file") in told
    assert ("server.port", "3001", "default") in told
    assert ("server.api_key", "**********", "environment") in told

    listed = command("config", "show", "--json")
    assert listed.json["settings"]["engine.deadline_s"]["origin"] == "file"
    assert "canary" not in ran.stdout + ran.stderr + listed.stdout


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_schema_writes_the_schema(form: tuple[str, ...]):
    assert command("config", "schema", *form).json == json_schema()
