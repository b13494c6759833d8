"""Names of models: structured inside, ``provider:name`` on the outside."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from orchestrator.core.errors import InvalidKeyError

__all__ = ["PROVIDER_ALIASES", "ModelKey", "canonical_provider"]

PROVIDER_ALIASES = {"claude": "anthropic", "llama.cpp": "llama_cpp"}
"""Other names under which users know a provider, and ours."""


def canonical_provider(name: str) -> str:
    """Return our name of a provider that users know under several."""
    return PROVIDER_ALIASES.get(name, name)


@dataclass(frozen=True, slots=True)
class ModelKey:
    """Which model: who runs it, what it is called, and perhaps which version.

    The first colon of the text ends the provider, so names may hold colons and slashes.
    """

    provider: str
    name: str
    version: str | None = None
    text: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.provider or ":" in self.provider or self.provider != self.provider.strip():
            raise InvalidKeyError(f"{self.provider!r} is not a provider's name")
        if not self.name or self.name != self.name.strip():
            raise InvalidKeyError(f"{self.name!r} is not a model's name (provider {self.provider})")
        suffix = "" if self.version is None else f"@{self.version}"
        object.__setattr__(self, "text", f"{self.provider}:{self.name}{suffix}")

    @classmethod
    def parse(cls, text: str, versions: Collection[str] = ()) -> ModelKey:
        """Read ``provider:name`` or ``provider:name@version``.

        Args:
            text: The key's face.
            versions: The versions registered for this model; what follows the last ``@`` is a
                version only if it is one of these, and part of the name otherwise.

        Raises:
            InvalidKeyError: There is no provider or no name in it.
        """
        provider, colon, name = text.partition(":")
        if not colon:
            raise InvalidKeyError(f"{text!r} names no provider; write it as provider:name")
        stem, _, version = name.rpartition("@")
        if stem and version in versions:
            return cls(canonical_provider(provider), stem, version)
        return cls(canonical_provider(provider), name)

    def __lt__(self, other: ModelKey) -> bool:
        return self.text < other.text

    def __str__(self) -> str:
        return self.text
