"""Faults on the lines that real nodes have to Redis and to the store. On all nodes people talk on meanwhile; nobody is
disconnected, misses anything, or has anything twice or in another order.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
import pytest_asyncio

from tests.support.admin import AdminClient, admin_client
from tests.support.linked import NAMES, Cluster, Room, Watcher, running_cluster
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

BEHIND_S: Final = 5.0
SLACK_S: Final = 3.0
"""What tests beside these may take of the machine."""

_names = itertools.count(1)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module")
async def stack(cluster: Cluster) -> AsyncIterator[AsyncExitStack]:
    """Whatever a test did to the lines is over when its clients go."""
    async with AsyncExitStack() as stack:
        yield stack
        cluster.heal()


@pytest_asyncio.fixture(loop_scope="module")
async def room(cluster: Cluster, stack: AsyncExitStack) -> AsyncIterator[Room]:
    await cluster.wait_ready()
    room = Room(cluster, stack, f"room-{next(_names)}")
    await room.begin()
    yield room
    await room.abandon()


class TestALineToRedis:
    async def test_a_node_that_alone_does_not_hear_or_is_not_heard_is_deaf_and_its_clients_miss_nothing(
        self, cluster: Cluster, room: Room
    ) -> None:
        room.talk(("ada", "cyd"))
        began = time.monotonic()
        cluster.to_redis["n2"].stall()
        took = await cluster.wait_ready(["n2"], status="deaf")
        assert took < 2 * BEHIND_S + SLACK_S
        assert await cluster.readiness("n2") == (503, "deaf")
        assert [await cluster.readiness(name) for name in ("n1", "n3")] == [(200, "ready")] * 2
        # Nobody there has said anything that would show what is missing before it: the store was looked at.
        for user in ("bob", "pia"):
            await room.wait_hears(user, began, BEHIND_S + SLACK_S)
        room.talk(("bob", "pia"))
        # Each way by itself: one hears and cannot speak, one speaks and cannot hear.
        began = time.monotonic()
        cluster.to_redis["n2"].heal()
        cluster.to_redis["n1"].up.state = "loses"
        cluster.to_redis["n3"].down.state = "loses"
        await cluster.wait_ready(["n2"])
        await cluster.wait_ready(["n1", "n3"], status="deaf")
        assert await cluster.readiness("n2") == (200, "ready")
        await room.wait_hears("cyd", began + 0.1, BEHIND_S + SLACK_S)
        # And a line that is refused.
        cluster.to_redis["n1"].heal()
        cluster.to_redis["n3"].refuse()
        await cluster.wait_ready(["n1"])
        assert await cluster.readiness("n3") == (503, "deaf")
        cluster.to_redis["n3"].heal()
        await cluster.wait_ready(["n3"])
        await room.hush()
        behind = await room.check()
        assert behind < BEHIND_S + SLACK_S
        assert room.refused == []

    async def test_a_slow_line_makes_nobody_deaf_and_pieces_that_are_lost_are_read_from_the_store(
        self, cluster: Cluster, room: Room
    ) -> None:
        room.talk(every_s=0.05)
        for link in cluster.to_redis.values():
            link.delay(0.3, 0.3)
        count = len(room.acked) + 60
        await until(lambda: len(room.acked) >= count)
        assert [await cluster.readiness(name) for name in NAMES] == [(200, "ready")] * 3
        cluster.heal()
        lossy = cluster.to_redis["n2"].down
        lossy.loss = 0.3
        count = len(room.acked) + 60
        await until(lambda: len(room.acked) >= count)
        await room.hush()
        behind = await room.check()
        assert lossy.lost > 0
        assert behind < BEHIND_S + SLACK_S
        assert room.refused == []


class TestALineToTheStore:
    async def test_a_node_without_it_acknowledges_nothing_and_its_clients_hear_the_others(
        self, cluster: Cluster, room: Room
    ) -> None:
        await room.say("bob")
        await until(lambda: all(len(client.of("message")) == 1 for client in room.clients.values()))
        cluster.to_store["n2"].stall("loses")
        held = asyncio.ensure_future(room.say("bob"))
        for number in range(2, 12):
            await room.say("ada" if number % 2 else "cyd")
        bob = room.clients["bob"]
        await until(lambda: len(bob.of("message")) == 11, BEHIND_S + SLACK_S)
        assert not held.done()
        assert await cluster.readiness("n1") == (200, "ready")
        await cluster.wait_ready(["n2"], status="degraded")
        assert await cluster.readiness("n2") == (200, "degraded")
        cluster.to_store["n2"].heal()
        cluster.to_store["n2"].cut()
        await held
        await cluster.wait_ready(["n2"])
        await room.check()
        assert set(room.refused) <= {"unavailable"}


class TestWithoutRedis:
    async def test_orders_take_effect_on_other_nodes_within_a_second_and_presence_is_true_again_at_once(
        self, cluster: Cluster, room: Room, stack: AsyncExitStack
    ) -> None:
        root = await stack.enter_async_context(
            admin_client(cluster.nodes["n1"].url, cluster.token("root", roles=["admin"]))
        )
        victims = {
            name: await cluster.enter(stack, f"{name}-{room.name}", "n3") for name in ("eve", "fay", "gus", "hal")
        }
        for victim in victims.values():
            await victim.ok("room:join", {"room": room.name})
        watchers = [
            await stack.enter_async_context(Watcher.watching(cluster, node, room.name)) for node in ("n1", "n3")
        ]
        everybody = {f"{user}-{room.name}" for user in (*room.clients, *victims)}
        await until(lambda: all(watcher.present == everybody for watcher in watchers))
        room.talk()

        cluster.redis.freeze()
        took = [
            await effect(root, "user:ban", {"user": f"eve-{room.name}", "reason": "spam"}, victims["eve"]),
            await effect(root, "token:revoke", {"user": f"fay-{room.name}", "reason": "lost"}, victims["fay"]),
        ]
        cluster.redis.kill()
        took += [
            await effect(root, "user:disconnect", {"user": f"gus-{room.name}", "reason": "test"}, victims["gus"]),
            await kicked(room, f"hal-{room.name}", victims["hal"]),
        ]
        assert max(took) < 1 + SLACK_S / 3, took
        await cluster.wait_ready(status="degraded")
        for watcher in watchers:
            watcher.history.clear()

        cluster.redis.start()
        back = time.monotonic()
        await cluster.wait_ready()
        there = {f"{user}-{room.name}" for user in room.clients}
        await until(lambda: all(watcher.present == there for watcher in watchers))
        # A snapshot is what the registry has.
        await until_async(lambda: shows(watchers, there))
        assert time.monotonic() - back < 10 + SLACK_S
        for watcher in watchers:
            assert not {user for _, word, user in watcher.history if word == "left"} & there
        await room.hush()
        assert await room.check() < BEHIND_S + SLACK_S
        assert room.refused == []


async def effect(root: AdminClient, event: str, request: Any, victim: Any) -> float:
    """How long it is from the ack of an order to its effect on a connection at another node."""
    await root.ok(event, request)
    begun = time.monotonic()
    await asyncio.wait_for(victim.disconnected.wait(), 20)
    return time.monotonic() - begun


async def kicked(room: Room, user: str, victim: Any) -> float:
    await room.clients["ada"].ok("room:kick", {"room": room.name, "user": user})
    begun = time.monotonic()
    await victim.wait_for("room:removed")
    return time.monotonic() - begun


async def shows(watchers: list[Watcher], there: set[str]) -> bool:
    for watcher in watchers:
        await watcher.watch()
    return all(watcher.present == there for watcher in watchers)


async def until_async(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(20):
        while not await what():
            await asyncio.sleep(0.05)
