"""An engine as it is configured, for the commands that need one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.cli.output import note
from orchestrator.core.errors import ConfigurationError

if TYPE_CHECKING:
    from orchestrator.config import Configuration
    from orchestrator.engine import Orchestrator

__all__ = ["Configured", "configured"]


class Configured(NamedTuple):
    """A configuration, and the engine that it describes."""

    configuration: Configuration
    orchestrator: Orchestrator


def configured(path: Path | None, *, paid: bool = False) -> Configured:
    """Read the configuration, say what is wrong with it, and build the engine.

    Raises:
        ConfigurationError: It is wrong, or there is no model at all.
    """
    from orchestrator.config import arguments_for, read_configuration
    from orchestrator.engine import Orchestrator

    said: dict[str, Any] = {"paid": True} if paid else {}
    configuration = read_configuration(path, **said)
    for warning in configuration.warnings:
        note(f"warning: {warning}")
    orchestrator = Orchestrator(**arguments_for(configuration))
    if not len(orchestrator.registry):
        raise ConfigurationError("there is no model", hint=_where_models_come_from(configuration))
    return Configured(configuration, orchestrator)


def _where_models_come_from(configuration: Configuration) -> str:
    waiting = [offer.source for offer in configuration.offers if offer.paid]
    if waiting:
        return f"{', '.join(waiting)} is set: add --paid to use it"
    if configuration.path is None:
        return (
            "fetch a small one with `orchestrator models get smollm2`, or write orchestrator.toml"
        )
    return f"{configuration.path} has no [[models]]"
