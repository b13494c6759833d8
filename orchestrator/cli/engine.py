"""An engine as it is configured, for the commands that need one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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


_OF_SERVING: Final[dict[str, Any]] = {
    "load": (),
    "auto_switch": None,
    "health_monitor": None,
    "profiling": None,
    "state": None,
}
"""Arguments of an engine for what it does by itself, and their values that make it do nothing."""


def configured(
    path: Path | None, *, paid: bool = False, serves: bool = True, **settings: Any
) -> Configured:
    """Read the configuration, say what is wrong with it, and build the engine.

    Args:
        path: The file, or None.
        paid: Whether models that cost money join.
        serves: Whether it does by itself what it is configured to do, such as loading models.
        settings: Settings that go before what is configured.

    Raises:
        ConfigurationError: It is wrong, or there is no model at all.
    """
    from orchestrator.config import arguments_for, read_configuration
    from orchestrator.engine import Orchestrator

    said: dict[str, Any] = {"paid": True} if paid else {}
    configuration = read_configuration(path, **said, **settings)
    for warning in configuration.warnings:
        note(f"warning: {warning}")
    arguments = arguments_for(configuration)
    if not serves:
        arguments |= {name: none for name, none in _OF_SERVING.items() if name in arguments}
    orchestrator = Orchestrator(**arguments)
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
