"""The sections that say which models there are, and how requests are routed among them."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import Field, GetJsonSchemaHandler, PrivateAttr, SecretStr, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from orchestrator.config.sections import Checked, Names, Positive, Section, SelectorSection
from orchestrator.core.bounds import Liveness
from orchestrator.core.errors import InvalidKeyError
from orchestrator.core.keys import ModelKey
from orchestrator.core.model import ModelConstraints
from orchestrator.core.objective import Objective
from orchestrator.routing.routes import AFFINITY_S

__all__ = [
    "EMBEDDED",
    "ExperimentSection",
    "ModelSection",
    "PriceSection",
    "ProviderSection",
    "ProviderType",
    "RequirementsSection",
    "ResidentSection",
    "RouteSection",
]

ProviderType = Literal["openai", "openai_compatible", "llama_cpp"]
_Usd = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]
EMBEDDED: Final = "embedded"
"""The provider of the models on residents."""


class ProviderSection(Section):
    """Who runs models: where they are reached and with which key."""

    type: ProviderType | None = None
    """How it is spoken to; the section's own name if that is a type."""
    base_url: str | None = None
    """Up to and without /chat/completions, mostly ending in /v1."""
    api_key: SecretStr | None = None
    """Sent as a bearer token; write it as ${VARIABLE}."""
    organization: str | None = None
    """Whom OpenAI is to bill, for keys that belong to several."""
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Further headers of every request."""
    native_tools: bool | None = None
    """Whether the chat template of a llama.cpp server's model knows tools."""


class ResidentSection(Section):
    """A model in memory, in a process of its own, which several models can share: a file for the
    embedded engine, or a command that serves OpenAI's wire format on a port."""

    file: str | None = None
    """The name of a file that `orchestrator models get` fetches, or the path of a GGUF file."""
    context: _Count = 4096
    """Of a file: tokens of all slots together."""
    slots: _Count = 2
    """Of a file: requests to work on at once, each with its share of the context."""
    threads: _Count | None = None
    """Of a file: leaves one core to the rest of the program if not given."""
    embeddings: bool = True
    """Of a file: also turn texts into vectors."""
    command: tuple[str, ...] | None = None
    """The program and its arguments. {port}, {path}, {name} and {key} are filled in."""
    path: str | None = None
    """Of a command: the file or folder of weights that {path} stands for."""
    env: Mapping[str, SecretStr] = Field(default_factory=dict)
    """Of a command: added to its environment, with the same placeholders."""
    cwd: str | None = None
    """Of a command: the folder it runs in."""
    served_name: str | None = None
    """Of a command: what it calls its model, and {name} stands for; if not given, as we do."""
    ready_path: str | None = None
    """Of a command: what answers well once it serves; /health, else /v1/models, if not given."""
    native_tools: bool | None = None
    """Of a command: whether it was told how its model calls tools."""
    ready_timeout_s: Positive = 60.0
    """Seconds that the load may take."""
    memory_gb: Positive | None = None
    """Main memory it may take, its children with it; with more it is killed."""
    nice: Annotated[int, Field(ge=0, le=19)] = 0
    """19 leaves the processor to whoever else wants it."""
    cores: tuple[Annotated[int, Field(ge=0)], ...] = ()
    """Numbers of the processor's cores that it may run on; all if not given. Linux only."""
    liveness: Annotated[Liveness, Checked] = Liveness()
    """When it counts as hung and is killed, to be loaded anew."""

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> "ResidentSection":
        kinds = {"file": _OF_A_FILE, "command": _OF_A_COMMAND}
        said = [kind for kind in kinds if getattr(self, kind) is not None]
        if len(said) != 1:
            raise ValueError("needs a file or a command, and not both")
        for kind in kinds.keys() - said:
            for name in kinds[kind] & self.model_fields_set:
                raise ValueError(f"has {name}, which means nothing to a {said[0]}")
        return self


_OF_A_FILE: Final = frozenset(("context", "slots", "threads", "embeddings"))
_OF_A_COMMAND: Final = frozenset(
    ("path", "env", "cwd", "served_name", "ready_path", "native_tools")
)


class PriceSection(Section):
    """US dollars for tokens, or "free"."""

    input: _Usd
    """For prompt tokens."""
    output: _Usd
    """For completion tokens."""
    cached_input: _Usd | None = None
    """For prompt tokens read from the provider's cache."""
    cache_write: _Usd | None = None
    """For prompt tokens written to it."""
    per: Literal["1M", "1K"] = "1M"
    """How many tokens cost that much."""

    @model_validator(mode="before")
    @classmethod
    def _by_word(cls, value: Any) -> Any:
        return {"input": 0, "output": 0} if value == "free" else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        table = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [{"const": "free"}, table], "description": table.get("description", "")}


class ModelSection(Section):
    """One model of the pool. What is not given is what its provider and the price list say."""

    key: str | None = None
    """provider:name; or give provider and name."""
    provider: str | None = None
    """The name of a provider's section; embedded for a model on a resident."""
    name: str | None = None
    """Its name in the pool."""
    wire_name: str | None = None
    """Its name at the provider where that is another."""
    resident: str | None = None
    """The resident that serves it; not needed if there is only one."""
    aliases: Names = ()
    """Further names for it."""
    capabilities: Names | None = None
    """What it can do, such as chat_completion, function_calling, vision, embeddings."""
    types: Names | None = None
    """Kinds of work it serves, such as text:large; what follows from its capabilities if unset."""
    context_window: _Count | None = None
    """Tokens its window holds."""
    max_output_tokens: _Count | None = None
    """Most tokens of one answer."""
    price: PriceSection | None = None
    """What its tokens cost."""
    speed: Positive | None = None
    """Output tokens per second, until it is measured."""
    quality: Annotated[float, Field(ge=0, le=1)] | None = None
    """Believed quality, which counts as much as two observations."""
    priority: int = 0
    """Higher is preferred."""
    local: bool | None = None
    """Whether it runs on a machine of ours."""
    defaults: Mapping[str, Any] = Field(default_factory=dict)
    """Parameters for what a request leaves unset, such as system_prompt or temperature."""
    constraints: Annotated[ModelConstraints, Checked] | None = None
    """How much it may be used at once."""

    @model_validator(mode="after")
    def _is_named_once(self) -> "ModelSection":
        provider = self.provider or (EMBEDDED if self.resident else None)
        if self.key is None:
            if not (provider and self.name):
                raise ValueError("needs a key such as openai:gpt-4o, or a provider and a name")
        elif self.provider or self.name:
            raise ValueError("has a key already; leave provider and name out")
        try:
            key = ModelKey.parse(self.key or f"{provider}:{self.name}")
        except InvalidKeyError as error:
            raise ValueError(error.message) from error
        self._identity = key
        return self

    _identity: ModelKey = PrivateAttr()

    @property
    def identity(self) -> ModelKey:
        """Its name in the pool, however it was given."""
        return self._identity


class RequirementsSection(Section):
    """What a route demands of every model, joined with what each request demands."""

    capabilities: Names = ()
    """What it must be able to do."""
    model_type: str | None = None
    """The kind of work it must serve."""
    max_cost: float | None = None
    """US dollars for the whole request, all attempts together."""
    min_speed: float | None = None
    """Output tokens per second."""
    context_length: int | None = None
    """Tokens its window must hold."""
    provider: str | None = None
    """Only this provider's models may serve."""
    prefer: str | None = None
    """This provider's models are taken first where they are eligible."""
    allow_unknown_cost: bool = False
    """Under max_cost, let models of unknown price serve too."""
    allow_unknown_speed: bool = True
    """Under min_speed, let models serve whose speed is neither declared nor measured."""


class RouteSection(Section):
    """A policy that may stand wherever a model is named; `auto` is taken where none is."""

    models: Names | None = None
    """Keys, aliases, names or patterns such as openai:*; every model if not given."""
    exclude: Names = ()
    """The same, taken away again."""
    requirements: RequirementsSection = RequirementsSection()
    """Joined with each request's."""
    selector: SelectorSection | None = None
    """Who chooses; the engine's own if not given."""
    objective: Annotated[Objective, Checked] | None = None
    """What is worth how much; the engine's own if not given."""
    fallback: Names = ()
    """Routes or models to go on with, in order, when none of its models is eligible."""
    affinity_s: Annotated[float, Field(ge=0)] = AFFINITY_S
    """Seconds after an answer for which its session stays with the model that gave it."""


class ExperimentSection(Section):
    """A comparison that may stand wherever a model is named; each unit gets one of the variants."""

    variants: Names
    """Two or more routes or models; the first is the control."""
    split: tuple[float, ...] | None = None
    """Share of each variant, summing to 1; equal shares if not given."""
    reward: Literal["quality", "success"] = "quality"
    """What an answer counts for: the quality it is given, or 1. A failure counts 0."""
    adaptive: bool = False
    """Whether shares follow the evidence."""
    floor: float = 0.1
    """Share that an adaptive split leaves every variant."""
    alpha: float = 0.05
    """Chance of a wrong conclusion, however often one looks."""
    min_effect: float = 0.0
    """Stop once no challenger can be better than the control by this much."""
    max_units: int | None = None
    """Stop after so many units have counted, sure or not."""
