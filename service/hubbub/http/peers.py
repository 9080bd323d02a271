"""Whether a request comes from this machine itself."""

from __future__ import annotations

import ipaddress
from typing import Final

from aiohttp import web

__all__ = ["is_local"]

_FORWARDED: Final = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


def is_local(request: web.BaseRequest) -> bool:
    """Whether the connection's own other end is a loopback address, and speaks for itself.

    A header that names somebody else can only take this away: it says that a proxy on this machine passes on the
    request of a stranger. So no header, true or made up, opens anything.
    """
    if any(name in request.headers for name in _FORWARDED) or request.transport is None:
        return False
    peer = request.transport.get_extra_info("peername")
    if not isinstance(peer, tuple) or not peer:
        return False
    try:
        address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
