"""One connection to Redis over which bytes go as they are: for publishing and listening, the hot ends of a cluster.

The driver opens it (TLS, passwords, a database's number), because it does that well; then its transport is
used without it, and what comes is taken apart in the loop's own call: to wake a task for each message would cost as
much again as the message does. `tests/cluster/test_redis_wire.py` fails loudly when a new version of the driver has
other streams.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, NoReturn

from redis.exceptions import RedisError as DriverError

from hubbub.cluster.redis_address import CONNECT_S, RedisAddress
from hubbub.cluster.redis_reasons import away
from hubbub.cluster.redis_sentinels import Sentinels
from hubbub.cluster.resp import ProtocolError, Reply, RespReader

__all__ = ["RedisWire"]

_Take = Callable[[list[Reply]], None]


class RedisWire:
    """Opened with `open`, and of no use after the first error: `HubbubError("unavailable")` in every method."""

    def __init__(self, address: RedisAddress) -> None:
        self._address = address
        self._connection: Any = None
        self._place: tuple[str, int] | None = None

    @property
    def place(self) -> tuple[str, int] | None:
        """The server that sentinels named as the master when it was opened; None without sentinels."""
        return self._place

    async def open(self) -> None:
        address = self._address
        if address.service is not None:
            sentinels = Sentinels(address)
            try:
                self._place = await sentinels.master()
            finally:
                await sentinels.close()
            address = address.at(*self._place)
        connection: Any = address.connection()
        try:
            async with asyncio.timeout(2 * CONNECT_S):
                await connection.connect()
        except (DriverError, OSError, TimeoutError) as error:
            with contextlib.suppress(Exception):
                await connection.disconnect(nowait=True)
            raise away(error) from error
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
            raise away(None)
        self._connection._writer.write(data)

    @property
    def unsent(self) -> int:
        """How many bytes the socket has not taken."""
        return 0 if self._connection is None else int(self._connection._writer.transport.get_write_buffer_size())

    async def each(self, take: _Take) -> NoReturn:
        """Have what comes taken, as it comes, on the event loop; called once. Returns never: the end of the connection
        is raised, and so is what `take` raises, which ends it.
        """
        if self._connection is None:
            raise away(None)
        reader, transport = self._connection._reader, self._connection._writer.transport
        if reader.at_eof() or reader.exception() is not None or transport.is_closing():
            raise away(ConnectionResetError())  # Nobody would tell a new protocol.
        pipe = _Pipe(take, transport)
        transport.set_protocol(pipe)
        if reader._buffer:
            pipe.data_received(bytes(reader._buffer))
        await pipe.ended.wait()
        if isinstance(pipe.error, OSError | ProtocolError):
            raise away(pipe.error) from pipe.error
        raise pipe.error


class _Pipe(asyncio.Protocol):
    """`error` is what ended the connection."""

    def __init__(self, take: _Take, transport: asyncio.Transport) -> None:
        self._take = take
        self._transport = transport
        self._reader = RespReader()
        self.ended = asyncio.Event()
        self.error: Exception = ConnectionResetError("Redis closed the connection.")

    def data_received(self, data: bytes) -> None:
        if self.ended.is_set():
            return
        try:
            replies = self._reader.feed(data)
            if replies:
                self._take(replies)
        except Exception as error:
            self.error = error
            self.ended.set()
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None and not self.ended.is_set():
            self.error = exc
        self.ended.set()
