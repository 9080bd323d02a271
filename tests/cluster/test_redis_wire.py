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
        while len(replies) < 3:
            replies += await wire.read()
        assert replies[:2] == [b"PONG", b"x" * 100_000]
        assert "unknown command" in str(replies[2])
        await wire.close()
        await wire.close()

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
        reading = asyncio.ensure_future(wire.read())
        await asyncio.sleep(0)
        wire.abort()
        with pytest.raises(HubbubError, match="unavailable"):
            await reading
        await wire.close()
        wire.abort()
        with pytest.raises(HubbubError, match="unavailable"):
            wire.write(b"")
        assert wire.unsent == 0
