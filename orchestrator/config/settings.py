"""All settings together: defaults, then the file, then the environment, then arguments."""

import os
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from orchestrator.config.pool import (
    ExperimentSection,
    ModelSection,
    ProviderSection,
    ResidentSection,
    RouteSection,
)
from orchestrator.config.sections import (
    BudgetSection,
    Checked,
    EngineSection,
    HealthSection,
    LifecycleSection,
    QualitySection,
    SelectionSection,
    ServerSection,
    StateSection,
    StoreSection,
)
from orchestrator.lifecycle.schedule import ProfilingSchedule

__all__ = ["PREFIX", "SHORT_NAMES", "WITHIN", "Settings", "environment_settings", "merged"]

PREFIX: Final = "ORCHESTRATOR_"
WITHIN: Final = "__"
SHORT_NAMES: Final = {
    "ORCHESTRATOR_API_KEY": ("server", "api_key"),
    "ORCHESTRATOR_HOST": ("server", "host"),
    "ORCHESTRATOR_PORT": ("server", "port"),
    "MODEL_MANAGER_AUTO_LOAD_DEFAULT": ("lifecycle", "load_default"),
    "MODEL_MANAGER_MAX_LOADED": ("lifecycle", "max_loaded_models"),
    "MODEL_MANAGER_PERSISTENCE_PATH": ("state", "path"),
}
"""Variables so common, or so well known from elsewhere, that they need not name their section."""
_FROM_THE_WORKING_FOLDER: Final = {"MODEL_MANAGER_PERSISTENCE_PATH"}
"""Where the programs that this variable comes from look for its file."""


class Settings(BaseSettings):
    """Everything that can be configured."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        env_prefix=PREFIX,
        env_nested_delimiter=WITHIN,
        env_ignore_empty=True,
    )

    engine: EngineSection = EngineSection()
    """How requests are decided and carried out."""
    selection: SelectionSection = SelectionSection()
    """What is believed before models are called, and what finding out more may cost."""
    quality: QualitySection = QualitySection()
    """Who says how good answers are."""
    budget: BudgetSection = BudgetSection()
    """How money is spent over a day."""
    server: ServerSection = ServerSection()
    """Where the gateway listens, and to whom."""
    lifecycle: LifecycleSection = LifecycleSection()
    """What local models may hold of the machine, and how they come and go."""
    health: HealthSection = HealthSection()
    """Checks in the background."""
    profiling: Annotated[ProfilingSchedule, Checked] | None = None
    """When models are measured by themselves; if not given, never."""
    store: StoreSection = StoreSection()
    """What outlives the process."""
    state: StateSection = StateSection()
    """What the next process is to know of local models and of changes to the pool."""
    providers: dict[str, ProviderSection] = {}
    """Who runs models, by name."""
    residents: dict[str, ResidentSection] = {}
    """Model files in our own memory, by name."""
    models: tuple[ModelSection, ...] = ()
    """The models of the pool, in order: ties go to the first."""
    routes: dict[str, RouteSection] = {}
    """Named policies."""
    experiments: dict[str, ExperimentSection] = {}
    """Routes or models that are compared on live requests, by the name of the comparison."""
    discover: bool | None = None
    """Add what the environment offers: models of providers whose key is set, a llama.cpp server,
    the local model that was fetched. If not given, only where there is no file."""
    paid: bool = False
    """Let discovered models that cost money join, under 1 USD a day unless
    engine.budget_usd_per_day says otherwise."""


def merged(file: Mapping[str, Any], arguments: Mapping[str, Any]) -> Settings:
    """Return the settings of a file under those of the environment and of arguments.

    Raises:
        pydantic.ValidationError: A value is wrong, or a key is unknown.
    """

    class Merged(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            from_file = InitSettingsSource(settings_cls, dict(file))
            return init_settings, _Environment(settings_cls), from_file

    return Merged(**arguments)


def environment_settings() -> dict[str, Any]:
    """Return what the environment says of settings, nested as in a file."""
    return _Environment(Settings)()


class _Environment(EnvSettingsSource):
    """``ORCHESTRATOR_ENGINE__DEADLINE_S=30``, and the short names."""

    def __call__(self) -> dict[str, Any]:
        found = super().__call__()
        for variable, (section, key) in SHORT_NAMES.items():
            value = os.environ.get(variable)
            if value:
                if variable in _FROM_THE_WORKING_FOLDER:
                    value = os.path.abspath(os.path.expanduser(value))
                found.setdefault(section, {}).setdefault(key, value)
        return found

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Read JSON; a text that is none may be a shorthand, which the section knows."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value
