"""Whose request it is: the peer's address, or the client's behind proxies that the operator trusts.

A header that names somebody else can be written by anybody, so it counts only where the peer is a trusted proxy; then
the last address in `X-Forwarded-For` that is not one of the proxies is the client's, since each proxy adds on the right
whom it talked to.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache

from aiohttp import web

__all__ = ["Addresses", "Network"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Addresses:
    """`trusted` are the networks of our own proxies; without any, headers are never believed."""

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)
        self._is_trusted = lru_cache(4096)(self._find)

    def address_of(self, request: web.BaseRequest) -> str:
        """The client's address; empty where there is none, as on a Unix socket."""
        transport = request.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        if not self._trusted or not self._is_trusted(address):
            return address
        hops = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
        for hop in reversed(hops):
            named = _normal(hop)
            if named is None:
                return address
            address = named
            if not self._is_trusted(named):
                break
        return address

    def host_of(self, request: web.BaseRequest) -> str:
        """The host that the client asked for."""
        return request.headers.get("Host", "")

    def _find(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self._trusted)


def _normal(text: str) -> str | None:
    """An address as a proxy writes it, with or without a port; None for anything else."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
