"""One connection to Redis over which bytes go as they are: for publishing and listening, the hot ends of a cluster.

The driver opens it (TLS, passwords, sentinels, a database's number), because it does that well; then its streams are
used without it. `tests/cluster/test_redis_wire.py` fails loudly when a new version of the driver has other ones.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from redis.exceptions import RedisError as DriverError

from hubbub.cluster.redis_address import CONNECT_S, RedisAddress
from hubbub.cluster.resp import ProtocolError, Reply, RespReader
from hubbub.errors import HubbubError

__all__ = ["RedisWire"]

_READ_BYTES: Final = 256 * 1024
_NOT_READ_MOST: Final = 1024 * 1024


class RedisWire:
    """Opened with `open`, and of no use after the first error: `HubbubError("unavailable")` in every method."""

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self._connection: Any = None
        self._reader = RespReader()
        self._replies: list[Reply] = []

    async def open(self) -> None:
        connection: Any = self._address.connection()
        try:
            async with asyncio.timeout(2 * CONNECT_S):  # A sentinel may have to be asked first.
                await connection.connect()
        except (DriverError, OSError, TimeoutError) as error:
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)
            raise _away(error) from error
        self._connection = connection

    async def close(self) -> None:
        """Safe to call twice, and before `open`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)

    def abort(self) -> None:
        """End the connection at once: whoever reads gets the error."""
        if self._connection is not None:
            self._connection._writer.transport.abort()

    def write(self, data: bytes) -> None:
        """Send this when the socket takes it. A peer that reads nothing is found by whoever waits for its replies."""
        if self._connection is None:
            raise _away(None)
        self._connection._writer.write(data)

    @property
    def unsent(self) -> int:
        """How many bytes the socket has not taken."""
        return 0 if self._connection is None else int(self._connection._writer.transport.get_write_buffer_size())

    async def read(self) -> list[Reply]:
        """The next replies, at least one."""
        while True:
            if self._connection is None:
                raise _away(None)
            try:
                data = await self._connection._reader.read(_READ_BYTES)
                if not data:
                    raise ConnectionResetError("Redis closed the connection.")
                replies = self._reader.feed(data)
            except (OSError, ProtocolError) as error:
                raise _away(error) from error
            if replies:
                return replies


def _away(error: Exception | None) -> HubbubError:
    """Its text names what failed and never where, since an address may hold a password."""
    kind = "closed" if error is None else type(error).__name__
    return HubbubError("unavailable", f"Redis is out of reach ({kind}).", retry_after=1)
