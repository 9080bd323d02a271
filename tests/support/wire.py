"""A real server on a port that the system chose, with a handler that does what the test says; no chat in it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import aiohttp
import orjson
from aiohttp import web

from hubbub.errors import HubbubError
from hubbub.transport.base import Connection, Incoming, Order
from hubbub.transport.bounds import Bounds
from hubbub.transport.server import Server

__all__ = ["RawClient", "TinyHandler", "Wire", "raw_client", "wire"]

TIMEOUT_S = 10.0


class TinyHandler:
    """Lets in everybody whose auth payload is not `{"refuse": CODE}`, and answers with what it was asked.

    `hold` events wait until `release` is set, and a connect with `{"hold": true}` too. A name that begins with `free`,
    or with `send` (pipelined), has that order.
    """

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.connections: list[Connection] = []
        self.release = asyncio.Event()
        self._news = asyncio.Condition()
        self._telling: set[asyncio.Task[None]] = set()

    def order(self, event: str) -> Order:
        return Order.FREE if event.startswith("free") else Order.PIPELINED if event.startswith("send") else Order.SERIAL

    async def connect(self, connection: Connection, auth: Any) -> Callable[[], None] | None:
        self.note("connect", connection.namespace, auth)
        if isinstance(auth, dict) and auth.get("hold"):
            await self.release.wait()
        if isinstance(auth, dict) and "refuse" in auth:
            raise HubbubError(auth["refuse"], "Not today.")
        self.connections.append(connection)
        return lambda: connection.emit("hello", {"id": connection.id})

    async def event(self, connection: Connection, incoming: Incoming) -> Any:
        self.note("event", incoming.name, incoming.args)
        incoming.admitted()
        incoming.after_ack.append(lambda: connection.emit("after", incoming.name))
        if "hold" in incoming.name:
            await self.release.wait()
        return {"ok": True, "data": list(incoming.args)}

    async def disconnected(self, connection: Connection, *, clean: bool) -> None:
        self.note("disconnected", connection.namespace, clean)

    def suspended(self, connection: Connection, group: str) -> None:
        self.note("suspended", connection.namespace, group)

    def outside(self, event: str, data: object, room: object) -> Iterable[Connection]:
        self.note("outside", event, room)
        return [each for each in self.connections if room is None or room == each.id]

    def refused(self, error: HubbubError) -> dict[str, Any]:
        return {"ok": False, "error": error.document()}

    def note(self, *what: Any) -> None:
        self.log.append(what)
        task = asyncio.ensure_future(self._tell())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [what[1:] for what in self.log if what[0] == kind]

    async def wait_for(self, kind: str, count: int = 1) -> list[tuple[Any, ...]]:
        async with self._news, asyncio.timeout(TIMEOUT_S):
            await self._news.wait_for(lambda: len(self.of(kind)) >= count)
        return self.of(kind)


class Wire:
    """A running server; `/chat` and `/other` are served by `handler`."""

    def __init__(self, server: Server, handler: TinyHandler, runner: web.AppRunner) -> None:
        host, port = runner.addresses[0][:2]
        self.server = server
        self.handler = handler
        self.runner = runner
        self.port: int = port
        self.url = f"http://{host}:{port}"
        self.closed = False

    async def close(self) -> None:
        """End the server; safe to call twice."""
        if not self.closed:
            self.closed = True
            await self.server.close()

    async def wait_no_links(self) -> None:
        """Until nothing is left of any connection."""
        async with asyncio.timeout(TIMEOUT_S):
            while self.server.links or not self.server.is_idle or self.server.environ:
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def wire(**options: Any) -> AsyncIterator[Wire]:
    settings: dict[str, Any] = {
        "bounds": Bounds(packet_bytes=100_000, close_s=0.5),
        "allow_origin": lambda origin, host: origin == "https://good.example",
    }
    server = Server(**(settings | options))
    handler = TinyHandler()
    server.mount("/chat", handler)
    server.mount("/other", handler)
    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    running = Wire(server, handler, runner)
    try:
        yield running
    finally:
        handler.release.set()
        await running.close()
        await runner.cleanup()


class RawClient:
    """A peer that writes frames as it likes, over a WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.sid = ""

    async def send(self, frame: str | bytes) -> None:
        if isinstance(frame, bytes):
            await self.socket.send_bytes(frame)
        else:
            await self.socket.send_str(frame)

    async def receive(self) -> str | None:
        """The next frame that is no ping; None at the end of the connection."""
        while True:
            message = await self.socket.receive(TIMEOUT_S)
            if message.type is not aiohttp.WSMsgType.TEXT:
                return None
            if message.data == "2":
                await self.socket.send_str("3")
            else:
                return str(message.data)

    async def frames_to_end(self) -> list[str]:
        frames: list[str] = []
        while (frame := await self.receive()) is not None:
            frames.append(frame)
        return frames

    async def open(self, namespace: str = "/chat", auth: Any = None) -> str:
        """Connect to a namespace; returns its session id. The greeting is read too."""
        await self.send(f"40{namespace}," + (orjson.dumps(auth).decode() if auth is not None else ""))
        frame = await self.receive()
        assert frame is not None
        assert frame.startswith(f"40{namespace},{{"), frame
        hello = await self.receive()
        assert hello is not None
        assert '"hello"' in hello
        sid: str = orjson.loads(frame.partition(",")[2])["sid"]
        return sid

    def vanish(self) -> None:
        """Without a word, as when a cable is pulled."""
        transport = self.socket.get_extra_info("socket") and self.socket._response.connection
        assert transport is not None
        assert transport.transport is not None
        transport.transport.abort()


@contextlib.asynccontextmanager
async def raw_client(url: str, **options: Any) -> AsyncIterator[RawClient]:
    """A raw client that has been through the handshake of Engine.IO."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket", **options) as socket,
    ):
        client = RawClient(socket)
        opened = await client.receive()
        assert opened is not None
        client.sid = orjson.loads(opened[1:])["sid"]
        yield client
