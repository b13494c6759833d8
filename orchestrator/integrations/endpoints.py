"""Base URLs and keys, as people give them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from hashlib import blake2b
from urllib.parse import urlsplit

from pydantic import SecretStr

from orchestrator.core.errors import ConfigurationError
from orchestrator.core.ports import Endpoint

__all__ = ["checked_headers", "credential_id", "endpoint_at", "key_or_env"]


def endpoint_at(base_url: str, key: str | SecretStr | None) -> Endpoint:
    """Return the endpoint of a base URL and its key.

    Raises:
        ConfigurationError: The URL is not one of a server, or the key cannot go into a header.
    """
    url = base_url.strip().rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            f"{base_url!r} is not a base URL", hint="write it as https://host/path"
        )
    if parts.query or parts.fragment or parts.username:
        raise ConfigurationError(
            f"the base URL of {parts.hostname} holds more than scheme, host, port and path",
            hint="give a key as api_key",
        )
    if key is None:
        return Endpoint(url)
    secret = key.get_secret_value() if isinstance(key, SecretStr) else key
    secret = secret.strip()  # environment files like to end a line with a newline
    if not secret or not _fits_header(secret):
        raise ConfigurationError(
            f"the key for {parts.hostname} is empty or holds characters no header can carry"
        )
    return Endpoint(url, SecretStr(secret))


def key_or_env(key: str | SecretStr | None, variable: str) -> str | SecretStr:
    """Return the key, or what the environment variable holds.

    Raises:
        ConfigurationError: There is neither.
    """
    found = key or os.environ.get(variable)
    if not found:
        raise ConfigurationError(
            f"there is no API key: {variable} is not set", hint=f"set {variable} or give api_key"
        )
    return found


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers; raises `ConfigurationError` if one cannot be sent."""
    for name, value in headers.items():
        if not name or not _fits_header(name) or not _fits_header(value):
            raise ConfigurationError(f"the header {name!r} holds characters no header can carry")
    return dict(headers)


def credential_id(provider: str, endpoint: Endpoint) -> str | None:
    """Return what models with the same key at the same place have in common, but not the key."""
    if endpoint.credential is None:
        return None
    key = endpoint.credential.get_secret_value()
    digest = blake2b(f"{endpoint.base_url} {key}".encode(), digest_size=6)
    return f"{provider}:{digest.hexdigest()}"


def _fits_header(text: str) -> bool:
    return text.isascii() and text.isprintable()
