"""How connections end: who is taken out at once, and who is told of it a turn later, once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from hubbub.transport import packets
from hubbub.transport.connection import NamespaceConnection
from hubbub.transport.engine import Engine

__all__ = ["Ends"]

_log = structlog.get_logger("hubbub.transport")

_LEFT_S: Final = 5.0
"""How long a connection that the server took out of its last namespace may stay: it has been told, and may be slow."""

_ENDS_AT_ONCE: Final = 64
"""Ends that handlers are told of in one turn of the loop: ten thousand clients may leave at the same moment."""


class Ends:
    """The ends of namespace connections. `spawn` runs a coroutine beside; `forget` drops what was kept of a session by
    its id, and is called when the last of its handlers has been told.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        connect_s: float,
        spawn: Callable[[Coroutine[Any, Any, Any]], None],
        forget: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._connect_s = connect_s
        self._spawn = spawn
        self._forget = forget
        self._waiting: deque[tuple[NamespaceConnection, bool]] = deque()
        self._telling: asyncio.Handle | None = None

    @property
    def are_told(self) -> bool:
        """Whether nobody waits to be told."""
        return not self._waiting

    def disconnect(self, connection: NamespaceConnection) -> None:
        """End one namespace from this side, behind what was sent before."""
        if connection.is_open:
            connection.send(packets.disconnect_message(connection.namespace))
            self.end(connection, clean=True)
            if not connection.session.link.connections:
                connection.session.left(_LEFT_S)
        elif not connection.entered:
            connection.unwanted = True  # Its handler still lets it in; then it goes.

    def end(self, connection: NamespaceConnection, *, clean: bool) -> None:
        """Nothing more goes to this connection; its handler is told in the next turn, once."""
        links = connection.session.link.connections
        if links.get(connection.namespace) is not connection:
            return
        del links[connection.namespace]
        connection.is_open = False
        if connection.entered:
            connection.entered = False
            leaving = self._engine.leaving
            leaving[connection.session.id] = leaving.get(connection.session.id, 0) + 1
            self._waiting.append((connection, clean))
            self._tell_soon()
        if not links:
            connection.session.left(self._connect_s)

    async def tell(self, connection: NamespaceConnection, *, clean: bool) -> None:
        """Tell the handler of a connection now."""
        try:
            await connection.handler.disconnected(connection, clean=clean)
        except Exception:
            _log.exception("connection.disconnect_failed", link=connection.session.id)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _tell_soon(self) -> None:
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_soon(self._tell_slice)

    def _tell_slice(self) -> None:
        """Tell handlers of a slice of the ends, in their order; the rest in the next turn."""
        self._telling = None
        for _ in range(min(len(self._waiting), _ENDS_AT_ONCE)):
            connection, clean = self._waiting.popleft()
            self._spawn(self._say_farewell(connection, clean=clean))
        if self._waiting:
            self._tell_soon()

    async def _say_farewell(self, connection: NamespaceConnection, *, clean: bool) -> None:
        """Tell the handler, which may ask for what was kept for the session; that goes with the last of them."""
        await self.tell(connection, clean=clean)
        session, leaving = connection.session, self._engine.leaving
        leaving[session.id] -= 1
        if leaving[session.id] == 0:
            del leaving[session.id]
            if session.id not in self._engine.sessions:
                self._forget(session.id)
