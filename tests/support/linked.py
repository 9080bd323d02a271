"""Three real nodes over one MongoDB and one Redis, each with lines of its own to both, which can be spoiled; and people
who talk on all of them, and are told by the store itself whether they missed anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import aiohttp
import socketio

from hubbub.history.mongo import MongoHistory
from tests.support.chat import ChatClient, chat_client
from tests.support.links import Link, running_link
from tests.support.mongodb import MongoProcess, own_mongo, with_database
from tests.support.redisserver import RunningRedis, running_redis
from tests.support.service import RunningService, start_service
from tests.support.waiting import until

__all__ = ["NAMES", "Cluster", "Room", "Watcher", "running_cluster"]

NAMES: Final = ("n1", "n2", "n3")
SECRET: Final = "a secret that all nodes of a test share"
PATIENCE_S: Final = 30.0


class Cluster:
    """`nodes`, and the lines `to_redis` and `to_store` of each, by name."""

    def __init__(self, directory: Path, mongo: MongoProcess, redis: RunningRedis, stack: AsyncExitStack) -> None:
        self.nodes: dict[str, RunningService] = {}
        self.to_redis: dict[str, Link] = {}
        self.to_store: dict[str, Link] = {}
        self.redis = redis
        self.store = with_database(mongo.uri, "linked")
        self._directory = directory
        self._mongo = mongo
        self._stack = stack

    async def start(self, name: str, **settings: Any) -> RunningService:
        """Start a node, or one that was stopped again. Returns when it listens."""
        if name not in self.to_redis:
            seed = len(self.to_redis)
            self.to_redis[name] = await self._stack.enter_async_context(running_link(self.redis.port, seed=seed))
            self.to_store[name] = await self._stack.enter_async_context(running_link(self._mongo.port, seed=seed))
        home = self._directory / name
        home.mkdir(exist_ok=True)
        node = await start_service(
            home,
            # Else the driver goes where the server says that it is, past the line.
            store=f"mongodb://127.0.0.1:{self.to_store[name].port}/linked?directConnection=true",
            redis=f"redis://127.0.0.1:{self.to_redis[name].port}/0",
            node=name,
            jwt_secret=SECRET,
            limits="off",
            drain_s=4,
            **settings,
        )
        self.nodes[name] = node
        return node

    def token(self, user: str, **claims: Any) -> str:
        return next(iter(self.nodes.values())).token(user=user, **claims)

    async def enter(self, stack: AsyncExitStack, user: str, node: str, **options: Any) -> ChatClient:
        return await stack.enter_async_context(chat_client(self.nodes[node].url, self.token(user), **options))

    async def readiness(self, name: str) -> tuple[int, str]:
        """What `/readyz` says: its status code and its word."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.nodes[name].url}/readyz") as answer:
            return answer.status, (await answer.json())["status"]

    async def wait_ready(self, names: Sequence[str] = NAMES, *, status: str = "ready") -> float:
        """Until each of them says this; how long that took, in seconds."""
        begun = time.monotonic()
        for name in names:
            said = (0, "")
            try:
                async with asyncio.timeout(PATIENCE_S):
                    while (said := await self.readiness(name))[1] != status:
                        await asyncio.sleep(0.05)
            except TimeoutError:
                raise AssertionError(f"{name} is not {status}, but {said}") from None
        return time.monotonic() - begun

    def heal(self) -> None:
        for link in (*self.to_redis.values(), *self.to_store.values()):
            link.heal()


class Room:
    """A room with a client on each node (two on the second, one of which polls), who talk as long as they are told to.

    A send that has no `ok` is repeated with its key, as clients do; `acked` is when each body had its first `ok`.
    """

    def __init__(self, cluster: Cluster, stack: AsyncExitStack, name: str) -> None:
        self.name = name
        self.clients: dict[str, ChatClient] = {}
        self.acked: dict[str, float] = {}
        self.refused: list[str] = []
        self.uid = ""
        self._cluster = cluster
        self._stack = stack
        self._keys = itertools.count(1)
        self._talkers: list[asyncio.Task[None]] = []
        self._is_over = False

    async def begin(self) -> None:
        for node, user, transport in zip(
            (*NAMES, "n2"), ("ada", "bob", "cyd", "pia"), (*["websocket"] * 3, "polling"), strict=True
        ):
            name = f"{user}-{self.name}"
            self.clients[user] = await self._cluster.enter(self._stack, name, node, transports=[transport])
        await self.clients["ada"].ok("room:create", {"kind": "public", "id": self.name, "title": self.name})
        for client in self.clients.values():
            self.uid = (await client.ok("room:join", {"room": self.name}))["room"]["epoch"]

    async def say(self, user: str) -> float:
        """Send one message until it is acknowledged; how long that took."""
        begun = time.monotonic()
        body = f"{user} says {next(self._keys)}"
        request = {"room": self.name, "key": body, "body": body}
        while not (ack := await self.clients[user].call("message:send", request))["ok"]:
            self.refused.append(ack["error"]["code"])
            assert ack["error"]["retryable"], ack
            await asyncio.sleep(0.1)
        self.acked[body] = time.monotonic()
        return self.acked[body] - begun

    def talk(self, users: Sequence[str] = ("ada", "bob", "cyd"), *, every_s: float = 0.15) -> None:
        """Everybody goes on talking, until `hush`."""
        self._is_over = False
        self._talkers += [asyncio.ensure_future(self._talk(user, every_s)) for user in users]

    async def hush(self) -> None:
        """Nobody begins a message any more, and all that were begun are acknowledged."""
        self._is_over = True
        talkers, self._talkers = self._talkers, []
        await asyncio.gather(*talkers)

    async def wait_hears(self, user: str, since: float, within_s: float) -> None:
        """Until a client has a message that was acknowledged to somebody else after `since`, monotonic."""

        def hears() -> bool:
            bodies = [message["body"] for message in reversed(self.clients[user].of("message"))]
            return any(self.acked.get(body, 0) > since and not body.startswith(user) for body in bodies)

        try:
            await until(hears, within_s)
        except TimeoutError:
            raise AssertionError(f"{user} hears nothing of others within {within_s} s") from None

    async def abandon(self) -> None:
        for talker in self._talkers:
            talker.cancel()
        if self._talkers:
            await asyncio.wait(self._talkers)

    async def check(self) -> float:
        """Everything that was acknowledged is stored once, and every client had it by revision, once, in order, and was
        never disconnected. Returns by how much the latest event was behind the ack of its sender, in seconds.
        """
        count = len(self.acked)
        assert count > 0
        for user, client in self.clients.items():
            with contextlib.suppress(TimeoutError):  # What is missing is told below.
                await until(lambda client=client: len(client.of("message")) >= count, PATIENCE_S)  # type: ignore[misc]
            revs = [message["rev"] for message in client.of("message")]
            assert revs == list(range(1, count + 1)), (user, [rev for rev in range(1, count + 1) if rev not in revs])
            assert not client.disconnected.is_set(), user
            assert client.of("gap") == [], user
        stored = await self._stored()
        assert sorted(stored) == sorted(self.acked)
        for user, client in self.clients.items():
            assert [message["body"] for message in client.of("message")] == stored, user
        return max(self._behind(client) for client in self.clients.values())

    async def _talk(self, user: str, every_s: float) -> None:
        while not self._is_over:
            await self.say(user)
            await asyncio.sleep(every_s)

    def _behind(self, client: ChatClient) -> float:
        came = zip(client.events, client.times, strict=True)
        return max(at - self.acked[document["body"]] for (name, document), at in came if name == "message")

    async def _stored(self) -> list[str]:
        history = MongoHistory(self._cluster.store)
        await history.open()
        try:
            head = await history.head(self.uid)
            return [message.body for _, message in await history.revisions(self.uid, after=0, upto=head)]
        finally:
            await history.close()


class Watcher:
    """Who is in a room, as `/presence` of a node tells it. `history` is each user who came or went, and when."""

    def __init__(self, sio: socketio.AsyncClient, room: str) -> None:
        self.present: set[str] = set()
        self.history: list[tuple[float, str, str]] = []
        self.version = 0
        self._sio = sio
        self._room = room
        sio.on("presence", self._take, namespace="/presence")

    def times(self, what: str, user: str) -> list[float]:
        """When the user `joined` or `left`."""
        return [at for at, word, who in self.history if (word, who) == (what, user)]

    async def watch(self) -> None:
        """Ask for the room as it stands."""
        ack = await self._sio.call("presence:watch", {"rooms": [self._room]}, namespace="/presence", timeout=PATIENCE_S)
        assert ack["ok"], ack
        shown = ack["data"]["rooms"][self._room]
        self.version = shown["version"]
        self.present = {user["id"] for user in shown["users"]}

    def _take(self, news: Any) -> None:
        assert news["version"] == self.version + 1, news
        assert "users" not in news, news
        self.version = news["version"]
        now = time.monotonic()
        self.history += [(now, "left", user) for user in news["left"]]
        self.history += [(now, "joined", user["id"]) for user in news["joined"]]
        self.present = (self.present - set(news["left"])) | {user["id"] for user in news["joined"]}
        assert news["count"] == len(self.present), news

    @classmethod
    @contextlib.asynccontextmanager
    async def watching(cls, cluster: Cluster, node: str, room: str) -> AsyncIterator[Watcher]:
        sio = socketio.AsyncClient(reconnection=False)
        watcher = cls(sio, room)
        auth = {"token": cluster.token(f"watcher-{node}")}
        await sio.connect(cluster.nodes[node].url, auth=auth, namespaces=["/presence"], transports=["websocket"])
        try:
            await watcher.watch()
            yield watcher
        finally:
            await sio.disconnect()
            await sio.shutdown()


@contextlib.asynccontextmanager
async def running_cluster(directory: Path, **settings: Any) -> AsyncIterator[Cluster]:
    """All nodes ready; gone at the end."""
    async with AsyncExitStack() as stack:
        mongo = stack.enter_context(own_mongo(directory / "mongo"))
        redis = stack.enter_context(running_redis())
        cluster = Cluster(directory, mongo, redis, stack)
        try:
            await asyncio.gather(*(cluster.start(name, **settings) for name in NAMES))
            await cluster.wait_ready()
            yield cluster
        finally:
            await asyncio.gather(*(node.kill() for node in cluster.nodes.values()))
