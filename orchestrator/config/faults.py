"""From what pydantic found wrong to an error that says where, what, and what is allowed."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from orchestrator.config.document import FILE_VARIABLE
from orchestrator.config.settings import PREFIX, SHORT_NAMES, WITHIN, Settings
from orchestrator.config.variables import join_path
from orchestrator.core.data_folder import DATA_FOLDER_VARIABLE
from orchestrator.core.errors import ConfigurationError
from orchestrator.lifecycle.process import KEY_VARIABLE

__all__ = [
    "Sources",
    "check_variable_names",
    "configuration_error",
    "meaningless_variables",
    "suggestion",
]

_Location: TypeAlias = tuple[int | str, ...]

_MOST_SHOWN: Final = 10
_UNKNOWN_KEY: Final = ("extra_forbidden", "unexpected_keyword_argument")
_TOLD_WHOLE: Final = ("missing", "value_error")
_PREAMBLE: Final = re.compile(r"^(Input|Value error,) ")
_ALONE: Final = (*SHORT_NAMES, FILE_VARIABLE, DATA_FOLDER_VARIABLE, KEY_VARIABLE)
"""Variables of ours that name no section; some of them are read elsewhere."""
_SECRET: Final = ("api_key", "headers", "env")
_OUR_WORDS: Final = {
    "tuple_type": "should be a list",
    "dict_type": "should be a table",
    "model_type": "should be a table",
    "dataclass_type": "should be a table",
    "missing": "is missing",
}


@dataclass(frozen=True, slots=True)
class Sources:
    """What each source says, nested as in a file.

    Attributes:
        path: The file, or None.
        file: What it says.
        environment: What variables say.
        arguments: What the caller says.
    """

    path: Path | None
    file: Mapping[str, Any]
    environment: Mapping[str, Any]
    arguments: Mapping[str, Any]

    def place(self, location: _Location) -> str:
        """Return where a setting was given: the file and its path there, or the variable."""
        if _holds(self.arguments, location):
            return f"argument {_path(location)}"
        if _holds(self.environment, location):
            return f"environment variable {_variable(location)}"
        path = _path(location)
        return path if self.path is None else f"{self.path}: {path}"

    def origin(self, location: _Location) -> str:
        """Return which source gave a setting: argument, environment, file or default."""
        sources = (
            ("argument", self.arguments),
            ("environment", self.environment),
            ("file", self.file),
        )
        return next((name for name, said in sources if _holds(said, location)), "default")


def configuration_error(error: ValidationError, sources: Sources) -> ConfigurationError:
    """Return what pydantic found as one error, a line for each fault."""
    faults = [_fault(found, sources) for found in error.errors(include_url=False)]
    if len(faults) == 1:
        message, hint = faults[0]
        return ConfigurationError(message, hint=hint)
    lines = [message if hint is None else f"{message}: {hint}" for message, hint in faults]
    if len(lines) > _MOST_SHOWN:
        lines[_MOST_SHOWN:] = [f"and {len(lines) - _MOST_SHOWN} more"]
    return ConfigurationError("\n".join(lines))


def check_variable_names(variables: Mapping[str, str]) -> None:
    """Refuse variables that mean a section that there is not.

    Raises:
        ConfigurationError: As it says.
    """
    for variable in variables:
        section, within, _ = variable.removeprefix(PREFIX).partition(WITHIN)
        if not (variable.startswith(PREFIX) and within):
            continue
        if section.lower() not in Settings.model_fields:
            raise ConfigurationError(
                f"environment variable {variable}: there is no section {section.lower()!r}",
                hint=suggestion(section.lower(), Settings.model_fields),
            )


def meaningless_variables(variables: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for each variable that begins like one of ours and is none.

    They are no error: other programs may call theirs so.
    """
    for variable, value in variables.items():
        name = variable.removeprefix(PREFIX)
        if not (value and variable.startswith(PREFIX)) or WITHIN in name:
            continue
        if variable not in _ALONE and name.lower() not in Settings.model_fields:
            # Without the prefix, which would make any two of them look alike.
            near = difflib.get_close_matches(name.upper(), _names_of_variables(), n=1)
            question = f": did you mean {PREFIX}{near[0]}?" if near else ""
            yield f"the environment variable {variable} means nothing{question}"


def suggestion(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    """Return the nearest known name as a question, or all of them."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"


def _fault(found: ErrorDetails, sources: Sources) -> tuple[str, str | None]:
    location = found["loc"]
    place = sources.place(location)
    if found["type"] in _UNKNOWN_KEY:
        *above, name = location
        return f"{place} is no setting", suggestion(str(name), _keys_at(tuple(above)))
    if found["type"] == "refused":
        what = found["msg"].removeprefix(f"{location[-1]} ")
        return f"{place} {what}" if what != found["msg"] else f"{place}: {what}", None
    what = _OUR_WORDS.get(found["type"]) or _PREAMBLE.sub("", found["msg"])
    if found["type"] in _TOLD_WHOLE or any(part in _SECRET for part in location):
        return f"{place} {what}", None
    return f"{place} {what}, not {found['input']!r}", None


def _keys_at(location: _Location) -> list[str]:
    """Return the keys of the table at a place, as the schema knows them."""
    schema = Settings.model_json_schema()
    options = [schema]
    for part in location:
        inside = [node for option in options for node in _inside(option, part)]
        options = [plain for node in inside for plain in _alternatives(node, schema)]
    return [key for option in options for key in option.get("properties", {})]


@cache
def _names_of_variables() -> list[str]:
    """Return, without the prefix, the variables for sections and for settings right inside them."""
    names = [variable.removeprefix(PREFIX) for variable in _ALONE if variable.startswith(PREFIX)]
    for section in Settings.model_fields:
        inside = (f"{section}{WITHIN}{key}".upper() for key in _keys_at((section,)))
        names += [section.upper(), *inside]
    return names


def _inside(schema: dict[str, Any], part: int | str) -> list[dict[str, Any]]:
    """Return the schema of one key or item, if there can be one."""
    if isinstance(part, int):
        found = schema.get("items")
    else:
        found = schema.get("properties", {}).get(part) or schema.get("additionalProperties")
    return [found] if isinstance(found, dict) else []


def _alternatives(node: dict[str, Any], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the plain schemas that a schema stands for."""
    if "$ref" in node:
        return _alternatives(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    if "anyOf" in node:
        return [plain for option in node["anyOf"] for plain in _alternatives(option, schema)]
    return [node]


def _holds(said: Any, location: _Location) -> bool:
    for part in location:
        if isinstance(said, list):
            said = dict(enumerate(said))
        if not isinstance(said, Mapping):
            return True  # one word stands for the whole table
        if part not in said:
            return False
        said = said[part]
    return True


def _path(location: _Location) -> str:
    path = ""
    for part in location:
        path = join_path(path, part)
    return path


def _variable(location: _Location) -> str:
    """Return the variable that gave a setting, which may have given its whole table."""
    parts = tuple(str(part) for part in location)
    names = [PREFIX + WITHIN.join(parts[:n]).upper() for n in range(len(parts), 0, -1)]
    short = next((variable for variable, path in SHORT_NAMES.items() if path == parts), names[0])
    return next((name for name in names if name in os.environ), short)
