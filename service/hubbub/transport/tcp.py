"""The listening socket and the process: what is set once, so that it costs nothing per connection.

A socket that is accepted inherits the options of the one that listens, on Linux and elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from typing import Final

__all__ = ["DESCRIPTORS_WANTED", "listening_sockets", "raise_descriptor_limit"]

BACKLOG: Final = 4096
"""Handshakes of TCP that may wait: a deploy sends thousands at once. The kernel takes less if its limit is lower."""

USER_TIMEOUT_MS: Final = 20_000
"""How long sent data may stay unacknowledged before the kernel gives a peer up; heartbeats find it out later."""

KEEPALIVE_IDLE_S: Final = 30
KEEPALIVE_INTERVAL_S: Final = 10
KEEPALIVE_COUNT: Final = 3

UNSENT_BYTES: Final = 131_072
"""What may wait unsent in the kernel for one peer. Bytes there can be neither shed nor counted."""

DESCRIPTORS_WANTED: Final = 1024
"""Below this a chat service is a toy; the operator has to say so."""


async def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Bound and listening sockets for all addresses of a host. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    opened: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            opened.append(_listen(socket.socket(family, kind, protocol), address))
            if port == 0:
                break  # Each further one would get a port of its own.
    except BaseException:
        for each in opened:
            each.close()
        raise
    return opened


def _listen(listener: socket.socket, address: tuple[object, ...]) -> socket.socket:
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _set(listener, socket.SOL_SOCKET, "SO_KEEPALIVE", 1)
        _set(listener, socket.IPPROTO_TCP, "TCP_NODELAY", 1)
        _set(listener, socket.IPPROTO_TCP, "TCP_KEEPIDLE", KEEPALIVE_IDLE_S)
        _set(listener, socket.IPPROTO_TCP, "TCP_KEEPINTVL", KEEPALIVE_INTERVAL_S)
        _set(listener, socket.IPPROTO_TCP, "TCP_KEEPCNT", KEEPALIVE_COUNT)
        _set(listener, socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", USER_TIMEOUT_MS)
        _set(listener, socket.IPPROTO_TCP, "TCP_NOTSENT_LOWAT", UNSENT_BYTES)
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _set(listener: socket.socket, level: int, name: str, value: int) -> None:
    """Set an option where the platform has it."""
    number = getattr(socket, name, None)
    if number is not None:
        with contextlib.suppress(OSError):
            listener.setsockopt(level, number, value)


def raise_descriptor_limit() -> int:
    """Take as many file descriptors as the process may; returns how many that is. Each connection takes one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
