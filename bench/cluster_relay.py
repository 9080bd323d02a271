"""A node that does nothing but pass on: what Redis says on some channels goes, as it is, to whoever connects.

It is the floor of hearing: to be woken, to read a socket, and to write to another.

    python -m bench.cluster_relay PORT_OF_REDIS CHANNEL…
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import cast

import uvloop

from hubbub.cluster.resp import command

__all__ = ["main"]


class _Ears(asyncio.Protocol):
    def __init__(self) -> None:
        self.client: asyncio.WriteTransport | None = None

    def data_received(self, data: bytes) -> None:
        if self.client is not None:
            self.client.write(data)


class _Client(asyncio.Protocol):
    def __init__(self, ears: _Ears) -> None:
        self._ears = ears

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._ears.client = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._ears.client = None


async def _relay(port: int, channels: Sequence[str]) -> None:
    loop = asyncio.get_running_loop()
    transport, ears = await loop.create_connection(_Ears, "127.0.0.1", port)
    transport.write(command(b"SUBSCRIBE", *(channel.encode() for channel in channels)))
    server = await loop.create_server(lambda: _Client(ears), "127.0.0.1", 0)
    print(f"the relay is open at http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Pass on until killed, after saying where."""
    uvloop.run(_relay(int(sys.argv[1]), sys.argv[2:]))


if __name__ == "__main__":
    main()
