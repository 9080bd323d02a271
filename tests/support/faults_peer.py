"""Peers that write every byte themselves, over asyncio's streams: nothing beneath them is kind."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["CLOSE", "PONG", "Answer", "PollingPeer", "WebSocketPeer", "frame", "http", "opened", "read_answer"]

TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
_SEPARATOR: Final = "\x1e"

Packet = str | bytes


def frame(
    opcode: int, payload: bytes, *, first: int | None = None, mask: bytes | None = b"\x01\x02\x03\x04", length: int = 0
) -> bytes:
    """A client's frame; `first` in the place of its first byte, `length` in that of the true length."""
    size = length or len(payload)
    flag = 0x80 if mask is not None else 0
    head = bytes((0x80 | opcode if first is None else first,))
    if size < 126:
        head += bytes((flag | size,))
    elif size < 65536:
        head += struct.pack("!BH", flag | 126, size)
    else:
        head += struct.pack("!BQ", flag | 127, size)
    if mask is None:
        return head + payload
    if mask == b"\0\0\0\0":
        return head + mask + payload
    long = (mask * (len(payload) // 4 + 1))[: len(payload)]
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(long, "big")).to_bytes(len(payload), "big")
    return head + mask + masked


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read whole. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def packets(self) -> list[str]:
        return self.body.decode().split(_SEPARATOR)


async def _open(
    port: int, *, address: str | None = None, receive_bytes: int = 0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A TCP connection, from an address of this machine and with a small receive buffer if that is asked for."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        if address is not None:
            sock.bind((address, 0))
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=sock, limit=receive_bytes or 65_536)
    except BaseException:
        sock.close()
        raise


@contextlib.asynccontextmanager
async def opened(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A TCP connection, for bytes of any kind."""
    reader, writer = await _open(port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """The next answer of a connection. Raises `EOFError` (`IncompleteReadError`) if there is none."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head[:-4].split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = b"" if start.split()[1] in ("101", "204") else await reader.readexactly(int(headers["content-length"]))
    return Answer(int(start.split()[1]), headers, body)


async def http(
    port: int,
    method: str,
    query: str,
    body: bytes | list[bytes] = b"",
    *,
    headers: Mapping[str, str] | None = None,
    address: str | None = None,
    chunked: bool = False,
) -> Answer:
    """One request to `/socket.io/` on a connection of its own. The pieces of a body arrive one by one."""
    reader, writer = await _open(port, address=address)
    try:
        pieces = body if isinstance(body, list) else [body]
        lines = {"Host": f"127.0.0.1:{port}", "Connection": "close"} | dict(headers or {})
        if chunked:
            lines["Transfer-Encoding"] = "chunked"
            pieces = [f"{len(each):x}\r\n".encode() + each + b"\r\n" for each in pieces] + [b"0\r\n\r\n"]
        elif method != "GET":
            lines["Content-Length"] = str(sum(map(len, pieces)))
        head = f"{method} /socket.io/?{query} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
        writer.write(head.encode() + b"\r\n")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            for _ in range(20):  # The server is in this loop: in so many turns it has read what was written.
                await asyncio.sleep(0)
        return await read_answer(reader)
    finally:
        writer.transport.abort()


class PollingPeer:
    """A client by HTTP long-polling. Each request has a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sid = ""

    @classmethod
    async def opened(cls, port: int, *, connect: bool = True) -> PollingPeer:
        peer = cls(port)
        answer = await http(port, "GET", "EIO=4&transport=polling")
        assert answer.status == 200, answer
        peer.sid = json.loads(answer.body[1:])["sid"]
        if connect:
            await peer.post("40")
            assert (await peer.poll()).body.startswith(b"40")
        return peer

    @property
    def query(self) -> str:
        return f"EIO=4&transport=polling&sid={self.sid}"

    async def poll(self) -> Answer:
        return await http(self.port, "GET", self.query)

    async def post(self, *packets: str) -> Answer:
        return await http(self.port, "POST", self.query, _SEPARATOR.join(packets).encode())


class WebSocketPeer:
    """A client by WebSocket. It answers pings and closes as long as `answers` is set, when it reads."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer) -> None:
        self.reader = reader
        self.writer = writer
        self.headers = answer.headers
        self.answers = True
        self.close_code: int | None = None
        """What the server's close frame said; None as long as there was none."""
        self.sid = ""
        """The id of the Engine.IO session."""
        self.id = ""
        """The id in the main namespace."""

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls,
        port: int,
        *,
        sid: str = "",
        headers: Mapping[str, str] | None = None,
        address: str | None = None,
        receive_bytes: int = 0,
    ) -> AsyncIterator[WebSocketPeer]:
        """Through the handshake; with a `sid` it is a probe for that session."""
        reader, writer = await _open(port, address=address, receive_bytes=receive_bytes)
        try:
            lines = {
                "Host": f"127.0.0.1:{port}",
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
            } | dict(headers or {})
            query = "EIO=4&transport=websocket" + (f"&sid={sid}" if sid else "")
            head = f"GET /socket.io/?{query} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items())
            writer.write(head.encode() + b"\r\n")
            answer = await read_answer(reader)
            assert answer.status == 101, answer
            peer = cls(reader, writer, answer)
            if not sid:
                first = await peer.receive()
                assert isinstance(first, str), first
                peer.sid = json.loads(first[1:])["sid"]
            yield peer
        finally:
            writer.transport.abort()

    async def connect(self, namespace: str = "") -> None:
        """Connect to a namespace."""
        place = f"{namespace}," if namespace else ""
        await self.send(f"40{place}")
        answer = await self.receive_until(lambda packet: str(packet).startswith(f"40{place}"))
        assert isinstance(answer, str), answer
        self.id = json.loads(answer.removeprefix(f"40{place}"))["sid"]

    async def send(self, *packets: Packet) -> None:
        for packet in packets:
            data = packet.encode() if isinstance(packet, str) else packet
            self.write(frame(TEXT if isinstance(packet, str) else BINARY, data))
        with contextlib.suppress(ConnectionError):
            await self.writer.drain()

    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self.writer.write(data)

    def vanish(self) -> None:
        """Without a word, as when a cable is pulled."""
        self.writer.transport.abort()

    async def read_frame(self) -> tuple[int, bytes] | None:
        """The next frame; None at the end."""
        try:
            first, size = await self.reader.readexactly(2)
            if size == 126:
                size = int.from_bytes(await self.reader.readexactly(2), "big")
            elif size == 127:
                size = int.from_bytes(await self.reader.readexactly(8), "big")
            return first & 0x0F, await self.reader.readexactly(size)
        except (EOFError, ConnectionError):
            return None

    async def receive(self) -> Packet | None:
        """The next packet that is no ping; None at the end, which a close frame is."""
        while (read := await self.read_frame()) is not None:
            opcode, payload = read
            if opcode == CLOSE:
                self.close_code = int.from_bytes(payload[:2], "big")
                if self.answers:
                    self.write(frame(CLOSE, payload))
                return None
            if opcode == BINARY:
                return payload
            if opcode == TEXT and payload != b"2":
                return payload.decode()
            if opcode == TEXT and self.answers:
                await self.send("3")
        return None

    async def receive_until(self, wanted: Callable[[Any], bool]) -> Packet | None:
        """The first packet that is wanted; None if the end comes before."""
        while (packet := await self.receive()) is not None and not wanted(packet):
            pass
        return packet

    async def wait_end(self) -> None:
        while await self.receive() is not None:
            pass
