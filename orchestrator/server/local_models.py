"""``/api/v1/models/load`` and its like: models that come into memory and leave it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from functools import wraps
from typing import Any

from aiohttp import web

from orchestrator.core.errors import (
    ModelDoesNotFitError,
    ModelLoadError,
    OverloadedError,
    RequestError,
)
from orchestrator.core.model import Model
from orchestrator.engine import Orchestrator
from orchestrator.lifecycle.state import Status
from orchestrator.server.descriptions import Descriptions
from orchestrator.server.failure import failed
from orchestrator.server.model_answers import (
    LoadedOne,
    Moved,
    Pinned,
    Plan,
    StateWritten,
    Switched,
    answered,
)
from orchestrator.server.model_requests import Load, NamedModel, Pin, Switch, Unload, read_body

__all__ = ["LocalModels", "NotLoadedError"]


class NotLoadedError(RequestError):
    """The model is not in memory, and was not to be loaded."""

    code = "model_not_loaded"
    http_status = 409


def _loading(
    handle: Callable[[LocalModels, web.Request], Awaitable[web.Response]],
) -> Callable[[LocalModels, web.Request], Awaitable[web.Response]]:
    """Answer a load that failed as what it is here: not ours to repeat, as a chat's would be."""

    @wraps(handle)
    async def answer(self: LocalModels, request: web.Request) -> web.Response:
        try:
            return await handle(self, request)
        except ModelDoesNotFitError as error:
            return failed(request, error, status=507)
        except ModelLoadError as error:
            return failed(request, error, status=502)
        except OverloadedError as error:
            if error.retry_after_s is None:
                residents = self._orchestrator.memory().residents
                error.retry_after_s = sum(r.expected_load_s for r in residents if r.waiting)
            raise

    return answer


class LocalModels:
    """Moves models as it is told. Whoever asks waits for it; a load goes on if he leaves."""

    def __init__(self, orchestrator: Orchestrator, descriptions: Descriptions) -> None:
        self._orchestrator = orchestrator
        self._descriptions = descriptions

    @_loading
    async def load(self, request: web.Request) -> web.Response:
        """``POST /api/v1/models/load``."""
        asked = await read_body(request, Load)
        model = self._named(asked)
        key = model.key.text
        if asked.dry_run:
            plan = Plan(**asdict(self._orchestrator.plan_set([key])))
            return answered(LoadedOne(**_said(model, "Nothing was loaded"), plan=plan))
        await self._orchestrator.load_model(
            key, priority=asked.priority, wait_limit_s=asked.wait_limit_s
        )
        return answered(LoadedOne(**_said(model, "Model loaded successfully"), plan=None))

    @_loading
    async def switch(self, request: web.Request) -> web.Response:
        """``POST /api/v1/models/switch``."""
        asked = await read_body(request, Switch)
        model = self._named(asked)
        key = model.key.text
        if not asked.load and self._orchestrator.model_status(key) is not Status.LOADED:
            raise NotLoadedError(
                f"{key} is not in memory", hint="load it first, or leave `load` out"
            )
        previous = self._orchestrator.current_model
        await self._orchestrator.switch_model(
            key, asked.reason, evict_previous=asked.evict_previous
        )
        return answered(
            Switched(
                **_said(model, "Model switched successfully"),
                current_model=self._descriptions.now().description(model),
                previous_model=previous,
            )
        )

    async def unload(self, request: web.Request) -> web.Response:
        """``POST /api/v1/models/unload``."""
        asked = await read_body(request, Unload)
        model = self._named(asked)
        await self._orchestrator.unload_model(model.key.text, force=asked.force)
        return answered(Moved(**_said(model, "Model unloaded successfully")))

    async def pin(self, request: web.Request) -> web.Response:
        """``POST /api/v1/models/{key}/pin``."""
        model = self._orchestrator.registry.get_model(request.match_info["key"])
        asked = await read_body(request, Pin)
        self._orchestrator.pin_model(model.key.text, pinned=asked.pinned)
        return answered(Pinned(key=model.key.text, pinned=asked.pinned))

    async def save_state(self, request: web.Request) -> web.Response:
        """``POST /api/v1/models/save-state``."""
        path = await self._orchestrator.save_state()
        return answered(StateWritten(message="State saved successfully", path=str(path)))

    def _named(self, asked: NamedModel) -> Model:
        return self._orchestrator.registry.get_model(asked.model, asked.provider)


def _said(model: Model, message: str) -> dict[str, Any]:
    return {
        "message": message,
        "provider": model.provider,
        "model": model.name,
        "key": model.key.text,
    }
