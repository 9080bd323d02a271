"""A client that reads too slowly, beside one that does not: what it loses, in which order, and how it gets it back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from hubbub.transport.frames import read_frame
from tests.support.chat import chat_client
from tests.support.service import running_service

TIMEOUT_S = 30.0
BODY = "x" * 8000


def frame(text: str) -> bytes:
    """A text frame as a client sends it, under a mask of zeros."""
    payload = text.encode()
    size = len(payload)
    head = bytes((0x81, 0x80 | size)) if size < 126 else b"\x81\xfe" + size.to_bytes(2, "big")
    return head + b"\0\0\0\0" + payload


class SlowClient:
    """A WebSocket that reads only when it is told to, with a small buffer in its kernel."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._rest = b""

    async def send(self, text: str) -> None:
        await asyncio.get_running_loop().sock_sendall(self._connection, frame(text))

    async def receive(self) -> str | None:
        """The next text, pings answered; None at the end."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                found = self._next()
                if found is None:
                    data = await asyncio.get_running_loop().sock_recv(self._connection, 65536)
                    if not data:
                        return None
                    self._rest += data
                elif found == "2":
                    await self.send("3")
                else:
                    return found or None

    def _next(self) -> str | None:
        """The whole frame at the start of what came; empty for a close frame."""
        data = self._rest
        if len(data) < 2:
            return None
        size, at = data[1], 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        if len(data) < at + size:
            return None
        self._rest = data[at + size :]
        return data[at : at + size].decode() if data[0] == 0x81 else ""

    async def call(self, event: str, request: dict[str, Any]) -> dict[str, Any]:
        """Send an event and read up to its ack; returns `data`."""
        await self.send("42/chat,7" + orjson.dumps([event, request]).decode())
        while (text := await self.receive()) is not None:
            if text.startswith("43/chat,7"):
                answer = orjson.loads(text.removeprefix("43/chat,7"))[0]
                assert answer["ok"], answer
                data: dict[str, Any] = answer["data"]
                return data
        raise AssertionError("the connection ended before the ack")


@contextlib.asynccontextmanager
async def slow_client(url: str, token: str) -> AsyncIterator[SlowClient]:
    place = urlsplit(url)
    assert place.hostname is not None
    assert place.port is not None
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(connection, (place.hostname, place.port))
        request = (
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await loop.sock_sendall(connection, request.encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await loop.sock_recv(connection, 1)
        client = SlowClient(connection)
        await client.send("40/chat," + orjson.dumps({"token": token}).decode())
        for expected in ("0", "40/chat,", '42/chat,["hello"'):
            text = await client.receive()
            assert text is not None
            assert text.startswith(expected)
        yield client


async def metrics(url: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        return await response.text()


class TestSlowReaders:
    async def test_a_room_that_runs_away_is_suspended_with_gap_and_joined_again(self, tmp_path: Path) -> None:
        async with (
            running_service(tmp_path, limits="off", outbox_bytes=524_288, ping_interval_s=300) as service,
            chat_client(service.url, service.token(user="alice"), transports=["websocket"]) as alice,
            slow_client(service.url, service.token(user="bob")) as bob,
        ):
            await alice.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
            joined = await bob.call("room:join", {"room": "lobby"})
            epoch, seen = joined["room"]["epoch"], joined["head"]
            sent = 0
            # Until it is suspended: how much the kernel holds for a reader that sleeps is not ours to know.
            while "hubbub_gaps_total 1.0" not in await metrics(service.url):
                for _ in range(20):
                    await alice.ok("message:send", {"room": "lobby", "key": f"k{sent}", "body": BODY})
                    sent += 1
                assert sent < 4000
            head = 0
            while head == 0:
                text = await bob.receive()
                assert text is not None
                name, document = orjson.loads(text.removeprefix("42/chat,"))
                if name == "message":
                    assert document["rev"] == seen + 1
                    seen += 1
                elif name == "gap":
                    head = document["head"]
                    assert document["room"] == "lobby"
            assert 0 < seen < head <= sent
            page = await bob.call("room:join", {"room": "lobby", "since": seen, "epoch": epoch})
            while True:
                for message in page["messages"]:
                    assert message["rev"] == seen + 1
                    seen += 1
                if page["next"] >= page["head"]:
                    break
                page = await bob.call("history:sync", {"room": "lobby", "since": page["next"], "epoch": epoch})
            assert seen == sent
            await alice.ok("message:send", {"room": "lobby", "key": "last", "body": "and on"})
            text = await bob.receive()
            assert text is not None
            assert orjson.loads(text.removeprefix("42/chat,"))[1]["rev"] == sent + 1

    async def test_one_that_reads_nothing_is_let_go_by_name(self, tmp_path: Path) -> None:
        async with (
            running_service(tmp_path, limits="off", outbox_bytes=524_288, ping_interval_s=300) as service,
            slow_client(service.url, service.token(user="bob")) as bob,
            chat_client(service.url, service.token(user="alice"), transports=["websocket"]) as alice,
        ):
            await alice.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
            for number in range(50):
                await alice.ok("message:send", {"room": "lobby", "key": f"k{number}", "body": BODY})
            # Each answer is a page; none is read.
            for _ in range(40):
                await bob.send('42/chat,8["history:fetch",{"room":"lobby"}]')
            async with asyncio.timeout(TIMEOUT_S):
                while 'hubbub_links_closed_total{code="slow_consumer"} 1.0' not in await metrics(service.url):
                    pass
            assert (await alice.ok("message:send", {"room": "lobby", "key": "last", "body": "x"}))["duplicate"] is False
            await service.stop()
        assert '"code":"slow_consumer"' in service.log


def test_the_frames_of_the_client_are_frames() -> None:
    found = read_frame(frame("é"), 0, limit=100, deflate=False)
    assert isinstance(found, tuple)
    assert found.payload.decode() == "é"
