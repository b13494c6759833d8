"""From the sections of a file to models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, get_args

from orchestrator.config.configuration import Configuration
from orchestrator.config.faults import suggestion
from orchestrator.config.places import at
from orchestrator.config.pool import (
    EMBEDDED,
    ModelSection,
    PriceSection,
    ProviderSection,
    ProviderType,
)
from orchestrator.config.residents import ConfiguredResident, configured_residents
from orchestrator.core.errors import ConfigurationError
from orchestrator.core.keys import canonical_provider
from orchestrator.core.model import Model
from orchestrator.core.params import TextGenerationParams, validated
from orchestrator.core.prices import Price
from orchestrator.integrations.llama_cpp import LlamaCppModel
from orchestrator.integrations.openai_model import OpenAICompatibleModel, OpenAIModel

__all__ = ["configured_models"]

_TYPES: Final = get_args(ProviderType)
_ONLY_FOR: Final = {"organization": "openai", "native_tools": "llama_cpp"}
_SAID_AS_THEY_ARE: Final = (
    "capabilities",
    "context_window",
    "max_output_tokens",
    "speed",
    "quality",
    "local",
    "constraints",
    "wire_name",
)


def configured_models(configuration: Configuration) -> list[Model]:
    """Build every model of a configuration, the discovered ones last.

    Raises:
        ConfigurationError: One cannot be built; the message says which and why.
        MissingExtraError: The embedded engine is not installed.
    """
    sources = configuration.sources
    residents = configured_residents(configuration)
    providers = {}
    for name, provider in configuration.settings.providers.items():
        _check_provider(provider, name, sources.place(("providers", name)))
        providers[canonical_provider(name)] = provider
    return [
        _model(section, place, providers, residents) for section, place in _places(configuration)
    ]


def _places(configuration: Configuration) -> Iterator[tuple[ModelSection, str]]:
    """Yield every model with the place it is configured or offered at."""
    for position, section in enumerate(configuration.settings.models):
        yield section, configuration.sources.place(("models", position))
    for offer in configuration.joining:
        for section in offer.models:
            yield section, offer.source


def _check_provider(section: ProviderSection, name: str, place: str) -> None:
    if name == EMBEDDED:
        raise ConfigurationError(
            f"{place}: {EMBEDDED} is the provider of what runs on residents, and has no settings",
            hint="describe the model file under [residents.NAME]",
        )
    kind = _type_of(section, name)
    if kind is None:
        raise ConfigurationError(f"{place}.type is missing", hint=f"one of {', '.join(_TYPES)}")
    if kind == "openai_compatible" and not section.base_url:
        raise ConfigurationError(
            f"{place}.base_url is missing", hint="write it as https://host/path, mostly .../v1"
        )
    for field, only in _ONLY_FOR.items():
        if getattr(section, field) is not None and kind != only:
            raise ConfigurationError(
                f"{place}.{field} means nothing to type {kind}, only to {only}"
            )


def _type_of(section: ProviderSection, name: str) -> str | None:
    return section.type or (name if name in _TYPES else None)


def _model(
    section: ModelSection,
    place: str,
    providers: Mapping[str, ProviderSection],
    residents: Mapping[str, ConfiguredResident],
) -> Model:
    key = section.identity
    facts = _facts(section)
    with at(f"{place}.defaults"):
        _check_defaults(section.defaults)
    with at(place):
        if key.provider == EMBEDDED:
            return _embedded(section, facts, residents)
        if section.resident is not None:
            raise ConfigurationError(f"only models of the provider {EMBEDDED} have a resident")
        provider = providers.get(key.provider)
        if provider is None and key.provider not in _TYPES:
            raise ConfigurationError(
                f"there is no provider {key.provider!r}",
                hint=suggestion(key.provider, [*providers, "openai", "llama_cpp", EMBEDDED]),
            )
        model = _remote(key.provider, provider or ProviderSection(), key.name, facts)
        if model.provider != key.provider:
            # It speaks like another provider, and is known under its own.
            model.spec = replace(model.spec, key=key)
        return model


def _facts(section: ModelSection) -> dict[str, Any]:
    """Return the keywords of a model for everything that was said of it."""
    facts: dict[str, Any] = {"aliases": section.aliases, "priority": section.priority}
    for name in _SAID_AS_THEY_ARE:
        value = getattr(section, name)
        if value is not None:
            facts[name] = value
    if section.types is not None:
        facts["model_types"] = section.types
    if section.price is not None:
        facts["price"] = _price(section.price)
    if section.defaults:
        facts["defaults"] = section.defaults
    return facts


def _price(section: PriceSection) -> Price:
    build = Price.per_million if section.per == "1M" else Price.per_1k
    return build(
        section.input,
        section.output,
        cached_input=section.cached_input,
        cache_write=section.cache_write,
    )


def _check_defaults(defaults: Mapping[str, Any]) -> None:
    known = set(TextGenerationParams.model_fields) - {"prompt", "messages", "model"}
    for name in defaults:
        if name not in known:
            raise ConfigurationError(
                f"there is no parameter {name!r}", hint=suggestion(name, sorted(known))
            )
    validated(TextGenerationParams, {"prompt": "", **defaults})


def _embedded(
    section: ModelSection, facts: Mapping[str, Any], residents: Mapping[str, ConfiguredResident]
) -> Model:
    for field in ("wire_name", "local"):
        if field in facts:
            raise ConfigurationError(f"{field} means nothing to a model on a resident")
    name = section.resident
    if name is None and len(residents) == 1:
        (name,) = residents
    if name is None:
        known = ", ".join(residents) or "none: describe one under [residents.NAME]"
        raise ConfigurationError("resident is missing", hint=f"known: {known}")
    if name not in residents:
        raise ConfigurationError(f"there is no resident {name!r}", hint=suggestion(name, residents))
    return residents[name].model(section.identity.name, **facts)


def _remote(provider: str, section: ProviderSection, name: str, facts: Mapping[str, Any]) -> Model:
    headers = {header: value.get_secret_value() for header, value in section.headers.items()}
    match _type_of(section, provider):
        case "openai":
            build: Any = partial(OpenAIModel, organization=section.organization)
        case "llama_cpp":
            build = partial(LlamaCppModel, native_tools=bool(section.native_tools))
        case _:
            build = partial(OpenAICompatibleModel, provider=provider)
    model: Model = build(
        name, base_url=section.base_url, api_key=section.api_key, headers=headers, **facts
    )
    return model
