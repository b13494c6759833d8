"""Who may ask: requests for this host, from no foreign page, with the key if there is one."""

from __future__ import annotations

import hmac
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from pydantic import SecretStr

from orchestrator.core.errors import ConfigurationError, RequestError

__all__ = ["Access", "ForeignOriginError", "WrongHostError", "WrongKeyError", "is_loopback"]

_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^\s:/@\[\]]+)(?::\d+)?", re.IGNORECASE)
_ORIGIN: Final = re.compile(r"[a-z][a-z0-9+.-]*://[^\s/]+|null", re.IGNORECASE)


class WrongHostError(RequestError):
    """The request is meant for another host, which is how rebound DNS names look."""

    code = "host_not_allowed"
    http_status = 421


class ForeignOriginError(RequestError):
    """A browser sent the request on behalf of a page that is not ours."""

    code = "origin_not_allowed"
    http_status = 403


class WrongKeyError(RequestError):
    """There is no key, or not the right one."""

    code = "invalid_api_key"
    http_status = 401


class Access:
    """Decides from a request's headers whether it is let in.

    Args:
        api_key: What has to be presented as a bearer token; None or an empty one asks for none.
        hosts: Names under which this server is reached, besides the loopback ones.
        origins: Web pages that may call it, as ``https://example.com``, besides its own.

    Raises:
        ConfigurationError: An origin is not one.
    """

    def __init__(
        self,
        api_key: SecretStr | None = None,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
    ) -> None:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ConfigurationError(
                    f"{origin!r} is no origin", hint="write it as https://example.com"
                )
        self.origins = frozenset(origins)
        self._hosts = frozenset(_bare(host) for host in hosts)
        self._key = b"" if api_key is None else api_key.get_secret_value().encode()

    def check_site(self, headers: Mapping[str, str]) -> None:
        """Refuse what a page of another site may have sent.

        Raises:
            WrongHostError: The ``Host`` is neither loopback nor configured.
            ForeignOriginError: The ``Origin`` is neither this server nor configured.
        """
        host = headers.get("Host", "")
        name = _name_of(host)
        if name is None or not (is_loopback(name) or name in self._hosts):
            raise WrongHostError(
                f"this server does not answer for the host {host!r}",
                hint="add it to the allowed hosts",
            )
        origin = headers.get("Origin")
        if origin is not None and not (
            origin.partition("://")[2] == host or origin in self.origins
        ):
            raise ForeignOriginError(
                f"the origin {origin!r} may not call this server",
                hint="add it to the allowed origins",
            )

    def check_key(self, headers: Mapping[str, str]) -> None:
        """Refuse whoever does not present the key.

        Raises:
            WrongKeyError: As it says.
        """
        if not self._key:
            return
        scheme, _, presented = headers.get("Authorization", "").partition(" ")
        known = hmac.compare_digest(presented.strip().encode(errors="surrogateescape"), self._key)
        if not known or scheme.lower() != "bearer":
            raise WrongKeyError(
                "the API key is missing or wrong", hint="send it as Authorization: Bearer <key>"
            )


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Return whether a host name or address, without a port, is this machine talking to itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _name_of(host: str) -> str | None:
    """Return the name in a ``Host`` header, or None if it is not one."""
    found = _HOST.fullmatch(host)
    return _bare(found[1]) if found else None


def _bare(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()
