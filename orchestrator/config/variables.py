"""``${NAME}`` and ``${NAME:-default}`` in the texts of a configuration file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from orchestrator.core.errors import ConfigurationError

__all__ = ["join_path", "substituted"]

_REFERENCE: Final = re.compile(
    r"(?P<escaped>\$\$\{)|\$\{(?P<name>[A-Za-z_]\w*)(?P<rest>:-(?P<default>[^}]*))?\}|(?P<odd>\$\{)"
)


def join_path(path: str, part: str | int) -> str:
    """Return the path of something inside: ``models[2].price``."""
    if isinstance(part, int):
        return f"{path}[{part}]"
    return f"{path}.{part}" if path else str(part)


def substituted(value: Any, variables: Mapping[str, str], path: str = "") -> Any:
    """Return a copy in which every reference stands for what the environment holds.

    A default is taken where the variable is not set or empty. ``$${`` is a plain ``${``.

    Args:
        value: Tables, lists, texts and other values, as the file holds them.
        variables: The environment.
        path: Where the value stands, for errors.

    Raises:
        ConfigurationError: A variable is not set, or a reference is not one; names the path.
    """
    if isinstance(value, dict):
        return {k: substituted(v, variables, join_path(path, k)) for k, v in value.items()}
    if isinstance(value, list):
        return [substituted(v, variables, join_path(path, i)) for i, v in enumerate(value)]
    if not isinstance(value, str):
        return value
    return _REFERENCE.sub(lambda found: _meaning(found, variables, path), value)


def _meaning(found: re.Match[str], variables: Mapping[str, str], path: str) -> str:
    if found["escaped"]:
        return "${"
    if found["odd"]:
        raise ConfigurationError(
            f"{path}: a reference that is not one",
            hint="write ${NAME} or ${NAME:-default}, and $${ for a plain ${",
        )
    name, default = found["name"], found["default"]
    if default is not None:
        return variables.get(name) or default
    if name not in variables:
        raise ConfigurationError(
            f"{path}: the environment variable {name} is not set",
            hint=f"set it, or give a default: ${{{name}:-...}}",
        )
    return variables[name]
