"""Which models the servers of a pool list, whether or not they are in the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from orchestrator.core.errors import OrchestratorError
from orchestrator.core.model import Model
from orchestrator.integrations.remote import RemoteModel

__all__ = ["ServerList", "ask_servers"]


@dataclass(frozen=True, slots=True)
class ServerList:
    """What one server lists.

    Attributes:
        model: One of its models in the pool, whose key and manners served to ask.
        names: All that it lists, by its own names.
        error: Why it lists none, or None.
    """

    model: RemoteModel
    names: tuple[str, ...] = ()
    error: OrchestratorError | None = None


async def ask_servers(models: Iterable[Model]) -> list[ServerList]:
    """Ask each server that these models have, all at once; one that fails keeps none from it.

    Models on residents and those of the user's own have no server that could be asked.
    """
    asked: dict[tuple[str, str], RemoteModel] = {}
    for model in models:
        if isinstance(model, RemoteModel) and model.endpoint is not None:
            asked.setdefault((model.provider, model.endpoint.base_url), model)
    async with asyncio.TaskGroup() as tasks:
        asking = [tasks.create_task(_ask(model)) for model in asked.values()]
    return [task.result() for task in asking]


async def _ask(model: RemoteModel) -> ServerList:
    try:
        return ServerList(model, tuple(await model.served_names() or ()))
    except OrchestratorError as error:
        return ServerList(model, error=error)
