"""From the sections of a file to the processes that models in our own memory need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from orchestrator.config.configuration import Configuration
from orchestrator.config.faults import suggestion
from orchestrator.config.places import at
from orchestrator.config.pool import ResidentSection
from orchestrator.core.bounds import ProcessBounds
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.model import Model
from orchestrator.core.ports import ResidentSpec
from orchestrator.integrations.embedded import EmbeddedModel, embedded_resident
from orchestrator.integrations.model_files import KNOWN_FILES, find_model_file, models_folder
from orchestrator.integrations.served import ServedModel
from orchestrator.lifecycle.command import allowed_path, command_resident

__all__ = ["ConfiguredResident", "configured_residents"]


class ConfiguredResident(NamedTuple):
    """A process, and what builds a model on it."""

    spec: ResidentSpec
    model: Callable[..., Model]


def configured_residents(configuration: Configuration) -> dict[str, ConfiguredResident]:
    """Describe every resident of a configuration by its name, the discovered one last.

    Raises:
        ConfigurationError: One cannot be; the message says which and why.
        MissingExtraError: What it needs is not installed.
    """
    settings, sources = configuration.settings, configuration.sources
    folder = Path() if sources.path is None else sources.path.parent
    allowed = [folder, models_folder()]
    allowed += [folder / Path(name).expanduser() for name in settings.engine.model_folders]
    sections = [
        (name, section, sources.place(("residents", name)))
        for name, section in settings.residents.items()
    ]
    sections += [(*o.resident, o.source) for o in configuration.joining if o.resident is not None]
    residents = {}
    for name, section, place in sections:
        with at(place):
            residents[name] = _resident(name, section, folder, allowed)
    return residents


def _resident(
    name: str, section: ResidentSection, folder: Path, allowed: Sequence[Path]
) -> ConfiguredResident:
    bounds = ProcessBounds(
        memory_bytes=None if section.memory_gb is None else int(section.memory_gb * 1e9),
        nice=section.nice,
        cores=section.cores,
        liveness=section.liveness,
    )
    if section.command is not None:
        return _command(name, section, section.command, bounds, folder, allowed)
    assert section.file is not None, "a section has a file or a command"
    path = Path(section.file).expanduser()
    if section.file in KNOWN_FILES:
        path = find_model_file(section.file)
    elif path.suffix != ".gguf":
        known = suggestion(section.file, KNOWN_FILES)
        raise ConfigurationError(
            f"file {section.file!r} is neither a known model file nor the path of a .gguf file",
            hint=known,
        )
    spec = embedded_resident(
        name,
        allowed_path(folder / path, allowed),
        context=section.context,
        slots=section.slots,
        threads=section.threads,
        embeddings=section.embeddings,
        ready_timeout_s=section.ready_timeout_s,
        bounds=bounds,
    )
    return ConfiguredResident(spec, partial(EmbeddedModel, resident=spec))


def _command(
    name: str,
    section: ResidentSection,
    command: Sequence[str],
    bounds: ProcessBounds,
    folder: Path,
    allowed: Sequence[Path],
) -> ConfiguredResident:
    spec = command_resident(
        name,
        command,
        path=None if section.path is None else folder / Path(section.path).expanduser(),
        env={variable: value.get_secret_value() for variable, value in section.env.items()},
        cwd=None if section.cwd is None else folder / Path(section.cwd).expanduser(),
        served_name=section.served_name,
        ready_path=section.ready_path,
        ready_timeout_s=section.ready_timeout_s,
        bounds=bounds,
        folders=allowed,
    )
    native_tools = bool(section.native_tools)
    return ConfiguredResident(spec, partial(ServedModel, resident=spec, native_tools=native_tools))
