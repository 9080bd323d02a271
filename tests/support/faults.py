"""One body of a test for two servers: on ours it passes, on stock python-socketio it fails with the words it names.

So each test is shown to be able to fail, and for the reason that it is about.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeVar

import pytest
from aiohttp import web

from hubbub.transport.bounds import Bounds
from hubbub.transport.server import Server
from tests.support.faults_peer import WebSocketPeer
from tests.support.stock import make_stock_server

__all__ = ["Options", "Served", "Stack", "ours_only", "seen_on_stock"]

T = TypeVar("T")
Body = Callable[..., Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a test may choose of a server. What stock has no setting for concerns ours alone."""

    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0
    packet_bytes: int = 100_000
    outbox_bytes: int = 1_048_576
    connect_s: float = 45.0
    upgrade_s: float = 30.0
    stall_s: float = 30.0
    close_s: float = 0.5
    event_s: float = 30.0


class Served:
    """A running server. `patience_s` is how long a test waits for what should come."""

    def __init__(self, server: Any, runner: web.AppRunner, *, is_stock: bool, patience_s: float) -> None:
        self.server = server
        self.is_stock = is_stock
        self.patience_s = patience_s
        self.port: int = runner.addresses[0][1]
        self._runner = runner
        self._stopped = False

    @property
    def known(self) -> set[str]:
        """The ids of the Engine.IO connections that the server holds."""
        return set(self.server.eio.sockets if self.is_stock else self.server.eio.sessions)

    async def stop(self) -> None:
        """Shut down as an application does."""
        if not self._stopped:
            self._stopped = True
            await self.server.shutdown()
            await self._runner.cleanup()

    async def within(self, work: Awaitable[T], otherwise: str) -> T:
        """What `work` comes to; fails with these words if that takes too long."""
        try:
            async with asyncio.timeout(self.patience_s):
                return await work
        except TimeoutError:
            raise AssertionError(otherwise) from None

    async def until(self, condition: Callable[[], bool], otherwise: str) -> None:
        """Until this is so; fails with these words if that takes too long."""

        async def watch() -> None:
            while not condition():
                await asyncio.sleep(0.002)

        await self.within(watch(), otherwise)

    @contextlib.asynccontextmanager
    async def websocket(self, *, connect: bool = True, **options: Any) -> AsyncIterator[WebSocketPeer]:
        """A peer with a session of its own, connected to the main namespace."""
        async with WebSocketPeer.opened(self.port, **options) as peer:
            if connect:
                await peer.connect()
            yield peer

    async def check_ended(self, peer: WebSocketPeer) -> None:
        """Fails unless the server ends the connection: with an answer to an event at once, else after some time."""
        await peer.send('4299["are you there"]')
        got = await self.within(peer.receive_until(lambda packet: packet == "4399[]"), "the connection is still open")
        assert got is None, "the connection is still open"


class Stack:
    """One of the two."""

    def __init__(self, name: str, stock_options: dict[str, Any]) -> None:
        self.is_stock = name == "stock"
        self._stock_options = stock_options

    @contextlib.asynccontextmanager
    async def serve(
        self, options: Options | None = None, *, stock_patience_s: float = 0.25, **more: Any
    ) -> AsyncIterator[Served]:
        """A server on a port that the system chose; it answers `are you there`. Ours leaves no task behind.

        What does not come from stock is not waited for as long as what has to come from ours.
        """
        options = options or Options()
        before = asyncio.all_tasks()
        server = self._make(options, more)
        server.on("are you there", _answer)
        app = web.Application()
        server.attach(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        served = Served(server, runner, is_stock=self.is_stock, patience_s=stock_patience_s if self.is_stock else 10.0)
        try:
            yield served
        finally:
            await served.stop()
            with contextlib.suppress(AssertionError):
                if not self.is_stock:
                    await served.until(lambda: asyncio.all_tasks() <= before, "tasks are left")
            left = asyncio.all_tasks() - before
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        assert self.is_stock or not left, left

    def _make(self, options: Options, more: dict[str, Any]) -> Any:
        if self.is_stock:
            return make_stock_server(
                ping_interval_s=options.ping_interval_s,
                ping_timeout_s=options.ping_timeout_s,
                packet_bytes=options.packet_bytes,
                **self._stock_options,
            )
        return Server(bounds=Bounds(**asdict(options)), **more)


async def _answer(sid: str) -> None:
    """Acknowledged with nothing."""


def seen_on_stock(fault: str, **stock_options: Any) -> Callable[[Body], Body]:
    """Runs a body that takes a `stack` on both; on stock it has to fail with words that match the pattern `fault`."""

    def decorate(body: Body) -> Body:
        @pytest.mark.parametrize("stack_name", ["ours", "stock"])
        @functools.wraps(body)
        async def test(*args: Any, stack_name: str, **kwargs: Any) -> None:
            stack = Stack(stack_name, stock_options)
            if not stack.is_stock:
                await body(*args, stack=stack, **kwargs)
                return
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
            with pytest.raises(AssertionError, match=fault):
                await body(*args, stack=stack, **kwargs)

        return _with_parameter(test, body, "stack_name")

    return decorate


def ours_only(body: Body) -> Body:
    """Runs a body that takes a `stack` on ours: what stock does wrong takes too long, or cannot be asked for there."""

    @functools.wraps(body)
    async def test(*args: Any, **kwargs: Any) -> None:
        await body(*args, stack=Stack("ours", {}), **kwargs)

    return _with_parameter(test, body, None)


_STACK: Final = "stack"


def _with_parameter(test: Body, body: Body, name: str | None) -> Body:
    """pytest reads the parameters of what it calls: those of the body, with `name` in the place of its stack."""
    signature = inspect.signature(body)
    parameters = [each for each in signature.parameters.values() if each.name != _STACK]
    if name is not None:
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY))
    test.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return test
