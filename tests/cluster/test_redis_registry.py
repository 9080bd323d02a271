"""What the registry in Redis does beside what every registry promises (`tests/contract/test_registry.py`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from hubbub.cluster.base import HANDOVER_MS, PARTING_MS, Announcement, News, Node, Registry, Share
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_ears import Ears
from hubbub.cluster.redis_registry import NODES, PART_S, RedisRegistry
from hubbub.errors import HubbubError
from tests.support.redisserver import RunningRedis, running_redis
from tests.support.waiting import until

Open = Callable[[str, str], Coroutine[None, None, tuple[RedisRegistry, list[News]]]]


@pytest.fixture(scope="module")
def server() -> Iterator[RunningRedis]:
    with running_redis() as running:
        yield running


@pytest.fixture
async def nodes(server: RunningRedis) -> AsyncIterator[Open]:
    server.empty()
    async with AsyncExitStack() as stack:

        async def node(name: str, boot: str = "1") -> tuple[RedisRegistry, list[News]]:
            address = RedisAddress.of(server.url)
            ears = Ears(address)
            ears.start()
            stack.push_async_callback(ears.close)
            registry = RedisRegistry(address, ears, Node(name, boot))
            stack.push_async_callback(registry.close)
            news: list[News] = []
            await registry.open(news.append)
            return registry, news

        yield node


def here(number: int, user: str, *rooms: str) -> Announcement:
    return Announcement(number, user, Share(user, user.title(), False, "online", rooms=frozenset(rooms)))


async def keys(server: RunningRedis) -> set[str]:
    client = Redis.from_url(server.url)
    found = {key.decode() async for key in client.scan_iter("*")}
    await client.aclose()
    return found


async def end_lease(server: RunningRedis, name: str) -> None:
    client = Redis.from_url(server.url)
    await client.delete(f"hubbub:{{{name}}}:lease")
    await client.aclose()


class TestGhosts:
    async def test_what_a_dead_node_left_is_swept_away_by_another(self, server: RunningRedis, nodes: Open) -> None:
        dead, _ = await nodes("dead", "1")
        other, _ = await nodes("other", "1")
        await dead.announce([here(number, f"u{number}", f"r{number}", "tea") for number in range(1, 501)])
        await end_lease(server, "dead")
        async with asyncio.timeout(10):
            while any("dead" in key for key in await keys(server)):
                await other.renew()
        assert (await other.room("tea")).announcements == []

    async def test_a_name_that_was_taken_by_another_boot_is_no_longer_this_ones(
        self, server: RunningRedis, nodes: Open
    ) -> None:
        old, _ = await nodes("a", "1")
        await old.announce([here(1, "ada", "tea")])
        await end_lease(server, "a")
        new, _ = await nodes("a", "2")
        await new.announce([here(1, "bob", "tea")])
        with pytest.raises(HubbubError, match="unavailable"):
            await old.renew()
        await old.announce([here(2, "cyd", "tea")])
        other, _ = await nodes("other", "1")
        assert [each.user for _, each in (await other.room("tea")).announcements] == ["bob"]

    async def test_who_leaves_rooms_leaves_no_keys(self, server: RunningRedis, nodes: Open) -> None:
        a, _ = await nodes("a", "1")
        await a.announce([here(1, "ada", "tea", "plans"), here(2, "ada", "plans"), Announcement(3, "ada", None)])
        assert {key for key in await keys(server) if ":in:" in key or ":rooms:" in key} == set()


class TestWord:
    async def test_a_share_in_many_watched_rooms_is_told_once(self, nodes: Open) -> None:
        a, _ = await nodes("a", "1")
        b, news = await nodes("b", "1")
        rooms = [f"r{number}" for number in range(20)]
        for uid in rooms:
            await b.watch(uid)
        await a.announce([here(1, "ada", *rooms), here(2, "bob", rooms[0])])
        await until(lambda: len(news) >= 2)
        assert [each.announcement.number for each in news] == [1, 2]

    async def test_what_cannot_be_read_is_passed_over(self, server: RunningRedis, nodes: Open) -> None:
        a, _ = await nodes("a", "1")
        b, news = await nodes("b", "1")
        await b.watch("tea")
        client = Redis.from_url(server.url)
        for body in ("", "{}", "[1]", "null", '["a","1"]', "\x00"):
            await client.publish("hubbub:presence:tea", body)
        await client.aclose()
        await a.announce([here(1, "ada", "tea")])
        await until(lambda: news)
        assert [each.announcement.user for each in news] == ["ada"]

    async def test_a_room_of_thousands_is_read_whole(self, nodes: Open) -> None:
        a, _ = await nodes("a", "1")
        b, _ = await nodes("b", "1")
        for begin in range(1, 3001, 500):
            await a.announce([here(number, f"u{number}", "tea") for number in range(begin, begin + 500)])
        reading = await b.room("tea")
        assert {each.user for _, each in reading.announcements} == {f"u{number}" for number in range(1, 3001)}
        assert reading.as_of == {a.node: 3000}
        assert len(await b.users([f"u{number}" for number in range(1, 3001)])) == 3000

    async def test_a_node_that_is_listed_no_more_though_it_lives_lists_itself(
        self, server: RunningRedis, nodes: Open
    ) -> None:
        a, _ = await nodes("a", "1")
        b, _ = await nodes("b", "1")
        client = Redis.from_url(server.url)
        await client.hdel(NODES, "a 1")
        await client.aclose()
        assert (await b.renew()).living == {}
        assert not (await a.renew()).lapsed
        assert (await b.renew()).living.keys() == {a.node}

    async def test_what_may_have_been_lost_with_a_connection_is_told_with_the_next_renewal(self, nodes: Open) -> None:
        node, _ = await nodes("a", "1")
        assert not (await node.renew()).missed
        node.ears_again()
        assert [(await node.renew()).missed for _ in range(2)] == [True, False]


class TestManyNodes:
    async def test_however_many_there_are_a_node_has_few_connections_and_no_reading_fails(
        self, server: RunningRedis, nodes: Open
    ) -> None:
        for number in range(30):
            other, _ = await nodes(f"n{number}", "1")
            await other.announce([here(1, f"user-{number}", *(f"room-{each}" for each in range(30)))])
        client = Redis.from_url(server.url)
        reader, _ = await nodes("reader", "1")
        before = int((await client.info("clients"))["connected_clients"])
        readings, users, renewal = await asyncio.gather(
            asyncio.gather(*(reader.room(f"room-{number}") for number in range(30))),
            asyncio.gather(*(reader.users([f"user-{number}"]) for number in range(30))),
            reader.renew(),
        )
        more = int((await client.info("clients"))["connected_clients"]) - before
        await client.aclose()
        assert {len(reading.announcements) for reading in readings} == {30}
        assert [list(each) for each in users] == [[f"user-{number}"] for number in range(30)]
        assert len(renewal.living) == 30
        assert more <= 10


class TestTheEnd:
    async def test_what_a_node_left_that_handed_its_name_over_is_swept_away_by_another(
        self, server: RunningRedis, nodes: Open
    ) -> None:
        first, _ = await nodes("a", "1")
        other, _ = await nodes("other", "1")
        await first.announce([here(1, "ada", "tea")])
        await first.close()
        client = Redis.from_url(server.url)
        await client.pexpire("hubbub:{a}:lease", PARTING_MS - HANDOVER_MS)
        await client.aclose()
        await nodes("a", "2")
        async with asyncio.timeout(10):
            while any(":1" in key for key in await keys(server) if "{a}" in key):
                await other.renew()

    async def test_a_node_ends_in_its_time_though_redis_hangs(self, server: RunningRedis, nodes: Open) -> None:
        a, _ = await nodes("a", "1")
        server.freeze()
        try:
            async with asyncio.timeout(PART_S + 1):
                await a.close()
        finally:
            server.thaw()


class TestAway:
    async def test_everything_is_unavailable_while_redis_is_away_and_works_after_its_return(
        self, server: RunningRedis, nodes: Open
    ) -> None:
        a, _ = await nodes("a", "1")
        server.kill()

        async def refused(registry: Registry) -> None:
            calls = (
                registry.renew(),
                registry.announce([here(1, "a", "t")]),
                registry.room("t"),
                registry.users(["a"]),
            )
            for call in calls:
                with pytest.raises(HubbubError, match="unavailable"):
                    await call

        await refused(a)
        server.start()
        assert (await a.renew()).lapsed
        await a.announce([here(1, "ada", "tea")])
        b, _ = await nodes("b", "1")
        assert len((await b.room("tea")).announcements) == 1
