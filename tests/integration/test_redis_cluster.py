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
"""Their channels are named after ids made at random, so they are on several shards nearly always."""


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

    async def until_typing_crosses(self) -> None:
        """Bob types in every room, until ada has seen it in all. Only the bus tells of that: it is in no store."""
        mark, is_on = len(self.ada.events), True
        async with asyncio.timeout(40):
            while {document["room"] for name, document in self.ada.events[mark:] if is_typing(name, document)} != {
                *ROOMS
            }:
                for room in ROOMS:
                    await self.bob.sio.emit("typing", {"room": room, "on": is_on}, namespace="/chat")
                is_on = not is_on
                await asyncio.sleep(0.6)  # More often than each half second it is not passed on.

    async def until_ready(self, status: str) -> None:
        answer: dict[str, object] = {}
        async with aiohttp.ClientSession() as session:
            for service in self.services:
                try:
                    async with asyncio.timeout(40):
                        while answer.get("status") != status:
                            await asyncio.sleep(0.05)
                            async with session.get(f"{service.url}/readyz") as response:
                                answer = await response.json()
                except TimeoutError:
                    raise AssertionError(f"{answer} {service.log}") from None
                answer = {}


def is_typing(name: str, document: dict[str, object]) -> bool:
    return name == "typing" and document["on"] is True


def seen(client: ChatClient, body: str) -> int:
    return sum(name == "message" and document["body"] == body for name, document in client.events)


@pytest.fixture
async def site(tmp_path: Path, mongo_uri: str) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        redis = stack.enter_context(running_cluster(with_replicas=True, node_timeout_ms=1000))
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
        await site.say_everywhere("hello", within_s=20)
        for server in site.redis.servers:
            assert site.redis.ask(server, "PUBSUB", "CHANNELS", "hubbub:room:*") == []
        await site.until_typing_crosses()
        outside = socketio.AsyncRedisManager(f"redis://127.0.0.1:{site.redis.masters[1].port}", write_only=True)
        await outside.emit("notice", {"level": "info", "text": "tea"}, namespace="/chat", room=ROOMS[0])
        for client in (site.ada, site.bob):
            await until(lambda client=client: ("notice", {"level": "info", "text": "tea"}) in client.events)  # type: ignore[misc]
        await outside.redis.aclose()

        shards = listeners(site.redis)
        number = shards.index(max(shards))
        await asyncio.to_thread(site.redis.masters[number].kill)
        await site.say_everywhere("while a master is away", within_s=30)
        site.redis.masters[number] = site.redis.replicas[number]
        await until(lambda: listeners(site.redis) == shards, 40)
        await site.until_typing_crosses()
        await site.until_ready("ready")
        await site.say_everywhere("after", within_s=20)
        for client in (site.ada, site.bob):
            for room in ROOMS:
                revs = [
                    document["rev"]
                    for name, document in client.events
                    if name == "message" and document["room"] == room
                ]
                assert revs == list(range(revs[0], revs[0] + 6))
            assert not client.disconnected.is_set()
