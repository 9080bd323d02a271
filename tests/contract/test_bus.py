"""What every bus promises (`hubbub.cluster.bus`), on every adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack

import pytest

from hubbub.cluster.bus import Bus, Offer, Whisper
from hubbub.cluster.memory import MemoryBus
from hubbub.cluster.redis_address import RedisAddress
from hubbub.cluster.redis_bus import RedisBus
from hubbub.cluster.redis_ears import Ears
from tests.support.rediscluster import RunningCluster, running_cluster
from tests.support.redisserver import RunningRedis, running_redis
from tests.support.waiting import until


class Desk:
    """A node's bus, and what came over it."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.offers: list[tuple[str, int]] = []
        self.documents: list[bytes] = []
        self.whispers: list[tuple[str, str]] = []
        self.lost = 0
        self.hurries = 0

    def take(self, uid: str, offers: Sequence[Offer], whispers: Sequence[Whisper]) -> None:
        self.offers += [(uid, offer.rev) for offer in offers]
        self.documents += [bytes(offer.document) for offer in offers]
        self.whispers += [(uid, whisper.user) for whisper in whispers]

    def on_lost(self) -> None:
        self.lost += 1

    def on_hurry(self) -> None:
        self.hurries += 1


class Nodes:
    """Nodes on one bus, opened."""

    def __init__(self, make: Callable[[AsyncExitStack, str], Bus]) -> None:
        self.stack = AsyncExitStack()
        self._make = make
        self._all: list[Desk] = []

    async def node(self) -> Desk:
        desk = Desk(self._make(self.stack, f"n{len(self._all)}"))
        self._all.append(desk)
        await desk.bus.open(desk.take, on_lost=desk.on_lost, on_hurry=desk.on_hurry)
        self.stack.push_async_callback(desk.bus.close)
        await until(lambda: desk.lost == 1 and desk.bus.hears)
        return desk

    async def settled(self) -> None:
        """Return when whatever was said before has arrived: word of the room `end` has come to everybody."""
        for desk in self._all:
            desk.bus.listen("end")
        rev = max((rev for desk in self._all for uid, rev in desk.offers if uid == "end"), default=0)
        while not all(any(uid == "end" and seen > rev for uid, seen in desk.offers) for desk in self._all):
            rev_now = rev + 1
            for desk in self._all:
                desk.bus.offer("end", offer(rev_now))
            await asyncio.sleep(0.01)


def offer(rev: int, document: bytes = b"{}") -> Offer:
    return Offer(rev, rev, "ada", 1, ("bob",), memoryview(document))


@pytest.fixture(scope="module")
def redis() -> Iterator[RunningRedis]:
    with running_redis() as running:
        yield running


@pytest.fixture(scope="module")
def redis_cluster() -> Iterator[RunningCluster]:
    with running_cluster() as running:
        yield running


@pytest.fixture(params=["memory", "redis", "redis_cluster"])
async def nodes(request: pytest.FixtureRequest) -> AsyncIterator[Nodes]:
    exchange: list[MemoryBus] = []

    def in_memory(stack: AsyncExitStack, origin: str) -> Bus:
        return MemoryBus(exchange)

    def on_redis(stack: AsyncExitStack, origin: str) -> Bus:
        running: RunningRedis | RunningCluster = request.getfixturevalue(request.param)
        address = RedisAddress.of(running.url)
        ears = Ears(address, on_again=lambda: bus.ears_again())
        bus = RedisBus(address, ears, origin)
        ears.start()
        stack.push_async_callback(ears.close)
        return bus

    nodes = Nodes(in_memory if request.param == "memory" else on_redis)
    async with nodes.stack:
        yield nodes


class TestRooms:
    async def test_who_listens_is_told_in_order_and_nobody_else(self, nodes: Nodes) -> None:
        one, other, third = [await nodes.node() for _ in range(3)]
        other.bus.listen("tea")
        third.bus.listen("plans")
        await nodes.settled()
        for rev in range(1, 101):
            one.bus.offer("tea", offer(rev, b'{"rev":%d}' % rev))
        await until(lambda: len(other.offers) > 100)
        await nodes.settled()
        assert [rev for uid, rev in other.offers if uid == "tea"] == list(range(1, 101))
        assert b'{"rev":57}' in other.documents
        assert {uid for uid, _ in (*third.offers, *one.offers)} == {"end"}

    async def test_the_own_word_does_not_come_back(self, nodes: Nodes) -> None:
        one, other = [await nodes.node() for _ in range(2)]
        for desk in (one, other):
            desk.bus.listen("tea")
        await nodes.settled()
        one.bus.offer("tea", offer(1))
        one.bus.whisper("tea", Whisper("typing", "k", "ada", memoryview(b"{}")))
        await until(lambda: ("tea", "ada") in other.whispers)
        await nodes.settled()
        assert ("tea", 1) in other.offers
        assert ("tea", 1) not in one.offers
        assert one.whispers == []

    async def test_a_room_that_was_left_and_is_listened_to_again_is_heard(self, nodes: Nodes) -> None:
        one, other = [await nodes.node() for _ in range(2)]
        other.bus.listen("tea")
        other.bus.leave("tea")
        other.bus.leave("never")
        other.bus.listen("tea")
        await nodes.settled()
        one.bus.offer("tea", offer(1))
        await until(lambda: ("tea", 1) in other.offers)

    async def test_large_documents_arrive_whole(self, nodes: Nodes) -> None:
        one, other = [await nodes.node() for _ in range(2)]
        other.bus.listen("tea")
        await nodes.settled()
        bodies = [bytes([65 + number]) * 200_000 for number in range(5)]
        for rev, body in enumerate(bodies, 1):
            one.bus.offer("tea", offer(rev, body))
        await until(lambda: ("tea", 5) in other.offers)
        assert [document for document in other.documents if document != b"{}"] == bodies


class TestTheRest:
    async def test_a_hurry_reaches_the_others(self, nodes: Nodes) -> None:
        one, other = [await nodes.node() for _ in range(2)]
        one.bus.hurry()
        await until(lambda: other.hurries == 1)
        assert one.hurries == 0

    async def test_a_bus_that_was_closed_tells_and_hears_nothing(self, nodes: Nodes) -> None:
        one, other, third = [await nodes.node() for _ in range(3)]
        for desk in (other, third):
            desk.bus.listen("tea")
        await nodes.settled()
        await other.bus.close()
        await other.bus.close()
        one.bus.offer("tea", offer(1))
        other.bus.offer("tea", offer(2))
        await until(lambda: ("tea", 1) in third.offers)
        assert ("tea", 1) not in other.offers
        assert ("tea", 2) not in third.offers
