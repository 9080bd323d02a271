"""One shard: what it does by what its server answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_shard import Shard
from hubbub.cluster.redis_slots import Place, slot_of
from tests.support.busnode import BusNode, offer
from tests.support.rediscluster import RunningCluster, running_cluster
from tests.support.waiting import until


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningCluster]:
    with running_cluster(is_whole=False) as running:
        yield running


@pytest.fixture(scope="module")
def old_cluster() -> Iterator[RunningCluster]:
    """Servers that do not know the commands of sharded channels, as before Redis 7."""
    names = ("SSUBSCRIBE", "SUNSUBSCRIBE", "SPUBLISH")
    with running_cluster(
        *(word for name in names for word in ("--rename-command", name, "")), is_whole=False
    ) as running:
        yield running


class Desk:
    """A shard and what it says. The server has the slots of the first master, whatever it is told that it has."""

    def __init__(self, cluster: RunningCluster, slots: range) -> None:
        self.backs = 0
        self.moved: list[Place | None] = []
        self.refused: list[tuple[bytes, bytes, Place]] = []
        self.dropped = 0
        self.heard: list[bytes] = []
        self.shard = Shard(
            RedisAddress.of(cluster.url),
            Place("127.0.0.1", cluster.masters[0].port),
            "one",
            on_back=self._on_back,
            on_moved=self.moved.append,
            on_refused=lambda *refused: self.refused.append(refused),
            on_dropped=self._on_dropped,
        )
        self.shard.own(slots)

    def _on_back(self) -> None:
        self.backs += 1

    def _on_dropped(self, count: int) -> None:
        self.dropped += count


def names_at(cluster: RunningCluster, master: int, count: int) -> list[str]:
    names = (f"name{number}" for number in range(1000))
    return [name for name in names if cluster.owner(slot_of(name.encode())) == master][:count]


class TestHearing:
    async def test_many_channels_of_different_slots_are_heard_when_it_says_so(self, cluster: RunningCluster) -> None:
        desk = Desk(cluster, range(*cluster.slots(0)))
        names = names_at(cluster, 0, 50)
        for name in names:
            desk.shard.ears.adopt(name.encode(), desk.heard.append)
        desk.shard.start()
        desk.shard.start()
        await until(lambda: desk.backs == 1 and desk.shard.hears)
        for name in names:
            desk.shard.publish(name.encode(), name.encode())
        await until(lambda: len(desk.heard) == 50)
        assert desk.heard == [name.encode() for name in names]
        desk.shard.ears.mend()
        assert (desk.moved, desk.refused, desk.dropped, desk.backs) == ([], [], 0, 1)
        await desk.shard.close()

    async def test_a_channel_that_was_left_before_it_was_confirmed_is_not_heard(self, cluster: RunningCluster) -> None:
        desk = Desk(cluster, range(*cluster.slots(0)))
        desk.shard.start()
        await until(lambda: desk.backs == 1)
        [name] = names_at(cluster, 0, 1)
        desk.shard.ears.listen(name, desk.heard.append)
        desk.shard.ears.leave(name)
        await until(lambda: cluster.ask(cluster.masters[0], "PUBSUB", "SHARDNUMSUB", name)[1] == 0)
        desk.shard.publish(name.encode(), b"x")
        desk.shard.ears.listen(name, desk.heard.append)
        await desk.shard.ears.hears(name)
        desk.shard.publish(name.encode(), b"y")
        await until(lambda: b"y" in desk.heard)
        await desk.shard.close()


class TestElsewhere:
    async def test_what_belongs_elsewhere_is_handed_back_once(self, cluster: RunningCluster) -> None:
        desk = Desk(cluster, range(*cluster.slots(0)))
        desk.shard.start()
        await until(lambda: desk.backs == 1 and desk.shard.hears)
        [name] = names_at(cluster, 2, 1)
        there = Place("127.0.0.1", cluster.masters[2].port)
        desk.shard.publish(name.encode(), b"x")
        await until(lambda: desk.refused)
        assert desk.refused == [(name.encode(), b"x", there)]
        assert desk.moved == [there]
        desk.shard.publish(name.encode(), b"x", again=True)
        await until(lambda: desk.dropped == 1)
        assert len(desk.refused) == 1
        assert desk.shard.hears
        await desk.shard.close()

    async def test_a_subscription_that_belongs_elsewhere_says_where(self, cluster: RunningCluster) -> None:
        desk = Desk(cluster, range(*cluster.slots(0)))
        desk.shard.start()
        await until(lambda: desk.backs == 1 and desk.shard.hears)
        [name] = names_at(cluster, 1, 1)
        desk.shard.ears.listen(name, desk.heard.append)
        await until(lambda: desk.moved == [Place("127.0.0.1", cluster.masters[1].port)])
        await desk.shard.close()

    async def test_without_a_connection_what_is_said_is_dropped(self, cluster: RunningCluster) -> None:
        desk = Desk(cluster, range(*cluster.slots(0)))
        desk.shard.publish(b"tea", b"x")
        assert desk.dropped == 1
        await desk.shard.close()
        await desk.shard.close()


class TestOldServers:
    async def test_they_are_found_out_and_carry_rooms_the_plain_way(self, old_cluster: RunningCluster) -> None:
        one, other = BusNode(old_cluster.url, "one"), BusNode(old_cluster.url, "other")
        await one.open()
        await other.open()
        rooms = [f"room{number}" for number in range(10)]
        for uid in rooms:
            other.bus.listen(uid)
        await until(
            lambda: (
                sum(
                    len(old_cluster.ask(server, "PUBSUB", "CHANNELS", "hubbub:room:*"))
                    for server in old_cluster.masters
                )
                == 10
            )
        )
        for rev, uid in enumerate(rooms):
            one.bus.offer(uid, offer(rev))
        await until(lambda: len(other.heard) == 10)
        assert sorted(other.heard) == list(range(10))
        assert one.dropped == 0
        await one.close()
        await other.close()
