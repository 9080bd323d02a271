"""Word between nodes by way of Redis (F7, F8, F26 of the faults of stock)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.support.faults import Stack, seen_on_stock
from tests.support.faults_redis import Pair, pair
from tests.support.links import Link
from tests.support.redisserver import RunningRedis, running_redis


@pytest.fixture(scope="module")
def redis() -> Iterator[RunningRedis]:
    with running_redis() as running:
        yield running


def connections(redis: RunningRedis) -> int:
    """How many have been made to it so far, this one included."""
    with Redis(port=redis.port) as client:
        return int(client.info("stats")["total_connections_received"])


class TestRedisThatFails:
    @seen_on_stock("nobody knows that something is lost")
    async def test_f7_it_is_known_that_what_was_said_without_redis_is_lost(
        self, stack: Stack, redis: RunningRedis
    ) -> None:
        async with pair(stack, redis) as both:
            redis.kill()
            try:
                await both.nodes.say(1, 2, 3)
            finally:
                redis.start()
            await both.until(lambda: both.nodes.is_told, "nobody knows that something is lost")

    @seen_on_stock("whoever speaks is held up")
    async def test_f7_a_redis_that_hangs_holds_nobody_up(self, stack: Stack, redis: RunningRedis) -> None:
        async with pair(stack, redis) as both:
            redis.freeze()
            try:
                said = asyncio.ensure_future(both.nodes.say(1))
                await both.until(said.done, "whoever speaks is held up")
            finally:
                redis.thaw()
                await said

    @seen_on_stock("what is said is heard no more")
    async def test_f7_a_listener_that_is_cut_off_behind_a_living_connection_finds_out(
        self, stack: Stack, redis: RunningRedis
    ) -> None:
        link = Link(redis.port)
        await link.start()
        try:
            # Stock has as long as ours needs to notice it, and longer.
            second = f"redis://127.0.0.1:{link.port}/0"
            async with pair(stack, redis, second=second, stock_patience_s=6.0) as both:
                link.delay(3600)
                for number in range(20):
                    await both.nodes.say(number)
                    await asyncio.sleep(0.1)  # Both directions have something that will not arrive.
                link.delay(0)  # For connections that are made from now on.
                assert both.nodes.heard == []
                speak = asyncio.ensure_future(keep_speaking(both.nodes))
                try:
                    await both.until(lambda: both.nodes.heard != [], "what is said is heard no more")
                finally:
                    speak.cancel()
                    await asyncio.wait({speak})
        finally:
            await link.stop()

    @seen_on_stock("what came behind it is lost")
    async def test_f7_much_at_once_makes_redis_drop_nobody(self, stack: Stack, redis: RunningRedis) -> None:
        async with pair(stack, redis, stock_patience_s=3.0) as both:
            # What goes out together: here it is cut into parcels, there it is one event.
            if stack.is_stock:
                await both.nodes.say(1, size=34_000_000)
            else:
                for said in range(0, 340, 10):
                    await both.nodes.say(*range(said, said + 10), size=100_000)
                    await both.until(lambda last=said + 9: last in both.nodes.heard, "what was said is lost")  # type: ignore[misc]
            await both.nodes.say(1000)
            await both.until(lambda: 1000 in both.nodes.heard, "what came behind it is lost")


class TestManyAtOnce:
    @seen_on_stock("connections were made")
    async def test_f8_what_is_said_at_once_needs_no_connections(self, stack: Stack, redis: RunningRedis) -> None:
        async with pair(stack, redis, stock_patience_s=10.0) as both:
            before = connections(redis)
            await both.nodes.say(*range(1, 1001))
            await both.until(lambda: len(both.nodes.heard) >= 1000, "words are missing")
            made = connections(redis) - before - 1
            assert made == 0, f"{made} connections were made"

    @seen_on_stock("words were swapped")
    async def test_f8_what_is_said_at_once_is_heard_in_order(self, stack: Stack, redis: RunningRedis) -> None:
        async with pair(stack, redis, stock_patience_s=10.0) as both:
            await both.nodes.say(*range(1, 1001))
            await both.until(lambda: len(both.nodes.heard) >= 1000, "words are missing")
            assert both.nodes.heard == sorted(both.nodes.heard), "words were swapped"


class TestRoomsThatNobodyIsIn:
    @seen_on_stock("it was handled where nobody is")
    async def test_f26_a_node_has_nothing_to_do_with_rooms_that_nobody_there_is_in(
        self, stack: Stack, redis: RunningRedis
    ) -> None:
        async with pair(stack, redis) as both:
            await both.nodes.say(*range(50), room="elsewhere")
            await both.nodes.say(99)
            await both.until(lambda: both.nodes.heard == [99], "word is missing")
            assert both.nodes.handled == 1, "it was handled where nobody is"


async def keep_speaking(nodes: Pair) -> None:
    for number in itertools.count(100):
        await nodes.say(number)
        await asyncio.sleep(0.02)
