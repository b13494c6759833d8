"""The sections that say how the engine and the gateway work; pure shape, checked by pydantic."""

from dataclasses import asdict
from math import inf
from typing import Annotated, Any, Final, Literal

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
from orchestrator.routing.auto_switch import AutoSwitchPolicy
from orchestrator.routing.breaker import BreakerPolicy
from orchestrator.routing.ejection import EjectionPolicy

__all__ = [
    "BudgetSection",
    "Checked",
    "EngineSection",
    "EvaluatorSection",
    "HealthSection",
    "LifecycleSection",
    "Names",
    "Positive",
    "QualitySection",
    "Section",
    "SelectionSection",
    "SelectorSection",
    "ServerSection",
    "StateSection",
    "StoreSection",
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


def _or_a_name(schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
    """Let a text stand for a table."""
    table = handler.resolve_ref_schema(handler(schema))
    return {"anyOf": [{"type": "string"}, table], "description": table.get("description", "")}


class SelectorSection(Section):
    """Who chooses among the eligible models: a name, or a table of a name and its options."""

    model_config = ConfigDict(extra="allow")

    name: str
    """default, ucb, thompson, cost, priority, ..., or one that a package registers."""

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
        return _or_a_name(schema, handler)


class EngineSection(Section):
    """How requests are decided and carried out."""

    selector: SelectorSection = SelectorSection(name="default")
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
    model_folders: Names = ()
    """Where residents may take weights from, besides the configuration file's own folder and that
    of fetched models."""
    seed: int | None = None
    """Makes exploration and jitter repeatable."""


class SelectionSection(Section):
    """What is believed before models are called, what finding out more may cost, and which kinds of
    requests are told apart."""

    segmenter: Literal["kind", "text", "centroids"] | None = None
    """What tells kinds of requests apart that name no task: what they need, or their text. If not
    given, they are all one."""
    segments: str | None = None
    """A file that `orchestrator segments train` has written, for `centroids`; from the
    configuration file's folder."""
    embed_within_s: Positive = 0.25
    """How long a request waits at most for the embedding model that such a file may rest on."""
    prior: str | None = None
    """A file that `orchestrator warm-start` has written, from the configuration file's folder."""
    prior_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 2.0
    """Pulls that a declared quality, or a family's mean, counts for."""
    families: Names = ()
    """Patterns of keys such as openai:gpt-4o*: a model that nobody has called yet is believed to
    be as good as those that match the same one."""
    exploration_usd_per_day: Annotated[float, Field(ge=0)] | None = None
    """What exploring may cost per UTC day; beyond it decisions are greedy. inf only counts it."""


class BudgetSection(Section):
    """How money is spent over a day; the hard cap is engine.budget_usd_per_day."""

    pace_usd_per_day: Positive | None = None
    """What a UTC day is to cost: cost weighs the more the faster it is spent."""


class EvaluatorSection(Section):
    """Who rates answers: a name, or a table of a name and its options."""

    name: Literal["valid-json", "matches-schema", "contains", "judge"]
    """What it looks at: JSON at all, the schema that a request demands, texts, or all of it."""
    texts: Names | None = None
    """Of contains: what an answer has to contain, all of it."""
    ignore_case: bool | None = None
    """Of contains: capitals and small letters are the same."""
    model: str | None = None
    """Of judge: key, alias or name of the model that grades."""
    sample: Annotated[float, Field(gt=0, le=1)] | None = None
    """Of judge: share of answers that are judged; 0.02 if not given."""
    usd_per_day: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """Of judge: what judging may cost per UTC day; 1 if not given."""
    rubric: str | None = None
    """Of judge: its system prompt, which has to ask for one number from 0 to 10."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Of judge: of a reply; 256 if not given."""

    @model_validator(mode="before")
    @classmethod
    def _by_name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_its_own_options(self) -> "EvaluatorSection":
        takes = _TAKEN_BY.get(self.name, ())
        for option in self.model_fields_set - {"name", *takes}:
            known = ", ".join(takes) or "none"
            raise ValueError(f"{self.name} has no option {option!r}; known: {known}")
        if takes and takes[0] not in self.model_fields_set:
            raise ValueError(f"{self.name} needs {takes[0]}")
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return _or_a_name(schema, handler)


_TAKEN_BY: Final = {
    "contains": ("texts", "ignore_case"),
    "judge": ("model", "sample", "usd_per_day", "rubric", "max_tokens"),
}
"""Options by evaluator; the first has to be given."""


class QualitySection(Section):
    """Who says how good answers are, besides those who ask."""

    evaluators: tuple[EvaluatorSection, ...] = ()
    """Asked in this order about each answer that nobody has rated; the lowest quality counts."""


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


class LifecycleSection(Section):
    """What local models may hold of the machine, and how they come and go. A GB is 10^9 bytes."""

    ram_gb: Positive | None = None
    """Main memory of all local models together; if not given, as much as they take."""
    gpu_gb: dict[Annotated[int, Field(ge=0)], Positive] = {}
    """The same of each GPU, by its index."""
    max_loaded_models: Annotated[int, Field(ge=1)] | None = None
    """How many residents may be in memory together."""
    load: Names = ()
    """Models to be loaded at the start, beside the first requests."""
    load_default: bool = False
    """Load the first local model at the start, where `load` names none."""
    keep_alive_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """A resident that nobody has used for so long is unloaded; if not given, only when its memory
    is wanted."""
    parallel_loads: Annotated[int, Field(ge=1)] = 2
    """Loads at once."""
    queue_limit: Annotated[int, Field(ge=0)] = 1024
    """Requests that may wait for a model to be loaded."""
    wait_limit_s: Positive = 120.0
    """How long one of them waits at most."""
    max_wait_for_load_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    """Until then a swap waits for a resident to have nothing to do; then it is made to finish."""
    min_residence_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 3.0
    """Nobody is evicted sooner after its load, unless somebody has waited for too long."""
    drain_deadline_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    """After this long a resident that has to go is stopped with requests in flight."""
    auto_switch: Annotated[AutoSwitchPolicy, Checked] | None = None
    """When to leave a current model that does badly; if not given, never."""


class HealthSection(Section):
    """Checks in the background; how failures count is said in engine.breaker."""

    active: bool = True
    """Whether there are any."""
    check_interval_s: Positive = 300.0
    """From one check of a model to the next; others than local ones are checked when idle."""
    timeout_s: Positive = 10.0
    """How long a check may take; longer is a failure."""
    jitter: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """The part of the interval by which it varies either way."""
    probe_usd_per_day: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """What questions to models that cost money may cost in a UTC day; 0 asks them none."""


class StoreSection(Section):
    """What outlives the process."""

    url: str | None = None
    """Where decisions, what came of them and statistics are kept, such as
    sqlite:///decisions.db in the data folder; if not given, they end with the process."""


class StateSection(Section):
    """What the next process is to know of local models and of changes to the pool."""

    path: str | None = None
    """The file, such as state.json in the data folder; if not given, nothing is remembered."""
    auto_save_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 60.0
    """How often to look for changes nobody told of; 0 saves only when asked, and at the end."""
    restore_loaded: bool = False
    """Load at the start what was in memory at the end."""
