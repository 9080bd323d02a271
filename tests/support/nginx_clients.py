"""Stock clients in `/chat` through Nginx, and requests that are written byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import aiohttp

from tests.support.conformance_clients import JavaScriptHost, StockClient, javascript_client, python_client
from tests.support.nginx import Trio

__all__ = ["WAYS", "Visitor", "crowd", "dead_sid", "handshake", "raw_request", "sid_of"]

WAYS: Final[dict[str, list[str]]] = {
    "polling": ["polling"],
    "websocket": ["websocket"],
    "upgraded": ["polling", "websocket"],
}
_numbers = itertools.count(1)


class Visitor:
    """A stock client with the way that it came."""

    def __init__(self, client: StockClient, way: str) -> None:
        self.client = client
        self.way = way

    @property
    def nodes(self) -> list[str]:
        """The node of each of its connections, as the node itself says it."""
        return [args[0]["node"] for args in self.client.news.of("hello")]

    async def wait_connections(self, count: int) -> None:
        await self.client.news.wait(lambda: len(self.nodes) >= count)

    async def wait_transport(self) -> None:
        """Until an upgrade is through."""
        wanted = "polling" if self.way == "polling" else "websocket"
        async with asyncio.timeout(10):
            while await self.client.transport() != wanted:
                await asyncio.sleep(0.02)

    async def ask(self) -> Any:
        answer = await self.client.call("room:list", {})
        assert answer[0]["ok"], answer
        return answer[0]["data"]


@contextlib.asynccontextmanager
async def crowd(trio: Trio, host: JavaScriptHost, *, each: int) -> AsyncIterator[list[Visitor]]:
    """`each` clients of both kinds for each of the three ways, all connected."""
    visitors: list[Visitor] = []
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(each):
            for way, transports in WAYS.items():
                tokens = [{"token": trio.token(f"user-{next(_numbers)}")} for _ in range(2)]
                clients = (
                    javascript_client(
                        host, trio.url, version="client4", transports=transports, namespace="/chat", auth=tokens[0]
                    ),
                    python_client(trio.url, transports=transports, namespace="/chat", auth=tokens[1]),
                )
                visitors.extend([Visitor(await stack.enter_async_context(client), way) for client in clients])
        for visitor in visitors:
            await visitor.wait_connections(1)
            await visitor.wait_transport()
        yield visitors


async def handshake(url: str, session: aiohttp.ClientSession) -> str:
    """Open a session by polling; returns its id."""
    async with session.get(f"{url}/socket.io/?EIO=4&transport=polling") as answer:
        text = await answer.text()
        assert answer.status == 200, (answer.status, text)
        return sid_of(text)


def sid_of(text: str) -> str:
    return text.partition('"sid":"')[2].partition('"')[0]


def dead_sid(node: str) -> str:
    """An id of the right form that no node has given."""
    return f"{node}.{'A' * 20}"


async def raw_request(port: int, parts: Sequence[bytes]) -> tuple[int, dict[str, str], bytes]:
    """Send what is no proper request for a library, and read until the end: status, headers, body. Status 0: the
    connection was closed without an answer, or the answer has no status.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                for part in parts:
                    writer.write(part)
                await writer.drain()
            try:
                answer = await reader.read()
            except ConnectionError:
                answer = b""
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    if not answer.startswith(b"HTTP/1.1 "):
        return 0, {}, answer
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split(" ")[1]), headers, body
