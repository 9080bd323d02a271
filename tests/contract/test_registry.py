"""What every registry promises (`hubbub.cluster.base`), on every adapter.

An adapter takes part by a `Cluster` of its own: a way to make nodes, and to let time pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Protocol

import pytest
from redis.asyncio import Redis

from hubbub.cluster.base import HANDOVER_MS, LEASE_MS, PARTING_MS, Announcement, News, Node, Registry, Share
from hubbub.cluster.memory import Exchange, MemoryRegistry
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_ears import Ears
from hubbub.cluster.redis_registry import RedisRegistry
from hubbub.errors import HubbubError
from tests.support.domain import ManualClock
from tests.support.rediscluster import RunningCluster, running_cluster
from tests.support.redisserver import RunningRedis, running_redis


class Cluster(Protocol):
    """What the tests need of an adapter. Of what is measured in time it may be wrong by `slack_ms`."""

    slack_ms: int

    def registry(self, node: Node) -> Registry:
        """A way to the registry for one more node; not opened."""

    async def forward(self, ms: int) -> None:
        """Let that much time pass for the leases."""

    async def wait_news(self, news: list[News], count: int) -> None:
        """Return when `count` came, or raise `TimeoutError`."""


class MemoryCluster:
    """The nodes of one process. News comes in the turn of the loop in which it is announced."""

    slack_ms = 0

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.exchange = Exchange(self.clock)

    def registry(self, node: Node) -> Registry:
        return MemoryRegistry(self.exchange, node)

    async def forward(self, ms: int) -> None:
        self.clock.now += ms

    async def wait_news(self, news: list[News], count: int) -> None:
        if len(news) < count:
            raise TimeoutError


class RedisNodes:
    """The nodes share a real Redis, or a Redis Cluster. Time is not waited for: leases are made shorter by it."""

    slack_ms = 1000

    def __init__(self, url: str, servers: Sequence[RunningRedis]) -> None:
        self.address = RedisAddress.of(url)
        self.servers = servers
        for server in servers:
            server.empty()

    def registry(self, node: Node) -> Registry:
        return _WithEars(self.address, node)

    async def forward(self, ms: int) -> None:
        for server in self.servers:
            client = Redis(port=server.port)
            async for key in client.scan_iter("hubbub:{*}:lease"):
                await client.pexpire(key, await client.pttl(key) - ms)
            await client.aclose()

    async def wait_news(self, news: list[News], count: int) -> None:
        async with asyncio.timeout(10):
            while len(news) < count:
                await asyncio.sleep(0.001)


class _WithEars(RedisRegistry):
    """A registry that has the node's ears to itself."""

    def __init__(self, address: RedisAddress, node: Node) -> None:
        self.own_ears = Ears(address)
        super().__init__(address, self.own_ears, node)
        self.own_ears.start()

    async def close(self) -> None:
        await super().close()
        await self.own_ears.close()


class Open:
    """Nodes that were opened, and the word that each has got."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.stack = AsyncExitStack()

    async def node(self, name: str, boot: str = "1") -> tuple[Registry, list[News]]:
        registry = self.cluster.registry(Node(name, boot))
        news: list[News] = []
        await registry.open(news.append)
        self.stack.push_async_callback(registry.close)
        return registry, news


@pytest.fixture(scope="module")
def redis() -> Iterator[RunningRedis]:
    with running_redis() as running:
        yield running


@pytest.fixture(scope="module")
def redis_cluster() -> Iterator[RunningCluster]:
    with running_cluster() as running:
        running.wait_whole()
        yield running


@pytest.fixture(params=["memory", "redis", "redis_cluster"])
async def nodes(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    if request.param == "memory":
        opened = Open(MemoryCluster())
    elif request.param == "redis":
        redis: RunningRedis = request.getfixturevalue("redis")
        opened = Open(RedisNodes(redis.url, [redis]))
    else:
        cluster: RunningCluster = request.getfixturevalue("redis_cluster")
        opened = Open(RedisNodes(cluster.url, cluster.masters))
    async with opened.stack:
        yield opened


def share(user: str, *rooms: str, **changes: object) -> Share:
    values = {"user": user, "name": user.title(), "guest": False, "status": "online", "rooms": frozenset(rooms)}
    return Share(**(values | changes))  # type: ignore[arg-type]


def here(number: int, user: str, *rooms: str, **changes: object) -> Announcement:
    return Announcement(number, user, share(user, *rooms, **changes))


def gone(number: int, user: str, *left: str) -> Announcement:
    return Announcement(number, user, None, frozenset(left))


class TestReading:
    async def test_a_room_has_who_was_announced_in_it_by_other_nodes(self, nodes: Open) -> None:
        a, _ = await nodes.node("a")
        b, _ = await nodes.node("b")
        first, second = here(1, "ada", "tea"), here(2, "bob", "tea", "plans", status="busy", text="out", text_at=5)
        await a.announce([first, second])
        await b.announce([here(1, "cyd", "tea")])
        reading = await b.room("tea")
        assert sorted(reading.announcements, key=lambda each: each[1].number) == [(a.node, first), (a.node, second)]
        assert reading.as_of == {a.node: 2}
        assert [each[1] for each in (await b.room("plans")).announcements] == [second]
        assert (await b.room("empty")).announcements == []

    async def test_what_was_announced_before_a_node_came_is_there_for_it(self, nodes: Open) -> None:
        a, _ = await nodes.node("a")
        await a.announce([here(1, "ada", "tea")])
        late, _ = await nodes.node("late")
        assert len((await late.room("tea")).announcements) == 1

    async def test_a_later_share_replaces_the_whole_of_an_earlier(self, nodes: Open) -> None:
        a, _ = await nodes.node("a")
        b, _ = await nodes.node("b")
        await a.announce([here(1, "ada", "tea"), here(2, "ada", "plans")])
        assert (await b.room("tea")).announcements == []
        assert [each.number for _, each in (await b.room("plans")).announcements] == [2]

    async def test_who_is_gone_is_nowhere(self, nodes: Open) -> None:
        a, _ = await nodes.node("a")
        b, _ = await nodes.node("b")
        await a.announce([here(1, "ada", "tea")])
        await a.announce([gone(2, "ada", "tea")])
        reading = await b.room("tea")
        assert (reading.announcements, dict(reading.as_of)) == ([], {a.node: 2})
        assert await b.users(["ada"]) == {}

    async def test_what_is_said_again_changes_nothing(self, nodes: Open) -> None:
        a, _ = await nodes.node("a")
        b, _ = await nodes.node("b")
        batch = [here(1, "ada", "tea"), gone(2, "ada", "tea"), here(3, "bob", "tea")]
        await a.announce(batch)
        await a.announce(batch)
        assert [each.user for _, each in (await b.room("tea")).announcements] == ["bob"]

    async def test_users_are_found_on_every_other_node(self, nodes: Open) -> None:
        a, _ = await nodes.node("a")
        b, _ = await nodes.node("b")
        c, _ = await nodes.node("c")
        await a.announce([here(1, "ada", "tea")])
        await b.announce([here(1, "ada", status="away")])
        await c.announce([here(1, "ada"), here(2, "cyd")])
        found = await c.users(["ada", "cyd", "nobody"])
        assert {user: {each.status for each in shares} for user, shares in found.items()} == {"ada": {"online", "away"}}


class TestNews:
    async def test_only_who_watches_a_room_hears_of_it(self, nodes: Open) -> None:
        a, own = await nodes.node("a")
        b, news = await nodes.node("b")
        _, others = await nodes.node("c")
        await a.watch("tea")
        await b.watch("tea")
        said = here(1, "ada", "tea")
        await a.announce([said, here(2, "bob", "plans")])
        await nodes.cluster.wait_news(news, 1)
        assert news == [News(a.node, said)]
        assert (own, others) == ([], [])

    async def test_who_watches_a_room_hears_that_somebody_left_it(self, nodes: Open) -> None:
        a, _ = await nodes.node("a")
        b, news = await nodes.node("b")
        await b.watch("tea")
        said = [here(1, "ada", "tea"), here(2, "ada", "plans"), here(3, "ada"), here(4, "ada", "tea"), gone(5, "ada")]
        for each in said:
            await a.announce([each])
        await nodes.cluster.wait_news(news, 4)
        assert [each.announcement.number for each in news] == [1, 2, 4, 5]

    async def test_no_word_comes_of_what_is_watched_no_more(self, nodes: Open) -> None:
        a, _ = await nodes.node("a")
        b, news = await nodes.node("b")
        for uid in ("tea", "plans"):
            await b.watch(uid)
        await b.watch("tea")
        await b.unwatch("tea")
        await b.unwatch("never")
        await a.announce([here(1, "ada", "tea"), here(2, "ada", "tea", "plans")])
        await nodes.cluster.wait_news(news, 1)
        assert [each.announcement.number for each in news] == [2]

    async def test_a_node_that_is_closed_hears_nothing(self, nodes: Open) -> None:
        a, _ = await nodes.node("a")
        b, news = await nodes.node("b")
        await b.watch("tea")
        await b.close()
        await b.close()
        await a.announce([here(1, "ada", "tea")])
        assert news == []


class TestLeases:
    async def test_what_a_node_said_is_gone_with_its_lease(self, nodes: Open) -> None:
        a, _ = await nodes.node("a")
        b, _ = await nodes.node("b")
        await a.announce([here(1, "ada", "tea")])
        await nodes.cluster.forward(LEASE_MS - 1 - nodes.cluster.slack_ms)
        await b.renew()
        assert len((await b.room("tea")).announcements) == 1
        await nodes.cluster.forward(1 + nodes.cluster.slack_ms)
        assert ((await b.room("tea")).announcements, await b.users(["ada"])) == ([], {})
        assert (await b.renew()).living == {}

    async def test_a_renewal_says_who_lives_and_for_how_long(self, nodes: Open) -> None:
        a, _ = await nodes.node("a")
        b, _ = await nodes.node("b")
        await nodes.cluster.forward(4000)

        def about(ms: int) -> object:
            return pytest.approx(ms, abs=nodes.cluster.slack_ms)

        assert dict((await b.renew()).living) == {a.node: about(LEASE_MS - 4000)}
        assert dict((await a.renew()).living) == {b.node: about(LEASE_MS)}
        await nodes.cluster.forward(LEASE_MS - 2000)
        renewal = await a.renew()
        assert (renewal.lapsed, dict(renewal.living)) == (False, {b.node: about(2000)})

    async def test_a_node_that_was_away_too_long_is_told_and_begins_anew(self, nodes: Open) -> None:
        a, news = await nodes.node("a")
        b, _ = await nodes.node("b")
        await a.watch("tea")
        await a.announce([here(1, "ada", "tea")])
        await nodes.cluster.forward(LEASE_MS)
        await a.announce([here(2, "bob", "tea")])
        assert (await a.renew()).lapsed
        assert not (await a.renew()).lapsed
        await b.renew()
        assert (await b.room("tea")).announcements == []
        await a.announce([here(3, "ada", "tea")])
        await b.announce([here(1, "cyd", "tea")])
        await nodes.cluster.wait_news(news, 1)
        assert [each.number for _, each in (await b.room("tea")).announcements] == [3]

    async def test_a_name_belongs_to_one_boot_until_its_lease_is_over(self, nodes: Open) -> None:
        a, _ = await nodes.node("a", "1")
        await a.announce([here(7, "ada", "tea")])
        again = nodes.cluster.registry(Node("a", "2"))
        with pytest.raises(HubbubError, match="conflict"):
            await again.open(lambda news: None)
        await again.close()
        await nodes.cluster.forward(LEASE_MS)
        a2, _ = await nodes.node("a", "2")
        b, _ = await nodes.node("b")
        assert (await b.room("tea")).announcements == []
        await a2.announce([here(1, "bob", "tea")])
        assert [(node.boot, each.user) for node, each in (await b.room("tea")).announcements] == [("2", "bob")]

    async def test_a_node_that_closes_leaves_its_word_to_the_lease(self, nodes: Open) -> None:
        a, _ = await nodes.node("a")
        b, _ = await nodes.node("b")
        await a.announce([here(1, "ada", "tea")])
        await a.close()
        assert len((await b.room("tea")).announcements) == 1

    async def test_a_node_that_closes_hands_its_name_over_when_the_others_know_how_long_its_word_holds(
        self, nodes: Open
    ) -> None:
        a, _ = await nodes.node("a", "1")
        b, _ = await nodes.node("b")
        await a.announce([here(1, "ada", "tea")])
        await a.close()
        again = nodes.cluster.registry(Node("a", "2"))
        with pytest.raises(HubbubError, match="conflict"):
            await again.open(lambda news: None)
        await again.close()
        left = (await b.renew()).living[Node("a", "1")]
        assert PARTING_MS - nodes.cluster.slack_ms <= left <= PARTING_MS
        await nodes.cluster.forward(HANDOVER_MS)
        assert len((await b.room("tea")).announcements) == 1
        a2, _ = await nodes.node("a", "2")
        await a2.announce([here(1, "bob", "tea")])
        assert [(node.boot, each.user) for node, each in (await b.room("tea")).announcements] == [("2", "bob")]
        # The one that ended has no say any more.
        await a.close()
        await nodes.cluster.forward(LEASE_MS - nodes.cluster.slack_ms)
        await a2.renew()
        assert Node("a", "2") in (await b.renew()).living

    async def test_a_node_that_withdraws_is_gone_at_once(self, nodes: Open) -> None:
        a, _ = await nodes.node("a")
        b, _ = await nodes.node("b")
        await a.announce([here(1, "ada", "tea")])
        await a.withdraw()
        assert (await b.room("tea")).announcements == []
        assert (await b.renew()).living == {}
        await nodes.node("a", "2")
