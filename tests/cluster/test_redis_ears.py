"""Ears hear what is said on their channels, notice when they cannot, and say so when they can again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from hubbub.cluster import redis_ears
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_ears import Ears
from hubbub.errors import HubbubError
from tests.support.redisserver import RunningRedis, running_redis
from tests.support.waiting import until


@pytest.fixture(scope="module")
def server() -> Iterator[RunningRedis]:
    with running_redis() as running:
        yield running


class Listener:
    """Ears with a notebook."""

    def __init__(self, url: str) -> None:
        self.heard: list[bytes] = []
        self.again = 0
        self.ears = Ears(RedisAddress.of(url), on_again=self._on_again)

    def _on_again(self) -> None:
        self.again += 1


@pytest.fixture
async def listener(server: RunningRedis) -> AsyncIterator[Listener]:
    listener = Listener(server.url)
    yield listener
    await listener.ears.close()


async def say(server: RunningRedis, channel: str, *words: str) -> None:
    client = Redis.from_url(server.url)
    for word in words:
        await client.publish(channel, word)
    await client.aclose()


class TestHearing:
    async def test_what_is_said_on_a_channel_comes_in_order(self, server: RunningRedis, listener: Listener) -> None:
        listener.ears.listen("tea", listener.heard.append)
        listener.ears.start()
        await listener.ears.hears("tea")
        await say(server, "tea", *map(str, range(100)))
        await say(server, "plans", "nothing")
        await until(lambda: len(listener.heard) >= 100)
        assert listener.heard == [str(number).encode() for number in range(100)]
        assert listener.again == 1
        assert listener.ears.can_hear

    async def test_channels_come_and_go(self, server: RunningRedis, listener: Listener) -> None:
        listener.ears.start()
        for name in ("tea", "plans"):
            listener.ears.listen(name, listener.heard.append)
            await listener.ears.hears(name)
        listener.ears.leave("tea")
        listener.ears.leave("never")
        await say(server, "tea", "lost")
        await say(server, "plans", "found")
        await until(lambda: listener.heard)
        assert listener.heard == [b"found"]

    async def test_whoever_waits_for_a_channel_that_is_left_waits_no_more(self, listener: Listener) -> None:
        listener.ears.listen("tea", listener.heard.append)
        waiting = asyncio.ensure_future(listener.ears.hears("tea"))
        await asyncio.sleep(0)
        listener.ears.leave("tea")
        await asyncio.wait_for(waiting, 20)

    async def test_thousands_of_channels_are_heard_again_after_a_restart(
        self, server: RunningRedis, listener: Listener
    ) -> None:
        for number in range(3000):
            listener.ears.listen(f"room:{number}", listener.heard.append)
        listener.ears.start()
        await until(lambda: listener.again == 1)
        server.kill()
        await until(lambda: not listener.ears.can_hear)
        server.start()
        await until(lambda: listener.again == 2)
        await say(server, "room:2999", "back")
        await say(server, "room:0", "too")
        await until(lambda: len(listener.heard) >= 2)
        assert listener.heard == [b"back", b"too"]


class TestDeafness:
    async def test_a_server_that_says_nothing_is_given_up_and_tried_again(
        self, server: RunningRedis, listener: Listener, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_ears, "PING_S", 0.05)
        monkeypatch.setattr(redis_ears, "SILENT_S", 0.2)
        listener.ears.listen("tea", listener.heard.append)
        listener.ears.start()
        await until(lambda: listener.again == 1)
        server.freeze()
        try:
            await until(lambda: not listener.ears.can_hear)
        finally:
            server.thaw()
        await until(lambda: listener.ears.can_hear and listener.again >= 2)
        await say(server, "tea", "back")
        await until(lambda: listener.heard)

    async def test_whoever_waits_is_told_when_the_connection_is_lost(
        self, server: RunningRedis, listener: Listener
    ) -> None:
        listener.ears.start()
        await until(lambda: listener.again == 1)
        server.freeze()
        try:
            listener.ears.listen("tea", listener.heard.append)
            waiting = asyncio.ensure_future(listener.ears.hears("tea"))
            await asyncio.sleep(0)
            listener.ears.start_over()
            with pytest.raises(HubbubError, match="unavailable"):
                await waiting
        finally:
            server.thaw()
        await until(lambda: listener.again == 2)
        await listener.ears.hears("tea")

    async def test_closing_leaves_nothing_behind(self, server: RunningRedis, listener: Listener) -> None:
        before = len(asyncio.all_tasks())
        listener.ears.start()
        listener.ears.start()
        await until(lambda: listener.again == 1)
        listener.ears.listen("tea", listener.heard.append)
        waiting = asyncio.ensure_future(listener.ears.hears("never"))
        await asyncio.sleep(0)
        await listener.ears.close()
        await listener.ears.close()
        with pytest.raises(HubbubError, match="unavailable"):
            await waiting
        assert len(asyncio.all_tasks()) == before
