"""The client manager of a node among several: python-socketio's Redis manager, on the node's own way to Redis.

Outside processes talk to all nodes with a plain `socketio.AsyncRedisManager(url, write_only=True)`: the channel and
what is said on it are the library's. What the library would do to get there is not used: a connection for each of more
than a hundred emits at once, ten seconds for each while Redis hangs, up to a minute until a lost subscription is made
again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import orjson
import socketio
import structlog

from hubbub.transport.manager import Manager

__all__ = ["CHANNEL", "SharedManager"]

_log = structlog.get_logger("hubbub.transport")

CHANNEL: Final = "socketio"
"""python-socketio's own default."""

WAITING_MOST: Final = 10_000
"""What was said on the channel and not carried out yet. More is dropped: outside processes get no answers."""


class SharedManager(socketio.AsyncRedisManager, Manager):  # type: ignore[misc]  # python-socketio has no annotations.
    """`say(channel, body)` tells all nodes, without waiting; `listen(channel, take)` has `take` called with what is
    said. Both are called when the first client has come, and later. What cannot be said is lost.
    """

    def __init__(
        self,
        *,
        say: Callable[[str, bytes], None],
        listen: Callable[[str, Callable[[bytes], None]], None],
        channel: str = CHANNEL,
    ) -> None:
        super().__init__(channel=channel)
        self._say = say
        self._listen_to = listen
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue(WAITING_MOST)

    def _redis_connect(self) -> None:
        """The node has its own connections."""

    async def _publish(self, data: Any) -> None:
        self._say(self.channel, orjson.dumps(data))

    async def _listen(self) -> AsyncIterator[bytes]:
        self._listen_to(self.channel, self._take)
        while True:
            yield await self._waiting.get()

    def _take(self, body: bytes) -> None:
        try:
            self._waiting.put_nowait(body)
        except asyncio.QueueFull:
            _log.warning("manager.too_much", dropped_bytes=len(body))
