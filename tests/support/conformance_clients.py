"""Stock clients for conformance tests: in Node, on a page in Chromium, and in Python, all driven alike.

`js_clients/commands.mjs` says what the two kinds of JavaScript client are told and what they tell.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

import socketio
from playwright.async_api import Page

from tests.support.conformance import TIMEOUT_S, find_node
from tests.support.plain import JS_HOME

__all__ = [
    "JavaScriptHost",
    "NodeHost",
    "PageHost",
    "PythonClient",
    "StockClient",
    "javascript_client",
    "node_host",
    "python_client",
]

LINE_MAX_BYTES: Final = 16 * 1024 * 1024
RECONNECTION_S: Final = 0.01


class StockClient(Protocol):
    """A stock client in one namespace, and what it told so far."""

    news: News

    async def call(self, event: str, *args: Any) -> list[Any]:
        """Emit, and return the arguments of the ack."""

    async def emit(self, event: str, *args: Any) -> None: ...

    async def stream(self, event: str, count: int, *, transport: str) -> list[str]:
        """Emit the numbers below `count`, the last quarter only once the connection is on `transport`; returns on which
        transport each was sent.
        """

    async def transport(self) -> str: ...


class News:
    """What a client told: `sids` of its connections, `disconnects` with the reasons, `refusals`, and `events`."""

    def __init__(self) -> None:
        self.sids: list[str] = []
        self.disconnects: list[str] = []
        self.refusals: list[Any] = []
        self.events: list[tuple[str, list[Any]]] = []
        self._told = asyncio.Event()

    def tell(self) -> None:
        """Something was added."""
        self._told.set()

    def of(self, event: str) -> list[list[Any]]:
        """The arguments of all events of this name, in order."""
        return [args for name, args in self.events if name == event]

    async def wait(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                self._told.clear()
                await self._told.wait()

    async def wait_events(self, event: str, count: int) -> list[list[Any]]:
        """The arguments of the first `count` events of this name, once they are there."""
        await self.wait(lambda: len(self.of(event)) >= count)
        return self.of(event)[:count]


# -- JavaScript --------------------------------------------------------------------------------------------------------


def pack(value: Any) -> Any:
    """Bytes as `{"$bytes": base64}`."""
    match value:
        case bytes():
            return {"$bytes": base64.b64encode(value).decode()}
        case list() | tuple():
            return [pack(each) for each in value]
        case dict():
            return {key: pack(each) for key, each in value.items()}
    return value


def unpack(value: Any) -> Any:
    match value:
        case {"$bytes": data}:
            return base64.b64decode(data)
        case list():
            return [unpack(each) for each in value]
        case dict():
            return {key: unpack(each) for key, each in value.items()}
    return value


class JavaScriptHost(Protocol):
    """Where stock JavaScript clients run."""

    clients: dict[int, News]

    async def do(self, command: str, **arguments: Any) -> Any:
        """Run one of the commands, and return what it returns."""


def take(clients: dict[int, News], document: dict[str, Any]) -> None:
    """Give a client's news to it."""
    news = clients[document["client"]]
    if "connected" in document:
        news.sids.append(document["connected"])
    elif "disconnected" in document:
        news.disconnects.append(document["disconnected"])
    elif "refused" in document:
        news.refusals.append(document["refused"])
    else:
        news.events.append((document["event"], unpack(document["args"])))
    news.tell()


class NodeHost:
    """Clients in a process of Node."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.clients: dict[int, News] = {}
        self._process = process
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[Any]] = {}

    async def do(self, command: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        number = next(self._ids)
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        self._process.stdin.write(json.dumps({"id": number, "do": command, **arguments}).encode() + b"\n")
        async with asyncio.timeout(TIMEOUT_S):
            return await reply

    async def read(self) -> None:
        """Take what comes until the process ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            document = json.loads(line)
            if "reply" not in document:
                take(self.clients, document)
                continue
            reply = self._replies.pop(document["reply"])
            if reply.done():
                continue
            if "error" in document:
                reply.set_exception(RuntimeError(document["error"]))
            else:
                reply.set_result(document["value"])


@contextlib.asynccontextmanager
async def node_host() -> AsyncIterator[NodeHost]:
    process = await asyncio.create_subprocess_exec(
        *(find_node(), str(JS_HOME / "node.mjs")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_MAX_BYTES,
    )
    assert process.stdin is not None
    host = NodeHost(process)
    reading = asyncio.create_task(host.read())
    try:
        yield host
    finally:
        process.stdin.close()
        await process.wait()
        await reading


class PageHost:
    """Clients on a page, which comes from the server under test."""

    def __init__(self, page: Page) -> None:
        self.clients: dict[int, News] = {}
        self._page = page

    async def load(self, url: str) -> None:
        await self._page.expose_function("tell", lambda document: take(self.clients, document))
        await self._page.goto(url)
        await self._page.wait_for_function("window.command !== undefined")

    async def do(self, command: str, **arguments: Any) -> Any:
        async with asyncio.timeout(TIMEOUT_S):
            return await self._page.evaluate("command => window.command(command)", {"do": command, **arguments})


_clients = itertools.count(1)


class _JavaScriptClient:
    def __init__(self, host: JavaScriptHost, number: int) -> None:
        self.news = host.clients[number]
        self._host = host
        self._number = number

    async def call(self, event: str, *args: Any) -> list[Any]:
        answer = await self._host.do("call", client=self._number, event=event, args=pack(args))
        return list(unpack(answer))

    async def emit(self, event: str, *args: Any) -> None:
        await self._host.do("emit", client=self._number, event=event, args=pack(args))

    async def stream(self, event: str, count: int, *, transport: str) -> list[str]:
        arguments = {"client": self._number, "event": event, "count": count, "transport": transport}
        return list(await self._host.do("stream", **arguments))

    async def transport(self) -> str:
        return str(await self._host.do("transport", client=self._number))


@contextlib.asynccontextmanager
async def javascript_client(
    host: JavaScriptHost, url: str, *, version: str, transports: list[str], namespace: str, auth: Any
) -> AsyncIterator[StockClient]:
    """`version` is `client40` or `client4`; the client may not be connected yet."""
    number = next(_clients)
    host.clients[number] = News()
    options = {"transports": transports, "auth": auth}
    await host.do("open", client=number, version=version, url=url, namespace=namespace, options=options)
    try:
        yield _JavaScriptClient(host, number)
    finally:
        await host.do("close", client=number)


# -- Python ------------------------------------------------------------------------------------------------------------


class PythonClient:
    """python-socketio's `AsyncClient`."""

    def __init__(self, namespace: str) -> None:
        self.news = News()
        self._namespace = namespace
        self.sio = socketio.AsyncClient(
            reconnection_delay=RECONNECTION_S, reconnection_delay_max=RECONNECTION_S, randomization_factor=0
        )
        for event, handler in (
            *(("connect", self._on_connect), ("connect_error", self._on_refusal)),
            *(("disconnect", self._on_disconnect), ("question", self._on_question), ("*", self._on_event)),
        ):
            self.sio.on(event, handler, namespace=namespace)

    async def call(self, event: str, *args: Any) -> list[Any]:
        answer: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        await self.sio.emit(
            event, args, namespace=self._namespace, callback=lambda *values: answer.set_result(list(values))
        )
        async with asyncio.timeout(TIMEOUT_S):
            return await answer

    async def emit(self, event: str, *args: Any) -> None:
        await self.sio.emit(event, args, namespace=self._namespace)

    async def stream(self, event: str, count: int, *, transport: str) -> list[str]:
        for number in range(count):
            await self.emit(event, number)
        return [await self.transport()] * count

    async def transport(self) -> str:
        return str(self.sio.transport())

    async def _on_connect(self) -> None:
        self.news.sids.append(self.sio.get_sid(self._namespace))
        self.news.tell()

    async def _on_refusal(self, document: Any) -> None:
        self.news.refusals.append(document)
        self.news.tell()

    async def _on_disconnect(self, reason: str) -> None:
        self.news.disconnects.append(reason)
        self.news.tell()

    async def _on_question(self, *args: Any) -> Any:
        self.news.events.append(("question", list(args)))
        self.news.tell()
        return args

    async def _on_event(self, event: str, *args: Any) -> None:
        self.news.events.append((event, list(args)))
        self.news.tell()


@contextlib.asynccontextmanager
async def python_client(url: str, *, transports: list[str], namespace: str, auth: Any) -> AsyncIterator[StockClient]:
    client = PythonClient(namespace)
    try:
        with contextlib.suppress(socketio.exceptions.ConnectionError):
            await client.sio.connect(
                url, namespaces=[namespace], transports=transports, auth=auth, wait_timeout=TIMEOUT_S
            )
        yield client
    finally:
        await client.sio.disconnect()
        await client.sio.shutdown()
        # A connect that failed half-way leaves the library's HTTP session open.
        if client.sio.eio.http is not None and not client.sio.eio.http.closed:
            await client.sio.eio.http.close()
