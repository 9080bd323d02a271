"""Three real nodes over one MongoDB and one Redis: what is said on one is seen on the others at once, and Redis may do
what it likes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio
from redis import Redis

from tests.support.chat import ChatClient, chat_client
from tests.support.redisserver import RunningRedis, running_redis
from tests.support.service import RunningService, running_service, start_service
from tests.support.waiting import until

SECRET = "a secret for tests, which is long enough"
NAMES = ("n1", "n2", "n3")


class Cluster:
    """Three services, with one client in `tea` on each: `ada`, `bob` and `cyd`."""

    def __init__(self, stack: AsyncExitStack, services: list[RunningService], redis: RunningRedis) -> None:
        self._stack = stack
        self.services = services
        self.redis = redis
        self.clients: list[ChatClient] = []
        self._keys = 0

    async def begin(self) -> None:
        for user, service in zip(("ada", "bob", "cyd"), self.services, strict=True):
            self.clients.append(await self.enter(user, service))
        await self.clients[0].ok("room:create", {"kind": "public", "id": "tea", "title": "Tea"})
        for client in self.clients:
            await client.ok("room:join", {"room": "tea"})
        for service in self.services:
            await self.until_ready(service, "ready")

    async def enter(self, user: str, service: RunningService) -> ChatClient:
        return await self._stack.enter_async_context(chat_client(service.url, service.token(user=user)))

    async def say(self, client: ChatClient, body: str) -> None:
        self._keys += 1
        await client.ok("message:send", {"room": "tea", "key": f"{id(client)} {self._keys}", "body": body})

    def bodies(self, client: ChatClient) -> list[str]:
        return [document["body"] for name, document in client.events if name == "message"]

    async def seen_by_all(self, body: str, *, within_s: float = 20) -> float:
        """Until everybody has seen this; how long that took."""
        begun = time.monotonic()
        await until(lambda: all(body in self.bodies(client) for client in self.clients), within_s)
        return time.monotonic() - begun

    def check_order(self) -> None:
        """Every client has every revision once, in order; nobody was disconnected."""
        for client in self.clients:
            revs = [document["rev"] for name, document in client.events if name == "message"]
            assert revs == list(range(revs[0], revs[0] + len(revs)))
            assert not client.disconnected.is_set()

    async def until_ready(self, service: RunningService, status: str, *, within_s: float = 20) -> list[str]:
        """Until this is told by it and by its metrics; returns the reasons."""
        async with aiohttp.ClientSession() as session, asyncio.timeout(within_s):
            while True:
                async with session.get(f"{service.url}/readyz") as response:
                    answer = await response.json()
                if answer["status"] == status:
                    async with session.get(f"{service.url}/metrics") as response:
                        metrics = await response.text()
                    told = [
                        f'hubbub_readiness{{status="{status}"}} 1.0',
                        f"hubbub_cluster_hears {float(status == 'ready')}",
                    ]
                    if all(line in metrics for line in told):  # Else it has changed in between.
                        reasons: list[str] = answer["reasons"]
                        return reasons
                await asyncio.sleep(0.05)


async def came(client: ChatClient, event: str, document: object) -> None:
    await until(lambda: (event, document) in client.events)


@pytest.fixture
def redis() -> Iterator[RunningRedis]:
    with running_redis() as running:
        yield running


def settings(name: str, mongo_uri: str, redis: RunningRedis) -> dict[str, Any]:
    return {"store": mongo_uri, "redis": redis.url, "node": name, "jwt_secret": SECRET, "limits": "off", "drain_s": 4}


@pytest.fixture
async def cluster(tmp_path: Path, mongo_uri: str, redis: RunningRedis) -> AsyncIterator[Cluster]:
    async with AsyncExitStack() as stack:
        services = []
        for name in NAMES:
            (tmp_path / name).mkdir()
            running = running_service(tmp_path / name, **settings(name, mongo_uri, redis))
            services.append(await stack.enter_async_context(running))
        cluster = Cluster(stack, services, redis)
        await cluster.begin()
        yield cluster


class TestTogether:
    async def test_what_is_said_on_one_node_is_seen_on_all_at_once(self, cluster: Cluster) -> None:
        for number in range(10):
            await cluster.say(cluster.clients[number % 3], f"hello {number}")
            assert await cluster.seen_by_all(f"hello {number}") < 2
        await asyncio.gather(*(cluster.say(client, f"{number}") for number in range(20) for client in cluster.clients))
        await until(lambda: all(len(cluster.bodies(client)) == 70 for client in cluster.clients))
        cluster.check_order()
        first = [cluster.bodies(client) for client in cluster.clients]
        assert first[0] == first[1] == first[2]

    async def test_typing_and_membership_and_a_ban_are_known_at_once(self, cluster: Cluster) -> None:
        ada, bob, cyd = cluster.clients
        await bob.sio.emit("typing", {"room": "tea", "on": True}, namespace="/chat")
        await until(lambda: ("typing", {"room": "tea", "user": "bob", "on": True}) in ada.events)
        await ada.ok("room:ban", {"room": "tea", "user": "cyd", "reason": "spam"})
        await until(lambda: any(name == "room:removed" for name, _ in cyd.events), 2)
        assert (await cyd.error("message:send", {"room": "tea", "key": "k", "body": "x"}))["code"] == "banned"
        await until(lambda: any(name == "member" and news.get("left") for name, news in bob.events), 2)

    async def test_an_outside_process_tells_everybody(self, cluster: Cluster) -> None:
        outside = socketio.AsyncRedisManager(cluster.redis.url, write_only=True)
        await outside.emit("notice", {"level": "info", "text": "tea is ready"}, namespace="/chat", room="tea")
        for client in cluster.clients:
            await came(client, "notice", {"level": "info", "text": "tea is ready"})
        # What the service alone may say it alone says.
        await outside.emit("message", {"rev": 1}, namespace="/chat")
        await outside.emit("notice", {"bad": 1}, namespace="/chat")
        await outside.redis.publish("socketio", b"garbage")
        await outside.emit("marker", {"n": 1}, namespace="/chat")
        for client in cluster.clients:
            await came(client, "marker", {"n": 1})
            assert ("message", {"rev": 1}) not in client.events
            assert ("notice", {"bad": 1}) not in client.events
        await outside.redis.aclose()


class TestRedis:
    async def test_nobody_is_disconnected_and_nothing_is_lost_while_redis_is_away_and_after(
        self, cluster: Cluster
    ) -> None:
        await cluster.say(cluster.clients[0], "before")
        await cluster.seen_by_all("before")
        cluster.redis.kill()
        for service in cluster.services:
            reasons = await cluster.until_ready(service, "degraded")
            assert "Redis" in reasons[-1]
        for number in range(5):
            await cluster.say(cluster.clients[number % 3], f"away {number}")
            assert await cluster.seen_by_all(f"away {number}", within_s=10) < 8
        cluster.redis.start()
        for service in cluster.services:
            await cluster.until_ready(service, "ready")
        await cluster.say(cluster.clients[1], "after")
        assert await cluster.seen_by_all("after") < 3
        cluster.check_order()

    async def test_a_frozen_redis_is_noticed_within_seconds_and_holds_nobody_up(self, cluster: Cluster) -> None:
        cluster.redis.freeze()
        try:
            begun = time.monotonic()
            await cluster.say(cluster.clients[0], "frozen")
            assert time.monotonic() - begun < 2, "an ack waits for no Redis"
            await cluster.seen_by_all("frozen", within_s=10)
            for service in cluster.services:
                await cluster.until_ready(service, "degraded", within_s=10)
        finally:
            cluster.redis.thaw()
        for service in cluster.services:
            await cluster.until_ready(service, "ready")
        await cluster.say(cluster.clients[2], "thawed")
        await cluster.seen_by_all("thawed")
        cluster.check_order()


class TestNames:
    async def test_a_second_holder_of_a_name_refuses_to_start(
        self, cluster: Cluster, tmp_path: Path, mongo_uri: str
    ) -> None:
        with pytest.raises(RuntimeError, match="Another process is the node n1"):
            await start_service(tmp_path, **settings("n1", mongo_uri, cluster.redis))

    async def test_a_node_that_was_killed_comes_back_under_its_name(
        self, cluster: Cluster, tmp_path: Path, mongo_uri: str
    ) -> None:
        await cluster.services[0].kill()
        async with running_service(tmp_path, **settings("n1", mongo_uri, cluster.redis)) as again:
            dan = await cluster.enter("dan", again)
            await dan.ok("room:join", {"room": "tea"})
            cluster.clients = [dan, *cluster.clients[1:]]
            await cluster.say(cluster.clients[1], "welcome back")
            await cluster.seen_by_all("welcome back")

    async def test_a_node_whose_name_was_taken_while_it_stood_still_goes(self, cluster: Cluster) -> None:
        """Two of one name would be one to the others, who see only the users of the one that has it."""
        first = cluster.services[0]
        # What a machine that is halted for longer than the lease comes to, if another begins under its name.
        with Redis(port=cluster.redis.port) as client:
            client.set("hubbub:{n1}:lease", "the boot of another", px=60_000)
        assert await asyncio.wait_for(first.process.wait(), 30) == 0
        assert '"cluster.name_taken"' in first.log


class TestALostMachine:
    async def test_a_node_and_redis_that_die_together_make_no_other_unready(self, cluster: Cluster) -> None:
        """The dead node said that it hears, and says nothing else any more."""
        dead, *others = cluster.services
        await dead.kill()
        cluster.redis.kill()
        for service in others:
            await cluster.until_ready(service, "degraded")
        seen: set[str] = set()
        until_s = (
            time.monotonic() + 5.0
        )  # Somebody who believes the dead does so for as long as its beat is kept: 15 s.
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < until_s:
                for service in others:
                    async with session.get(f"{service.url}/readyz") as response:
                        seen.add((await response.json())["status"])
                await asyncio.sleep(0.1)
        assert seen == {"degraded"}
