"""The sections that say how the engine and the gateway work; pure shape, checked by pydantic."""

from dataclasses import asdict
from math import inf
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from orchestrator.core.errors import InvalidRequestError, OrchestratorError
from orchestrator.core.objective import Objective
from orchestrator.core.ports import Timeouts
from orchestrator.lifecycle.restart import RestartPolicy
from orchestrator.routing.attempts import AttemptPolicy
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.routing.ejection import EjectionPolicy

__all__ = [
    "Checked",
    "EngineSection",
    "Names",
    "Positive",
    "Section",
    "SelectorSection",
    "ServerSection",
]


def _comma_separated(value: Any) -> Any:
    """Let one text stand for a list, since environment variables hold nothing else."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return value


def _checked(value: Any, build: ValidatorFunctionWrapHandler) -> Any:
    """Turn what our own classes refuse into a fault at the offending key."""
    try:
        return build(value)
    except OrchestratorError as error:
        param = getattr(error, "param", None)
        refused = value.get(param) if isinstance(value, dict) and param else value
        fault = InitErrorDetails(
            type=PydanticCustomError("refused", "{why}", {"why": error.message}),
            loc=(param,) if param else (),
            input=refused,
        )
        raise ValidationError.from_exception_data("value", [fault]) from error


def _all_positive(timeouts: Timeouts) -> Timeouts:
    for name, seconds in asdict(timeouts).items():
        if not 0 < seconds < inf:
            raise InvalidRequestError(f"{name} must be above 0, not {seconds!r}", param=name)
    return timeouts


Names = Annotated[tuple[str, ...], BeforeValidator(_comma_separated)]
"""A list of names, or one text with commas between them."""
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Checked: Final = WrapValidator(_checked)
"""For classes of ours that check themselves: ``Annotated[BreakerPolicy, Checked]``."""


class Section(BaseModel):
    """A table of the file: knows its keys, and takes no other."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SelectorSection(Section):
    """Who chooses among the eligible models: a name, or a table of a name and its options."""

    model_config = ConfigDict(extra="allow")

    name: str
    """ucb, ucb1, kl-ucb, cost, performance, priority, or one that a package registers."""

    @model_validator(mode="before")
    @classmethod
    def _by_name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """What stands beside the name."""
        return dict(self.model_extra or {})

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        table = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [{"type": "string"}, table], "description": table.get("description", "")}


class EngineSection(Section):
    """How requests are decided and carried out."""

    selector: SelectorSection = SelectorSection(name="ucb")
    """Who chooses where a route names nobody else."""
    objective: Annotated[Objective, Checked] = Objective()
    """What quality, money, time and failures are worth to each other."""
    deadline_s: Positive = 120.0
    """The whole time of a request that names none; of streams, until the first token."""
    timeouts: Annotated[Timeouts, AfterValidator(_all_positive), Checked] = Timeouts()
    """How long each phase of one call may take."""
    attempts: Annotated[AttemptPolicy, Checked] = AttemptPolicy()
    """How often one request may try."""
    breaker: Annotated[BreakerPolicy, Checked] = BreakerPolicy()
    """When a model counts as unhealthy, and when as healthy again."""
    ejection: Annotated[EjectionPolicy, Checked] = EjectionPolicy()
    """How much of the pool may be kept out for its health."""
    restart: Annotated[RestartPolicy, Checked] = RestartPolicy()
    """How long the process of a local model rests after it has failed."""
    budget_usd_per_day: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """A hard cap on spending per UTC day."""
    seed: int | None = None
    """Makes exploration and jitter repeatable."""


class ServerSection(Section):
    """Where the gateway listens, and to whom."""

    host: str = "127.0.0.1"
    """The address to listen on; any but a loopback one needs a key."""
    port: Annotated[int, Field(ge=0, le=65535)] = 3001
    """0 is any that is free."""
    api_key: SecretStr | None = None
    """What every request has to present as a bearer token."""
    allowed_hosts: Names = ()
    """Names under which it is reached, besides the loopback ones and ``host``."""
    allowed_origins: Names = ()
    """Origins of web pages that may call it, such as https://example.com."""
