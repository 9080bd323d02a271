"""Two real nodes over a Redis Cluster: rooms go by its shards, the rest by any of its servers, and a shard may fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import socketio

from tests.support.chat import ChatClient, chat_client
from tests.support.rediscluster import RunningCluster, running_cluster
from tests.support.service import RunningService, running_service
from tests.support.waiting import until

SECRET = "a secret for tests, which is long enough"
ROOMS = [f"room-{number}" for number in range(8)]
"""So many that every shard has some, or nearly certainly so: their channels are named after ids made at random."""


@dataclass
class Site:
    """`ada` is on the one node, `bob` on the other, both in all rooms."""

    redis: RunningCluster
    services: list[RunningService]
    ada: ChatClient
    bob: ChatClient

    async def say_everywhere(self, body: str, *, within_s: float) -> None:
        """Each says this in every room, and the other sees all of it in time."""
        for client in (self.ada, self.bob):
            for room in ROOMS:
                await client.ok("message:send", {"room": room, "key": f"{id(client)} {body}", "body": body})
        for client in (self.ada, self.bob):
            await until(lambda client=client: seen(client, body) == 2 * len(ROOMS), within_s)  # type: ignore[misc]

    async def until_ready(self, status: str) -> None:
        async with aiohttp.ClientSession() as session, asyncio.timeout(30):
            for service in self.services:
                while True:
                    async with session.get(f"{service.url}/readyz") as response:
                        if (await response.json())["status"] == status:
                            break
                    await asyncio.sleep(0.05)


def seen(client: ChatClient, body: str) -> int:
    return sum(name == "message" and document["body"] == body for name, document in client.events)


@pytest.fixture
async def site(tmp_path: Path, mongo_uri: str) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(running_cluster(with_replicas=True, node_timeout_ms=500))
        services = []
        for name in ("n1", "n2"):
            (tmp_path / name).mkdir()
            service = running_service(
                tmp_path / name, store=mongo_uri, redis=redis.url, node=name, jwt_secret=SECRET, limits="off", drain_s=2
            )
            services.append(await stack.enter_async_context(service))
        ada, bob = [
            await stack.enter_async_context(chat_client(service.url, service.token(user=user)))
            for user, service in zip(("ada", "bob"), services, strict=True)
        ]
        for room in ROOMS:
            await ada.ok("room:create", {"kind": "public", "id": room, "title": room})
            for client in (ada, bob):
                await client.ok("room:join", {"room": room})
        site = Site(redis, services, ada, bob)
        await site.until_ready("ready")
        yield site


def listeners(redis: RunningCluster) -> list[int]:
    """How many channels of rooms each master has."""
    return [len(redis.ask(server, "PUBSUB", "SHARDCHANNELS", "hubbub:room:*")) for server in redis.masters]


class TestTogether:
    async def test_messages_and_all_else_cross_nodes_and_a_master_that_dies_is_survived(self, site: Site) -> None:
        await until(lambda: sum(listeners(site.redis)) == len(ROOMS))
        await site.say_everywhere("hello", within_s=4)
        for server in site.redis.servers:
            assert site.redis.ask(server, "PUBSUB", "CHANNELS", "hubbub:room:*") == []
        await site.bob.sio.emit("typing", {"room": ROOMS[0], "on": True}, namespace="/chat")
        await until(lambda: ("typing", {"room": ROOMS[0], "user": "bob", "on": True}) in site.ada.events)
        outside = socketio.AsyncRedisManager(f"redis://127.0.0.1:{site.redis.masters[1].port}", write_only=True)
        await outside.emit("notice", {"level": "info", "text": "tea"}, namespace="/chat", room=ROOMS[0])
        for client in (site.ada, site.bob):
            await until(lambda client=client: ("notice", {"level": "info", "text": "tea"}) in client.events)  # type: ignore[misc]
        await outside.redis.aclose()

        await asyncio.to_thread(site.redis.masters[0].kill)
        await site.say_everywhere("while a master is away", within_s=10)
        site.redis.masters[0] = site.redis.replicas[0]
        await until(lambda: sum(listeners(site.redis)) == len(ROOMS))
        await site.until_ready("ready")
        await site.say_everywhere("after", within_s=4)
        for client in (site.ada, site.bob):
            for room in ROOMS:
                revs = [
                    document["rev"]
                    for name, document in client.events
                    if name == "message" and document["room"] == room
                ]
                assert revs == list(range(revs[0], revs[0] + 6))
            assert not client.disconnected.is_set()
