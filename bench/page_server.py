"""The floor of handing out pages: a server that keeps nothing, checks nothing, and writes bytes that it has in memory.

It speaks what a client needs to come in, on the same loop and the same kind of transport as Hubbub. Whatever comes
then is answered by one WebSocket frame of as many bytes as the request names; frames are made once per size.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import struct
from functools import cache
from typing import Final, cast

import uvloop

__all__ = ["main"]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SIZE: Final = re.compile(rb'"size":([0-9]+)')
_KEY: Final = re.compile(rb"Sec-WebSocket-Key: *([^\r]+)\r\n", re.IGNORECASE)


def _frame(payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


@cache
def _page(size: int) -> bytes:
    """A frame of so many bytes, head and all."""
    head = 2 if size < 128 else 4 if size < 65540 else 10
    return _frame(b"43/chat,0[" + b"x" * (size - head - 11) + b"]")


class _Page(asyncio.Protocol):
    """One connection: the upgrade, a CONNECT, and then requests for pages, one at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._upgraded = self._connected = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if not self._upgraded:
            self._upgraded = True
            key = _KEY.search(data)
            accepted = base64.b64encode(hashlib.sha1((key[1] if key else b"") + _GUID).digest())
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: %b\r\n\r\n" % accepted
            )
            self._transport.write(_frame(b'0{"sid":"x","upgrades":[],"pingInterval":600000,"pingTimeout":600000}'))
        elif not self._connected:
            self._connected = True
            self._transport.write(_frame(b'40/chat,{"sid":"x"}'))
        else:
            self._transport.write(_page(int(_text(data))))


def _text(data: bytes) -> bytes:
    """The size that a masked frame asks for."""
    size = data[1] & 0x7F
    at = 4 if size == 126 else 2
    mask, body = data[at : at + 4], data[at + 4 :]
    key = int.from_bytes((mask * (len(body) // 4 + 1))[: len(body)], "little")
    text = (int.from_bytes(body, "little") ^ key).to_bytes(len(body), "little")
    found = _SIZE.search(text)
    return found[1] if found else b"100"


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Page, "127.0.0.1", 0, backlog=1024)
    print(f"the page server is open at http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed, after saying where."""
    uvloop.run(_serve())


if __name__ == "__main__":
    main()
