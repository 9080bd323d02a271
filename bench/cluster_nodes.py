"""Real nodes over one MongoDB and one Redis, and what each of their processes spends.

`Place` is the stores and the nodes: `n1` and `n2` are joined, `alone` is a third that has nobody, on a database of its
own. Stock servers with python-socketio's Redis manager stand beside them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import redis

from bench.crowd import Crowd, crowd, member_of
from bench.processes import ROOT, Server, running
from bench.seed import users
from bench.senders import Sender, body_of, senders
from bench.servers import SECRET, Target
from hubbub.history.base import Person, Room, Standing
from hubbub.history.mongo import MongoHistory
from tests.support.mongodb import shared_mongo, with_database
from tests.support.redisserver import RunningRedis, running_redis

__all__ = ["BODY_BYTES", "Pair", "Place", "Round", "members_of", "pair", "place"]

BODY_BYTES: Final = 100
IDLE_S: Final = 1.5
WARM_UP_S: Final = 0.3


@dataclass(frozen=True)
class Place:
    """What is measured."""

    n1: Target
    n2: Target
    alone: Target
    stock: tuple[Target, Target]
    relay: Target
    redis: RunningRedis

    def published(self) -> int:
        """How often anybody has published, since the beginning."""
        with redis.Redis(port=self.redis.port) as client:
            return int(client.info("commandstats").get("cmdstat_publish", {}).get("calls", 0))

    def bytes_to(self, target: Target) -> int:
        """How many bytes this process has received from Redis over the connections that it has now."""
        lines = subprocess.run(
            ["ss", "-tinpH", "dst", "127.0.0.1", "dport", "=", f":{self.redis.port}"],
            capture_output=True, text=True, check=True,
        ).stdout.splitlines()  # fmt: skip
        mine = f"pid={target.server.process.pid},"
        return sum(
            int(match.group(1))
            for line, detail in zip(lines[::2], lines[1::2], strict=True)
            if mine in line and (match := re.search(r"bytes_received:(\d+)", detail))
        )


@dataclass
class Pair:
    """A sender and those who hear it, on any servers. `audience` counts what comes to `size` connections in all."""

    room: str
    event: str
    sender: Sender
    audience: Crowd
    size: int

    async def send(self, key: str, window: int, duration_s: float) -> int:
        """Send for a while, until everybody has everything; returns how many messages that was."""
        acks, messages = self.sender.acks, self.audience.messages
        self.sender.begin(room=self.room, event=self.event, key=key, body=body_of(BODY_BYTES), window=window)
        await asyncio.sleep(duration_s)
        await self.sender.finish()
        count = self.sender.acks - acks
        await self.audience.wait_messages(messages + count * self.size)
        self.audience.check()
        return count


@dataclass
class Round:
    """What one piece of sending was, and what each server spent on it beyond what it spends idle, in seconds."""

    messages: int
    wall_s: float
    cpu_s: dict[Server, float] = field(default_factory=dict)
    published: int = 0
    bytes: int = 0

    @classmethod
    async def of(
        cls, place: Place, pairs: Sequence[Pair], servers: Sequence[Target], key: str, window: int, duration_s: float
    ) -> Round:
        """Warm up, look at what the servers spend while nothing is sent, and send in all rooms at once."""
        await asyncio.gather(*(each.send(f"{key}-w", window, WARM_UP_S) for each in pairs))
        idle, began = _cpu(servers), time.monotonic()
        await asyncio.sleep(IDLE_S)
        idle_s, idle_wall_s = _less(_cpu(servers), idle), time.monotonic() - began
        busy, began, published, bytes = _cpu(servers), time.monotonic(), place.published(), place.bytes_to(place.n2)
        counts = await asyncio.gather(*(each.send(key, window, duration_s) for each in pairs))
        busy_s, wall_s = _less(_cpu(servers), busy), time.monotonic() - began
        return cls(
            sum(counts),
            wall_s,
            {server: spent - idle_s[server] * wall_s / idle_wall_s for server, spent in busy_s.items()},
            place.published() - published,
            place.bytes_to(place.n2) - bytes,
        )


def _cpu(servers: Sequence[Target]) -> dict[Server, float]:
    return {target.server: target.server.cpu_s() for target in servers}


def _less(now: Mapping[Server, float], then: Mapping[Server, float]) -> dict[Server, float]:
    return {server: now[server] - then[server] for server in now}


def members_of(room: str, count: int) -> list[str]:
    """Who is in a room: its sender, and so many others."""
    return [f"{room}-sender-0", *users(f"{room}-member", count)]


async def pair(
    stack: contextlib.AsyncExitStack, room: str, sender: Target, audience: Sequence[tuple[Target, int]]
) -> Pair:
    """A sender on one server, and so many members of the room on others."""
    heard = await stack.enter_async_context(crowd())
    first = 0
    for target, count in audience:
        await heard.open(target, users(f"{room}-member", count, first=first), member_of(target, room))
        first += count
    (opened,) = await senders(sender, 1, prefix=f"{room}-sender")
    return Pair(room, sender.spread_event, opened, heard, first)


@contextlib.asynccontextmanager
async def place(data: Path, rooms: Mapping[str, Sequence[str]]) -> AsyncIterator[Place]:
    """Everything, with these rooms and their members in both databases; data go to `data`."""
    async with contextlib.AsyncExitStack() as stack:
        mongo = stack.enter_context(shared_mongo(data / "mongo"))
        joined, lone = (with_database(mongo.uri, f"hubbub_bench_{os.getpid()}_{name}") for name in ("joined", "alone"))
        server = stack.enter_context(running_redis())
        for uri in (joined, lone):
            await _seed(uri, rooms)
        nodes = [
            await stack.enter_async_context(_hubbub(name, uri, further))
            for name, uri, further in (
                ("n1", joined, {"HUBBUB_REDIS": server.url}),
                ("n2", joined, {"HUBBUB_REDIS": server.url}),
                ("alone", lone, {}),
            )
        ]
        stock = [await stack.enter_async_context(_stock(name, server.url)) for name in ("stock 1", "stock 2")]
        relay = await stack.enter_async_context(
            _relay(server.port, [f"hubbub:room:seed{n}" for n in range(len(rooms))])
        )
        place = Place(*nodes, (stock[0], stock[1]), relay, server)
        await _until_they_hear(place)
        yield place


async def _seed(uri: str, rooms: Mapping[str, Sequence[str]]) -> None:
    history = MongoHistory(uri)
    await history.open()
    try:
        now = int(time.time() * 1000)
        for number, (room, members) in enumerate(rooms.items()):
            standings = [
                (Standing(user, "member" if index else "owner", joined_at=now), Person(user, user))
                for index, user in enumerate(members)
            ]
            record = Room(f"seed{number}", room, "public", room, "", 5000, 0, now)
            await history.create_room(record, standings)
    finally:
        await history.close()


@contextlib.asynccontextmanager
async def _hubbub(name: str, uri: str, further: Mapping[str, str]) -> AsyncIterator[Target]:
    environ = {
        "PYTHONPATH": str(ROOT / "service"),
        "HUBBUB_STORE": uri,
        "HUBBUB_NODE": name,
        "HUBBUB_PORT": "0",
        "HUBBUB_LIMITS": "off",
        "HUBBUB_LOG_FORMAT": "json",
        "HUBBUB_JWT_SECRET": SECRET,
        **further,
    }
    async with running(name, [sys.executable, "-m", "hubbub", "serve"], environ=environ) as server:
        yield Target(server, True, "message:send")


@contextlib.asynccontextmanager
async def _stock(name: str, url: str) -> AsyncIterator[Target]:
    async with running(name, [sys.executable, "-m", "bench.stock_server", url]) as server:
        yield Target(server, False, "room:spread")


@contextlib.asynccontextmanager
async def _relay(port: int, channels: Sequence[str]) -> AsyncIterator[Target]:
    """The floor, and somebody who takes what it passes on."""
    async with running("relay", [sys.executable, "-m", "bench.cluster_relay", str(port), *channels]) as server:
        address = urlsplit(server.url)
        transport, _ = await asyncio.get_running_loop().create_connection(
            asyncio.Protocol, address.hostname, address.port
        )
        yield Target(server, False, "")
        transport.abort()


async def _until_they_hear(place: Place) -> None:
    """Both nodes have their ears, which is when their canaries are listened to."""
    async with asyncio.timeout(20):
        while True:
            with redis.Redis(port=place.redis.port) as client:
                if len(client.pubsub_channels("hubbub:canary:*")) == 2:
                    return
            await asyncio.sleep(0.1)
