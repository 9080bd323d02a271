"""The driver's connection, used without the driver: what is relied on is looked at here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import pytest

from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_wire import RedisWire
from hubbub.cluster.resp import Reply, command
from hubbub.errors import HubbubError
from tests.support.redisserver import RunningRedis, running_redis

SECRET = "s3cret"


@pytest.fixture(scope="module")
def redis() -> Iterator[RunningRedis]:
    with running_redis("--requirepass", SECRET, "--enable-debug-command", "yes") as running:
        yield running


def address(redis: RunningRedis, password: str = SECRET) -> RedisAddress:
    return RedisAddress.of(f"redis://:{password}@127.0.0.1:{redis.port}/0")


class TestTheDriver:
    async def test_its_connection_has_the_streams_that_are_used(self, redis: RunningRedis) -> None:
        connection: Any = address(redis).connection()
        assert (connection._reader, connection._writer) == (None, None)
        await connection.connect()
        assert isinstance(connection._reader, asyncio.StreamReader)
        assert isinstance(connection._writer, asyncio.StreamWriter)
        assert cast(Any, connection._reader)._buffer == b"", "the handshake has been read to its end"
        await connection.disconnect()


class TestTheWire:
    async def test_what_is_written_is_answered_in_order(self, redis: RunningRedis) -> None:
        wire = RedisWire(address(redis))
        await wire.open()
        wire.write(command(b"PING") + command(b"ECHO", b"x" * 100_000) + command(b"NONSENSE"))
        replies: list[Reply] = []
        come = asyncio.Event()

        def take(some: list[Reply]) -> None:
            replies.extend(some)
            if len(replies) == 3:
                come.set()

        taking = asyncio.ensure_future(wire.each(take))
        async with asyncio.timeout(10):
            await come.wait()
        assert replies[:2] == [b"PONG", b"x" * 100_000]
        assert "unknown command" in str(replies[2])
        await wire.close()
        await wire.close()
        with pytest.raises(HubbubError, match="unavailable"):
            await taking

    async def test_what_takes_may_raise_which_ends_the_connection(self, redis: RunningRedis) -> None:
        wire = RedisWire(address(redis))
        await wire.open()
        wire.write(command(b"PING"))

        def take(some: list[Reply]) -> None:
            raise LookupError("not that")

        with pytest.raises(LookupError, match="not that"):
            await wire.each(take)
        async with asyncio.timeout(10):
            while not wire._connection._writer.transport.is_closing():
                await asyncio.sleep(0.001)
        await wire.close()

    async def test_what_came_before_anybody_took_is_taken(self, redis: RunningRedis) -> None:
        wire = RedisWire(address(redis))
        await wire.open()
        wire.write(command(b"PING"))
        async with asyncio.timeout(10):
            while not wire._connection._reader._buffer:
                await asyncio.sleep(0.001)
        replies: list[Reply] = []
        taking = asyncio.ensure_future(wire.each(replies.extend))
        await asyncio.sleep(0)
        assert replies == [b"PONG"]
        wire.abort()
        with pytest.raises(HubbubError, match="unavailable"):
            await taking
        await wire.close()

    async def test_a_connection_that_ended_before_anybody_took_keeps_nobody_waiting(self, redis: RunningRedis) -> None:
        wire = RedisWire(address(redis))
        await wire.open()
        wire.write(command(b"QUIT"))
        async with asyncio.timeout(10):
            while not wire._connection._reader._eof:
                await asyncio.sleep(0.001)
            wire._connection._reader._buffer.clear()
            with pytest.raises(HubbubError, match="unavailable"):
                await wire.each(lambda replies: None)
        await wire.close()

    async def test_what_is_no_reply_is_unavailable(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(1000):
                writer.write(b"what?\r\n")

        async def greet(wire: RedisWire) -> None:
            await wire.open()
            wire.write(command(b"PING"))
            await wire.each(lambda replies: None)

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(HubbubError, match="unavailable"):
                await asyncio.wait_for(greet(RedisWire(RedisAddress.of(f"redis://127.0.0.1:{port}/0"))), 20)

    async def test_a_wrong_password_and_a_server_that_is_not_there_are_unavailable_and_tell_nothing(
        self, redis: RunningRedis
    ) -> None:
        for wrong in (address(redis, "wr0ng"), RedisAddress.of("redis://:wr0ng@127.0.0.1:1/0")):
            with pytest.raises(HubbubError, match="unavailable") as refused:
                await RedisWire(wrong).open()
            assert "wr0ng" not in str(refused.value)
            assert "127.0.0.1" not in str(refused.value)

    async def test_a_connection_that_ends_is_unavailable_for_ever(self, redis: RunningRedis) -> None:
        wire = RedisWire(address(redis))
        await wire.open()
        reading = asyncio.ensure_future(wire.each(lambda replies: None))
        await asyncio.sleep(0)
        wire.abort()
        with pytest.raises(HubbubError, match="unavailable"):
            await reading
        await wire.close()
        wire.abort()
        with pytest.raises(HubbubError, match="unavailable"):
            wire.write(b"")
        assert wire.unsent == 0
