"""The stock JavaScript client for tests: `socket.io-client` in a Node process, with the contract's names."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from tests.support.chat import RefusedError

__all__ = ["JavaScriptClient", "javascript_client"]

TIMEOUT_S: Final = 30.0
LINE_MAX_BYTES: Final = 16 * 1024 * 1024
_HOME: Final = Path(__file__).parent / "js"


class JavaScriptClient:
    """A stock client in `/chat`. `events` are all events that came, as (name, document), in order.

    `process` runs `js/driver.mjs`, which says what the lines between us mean.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.events: list[tuple[str, Any]] = []
        self.disconnects: list[str] = []
        self._process = process
        self._ids = itertools.count(1)
        self._replies: dict[int, asyncio.Future[Any]] = {}
        self._entered: asyncio.Future[None] | None = None
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def connect(self, url: str, token: str | None, *, options: Mapping[str, Any] | None = None) -> None:
        """Connect with `options` of the stock client, or raise `RefusedError`."""
        auth = {"token": token} if token is not None else {}
        self._entered = asyncio.get_running_loop().create_future()
        await self._do("connect", url=url, namespace="/chat", options={"auth": auth, **(options or {})})
        async with asyncio.timeout(TIMEOUT_S):
            await self._entered

    async def call(self, event: str, *args: Any) -> Any:
        """Send an event, return its ack as it came."""
        return await self._do("call", event=event, args=list(args))

    async def ok(self, event: str, request: dict[str, Any]) -> Any:
        """Send an event that must succeed; returns `data`."""
        ack = await self.call(event, request)
        assert ack["ok"], (event, request, ack)
        return ack["data"]

    async def error(self, event: str, request: Any) -> Any:
        """Send an event that must be refused; returns the error object."""
        ack = await self.call(event, request)
        assert not ack["ok"], (event, request, ack)
        return ack["error"]

    async def emit(self, event: str, request: Any) -> None:
        await self._do("emit", event=event, args=[request])

    async def transport(self) -> str:
        """`polling` or `websocket`, as it is now."""
        return str(await self._do("transport"))

    async def disconnect(self) -> None:
        await self._do("disconnect")

    def of(self, name: str) -> list[Any]:
        """The documents of all events of this name so far."""
        return [document for event, document in self.events if event == name]

    async def wait_for(self, name: str, condition: Callable[[Any], bool] = lambda document: True) -> Any:
        """The first event of this name that fits, past or future."""

        def found() -> Any:
            return next((document for document in self.of(name) if condition(document)), None)

        await self._until(lambda: found() is not None)
        return found()

    async def wait_count(self, name: str, count: int) -> list[Any]:
        """The documents of this name, once there are that many."""
        await self._until(lambda: len(self.of(name)) >= count)
        return self.of(name)

    async def wait_disconnected(self) -> str:
        """Why the stock client says that the connection ended."""
        await self._until(lambda: bool(self.disconnects))
        return self.disconnects[0]

    async def close(self) -> None:
        """End the process: it leaves when its input does."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader

    async def _do(self, command: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        number = next(self._ids)
        reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        self._process.stdin.write(json.dumps({"id": number, "do": command, **arguments}).encode() + b"\n")
        await self._process.stdin.drain()
        async with asyncio.timeout(TIMEOUT_S):
            return await reply

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._news, asyncio.timeout(TIMEOUT_S):
            await self._news.wait_for(condition)

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._news:
                self._take(json.loads(line))
                self._news.notify_all()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(ConnectionError("the Node process ended"))

    def _take(self, news: dict[str, Any]) -> None:
        if "reply" in news:
            reply = self._replies.pop(news["reply"])
            if reply.done():
                return
            if "error" in news:
                reply.set_exception(RuntimeError(news["error"]))
            else:
                reply.set_result(news["value"])
        elif "event" in news:
            self.events.append((news["event"], news["args"][0] if news["args"] else None))
        elif "disconnected" in news:
            self.disconnects.append(news["disconnected"])
        elif self._entered is not None and not self._entered.done():
            if "refused" in news:
                self._entered.set_exception(RefusedError(news["refused"]["message"], news["refused"]["data"]))
            else:
                self._entered.set_result(None)


@contextlib.asynccontextmanager
async def javascript_client(
    url: str, token: str | None, *, options: Mapping[str, Any] | None = None
) -> AsyncIterator[JavaScriptClient]:
    """A connected client, gone at the end. Raises `RefusedError` as `connect` does."""
    node = shutil.which("node")
    assert node is not None, "Node is needed for this test; `make test` brings it."
    assert (_HOME / "node_modules").is_dir(), "The stock client is not installed: run `npm ci` in tests/support/js."
    process = await asyncio.create_subprocess_exec(
        node,
        str(_HOME / "driver.mjs"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_MAX_BYTES,
    )
    client = JavaScriptClient(process)
    try:
        await client.connect(url, token, options=options)
        yield client
    finally:
        await client.close()
