"""Any command that serves OpenAI's wire format on a port, as a resident."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from string import Formatter
from typing import Final

from orchestrator.core.bounds import ProcessBounds
from orchestrator.core.errors import ConfigurationError, MissingExtraError
from orchestrator.core.ports import ResidentSize, ResidentSpec

__all__ = ["PLACEHOLDERS", "CommandResident", "allowed_path", "command_resident"]

PLACEHOLDERS: Final = ("path", "port", "key", "name")
"""What may stand in braces in a command and in its environment."""

_READY_PATHS: Final = ("/health", "/v1/models")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResident(ResidentSpec):
    """A command that knows nothing of us. `SubprocessLauncher` fills its placeholders.

    Attributes:
        path: Stands for ``{path}``.
        cwd: The folder it runs in; None is ours.
        ready_paths: The first of these that it knows says when it serves.
    """

    path: str | None = None
    cwd: str | None = None
    ready_paths: tuple[str, ...] = _READY_PATHS

    def filled(self, port: int, key: str) -> tuple[list[str], dict[str, str]]:
        """Return its command and what is added to its environment."""
        values = {"path": self.path, "port": port, "key": key, "name": self.served_name}
        return (
            [part.format(**values) for part in self.command],
            {name: part.format(**values) for name, part in self.env.items()},
        )


def command_resident(
    name: str,
    command: Sequence[str],
    *,
    path: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    served_name: str | None = None,
    ready_path: str | None = None,
    ready_timeout_s: float = 60.0,
    bounds: ProcessBounds | None = None,
    folders: Iterable[Path] | None = None,
) -> CommandResident:
    """Describe a command that serves a model. Nothing is started before its first lease.

    Args:
        name: Identifies it among the residents of one engine.
        command: The program and its arguments, without a shell. In them, and in the values of
            ``env``, ``{port}`` stands for the loopback port it has to listen on, ``{path}`` and
            ``{name}`` for what is said here, ``{key}`` for a random key that it can demand;
            ``{{`` and ``}}`` are braces.
        path: A file or folder of weights.
        env: Added to its environment. Other users of the machine can read its arguments, but not
            these, so that the key is better off here.
        cwd: The folder it runs in; None is ours.
        served_name: What it calls its model; None is ``name``.
        ready_path: What answers well once it serves, from the server's root; None is ``/health``,
            or ``/v1/models`` where there is no such path.
        ready_timeout_s: Seconds that the load may take.
        bounds: What it may take of the machine, and when it counts as hung.
        folders: ``path`` has to be in one of them, links followed; None is anywhere.

    Raises:
        ConfigurationError: A placeholder is unknown, one that is needed is missing, or the path is
            not there or not in one of the folders.
        MissingExtraError: What watches over processes is not installed.
    """
    if find_spec("psutil") is None:
        raise MissingExtraError("watching over a command", "local")
    if not command:
        raise ConfigurationError(f"the command of resident {name!r} is empty")
    env = dict(env or {})
    # Values of the environment may be secrets, and are not quoted.
    texts = [(text, repr(text)) for text in command]
    texts += [(text, f"the variable {variable}") for variable, text in env.items()]
    said = {field for text, what in texts for field in _placeholders(text, what)}
    if "port" not in said:
        raise ConfigurationError(
            f"the command of resident {name!r} says nowhere where to listen",
            hint='for instance "--port", "{port}"',
        )
    if "path" in said and path is None:
        raise ConfigurationError(f"resident {name!r} has no path, and its command says {{path}}")
    if "path" not in said and path is not None:
        raise ConfigurationError(f"resident {name!r} has a path that its command does not mention")
    if ready_path is not None and not ready_path.startswith("/"):
        raise ConfigurationError(f"ready_path must begin with a slash, unlike {ready_path!r}")
    weights = None if path is None else allowed_path(path, folders)
    return CommandResident(
        name=name,
        command=tuple(command),
        env=env,
        ready_timeout_s=ready_timeout_s,
        size=ResidentSize(weights_bytes=0 if weights is None else _size_bytes(weights)),
        bounds=bounds or ProcessBounds(),
        served_name=served_name or name,
        path=None if weights is None else str(weights),
        cwd=None if cwd is None else str(Path(cwd).expanduser().absolute()),
        ready_paths=_READY_PATHS if ready_path is None else (ready_path,),
    )


def allowed_path(path: str | Path, folders: Iterable[Path] | None) -> Path:
    """Return a path of weights, absolute.

    Raises:
        ConfigurationError: It is not there, or where it leads to is in none of the folders.
    """
    path = Path(path).expanduser().absolute()
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(f"there is no {path}") from error
    if folders is not None:
        roots = [folder.expanduser().resolve() for folder in folders]
        if not any(real.is_relative_to(root) for root in roots):
            listed = ", ".join(map(str, roots)) or "none"
            raise ConfigurationError(
                f"{path} is outside the folders that models may come from: {listed}",
                hint="add its folder to engine.model_folders",
            )
    return path


def _placeholders(text: str, what: str) -> Iterator[str]:
    try:
        fields = [part[1:] for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise ConfigurationError(
            f"{what} has a brace without its other", hint="a plain one is {{ or }}"
        ) from error
    for field, form, conversion in fields:
        if field not in PLACEHOLDERS or form or conversion:
            known = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
            raise ConfigurationError(
                f"{what} holds an unknown placeholder", hint=f"known: {known}; a brace is {{{{"
            )
        yield field


def _size_bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
