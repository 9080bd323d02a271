"""What the bus on Redis does when Redis does not: it notices, says so, drops what it cannot say, and starts over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from structlog.testing import capture_logs

from hubbub.cluster import redis_bus, redis_canary, redis_ears, redis_mouth
from tests.support.busnode import BusNode, offer
from tests.support.redisserver import RunningRedis, running_redis
from tests.support.waiting import until


@pytest.fixture(scope="module")
def server() -> Iterator[RunningRedis]:
    with running_redis() as running:
        yield running


@pytest.fixture
async def pair(server: RunningRedis, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[BusNode, BusNode]]:
    monkeypatch.setattr(redis_canary, "CANARY_S", 0.05)
    monkeypatch.setattr(redis_canary, "DEAF_S", 0.4)
    monkeypatch.setattr(redis_ears, "PING_S", 0.05)
    one, other = BusNode(server.url, "one"), BusNode(server.url, "other")
    await one.open()
    await other.open()
    other.bus.listen("tea")
    await other.ears.hears("hubbub:room:tea")
    yield one, other
    await one.close()
    await other.close()


class TestDeafness:
    async def test_a_restart_is_survived_and_told(self, server: RunningRedis, pair: tuple[BusNode, BusNode]) -> None:
        one, other = pair
        server.kill()
        await until(lambda: not one.ears.can_hear and not one.bus._mouth.can_speak)
        one.bus.offer("tea", offer(1))
        await until(lambda: one.dropped > 0)
        await until(lambda: not one.bus.hears)
        server.start()
        await until(lambda: all(node.bus.hears and node.lost >= 2 for node in pair))
        one.bus.offer("tea", offer(2))
        await until(lambda: 2 in other.heard)
        assert 1 not in other.heard

    async def test_a_frozen_redis_makes_deaf_within_the_time_and_is_used_again_when_it_thaws(
        self, server: RunningRedis, pair: tuple[BusNode, BusNode]
    ) -> None:
        one, other = pair
        server.freeze()
        try:
            await until(lambda: not one.bus.hears and not other.bus.hears)
        finally:
            server.thaw()
        # Whoever heard the canary before giving up has lost nothing: it was only late.
        await until(lambda: all(node.bus.hears for node in pair))
        one.bus.offer("tea", offer(3))
        await until(lambda: 3 in other.heard)

    async def test_ears_that_were_cut_off_behind_a_living_connection_are_found_out(
        self, server: RunningRedis, pair: tuple[BusNode, BusNode]
    ) -> None:
        """As after a failover that left the connection with a server which nobody talks to any more."""
        one, _ = pair
        client = Redis.from_url(server.url)
        wire = one.ears._wire
        assert wire is not None
        wire.write(b"*1\r\n$11\r\nUNSUBSCRIBE\r\n")
        await until(lambda: one.ears._wire is not wire)
        await until(lambda: one.bus.hears and one.lost >= 2)
        await client.aclose()

    async def test_a_master_that_became_a_replica_is_left_though_its_connections_live(
        self, server: RunningRedis, pair: tuple[BusNode, BusNode]
    ) -> None:
        one, other = pair
        client = Redis.from_url(server.url)
        wire = one.bus._mouth._wire
        await client.replicaof("127.0.0.1", server.port)  # Nobody has to be there.
        await until(lambda: one.bus._mouth._wire is not wire)
        await until(lambda: not one.bus.hears and not other.bus.hears)
        sung = one.bus._canary._sung
        await until(lambda: one.bus._canary._sung > sung + 10)
        assert not one.bus.hears, "its own word comes back from there, and that of many others does not"
        await until(lambda: one.ears.can_hear)
        assert one.bus.trouble == "Redis is a replica here, which takes no writes."
        await client.replicaof("NO", "ONE")
        await until(lambda: all(node.bus.hears and node.lost >= 2 for node in pair))
        await until(lambda: one.bus.trouble is None)
        one.bus.offer("tea", offer(4))
        await until(lambda: 4 in other.heard)
        await client.aclose()

    async def test_a_master_that_takes_no_writes_for_a_while_is_a_way_all_the_same(
        self, server: RunningRedis, pair: tuple[BusNode, BusNode]
    ) -> None:
        one, other = pair
        client = Redis.from_url(server.url)
        wire = one.bus._mouth._wire
        await client.config_set("min-replicas-to-write", 1)
        try:
            heard = one.bus._canary._heard
            await until(lambda: one.bus._canary._heard > heard + 2)
            one.bus.offer("tea", offer(5))
            await until(lambda: 5 in other.heard)
        finally:
            await client.config_set("min-replicas-to-write", 0)
        assert one.bus._mouth._wire is wire
        await client.aclose()

    async def test_what_a_server_does_not_read_is_dropped_and_takes_no_memory(
        self, server: RunningRedis, pair: tuple[BusNode, BusNode], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, _ = pair
        monkeypatch.setattr(redis_mouth, "UNSENT_MOST", 200_000)
        server.freeze()
        try:
            wire = one.bus._mouth._wire
            assert wire is not None
            for rev in range(200):
                one.bus.offer("tea", offer(rev, 100_000))
                one.bus._flush()
                assert wire.unsent < 500_000
            assert one.dropped > 100
        finally:
            server.thaw()
        await until(lambda: one.bus.hears)


class TestRooms:
    async def test_a_room_that_is_left_is_heard_for_a_while_and_then_no_more(
        self, server: RunningRedis, pair: tuple[BusNode, BusNode], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _, other = pair
        monkeypatch.setattr(redis_bus, "LINGER_S", 0.05)
        with BlockingRedis(port=server.port) as client:

            def listeners() -> int:
                [(_, count)] = client.pubsub_numsub("hubbub:room:tea")
                return int(count)

            assert listeners() == 1
            other.bus.leave("tea")
            assert listeners() == 1
            await until(lambda: listeners() == 0)

    async def test_a_node_without_anybody_in_a_room_gets_no_byte_of_it(
        self, server: RunningRedis, pair: tuple[BusNode, BusNode]
    ) -> None:
        one, other = pair
        client = Redis.from_url(server.url)
        for rev in range(50):
            one.bus.offer("elsewhere", offer(rev, 10_000))
        one.bus.offer("tea", offer(99))
        await until(lambda: 99 in other.heard)
        [(_, count)] = await client.pubsub_numsub("hubbub:room:elsewhere")
        assert count == 0
        assert other.heard == [99]
        await client.aclose()

    async def test_what_is_no_parcel_is_passed_over_and_told_once_a_second(
        self, server: RunningRedis, pair: tuple[BusNode, BusNode]
    ) -> None:
        one, other = pair
        client = Redis.from_url(server.url)
        garbage = [b"", b"\n", b"{}", b"\xff" * 100, b'["one",[[5]]]\n', b'["x",[[0,"1",1,"ada",1,[]]]]\n'] * 40
        with capture_logs() as lines:
            for body in garbage:
                await client.publish("hubbub:room:tea", body)
                await client.publish(other.bus._canary_name, body)
            one.bus.offer("tea", offer(7))
            await until(lambda: 7 in other.heard)
            await other.close()
        await client.aclose()
        told = [line for line in lines if line["event"] == "cluster.parcel_unreadable"]
        assert sum(line["times"] for line in told) == len(garbage)
        assert len(told) < len(garbage) / 10
        assert not [line for line in lines if line["event"] in ("cluster.ears_broken", "cluster.deaf")]

    async def test_what_is_said_last_still_goes_out(self, pair: tuple[BusNode, BusNode]) -> None:
        one, other = pair
        one.bus.offer("tea", offer(8))
        await one.bus.close()
        await until(lambda: 8 in other.heard)
