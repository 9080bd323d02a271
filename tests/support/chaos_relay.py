"""A relay of TCP connections that can be made slow while they are open."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

__all__ = ["Relay"]


class Relay:
    """Listens on a port of this machine that the system chose, and passes bytes on to `target`, another such port.

    `delay_s` is how late each piece is passed on, either way; it holds for open connections too.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.delay_s = 0.0
        self.port = 0
        self.ends: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _End(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Every connection is gone afterwards."""
        if self._server is not None:
            self._server.close()
            for task in list(self._connecting):
                task.cancel()
            for end in list(self.ends):
                end.abort()
            await self._server.wait_closed()
            self._server = None

    def connect(self, near: _End, far: _End) -> None:
        """Make the far half of a connection that came."""
        task = asyncio.ensure_future(self._connect(near, far))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, near: _End, far: _End) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: far, "127.0.0.1", self.target)
        except OSError:
            near.abort()


class _End(asyncio.Protocol):
    """One half of a connection. `other` is where what comes goes; None for one that has just come in."""

    def __init__(self, relay: Relay, other: _End | None = None) -> None:
        self._relay = relay
        self._other = other
        self._transport: asyncio.Transport | None = None
        self._is_gone = False
        self._due: deque[tuple[float, bytes]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._relay.ends.add(self._transport)
        if self._is_gone:
            self._transport.abort()
        elif self._other is None:
            self._other = _End(self._relay, self)
            self._relay.connect(self, self._other)
        else:
            self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_gone = True
        if self._transport is not None:
            self._relay.ends.discard(self._transport)
        if self._other is not None and not self._other._is_gone:
            self._other.abort()

    def data_received(self, data: bytes) -> None:
        if self._other is not None:
            self._other.write(asyncio.get_running_loop().time() + self._relay.delay_s, data)

    def write(self, due: float, data: bytes) -> None:
        """Pass on at this time, and never before what came first."""
        self._due.append((max(due, self._due[-1][0]) if self._due else due, data))
        if len(self._due) == 1:
            self._flush()

    def abort(self) -> None:
        self._is_gone = True
        self._due.clear()
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        """Write what is due; it is called again for the rest. Before the connection is made everything waits."""
        if self._transport is None:
            return
        loop = asyncio.get_running_loop()
        while self._due and self._due[0][0] <= loop.time():
            self._transport.write(self._due.popleft()[1])
        if self._due:
            loop.call_at(self._due[0][0], self._flush)
