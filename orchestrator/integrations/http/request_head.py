"""What a request begins with on the wire: request line and headers, checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from orchestrator.core.errors import ConfigurationError

__all__ = ["Origin", "RequestHead", "encode_head"]

_PORTS: Final = {"http": 80, "https": 443}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x20\x7f]")
_PLAIN: Final = "/%:?@!$&'()*+,;=~[]"
"""What stays as it is in a path or a query, besides letters and digits."""
_FRAMING: Final = frozenset(("content-length", "expect", "transfer-encoding", "upgrade"))
_WITHOUT_BODY: Final = frozenset(("GET", "HEAD", "DELETE", "OPTIONS"))
_DEFAULTS: Final = {"accept": "*/*", "user-agent": "orchestrator"}
"""Some firewalls turn away who does not say what it is."""


class Origin(NamedTuple):
    """Where a connection leads; requests to one origin share its connections."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """Return the host, and the port where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RequestHead:
    """All of a request but its body. It holds the key, so its `repr` does not show it.

    Attributes:
        origin: Where it goes.
        bodiless: Whether its answer has no body, whatever that says of its length.
        last: Whether it asks the server to close, so that no other may follow.
        alone: The whole request where there is no body.
        sized: Up to the length of the body.
    """

    origin: Origin
    bodiless: bool
    last: bool
    alone: bytes = field(repr=False)
    sized: bytes = field(repr=False)

    def with_body(self, body: bytes | None) -> bytes:
        """Return the whole request."""
        if body is None:
            return self.alone
        return b"%b%d\r\n\r\n%b" % (self.sized, len(body), body)


def encode_head(method: str, url: str, headers: Iterable[tuple[str, str]]) -> RequestHead:
    """Return what a request begins with.

    A header ``Host`` takes the place of the URL's, and ``Connection: close`` makes the request the
    last on its connection; what else frames the request is not the caller's.

    Raises:
        ConfigurationError: The URL is not one of a server, or something cannot be sent. Its
            message shows neither the URL nor a header's value, either of which may hold a key.
    """
    if not _TOKEN.fullmatch(method):
        raise ConfigurationError(f"{method!r} is not an HTTP method")
    origin, target = _split(url)
    named = {"host": str(origin), **_DEFAULTS}
    lines = [f"{method} {target} HTTP/1.1"]
    last = False
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ConfigurationError(
                f"the header {name!r} for {origin} holds characters no header can carry"
            )
        folded = name.lower()
        last = last or (folded == "connection" and value.lower() == "close")
        if folded in _FRAMING or (folded == "connection" and not last):
            raise ConfigurationError(
                f"the header {name!r} for {origin} is not the caller's to give",
                hint="leave it out: the transport frames its requests itself",
            )
        named.pop(folded, None)
        lines.append(f"{name}: {value}")
    # Host goes first, as RFC 9110 (7.2) asks for.
    lines[1:1] = [f"{name.title()}: {value}" for name, value in named.items()]
    sized = "\r\n".join([*lines, "Content-Length: "]).encode("latin-1")
    alone = "\r\n".join([*lines, "", ""]).encode("latin-1")
    if method not in _WITHOUT_BODY:
        alone = sized + b"0\r\n\r\n"
    return RequestHead(origin, method == "HEAD", last, alone, sized)


def _split(url: str) -> tuple[Origin, str]:
    # `urlsplit` drops line ends in silence, so they are looked for first.
    if _UNPRINTABLE.search(url):
        raise ConfigurationError("a URL holds a space or a control character")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").encode("idna").decode()
    except ValueError as error:
        raise ConfigurationError("a URL's host or port cannot be read") from error
    if parts.scheme not in _PORTS or not host:
        raise ConfigurationError(
            f"a URL of scheme {parts.scheme!r} does not lead to a server",
            hint="write it as https://host/path",
        )
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"the URL of {host} holds a user name or a password", hint="send a header instead"
        )
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Origin(parts.scheme, host, _PORTS[parts.scheme] if port is None else port), quote(
        target, safe=_PLAIN
    )
