"""Rooms on a Redis Cluster: each on its shard alone, and heard again wherever it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from hubbub.cluster import redis_canary, redis_ears
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_shards import Shards
from hubbub.cluster.redis_slots import slot_of
from tests.support.busnode import BusNode, offer
from tests.support.rediscluster import RunningCluster, running_cluster
from tests.support.waiting import until


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningCluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deafness is noticed sooner: also that of a machine that is busy, so what is said may be lost."""
    monkeypatch.setattr(redis_canary, "CANARY_S", 0.1)
    monkeypatch.setattr(redis_canary, "DEAF_S", 0.8)
    monkeypatch.setattr(redis_ears, "PING_S", 0.1)


@pytest.fixture
async def pair(cluster: RunningCluster) -> AsyncIterator[tuple[BusNode, BusNode]]:
    one, other = BusNode(cluster.url, "one"), BusNode(cluster.url, "other")
    await one.open()
    await other.open()
    yield one, other
    await one.close()
    await other.close()


def channel(uid: str) -> bytes:
    return f"hubbub:room:{uid}".encode()


def room_of(cluster: RunningCluster, master: int, begin: str = "room") -> str:
    """A room whose channel is on this master."""
    names = (f"{begin}{number}" for number in range(1000))
    return next(name for name in names if cluster.owner(slot_of(channel(name))) == master)


async def say_until_heard(one: BusNode, other: BusNode, uid: str, rev: int) -> None:
    async with asyncio.timeout(20):
        while rev not in other.heard:
            one.bus.offer(uid, offer(rev))
            await asyncio.sleep(0.01)


async def listen(cluster: RunningCluster, node: BusNode, uid: str, *, on: int) -> None:
    """Have a node listen to a room, and return when the master has taken note of it."""
    node.bus.listen(uid)
    await until(lambda: listeners(cluster, uid)[on] == 1)


def listeners(cluster: RunningCluster, uid: str) -> list[int]:
    """How many listen to a room, by master."""
    name = channel(uid)
    return [int(cluster.ask(server, "PUBSUB", "SHARDNUMSUB", name)[1]) for server in cluster.masters]


class TestShards:
    async def test_every_room_is_on_the_shard_of_its_name_and_nowhere_else(
        self, cluster: RunningCluster, pair: tuple[BusNode, BusNode]
    ) -> None:
        one, other = pair
        for master in range(3):
            uid = room_of(cluster, master)
            await listen(cluster, other, uid, on=master)
            assert sum(listeners(cluster, uid)) == 1
            one.bus.offer(uid, offer(master))
        await until(lambda: len(other.heard) == 3)
        assert sorted(other.heard) == [0, 1, 2]
        assert one.dropped == 0

    async def test_the_traffic_of_a_room_touches_no_other_shard(
        self, cluster: RunningCluster, pair: tuple[BusNode, BusNode]
    ) -> None:
        """Nor does it go to a node that has nobody in the room: all that its shard sends is what one node takes."""
        one, other = pair
        uid = room_of(cluster, 1)
        third = BusNode(cluster.url, "third")
        await third.open()
        await listen(cluster, other, uid, on=1)
        before = [traffic(cluster, number) for number in range(3)]
        for rev in range(100):
            one.bus.offer(uid, offer(rev, 20_000))
        await until(lambda: len(other.heard) == 100)
        (in_0, out_0, bus_0), (in_1, out_1, _), (in_2, out_2, bus_2) = [
            tuple(now - then for now, then in zip(traffic(cluster, number), before[number], strict=True))
            for number in range(3)
        ]
        await third.close()
        assert 2_000_000 < in_1 < 2_400_000
        assert 2_000_000 < out_1 < 2_400_000
        # Canaries, pings and the questions of this test.
        assert max(in_0, out_0, in_2, out_2) < 100_000
        assert max(bus_0, bus_2) < 100  # Of messages on the cluster's bus: its own, and the node's plain canaries.
        assert third.heard == []

    async def test_what_is_not_of_a_room_reaches_every_node(
        self, cluster: RunningCluster, pair: tuple[BusNode, BusNode]
    ) -> None:
        one, other = pair
        one.bus.hurry()
        await until(lambda: other.hurries == 1)
        assert one.hurries == 0

    async def test_a_room_that_is_left_is_heard_no_more(
        self, cluster: RunningCluster, pair: tuple[BusNode, BusNode], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hubbub.cluster.redis_bus.LINGER_S", 0.05)
        _, other = pair
        uid = room_of(cluster, 2)
        await listen(cluster, other, uid, on=2)
        other.bus.leave(uid)
        await until(lambda: listeners(cluster, uid) == [0, 0, 0])

    async def test_without_a_cluster_nothing_is_said_or_heard_and_all_is_counted(self) -> None:
        dropped: list[int] = []
        backs: list[None] = []
        address = RedisAddress.of("redis+cluster://127.0.0.1:1")
        shards = Shards(address, "one", on_back=lambda: backs.append(None), on_dropped=dropped.append)
        shards.start()
        shards.listen("tea", lambda body: None)
        shards.publish(b"tea", b"x")
        shards.leave("tea")
        shards.leave("never")
        await asyncio.sleep(0)
        assert not shards.hears
        assert shards.somewhere() is address
        assert (dropped, backs) == ([1], [])
        await shards.close()
        await shards.close()


class TestMoves:
    async def test_a_slot_moves_while_messages_go(self, cluster: RunningCluster, pair: tuple[BusNode, BusNode]) -> None:
        """What is missing of them was said before the node was told that something may be."""
        one, other = pair
        uid = room_of(cluster, 0, "moving")
        slot = slot_of(channel(uid))
        await listen(cluster, other, uid, on=0)
        lost_before = other.lost
        rev = 0
        for source, target in ((0, 1), (1, 0)):
            moving = asyncio.ensure_future(asyncio.to_thread(cluster.move, slot, source, target))
            lost = other.lost
            async with asyncio.timeout(10):  # The map is read anew without a reason only after 15 seconds.
                while not moving.done() or other.lost == lost:
                    rev += 1
                    one.bus.offer(uid, offer(rev))
                    await asyncio.sleep(0.002)
            await moving
            told_at = rev
            assert [number for number, count in enumerate(listeners(cluster, uid)) if count] == [target]
            for _ in range(20):
                rev += 1
                one.bus.offer(uid, offer(rev))
                await asyncio.sleep(0.002)
            await until(lambda: other.heard[-1:] == [rev])  # noqa: B023 - Awaited here.
            # After it was told that something may be missing, nothing is.
            assert set(range(told_at + 1, rev + 1)) <= set(other.heard)
        assert other.lost >= lost_before + 2
        assert one.bus.hears
        assert other.bus.hears

    async def test_a_slot_that_carries_the_canary_may_move_too(
        self, cluster: RunningCluster, pair: tuple[BusNode, BusNode]
    ) -> None:
        one, _ = pair
        assert one.bus._shards is not None
        [shard] = [each for place, each in one.bus._shards._shards.items() if place.port == cluster.masters[2].port]
        marker = shard.ears.marker
        lost = one.lost
        await asyncio.to_thread(cluster.move, slot_of(marker), 2, 1)
        try:
            await until(lambda: shard.ears.marker != marker and one.lost > lost and one.bus.hears)
        finally:
            await asyncio.to_thread(cluster.move, slot_of(marker), 1, 2)

    async def test_what_was_said_to_the_wrong_shard_is_said_to_the_right_one(
        self, cluster: RunningCluster, pair: tuple[BusNode, BusNode]
    ) -> None:
        """As by a node that has not heard yet that a slot is elsewhere."""
        one, other = pair
        uid = room_of(cluster, 1, "astray")
        await listen(cluster, other, uid, on=1)
        assert one.bus._shards is not None
        by_slot, slot = one.bus._shards._by_slot, slot_of(channel(uid))
        right, wrong = by_slot[slot], by_slot[0]
        assert wrong is not right
        by_slot[slot] = wrong
        one.bus.offer(uid, offer(1))
        await until(lambda: other.heard == [1])
        assert by_slot[slot] is right
        assert one.dropped == 0


@pytest.mark.usefixtures("quick")
class TestFaults:
    async def test_a_frozen_shard_makes_deaf_and_leaves_the_other_shards_alone(
        self, cluster: RunningCluster, pair: tuple[BusNode, BusNode]
    ) -> None:
        one, other = pair
        cold, warm = room_of(cluster, 2, "cold"), room_of(cluster, 1, "warm")
        await listen(cluster, other, cold, on=2)
        await listen(cluster, other, warm, on=1)
        lost = other.lost
        cluster.masters[2].freeze()
        try:
            await until(lambda: not one.bus.hears and not other.bus.hears)
            await say_until_heard(one, other, warm, 1)
            # What another shard may have lost meanwhile is told without it.
            assert other.bus._shards is not None
            at_warm = other.bus._shards._by_slot[slot_of(channel(warm))]
            assert at_warm is not None
            at_warm.ears.start_over()
            await until(lambda: other.lost > lost)
            assert not other.bus.hears
            lost = other.lost
        finally:
            cluster.masters[2].thaw()
        await until(lambda: one.bus.hears and other.bus.hears and other.lost > lost)
        await say_until_heard(one, other, cold, 2)

    async def test_a_server_that_was_restarted_is_heard_again(
        self, cluster: RunningCluster, pair: tuple[BusNode, BusNode]
    ) -> None:
        """The first of them, which is also the one that the address names."""
        one, other = pair
        uid = room_of(cluster, 0, "again")
        await listen(cluster, other, uid, on=0)
        lost = other.lost
        await asyncio.to_thread(cluster.masters[0].kill)
        await until(lambda: not one.bus.hears)
        await asyncio.to_thread(cluster.masters[0].start)
        await until(lambda: one.bus.hears and other.bus.hears and other.lost > lost)
        await say_until_heard(one, other, uid, 3)


@pytest.mark.usefixtures("quick")
class TestFailover:
    async def test_a_replica_takes_over_from_a_master_that_was_killed(self) -> None:
        with running_cluster(with_replicas=True, node_timeout_ms=500) as cluster:
            one, other = BusNode(cluster.url, "one"), BusNode(cluster.url, "other")
            await one.open()
            await other.open()
            uid = room_of(cluster, 0)
            await listen(cluster, other, uid, on=0)
            lost = other.lost
            await asyncio.to_thread(cluster.masters[0].kill)
            await until(lambda: not other.bus.hears)
            await until(lambda: one.bus.hears and other.bus.hears and other.lost > lost)
            await say_until_heard(one, other, uid, 4)
            assert int(cluster.ask(cluster.replicas[0], "PUBSUB", "SHARDNUMSUB", channel(uid))[1]) == 1
            await one.close()
            await other.close()


def traffic(cluster: RunningCluster, number: int) -> tuple[int, int, int]:
    """Bytes that came to a master and that it sent, and publishes that came to it on the cluster's bus."""
    facts = cluster.facts(cluster.masters[number], "stats")
    counts = cluster.counts(cluster.masters[number])
    published = sum(int(count) for name, count in counts.items() if name.startswith("cluster_stats_messages_publish"))
    return int(facts["total_net_input_bytes"]), int(facts["total_net_output_bytes"]), published
