"""Two nodes on one Redis, ours and stock's: what one says, the other should hear, or somebody should know of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import socketio

from hubbub.cluster.bus import Offer
from tests.support.busnode import BusNode
from tests.support.faults import Stack
from tests.support.redisserver import RunningRedis
from tests.support.stock import make_stock_server

__all__ = ["Pair", "pair"]

ROOM = "tea"


class Pair(Protocol):
    """`heard` is what the second has heard from the first, in order."""

    heard: list[int]

    @property
    def handled(self) -> int:
        """How many words the second had to take apart, whether anybody there is in their room or not."""

    async def say(self, *numbers: int, size: int = 10, room: str = ROOM) -> None:
        """Have the first say these, all at once; each with as many bytes. Returns when whoever says it may go on."""

    @property
    def is_told(self) -> bool:
        """Whether either knows that something may be lost, so that it can be looked for elsewhere."""


class OurPair:
    def __init__(self, url_of_first: str, url_of_second: str) -> None:
        self.first = BusNode(url_of_first, "first")
        self.second = BusNode(url_of_second, "second")
        self.heard = self.second.heard

    @property
    def handled(self) -> int:
        return len(self.heard)

    async def open(self) -> None:
        await self.first.open()
        await self.second.open()
        self.second.bus.listen(ROOM)
        await self.second.ears.hears(f"hubbub:room:{ROOM}")

    async def close(self) -> None:
        await self.first.close()
        await self.second.close()

    async def say(self, *numbers: int, size: int = 10, room: str = ROOM) -> None:
        for number in numbers:
            self.first.bus.offer(room, Offer(number, number, "ada", 1, (), memoryview(b"x" * size)))
        await asyncio.sleep(0)

    @property
    def is_told(self) -> bool:
        return self.first.dropped > 0 or self.second.lost > 1


class StockManager(socketio.AsyncRedisManager):  # type: ignore[misc]  # It has no types.
    """As it comes, but for a list of the pools of connections that it makes and forgets: a test leaves none open."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._made: list[Any] = []

    def _redis_connect(self) -> None:
        super()._redis_connect()
        self._made.append(self.redis)

    async def forget(self) -> None:
        for client in self._made:
            await client.connection_pool.disconnect()


class StockPair:
    def __init__(self, url_of_first: str, url_of_second: str) -> None:
        self.heard: list[int] = []
        self._handled = 0
        self._failed = 0
        self._servers = [
            make_stock_server(
                ping_interval_s=25,
                ping_timeout_s=20,
                packet_bytes=100_000,
                client_manager=StockManager(url),
            )
            for url in (url_of_first, url_of_second)
        ]

    async def open(self) -> None:
        for server in self._servers:
            server.manager.initialize()
        self._servers[1].manager._handle_emit = self._take
        async with asyncio.timeout(10):
            while not self.heard:  # What is said before the second listens goes nowhere.
                await self.say(0)
                await asyncio.sleep(0.01)
            await self.say(-1)
            while -1 not in self.heard:
                await asyncio.sleep(0.01)
        self.heard.clear()
        self._handled = 0

    async def close(self) -> None:
        for server in self._servers:
            server.manager.thread.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await server.manager.thread
            await server.manager.forget()

    async def say(self, *numbers: int, size: int = 10, room: str = ROOM) -> None:
        results = await asyncio.gather(
            *(self._servers[0].emit("said", [number, "x" * size], room=room) for number in numbers),
            return_exceptions=True,
        )
        self._failed += sum(result is not None for result in results)

    @property
    def handled(self) -> int:
        return self._handled

    @property
    def is_told(self) -> bool:
        return self._failed > 0

    async def _take(self, message: dict[str, Any]) -> None:
        self._handled += 1
        if message["room"] == ROOM:
            self.heard.append(message["data"][0][0])  # The first of what the first argument holds.


class Watched:
    """A pair, and how long a test waits for what should come of it."""

    def __init__(self, nodes: Pair, patience_s: float) -> None:
        self.nodes = nodes
        self._patience_s = patience_s

    async def until(self, condition: Callable[[], bool], otherwise: str) -> None:
        """Until this is so; fails with these words if that takes too long."""
        try:
            async with asyncio.timeout(self._patience_s):
                while not condition():
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(otherwise) from None


@contextlib.asynccontextmanager
async def pair(
    stack: Stack, redis: RunningRedis, *, second: str | None = None, stock_patience_s: float = 1.0
) -> AsyncIterator[Watched]:
    """Two nodes that hear each other; the second by way of this other address, if it is given."""
    nodes = (StockPair if stack.is_stock else OurPair)(redis.url, second or redis.url)
    await nodes.open()
    try:
        yield Watched(nodes, stock_patience_s if stack.is_stock else 20.0)
    finally:
        await nodes.close()
