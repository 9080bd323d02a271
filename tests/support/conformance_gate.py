"""A way to the server on which WebSockets can be held up, so that an upgrade comes when a test wants it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final
from urllib.parse import urlsplit

__all__ = ["Gate", "open_gate"]

CHUNK_BYTES: Final = 65_536


class Gate:
    """Forwards connections byte by byte; those that ask for a WebSocket wait while `opened` is not set."""

    def __init__(self, host: str, port: int) -> None:
        self.opened = asyncio.Event()
        self.opened.set()
        self._upstream = host, port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        with contextlib.suppress(ConnectionError), contextlib.closing(writer):
            request_line = await reader.readline()
            if b"transport=websocket" in request_line:
                await self.opened.wait()
            far_reader, far_writer = await asyncio.open_connection(*self._upstream)
            with contextlib.closing(far_writer):
                far_writer.write(request_line)
                ways = [
                    asyncio.create_task(_forward(reader, far_writer)),
                    asyncio.create_task(_forward(far_reader, writer)),
                ]
                # Whoever ends first ends both: no client of ours closes one direction alone.
                _, pending = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in pending:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


@contextlib.asynccontextmanager
async def open_gate(url: str) -> AsyncIterator[tuple[Gate, str]]:
    """A gate in front of the server at `url`, and where it is."""
    upstream = urlsplit(url)
    assert upstream.hostname is not None
    assert upstream.port is not None
    gate = Gate(upstream.hostname, upstream.port)
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(gate.serve(reader, writer))
        connections.add(connection)
        connection.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        yield gate, f"http://{host}:{port}"
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
