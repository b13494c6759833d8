"""Bodies of the management API, read."""

from typing import Annotated, TypeVar, cast

from aiohttp import web
from pydantic import ConfigDict, Field

from orchestrator.core.params import Params, validated
from orchestrator.server.body import read_json

__all__ = [
    "Discover",
    "Load",
    "NamedModel",
    "Pin",
    "Profile",
    "Switch",
    "Unload",
    "read_body",
]

_B = TypeVar("_B", bound="_Body")


class _Body(Params):
    """Names are camelCase on the wire; a field that is none is refused."""

    model_config = ConfigDict(strict=True, loc_by_alias=True)


class NamedModel(_Body):
    """A model: its key, its alias, or its name, for which a provider may be needed."""

    provider: str = ""
    model: str


class Load(NamedModel):
    """A model to bring into memory."""

    priority: int = 0
    """Higher is loaded first where several wait."""
    wait_limit_s: Annotated[float, Field(gt=0)] | None = None
    """Seconds to wait at most; as configured if not given."""
    dry_run: bool = False
    """Only say what would be loaded and who would have to go."""


class Switch(NamedModel):
    """A model to become the current one."""

    reason: str = "requested"
    """Told in the event."""
    load: bool = True
    """Load it first if it is not in memory; else that is a conflict."""
    evict_previous: bool = False
    """Take the one before out of memory once its calls have ended."""


class Unload(NamedModel):
    """A model to take out of memory."""

    force: bool = False
    """Do not wait for its calls."""


class Pin(_Body):
    """Whether a model is to be kept in memory."""

    pinned: bool = True


class Profile(_Body):
    """How to measure a model."""

    test_count: Annotated[int, Field(ge=1, le=1000)] = 10
    """Calls to make."""
    max_cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """USD that all of them may cost."""
    dry_run: bool = False
    """Only estimate what it would take."""


class Discover(_Body):
    """What to do with the models that are found."""

    registers: Annotated[bool, Field(alias="register")] = False
    """Let those join the pool that are not in it."""


async def read_body(request: web.Request, kind: type[_B]) -> _B:
    """Read a body of this kind; none at all is one without fields.

    Raises:
        InvalidRequestError: It is no JSON object, or a field is missing, unknown or wrong.
    """
    data = await read_json(request) if request.can_read_body else {}
    return cast("_B", validated(kind, data))
