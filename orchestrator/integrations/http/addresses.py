"""From a host's name to a connected socket, past the addresses nobody may call."""

from __future__ import annotations

import errno
import socket
from asyncio import AbstractEventLoop
from ipaddress import IPv6Address, ip_address
from typing import Final

from aiohappyeyeballs import AddrInfoType, start_connection

__all__ = ["connected_socket"]

_HEAD_START_S: Final = 0.25
"""What RFC 8305 (section 5) gives one address before the next is tried beside it."""


async def connected_socket(loop: AbstractEventLoop, host: str, port: int) -> socket.socket:
    """Return a socket connected to the first of a host's addresses that lets us.

    Link-local addresses, where clouds hand out credentials, are never called. The check is on the
    looked-up addresses that are then called, so that no name can point elsewhere in between.

    Raises:
        OSError: The name is unknown, all its addresses are link-local, or none can be reached.
    """
    try:
        # Numbers need no lookup, which would take a thread.
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    allowed = [address for address in found if not _is_link_local(address)]
    if not allowed:
        raise PermissionError(
            errno.EACCES, f"the address {found[0][4][0]} is link-local and refused"
        )
    return await start_connection(allowed, happy_eyeballs_delay=_HEAD_START_S, loop=loop)


def _is_link_local(address: AddrInfoType) -> bool:
    ip = ip_address(str(address[4][0]).partition("%")[0])
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return ip.is_link_local
