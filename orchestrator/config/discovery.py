"""What the environment offers without being told: providers' keys, a server, a fetched model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

from orchestrator.config.pool import ModelSection, ResidentSection
from orchestrator.core.errors import ConfigurationError
from orchestrator.integrations.model_files import find_model_file

__all__ = ["LOCAL_MODEL", "Offer", "offers"]

LOCAL_MODEL: Final = "smollm2"
"""The file that is served where it was fetched and nothing else is configured."""

_BY_KEY: Final = {
    "OPENAI_API_KEY": ("openai", ("gpt-4o-mini", "gpt-5-mini", "text-embedding-3-small")),
}
"""By variable: whose key it is, and the models that a first look is worth."""
_LONGEST_ANSWER: Final = 512
_LLAMA_CPP_URL: Final = "LLAMA_CPP_BASE_URL"


@dataclass(frozen=True, slots=True)
class Offer:
    """Models that could join the pool.

    Attributes:
        source: What offers them: a variable, or a file.
        models: What they would be configured as.
        paid: They cost money.
        resident: The process they need, by name, or None.
    """

    source: str
    models: tuple[ModelSection, ...]
    paid: bool = False
    resident: tuple[str, ResidentSection] | None = None


def offers(
    variables: Mapping[str, str], keys: Collection[str], residents: Collection[str]
) -> list[Offer]:
    """Return what the environment offers beside what is configured.

    Args:
        variables: The environment.
        keys: Keys of the models that are configured.
        residents: Names of the residents that are configured.
    """
    found = [
        Offer(
            variable,
            _models(provider, [name for name in names if f"{provider}:{name}" not in keys]),
            paid=True,
        )
        for variable, (provider, names) in _BY_KEY.items()
        if variables.get(variable)
    ]
    if variables.get(_LLAMA_CPP_URL) and not any(key.startswith("llama_cpp:") for key in keys):
        found.append(Offer(_LLAMA_CPP_URL, _models("llama_cpp", ["server"])))
    if not residents and find_spec("xllamacpp") is not None:
        with suppress(ConfigurationError):  # it was not fetched, which is no fault
            file = find_model_file(LOCAL_MODEL)
            resident = (LOCAL_MODEL, ResidentSection(file=LOCAL_MODEL))
            # A model so small sometimes does not find an end by itself.
            defaults = {"max_tokens": _LONGEST_ANSWER}
            model = ModelSection(name=LOCAL_MODEL, resident=LOCAL_MODEL, defaults=defaults)
            found.append(Offer(str(file), (model,), resident=resident))
    return [offer for offer in found if offer.models]


def _models(provider: str, names: list[str]) -> tuple[ModelSection, ...]:
    return tuple(ModelSection(provider=provider, name=name) for name in names)
