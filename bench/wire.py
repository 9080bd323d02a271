"""A WebSocket client that costs next to nothing, so that the load generator is not what is measured.

It speaks just enough: the upgrade, masked text frames out, unfragmented text frames in, compressed ones included, and
Engine.IO's ping.
"""

from __future__ import annotations

import asyncio
import os
import socket
import zlib
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast
from urllib.parse import urlsplit

import orjson

__all__ = ["Wire", "connect", "frame"]

TIMEOUT_S: Final = 30.0
_MASK: Final = b"\x5a\xc3\x96\x0f"  # Not zero: some servers skip the work for a mask of zeros, which no browser sends.
_W = TypeVar("_W", bound="Wire")
_masks: dict[int, int] = {}


def frame(payload: bytes) -> bytes:
    """A masked text frame, as a client must send it."""
    size = len(payload)
    mask = _masks.get(size)
    if mask is None:
        mask = _masks[size] = int.from_bytes((_MASK * (size // 4 + 1))[:size], "little")
    body = (int.from_bytes(payload, "little") ^ mask).to_bytes(size, "little")
    if size < 126:
        return bytes((0x81, 0x80 | size)) + _MASK + body
    if size < 65536:
        return b"\x81\xfe" + size.to_bytes(2, "big") + _MASK + body
    return b"\x81\xff" + size.to_bytes(8, "big") + _MASK + body


_PONG: Final = frame(b"3")


class Wire(asyncio.Protocol):
    """One connection to `/chat`. `on_packet` is given each Engine.IO packet but pings, which are answered here."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.on_packet: Callable[[bytes], None] = self._on_setup_packet
        self._expected: tuple[bytes, asyncio.Future[bytes]] | None = None
        self._transport: asyncio.Transport | None = None
        self._upgraded = False
        self._rest = b""
        self._inflate: zlib._Decompress | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is none of asyncio's.

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        error = ConnectionError("the server closed the connection")
        if not self.opened.done():
            self.opened.set_exception(error)
        if self._expected is not None and not self._expected[1].done():
            self._expected[1].set_exception(error)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        if not self._upgraded:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.opened.set_exception(ConnectionError(head.decode()))
                return
            self._upgraded = True
            if b"permessage-deflate" in head:
                self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            self.opened.set_result(None)
        self._rest = self._frames(data)

    def _frames(self, data: bytes) -> bytes:
        """Handle the whole frames, return what is left over."""
        at, end = 0, len(data)
        while end - at >= 2:
            start = at + 2
            size = data[at + 1]
            if size == 126:
                size, start = int.from_bytes(data[at + 2 : at + 4], "big"), at + 4
            elif size == 127:
                size, start = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if end < start + size:
                break
            packet = data[start : start + size]
            if data[at] == 0xC1 and self._inflate is not None:  # RFC 7692, section 7.2.2.
                packet = self._inflate.decompress(packet + b"\x00\x00\xff\xff")
            if data[at] in (0x81, 0xC1):
                if packet == b"2":
                    self.send_raw(_PONG)
                else:
                    self.on_packet(packet)
            at = start + size
        return data[at:]

    def send_raw(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    # -- before the measurement --------------------------------------------------------------------------------------

    async def request(self, payload: bytes, *, answer: bytes) -> bytes:
        """Send a packet and return the first that begins with `answer`."""
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._expected = (answer, future)
        self.on_packet = self._on_setup_packet
        self.send_raw(frame(payload))
        return await asyncio.wait_for(future, TIMEOUT_S)

    async def call(self, event: str, request: dict[str, Any]) -> Any:
        """Send an event, return `data` of its ack; raises `RuntimeError` if it was refused."""
        ack = await self.request(b"42/chat,0" + orjson.dumps([event, request]), answer=b"43/chat,0[")
        answer = orjson.loads(ack[9:])[0]
        if not answer["ok"]:
            raise RuntimeError(f"{event} was refused: {answer}")
        return answer.get("data")

    def _on_setup_packet(self, packet: bytes) -> None:
        if self._expected is None:
            return
        answer, future = self._expected
        if future.done():
            return
        if packet.startswith(answer):
            future.set_result(packet)
        elif packet.startswith(b"44"):
            future.set_exception(ConnectionError(packet.decode()))

    def detach(self) -> int:
        """A descriptor of the connection, which goes on without us. For an idle one: what was read of it is gone."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError("the server closed the connection")
        descriptor = os.dup(self._transport.get_extra_info("socket").fileno())
        self._transport.abort()
        return descriptor

    async def close(self) -> None:
        """Close without the closing handshake, and wait until that is done."""
        if self._transport is not None:
            self._transport.close()
        await self.lost


async def connect(
    url: str,
    token: str | None,
    make: Callable[[], _W],
    *,
    deflate: bool = False,
    prepare: Callable[[socket.socket], None] | None = None,
) -> _W:
    """Open a connection and its `/chat` namespace, with `deflate` offering compression as browsers do.

    `prepare` is given the socket before it connects.

    Raises `ConnectionError` if either is refused.
    """
    address = urlsplit(url)
    if address.hostname is None or address.port is None:
        raise ValueError(f"an address with a port is needed, not {url}")
    loop = asyncio.get_running_loop()
    if prepare is None:
        _, wire = await loop.create_connection(make, address.hostname, address.port)
    else:
        connection = socket.socket()
        prepare(connection)
        connection.setblocking(False)
        await loop.sock_connect(connection, (address.hostname, address.port))
        _, wire = await loop.create_connection(make, sock=connection)
    wire.send_raw(
        b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %b\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: aHViYnViLWJlbmNoLTAwMA==\r\n%b\r\n"
        % (address.netloc.encode(), b"Sec-WebSocket-Extensions: permessage-deflate\r\n" if deflate else b"")
    )
    await asyncio.wait_for(wire.opened, TIMEOUT_S)
    auth = orjson.dumps({"token": token}) if token is not None else b""
    await wire.request(b"40/chat," + auth, answer=b"40/chat,")
    return wire
