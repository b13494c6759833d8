"""OpenAI's models, and those of any server that speaks OpenAI's wire format."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final, NamedTuple

from pydantic import SecretStr

from orchestrator.core.capabilities import ModelCapabilities
from orchestrator.core.keys import ModelKey
from orchestrator.core.prices import Price, PriceBook
from orchestrator.integrations.endpoints import credential_id, endpoint_at, key_or_env
from orchestrator.integrations.openai_codec import OpenAICodec
from orchestrator.integrations.openai_dialect import Dialect
from orchestrator.integrations.remote import RemoteModel

__all__ = ["OPENAI_BASE_URL", "OpenAICompatibleModel", "OpenAIModel"]

OPENAI_BASE_URL: Final = "https://api.openai.com/v1"

_TEXT: Final = frozenset(("text_generation", "chat_completion", "streaming"))
_CHAT: Final = _TEXT | {"function_calling", "json_mode", "json_schema"}
_SAMPLING: Final = frozenset(
    ("temperature", "top_p", "frequency_penalty", "presence_penalty", "stop_sequences")
)

_OPENAI: Final = Dialect(
    name="openai", max_tokens_field="max_completion_tokens", developer_role=True
)
_REASONING: Final = replace(_OPENAI, unsupported=_SAMPLING)
_O_SERIES: Final = replace(_OPENAI, unsupported=_SAMPLING | {"parallel_tool_calls"})
_NO_REASONING_WITH_TOOLS: Final = replace(_REASONING, with_tools=(("reasoning_effort", "none"),))


class _Family(NamedTuple):
    """What holds for OpenAI's models whose names match, where the price book does not say."""

    names: re.Pattern[str]
    capabilities: frozenset[str]
    dialect: Dialect = _OPENAI
    context_window: int | None = None


_FAMILIES: Final = (
    _Family(re.compile(r"text-embedding-"), frozenset(("embeddings",)), _OPENAI, 8_192),
    _Family(re.compile(r"o\d"), _CHAT | {"vision"}, _O_SERIES, 200_000),
    _Family(re.compile(r"gpt-5-chat|gpt-5\.[1-4]\b"), _CHAT | {"vision"}, _OPENAI, 400_000),
    _Family(re.compile(r"gpt-5(?!\.)"), _CHAT | {"vision"}, _REASONING, 400_000),
    # From 5.5 on they reason unless told not to, and then take no functions at this endpoint.
    _Family(
        re.compile(r"gpt-5\.|gpt-6(\.\d)?-(sol|luna|terra)"),
        _CHAT | {"vision"},
        _NO_REASONING_WITH_TOOLS,
        1_050_000,
    ),
    # The others of these cannot be told not to.
    _Family(
        re.compile(r"gpt-[6-9]"), _CHAT - {"function_calling"} | {"vision"}, _REASONING, 1_050_000
    ),
    _Family(re.compile(r"(chat)?gpt-4o|gpt-4\.\d"), _CHAT | {"vision"}, _OPENAI, 128_000),
    _Family(re.compile(r"gpt-4-turbo"), _CHAT - {"json_schema"} | {"vision"}, _OPENAI, 128_000),
    _Family(re.compile(r"gpt-4"), _TEXT | {"function_calling"}, _OPENAI, 8_192),
    _Family(re.compile(r"gpt-3\.5"), _CHAT - {"json_schema"}, _OPENAI, 16_385),
    _Family(re.compile(r""), _CHAT),
)
"""As clients of OpenAI's models handle them in 2026; the first that matches counts."""

_LISTED: Final = PriceBook()


class OpenAICompatibleModel(RemoteModel):
    """A model on any server that speaks OpenAI's wire format."""

    def __init__(
        self,
        name: str,
        provider: str,
        base_url: str,
        api_key: str | SecretStr | None = None,
        *,
        capabilities: ModelCapabilities | Iterable[str] = _CHAT,
        dialect: Dialect | None = None,
        wire_name: str | None = None,
        price: Price | None = None,
        context_window: int | None = None,
        prices: PriceBook = _LISTED,
        **spec: Any,
    ) -> None:
        """Describe it.

        Args:
            name: Its name in the pool.
            provider: Who runs it.
            base_url: Up to and without ``/chat/completions``, mostly ending in ``/v1``.
            api_key: Sent as a bearer token, or as the dialect says; None sends none.
            capabilities: What it can do.
            dialect: What its server does differently from OpenAI's format.
            wire_name: Its name at the server where that is another.
            price: None looks it up in ``prices``.
            context_window: None looks it up in ``prices``.
            prices: What is publicly known of models.
            spec: Further keywords of `RemoteModel` and `Model`.

        Raises:
            ConfigurationError: The base URL or the key cannot be one.
        """
        endpoint = endpoint_at(base_url, api_key)
        listed = prices.lookup(provider, wire_name or name)
        if listed is not None:
            price = price or listed.price
            context_window = context_window or listed.context_window
        spec.setdefault("credential_id", credential_id(provider, endpoint))
        super().__init__(
            name,
            provider,
            codec=OpenAICodec(dialect or Dialect(name=provider)),
            endpoint=endpoint,
            wire_name=wire_name,
            capabilities=capabilities,
            price=price,
            context_window=context_window,
            **spec,
        )

    def sibling(self, name: str, **facts: Any) -> RemoteModel:
        """Return another model of the same server, with what is publicly known of it."""
        listed = _LISTED.lookup(self.provider, name)
        known = (
            {}
            if listed is None
            else {"price": listed.price, "context_window": listed.context_window}
        )
        return super().sibling(name, **{**known, **facts})


class OpenAIModel(OpenAICompatibleModel):
    """A model of OpenAI's, or one behind a proxy for it."""

    def __init__(
        self,
        name: str,
        api_key: str | SecretStr | None = None,
        organization: str | None = None,
        base_url: str | None = None,
        *,
        capabilities: ModelCapabilities | Iterable[str] | None = None,
        wire_name: str | None = None,
        headers: Mapping[str, str] | None = None,
        prices: PriceBook = _LISTED,
        **spec: Any,
    ) -> None:
        """Describe it.

        Args:
            name: Its name in the pool.
            api_key: None takes it from ``OPENAI_API_KEY``.
            organization: Whom to bill, for keys that belong to several.
            base_url: None is OpenAI's own.
            capabilities: None is what its name tells.
            wire_name: Its name at OpenAI where that is another.
            headers: Further headers of every request.
            prices: What is publicly known of models.
            spec: Further keywords of `OpenAICompatibleModel`.

        Raises:
            ConfigurationError: There is no key, or it or the base URL cannot be one.
        """
        family = _family_of(wire_name or name)
        listed = prices.lookup("openai", wire_name or name)
        if listed is None or listed.context_window is None:
            spec.setdefault("context_window", family.context_window)
        if organization is not None:
            headers = {"OpenAI-Organization": organization, **(headers or {})}
        super().__init__(
            name,
            "openai",
            base_url or OPENAI_BASE_URL,
            key_or_env(api_key, "OPENAI_API_KEY"),
            capabilities=family.capabilities if capabilities is None else capabilities,
            dialect=family.dialect,
            wire_name=wire_name,
            headers=headers,
            prices=prices,
            **spec,
        )

    def sibling(self, name: str, **facts: Any) -> RemoteModel:
        """Return another model of OpenAI's, for the same key; it can do what its name tells."""
        endpoint = self.endpoint
        assert endpoint is not None, "it was made with one"
        made = OpenAIModel(
            name,
            endpoint.credential,
            base_url=endpoint.base_url,
            headers=self._headers,
            **{**facts, "capabilities": None},
        )
        made.spec = replace(made.spec, key=ModelKey(self.provider, name))
        return made


def _family_of(name: str) -> _Family:
    plain = name.removeprefix("ft:")
    return next(family for family in _FAMILIES if family.names.match(plain))
