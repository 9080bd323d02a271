"""What conformance tests are run against, and peers that speak Engine.IO byte by byte.

`CONFORMANCE_TARGET=reference` runs the same tests against the reference server (`js_clients/reference.mjs`), to see
that it is the protocol that they ask for and not our reading of it.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import shutil
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol

import aiohttp
import pytest

from tests.support.plain import JS_HOME, Options, plain_server

__all__ = [
    "IS_REFERENCE",
    "SEPARATOR",
    "TIMEOUT_S",
    "TRANSPORTS",
    "Answer",
    "Options",
    "Packet",
    "Peer",
    "PollingPeer",
    "WebSocketPeer",
    "find_node",
    "open_peer",
    "open_polling",
    "open_websocket",
    "payload",
    "served",
    "stricter_than_the_reference",
    "upgraded",
]

TIMEOUT_S: Final = 5.0
PLAIN_TEXT: Final = "text/plain;charset=UTF-8"
"""What stock clients say of their bodies."""

SEPARATOR: Final = "\x1e"
TRANSPORTS: Final = ("polling", "websocket", "upgraded")
IS_REFERENCE: Final = os.environ.get("CONFORMANCE_TARGET") == "reference"

Packet = str | bytes
"""A packet of Engine.IO: text, its type first; or the bytes of a binary message."""


def stricter_than_the_reference(reason: str) -> pytest.MarkDecorator:
    """The specification asks for this, and the reference server does not do it."""
    return pytest.mark.xfail(IS_REFERENCE, reason=reason, strict=True)


# -- what is tested ----------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def served(options: Options | None = None) -> AsyncIterator[str]:
    """The server that is under test, for one test; where it is."""
    serve = _reference_server if IS_REFERENCE else plain_server
    async with serve(options or Options()) as url:
        yield url


def find_node() -> str:
    node = shutil.which("node")
    assert node is not None, "Node is needed for this test; `make test` brings it."
    assert (JS_HOME / "node_modules").is_dir(), "Not installed: run `npm ci` in tests/support/js_clients."
    return node


@contextlib.asynccontextmanager
async def _reference_server(options: Options) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        *(find_node(), str(JS_HOME / "reference.mjs"), json.dumps(asdict(options))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            url = (await process.stdout.readline()).decode().strip()
        yield url
    finally:
        process.stdin.close()
        await process.wait()


# -- peers -------------------------------------------------------------------------------------------------------------


class Peer(Protocol):
    """A client that is through the handshake of Engine.IO, whatever its transport.

    It answers no pings by itself, and passes over noops, which mean nothing to it.
    """

    opened: dict[str, Any]
    """What the open packet said."""

    async def send(self, *packets: Packet) -> None:
        """Send packets that the server must take."""

    async def offend(self, *packets: Packet) -> None:
        """Send packets that the server may refuse, in the middle of the request too."""

    async def receive(self) -> Packet | None:
        """The next packet; None once the server has closed the session."""

    async def wait_closed(self) -> list[Packet]:
        """Until the server has closed the session; returns what it said before that."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `text` of a poll is its payload."""

    status: int
    text: str
    content_type: str = ""
    charset: str | None = None

    @property
    def packets(self) -> list[Packet]:
        return [
            base64.b64decode(each[1:], validate=True) if each[:1] == "b" else each
            for each in self.text.split(SEPARATOR)
        ]


def encode(packets: tuple[Packet, ...]) -> bytes:
    """The body of a POST."""
    return SEPARATOR.join(
        "b" + base64.b64encode(packet).decode() if isinstance(packet, bytes) else packet for packet in packets
    ).encode()


class PollingPeer:
    """A client by HTTP long-polling. Each request has a connection of its own."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http = http
        self.url = url
        self.opened: dict[str, Any] = {}
        self._arrived: deque[Packet] = deque()

    @property
    def sid(self) -> str:
        return str(self.opened["sid"])

    async def handshake(self) -> None:
        answer = await self.request("GET")
        assert answer.status == 200, answer
        first, *rest = answer.packets
        self.opened = payload(first, "0")
        self._arrived.extend(rest)
        self.url += f"&sid={self.sid}"

    async def request(self, method: str, *, data: Any = None, content_type: str | None = PLAIN_TEXT) -> Answer:
        """One request, whatever is answered."""
        headers = {} if data is None or content_type is None else {"Content-Type": content_type}
        async with (
            asyncio.timeout(TIMEOUT_S),
            self.http.request(
                method, self.url, data=data, headers=headers, skip_auto_headers=["Content-Type"]
            ) as response,
        ):
            text = (await response.read()).decode()
            return Answer(response.status, text, response.content_type, response.charset)

    async def poll(self) -> Answer:
        return await self.request("GET")

    async def post(self, *packets: Packet) -> Answer:
        return await self.request("POST", data=encode(packets))

    async def send(self, *packets: Packet) -> None:
        answer = await self.post(*packets)
        assert (answer.status, answer.text) == (200, "ok")

    async def offend(self, *packets: Packet) -> None:
        with contextlib.suppress(aiohttp.ClientError):
            await self.post(*packets)

    async def receive(self) -> Packet | None:
        while not self._arrived:
            answer = await self.poll()
            if answer.status != 200:
                assert answer.status == 400, answer
                return None
            self._arrived.extend(packet for packet in answer.packets if packet != "6")
        packet = self._arrived.popleft()
        return None if packet == "1" else packet

    async def wait_closed(self) -> list[Packet]:
        packets = await _to_end(self)
        assert (await self.poll()).status == 400, "the session is still known"
        return packets


class WebSocketPeer:
    """A client by WebSocket, from the start or after an upgrade."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.opened: dict[str, Any] = {}

    @property
    def wire(self) -> asyncio.Transport:
        """The TCP connection, for what no client would do."""
        connection = self.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        return connection.transport

    async def send(self, *packets: Packet) -> None:
        for packet in packets:
            await (self.socket.send_bytes(packet) if isinstance(packet, bytes) else self.socket.send_str(packet))

    async def offend(self, *packets: Packet) -> None:
        with contextlib.suppress(aiohttp.ClientError):
            await self.send(*packets)

    async def receive(self) -> Packet | None:
        while True:
            message = await self.socket.receive(TIMEOUT_S)
            if message.type not in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY} or message.data == "1":
                return None
            packet: Packet = message.data
            if packet != "6":
                return packet

    async def wait_closed(self) -> list[Packet]:
        return await _to_end(self)


async def _to_end(peer: Peer) -> list[Packet]:
    packets: list[Packet] = []
    async with asyncio.timeout(TIMEOUT_S):
        while (packet := await peer.receive()) is not None:
            packets.append(packet)
    return packets


def payload(packet: Packet | None, prefix: str) -> Any:
    """The JSON behind `prefix` in a packet that must begin so."""
    assert isinstance(packet, str), packet
    assert packet.startswith(prefix), packet
    return json.loads(packet.removeprefix(prefix))


@contextlib.asynccontextmanager
async def open_polling(url: str) -> AsyncIterator[PollingPeer]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        peer = PollingPeer(http, f"{url}/socket.io/?EIO=4&transport=polling")
        await peer.handshake()
        yield peer


@contextlib.asynccontextmanager
async def open_websocket(url: str, sid: str | None = None) -> AsyncIterator[WebSocketPeer]:
    """Without a `sid` a session of its own; with one a probe for that session, which no open packet greets."""
    query = "" if sid is None else f"&sid={sid}"
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(f"{url}/socket.io/?EIO=4&transport=websocket{query}", max_msg_size=0) as socket,
    ):
        peer = WebSocketPeer(socket)
        if sid is None:
            peer.opened = payload(await peer.receive(), "0")
        yield peer


@contextlib.asynccontextmanager
async def upgraded(url: str, polling: PollingPeer) -> AsyncIterator[WebSocketPeer]:
    """The session of `polling` on a WebSocket; nothing may be waiting for it."""
    async with open_websocket(url, polling.sid) as peer:
        peer.opened = polling.opened
        await peer.send("2probe")
        assert await peer.receive() == "3probe"
        await peer.send("5")
        yield peer


@contextlib.asynccontextmanager
async def open_peer(url: str, transport: str) -> AsyncIterator[Peer]:
    """A session that is on one of `TRANSPORTS`."""
    if transport == "websocket":
        async with open_websocket(url) as peer:
            yield peer
    else:
        async with open_polling(url) as polling:
            if transport == "polling":
                yield polling
            else:
                async with upgraded(url, polling) as peer:
                    yield peer
