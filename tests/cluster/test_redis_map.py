"""The map of a cluster is had from whichever server tells it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_map import ask_map
from hubbub.cluster.redis_slots import SLOTS, Place
from tests.support.rediscluster import RunningCluster, running_cluster, running_member
from tests.support.redisserver import running_redis


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningCluster]:
    with running_cluster() as running:
        yield running


def places(cluster: RunningCluster) -> list[Place]:
    return [Place("127.0.0.1", server.port) for server in cluster.masters]


class TestAsking:
    async def test_one_server_tells_of_all(self, cluster: RunningCluster) -> None:
        told = await ask_map(RedisAddress.of(cluster.url), (), first=None, epoch=0)
        assert told is not None
        assert told.is_whole
        assert told.masters == told.places == set(places(cluster))
        for number, place in enumerate(places(cluster)):
            first, last = cluster.slots(number)
            assert {slot for slot, owner in told.owners.items() if owner == place} == set(range(first, last + 1))
        assert len(told.owners) == SLOTS

    async def test_servers_that_hang_or_are_gone_are_passed_over(self, cluster: RunningCluster) -> None:
        gone = Place("127.0.0.1", 1)
        cluster.masters[0].freeze()  # Which is also the one that the address names.
        try:
            known = [gone, *places(cluster)]
            told = await ask_map(RedisAddress.of(cluster.url), known, first=places(cluster)[0], epoch=0)
        finally:
            cluster.masters[0].thaw()
        assert told is not None
        assert told.places == set(places(cluster))

    async def test_an_old_map_is_better_than_none(self, cluster: RunningCluster) -> None:
        told = await ask_map(RedisAddress.of(cluster.url), places(cluster), first=None, epoch=1000)
        assert told is not None
        assert told.epoch < 1000

    async def test_a_server_that_is_cut_off_is_not_believed_if_another_answers(self, cluster: RunningCluster) -> None:
        gone = [Place("127.0.0.1", 1), Place("127.0.0.1", 2)]
        with running_member() as alone:
            first = Place("127.0.0.1", alone.port)
            # The three are asked at once, and the one that the address names only after them.
            told = await ask_map(RedisAddress.of(cluster.url), gone, first=first, epoch=0)
            assert told is not None
            assert len(told.owners) == SLOTS
            told = await ask_map(RedisAddress.of(f"redis+cluster://{first}"), gone, first=None, epoch=0)
            assert told is not None
            assert not told.is_whole

    async def test_a_server_without_a_cluster_tells_none(self) -> None:
        with running_redis() as alone:
            address = RedisAddress.of(f"redis+cluster://127.0.0.1:{alone.port}")
            assert await ask_map(address, (), first=Place("127.0.0.1", 1), epoch=0) is None
