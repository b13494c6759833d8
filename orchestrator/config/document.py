"""The configuration file: where it lies, and what it says before anything is checked."""

from __future__ import annotations

import os
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from orchestrator.core.errors import ConfigurationError, MissingExtraError

__all__ = ["FILE_NAMES", "FILE_VARIABLE", "find_file", "read_file"]

FILE_VARIABLE: Final = "ORCHESTRATOR_CONFIG"
FILE_NAMES: Final = ("orchestrator.toml", "orchestrator.yaml", "orchestrator.yml")
_YAML: Final = (".yaml", ".yml")


def find_file(path: str | Path | None = None) -> Path | None:
    """Return the file to read: this one, the one that the environment names, or the usual one.

    Returns:
        None if none is named and none lies in the working folder.

    Raises:
        ConfigurationError: The file that is named is not there.
    """
    named = path or os.environ.get(FILE_VARIABLE)
    if not named:
        return next((Path(name) for name in FILE_NAMES if Path(name).is_file()), None)
    found = Path(named).expanduser()
    if not found.is_file():
        origin = "" if path else f" ({FILE_VARIABLE} names it)"
        raise ConfigurationError(f"there is no configuration file {found}{origin}")
    return found


def read_file(path: Path) -> dict[str, Any]:
    """Return what a TOML or YAML file says.

    Raises:
        ConfigurationError: It cannot be read, or is not what its name promises.
        MissingExtraError: It is YAML, which needs a library.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error
    if path.suffix == ".toml":
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"{path} is not TOML: {error}") from error
    if path.suffix not in _YAML:
        raise ConfigurationError(f"{path} is neither TOML nor YAML", hint="name it so: config.toml")
    found = _read_yaml(path, text)
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} holds no table of settings")
    return found


def _read_yaml(path: Path, text: str) -> Any:
    if find_spec("yaml") is None:
        raise MissingExtraError(f"reading {path}", "yaml")
    import yaml

    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
