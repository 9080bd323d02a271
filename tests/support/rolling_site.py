"""Three nodes behind Nginx, one MongoDB and one Redis: what a deployment of several nodes is, on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp

from hubbub.history.base import History
from hubbub.history.mongo import MongoHistory
from tests.support.chaos_ledger import StoredRoom
from tests.support.mongodb import MongoProcess, with_database
from tests.support.nginx import RunningNginx, running_nginx
from tests.support.redisserver import RunningRedis, running_redis
from tests.support.service import RunningService, start_service

__all__ = ["NAMES", "Site", "running_site"]

NAMES: Final = ("n1", "n2", "n3")
SECRET: Final = "a secret that all nodes of a test share"
READY_S: Final = 60.0
LATE_S: Final = 20.0
"""How much longer than it has a node is waited for, so that it is seen how much too late it was."""


class Site:
    """`nodes` are the processes that run now, by name."""

    def __init__(self, directory: Path, mongo: MongoProcess, redis: RunningRedis, settings: dict[str, Any]) -> None:
        self.nodes: dict[str, RunningService] = {}
        self.redis = redis
        self.nginx: RunningNginx | None = None
        self._directory = directory
        self._store = with_database(mongo.uri, "rolling")
        self._settings = settings

    @property
    def url(self) -> str:
        assert self.nginx is not None
        return self.nginx.url

    def token(self, user: str, **claims: Any) -> str:
        return next(iter(self.nodes.values())).token(user=user, **claims)

    async def start(self, name: str, *, redis_port: int | None = None) -> RunningService:
        """Start a node, at the same address as before; returns when it listens. `redis_port` is that of whoever passes
        on what it says to Redis and hears from it.
        """
        home = self._directory / name
        home.mkdir(exist_ok=True)
        before = self.nodes.get(name)
        node = await start_service(
            home,
            store=self._store,
            redis=self.redis.url if redis_port is None else f"redis://127.0.0.1:{redis_port}/0",
            node=name,
            jwt_secret=SECRET,
            limits="off",
            trusted_proxies="127.0.0.1/32",
            **self._settings,
            port=0 if before is None else before.port,
        )
        self.nodes[name] = node
        return node

    async def stop(self, name: str) -> float:
        """SIGTERM; returns how long it took to end, in seconds. Raises `AssertionError` unless it ended well."""
        begun = time.monotonic()
        node = self.nodes[name]
        node.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(self._settings["drain_s"] + LATE_S):
            status = await node.process.wait()
        assert status == 0, (name, status, self.nodes[name].log[-4000:])
        return time.monotonic() - begun

    async def wait_ready(self, names: Iterable[str] = NAMES, *, status: str = "ready") -> None:
        """Until these nodes say at `/readyz` that they are `status`."""
        answer: Mapping[str, Any] = {}
        async with aiohttp.ClientSession() as session:
            try:
                async with asyncio.timeout(READY_S):
                    for name in names:
                        while (answer := await self._readiness(name, session))["status"] != status:
                            await asyncio.sleep(0.1)
            except TimeoutError:
                raise AssertionError(f"{name} is not {status}, but {answer}") from None

    async def _readiness(self, name: str, session: aiohttp.ClientSession) -> Mapping[str, Any]:
        try:
            async with session.get(f"{self.nodes[name].url}/readyz") as response:
                found: Mapping[str, Any] = await response.json()
                return found
        except aiohttp.ClientError:
            return {"status": "away"}

    def history(self) -> History:
        return MongoHistory(self._store)

    async def rooms(self, names: Iterable[str]) -> list[StoredRoom]:
        """The rooms as the store itself has them."""
        history: Any = self.history()
        await history.open()
        try:
            found = []
            for name in names:
                room = await history.room(name)
                revisions = await history.revisions(room.uid, after=0, upto=room.head)
                found.append(StoredRoom(name, room.head, revisions))
            return found
        finally:
            await history.close()


@contextlib.asynccontextmanager
async def running_site(directory: Path, mongo: MongoProcess, **settings: Any) -> AsyncIterator[Site]:
    """Everything is there and ready; gone at the end."""
    with running_redis() as redis:
        site = Site(directory, mongo, redis, settings)
        try:
            await asyncio.gather(*(site.start(name) for name in NAMES))
            addresses = {name: f"127.0.0.1:{node.port}" for name, node in site.nodes.items()}
            async with running_nginx(directory / "nginx", addresses) as nginx:
                site.nginx = nginx
                await site.wait_ready()
                yield site
        finally:
            await asyncio.gather(*(node.kill() for node in site.nodes.values()))
