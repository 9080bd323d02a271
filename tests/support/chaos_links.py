"""The two kinds of connections that clients of chaos have: a lean one of our own, and the stock client's.

Both call `on_event(name, document)` and the `then` of a call in the order in which packets came, in the turn of the
loop in which they came: what is to be shown is the order on the connection, so nothing may change it on its way.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol, cast
from urllib.parse import urlsplit

import aiohttp
import orjson
import socketio

from tests.support.faults_peer import CLOSE, TEXT, frame

__all__ = ["LeanLink", "Link", "LostError", "StockLink"]

OPEN_TIMEOUT_S: Final = 20.0
READING_BYTES: Final = 262_144
STALLED_BYTES: Final = 4096
"""The buffer in the kernel of a client that does not read, so that the service notices after few events."""

OnEvent = Callable[[str, Any], None]
Then = Callable[[Any], None]


class LostError(Exception):
    """The connection is gone, or could not be made. What was sent on it has an unknown outcome."""


class Link(Protocol):
    """One connection to `/chat`. `lost` is done when it is gone."""

    lost: asyncio.Future[None]

    async def open(self, url: str, token: str) -> None:
        """Raises `LostError`."""

    def send(self, event: str, request: dict[str, Any], then: Then) -> None:
        """Send an event; `then` is called with its ack, never if the connection is lost before."""

    def cut(self) -> None:
        """End the connection without a word."""

    async def close(self) -> None:
        """Release everything."""


class LeanLink(asyncio.Protocol):
    """Speaks just enough of WebSocket, Engine.IO and Socket.IO: sixty of them must leave the processor to the service.

    `pause` and `resume` stop and go on reading. As every client of Engine.IO it ends a connection on which no PING has
    come in its time: when a process is killed whose peer reads nothing, the peer may never be told.
    """

    def __init__(self, on_event: OnEvent) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        self.is_paused = False
        self._on_event = on_event
        self._opened: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._upgraded = False
        self._rest = b""
        self._heard_at = loop.time()
        self._silence_s = OPEN_TIMEOUT_S
        self._timer: asyncio.TimerHandle | None = None
        self._ids = itertools.count()
        self._thens: dict[int, Then] = {}

    async def open(self, url: str, token: str) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        assert address.port is not None
        loop = asyncio.get_running_loop()
        connection = socket.socket()
        connection.setblocking(False)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await loop.sock_connect(connection, (address.hostname, address.port))
                await loop.create_connection(lambda: self, sock=connection)
                self._write(
                    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: %b\r\n"
                    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
                    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n"
                    % (address.netloc.encode(), base64.b64encode(bytes(16)))
                )
                self._text(b"40/chat," + orjson.dumps({"token": token}))
                await self._opened
        except (OSError, TimeoutError) as error:
            connection.close()
            self.cut()
            raise LostError(str(error) or "it took too long") from None

    def send(self, event: str, request: dict[str, Any], then: Then) -> None:
        number = next(self._ids)
        self._thens[number] = then
        self._text(b"42/chat,%d%b" % (number, orjson.dumps([event, request])))

    def cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        self.cut()
        if self._transport is not None:
            await self.lost

    def pause(self) -> None:
        self.is_paused = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BYTES)
            self._transport.pause_reading()

    def resume(self) -> None:
        self.is_paused = False
        self._heard_at = asyncio.get_running_loop().time()
        if self._transport is not None and not self._transport.is_closing():
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READING_BYTES)
            self._transport.resume_reading()

    # -- asyncio's side ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._listen()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._thens.clear()
        if not self._opened.done():
            self._opened.set_exception(ConnectionError("the connection ended before it was made"))
            self._opened.exception()
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        self._rest += data
        if not self._upgraded:
            head, found, rest = self._rest.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.cut()  # 503 from one that is draining.
                return
            self._upgraded, self._rest = True, rest
        data, at = self._rest, 0
        while (end := _frame_end(data, at)) is not None:
            start, stop = end
            if data[at] == 0x80 | TEXT:
                self._packet(data[start:stop])
            elif data[at] == 0x80 | CLOSE:
                self._write(frame(CLOSE, data[start:stop]))
                self._transport_close()
            at = stop
        self._rest = data[at:]

    def _packet(self, packet: bytes) -> None:
        if packet.startswith(b"42/chat,"):
            name, *arguments = orjson.loads(packet[8:])
            self._on_event(name, arguments[0] if arguments else None)
        elif packet.startswith(b"43/chat,"):
            number, _, answer = packet[8:].partition(b"[")
            then = self._thens.pop(int(number), None)
            if then is not None:
                then(orjson.loads(b"[" + answer)[0])
        elif packet == b"2":
            self._text(b"3")
        elif packet.startswith(b"0"):
            opened = orjson.loads(packet[1:])
            self._silence_s = (opened["pingInterval"] + opened["pingTimeout"]) / 1000
        elif packet.startswith(b"40/chat,") and not self._opened.done():
            self._opened.set_result(None)
        elif packet.startswith((b"44", b"41", b"1")):
            self.cut()

    def _listen(self) -> None:
        """End the connection if nothing has come for too long; look again when that could be."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._heard_at + self._silence_s and not self.is_paused:
            self.cut()
        else:
            due = loop.time() if self.is_paused else self._heard_at
            self._timer = loop.call_at(due + self._silence_s, self._listen)

    def _text(self, payload: bytes) -> None:
        self._write(frame(TEXT, payload))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _transport_close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _frame_end(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at `at` begins and ends; None if it is not whole. Servers do not mask."""
    if len(data) - at < 2:
        return None
    size, start = data[at + 1], at + 2
    if size == 126:
        size, start = int.from_bytes(data[start : start + 2], "big"), start + 2
    elif size == 127:
        size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
    return (start, start + size) if len(data) >= start + size else None


class StockLink:
    """python-socketio's own client, by polling first and then WebSocket, as it comes; only its reconnecting is off,
    since the run must know when each connection begins.
    """

    def __init__(self, on_event: OnEvent) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_event = on_event
        self._sio = socketio.AsyncClient(reconnection=False, handle_sigint=False)
        self._sio.on("*", self._event, namespace="/chat")
        self._sio.on("disconnect", self._disconnected, namespace="/chat")

    async def open(self, url: str, token: str) -> None:
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._sio.connect(url, auth={"token": token}, namespaces=["/chat"], wait_timeout=OPEN_TIMEOUT_S)
        except (socketio.exceptions.SocketIOError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise LostError(str(error)) from None
        except TypeError as error:
            # The library takes the code of a close frame for a packet when it comes in the middle of an upgrade.
            raise LostError(f"the library met the end of an upgrade: {error}") from None
        if self.lost.done():
            raise LostError("the connection ended at once")

    def send(self, event: str, request: dict[str, Any], then: Then) -> None:
        # `emit` waits for nothing before it has queued the packet, so sends leave in the order of the calls.
        task = asyncio.ensure_future(self._emit(event, request, then))
        _running.add(task)
        task.add_done_callback(_running.discard)

    async def _emit(self, event: str, request: dict[str, Any], then: Then) -> None:
        with contextlib.suppress(socketio.exceptions.SocketIOError):
            await self._sio.emit(event, request, namespace="/chat", callback=then)

    def cut(self) -> None:
        """Its transport is closed beneath it, whichever it is."""
        socket = self._sio.eio.ws
        response = getattr(socket, "_response", None)
        if response is not None and response.connection is not None and response.connection.transport is not None:
            response.connection.transport.abort()

    async def close(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._sio.disconnect()
                await self._sio.shutdown()
        http = self._sio.eio.http
        if http is not None and not http.closed:
            await http.close()
        self._disconnected()

    def _event(self, name: str, document: Any = None) -> None:
        self._on_event(name, document)

    def _disconnected(self, reason: str = "") -> None:
        if not self.lost.done():
            self.lost.set_result(None)


_running: Final[set[asyncio.Future[None]]] = set()
