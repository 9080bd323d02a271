"""What docs/howto/emit-from-outside.md shows does what it says, on two nodes, as the user of Redis that it makes."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import pytest
import socketio
from redis import Redis

from hubbub.transport.shared_manager import CHANNEL
from tests.support.chat import ChatClient, chat_client
from tests.support.redisserver import RunningRedis, running_redis
from tests.support.service import RunningService, running_service
from tests.support.tree import ROOT
from tests.support.waiting import until

PAGE: Final = (ROOT / "docs/howto/emit-from-outside.md").read_text(encoding="utf-8")
SECRET: Final = "a secret for tests, which is long enough"
PASSWORD: Final = "pass-of-tests-3c95d0"

KETTLE: Final = ("notice", {"level": "info", "text": "The kettle is on."})
SHIPPED: Final = ("shop:shipped", {"order": 4711})
CLOSING: Final = ("notice", {"level": "warning", "text": "We close in ten minutes."})


@pytest.fixture
def redis() -> Iterator[RunningRedis]:
    with running_redis() as running:
        yield running


@pytest.fixture
def address(redis: RunningRedis) -> str:
    """Of the user that the page makes for back ends."""
    found = re.search(r"^ACL SETUSER backend .*$", PAGE, re.MULTILINE)
    assert found is not None
    with Redis(port=redis.port) as client:
        client.execute_command(*found[0].replace("PASSWORD", PASSWORD).split())
    return f"redis://backend:{PASSWORD}@127.0.0.1:{redis.port}/0"


@pytest.fixture
async def nodes(tmp_path: Path, mongo_uri: str, redis: RunningRedis) -> AsyncIterator[list[RunningService]]:
    async with AsyncExitStack() as stack:
        starts = []
        for name in ("n1", "n2"):
            (tmp_path / name).mkdir()
            values: dict[str, Any] = {"store": mongo_uri, "redis": redis.url, "node": name, "jwt_secret": SECRET}
            running = running_service(tmp_path / name, **values, drain_s=2)
            starts.append(stack.enter_async_context(running))
        yield await asyncio.gather(*starts)


@pytest.fixture
async def clients(nodes: list[RunningService], redis: RunningRedis) -> AsyncIterator[dict[str, ChatClient]]:
    """Ada on either node, and others; those whose names say so are in the room."""
    places = {"ada in tea": 0, "ada": 1, "bob in tea": 1, "cyd": 0}
    async with AsyncExitStack() as stack:
        entered: dict[str, ChatClient] = {}
        for name, node in places.items():
            token = nodes[node].token(user=name[:3])
            entered[name] = await stack.enter_async_context(chat_client(nodes[node].url, token))
        await entered["ada in tea"].ok("room:create", {"kind": "public", "id": "tea", "title": "Tea"})
        for name, client in entered.items():
            if "in tea" in name:
                await client.ok("room:join", {"room": "tea"})
        with Redis(port=redis.port) as watch:
            await until(lambda: dict(watch.pubsub_numsub(CHANNEL))[CHANNEL.encode()] == len(nodes))
        yield entered


def told(client: ChatClient) -> list[tuple[str, Any]]:
    """What came from outside, up to the end that tests mark."""
    return [event for event in client.events if event[0] in ("notice", "shop:shipped", "message")]


class TestEmitFromOutside:
    async def test_the_program_reaches_a_room_a_user_and_everybody_on_both_nodes(
        self, clients: dict[str, ChatClient], redis: RunningRedis, address: str, tmp_path: Path
    ) -> None:
        [program] = re.findall(r"^```py\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        (tmp_path / "tell.py").write_text(program)
        environ = {**os.environ, "REDIS": address}
        process = await asyncio.create_subprocess_exec(
            sys.executable, tmp_path / "tell.py", env=environ, stdout=PIPE, stderr=STDOUT
        )
        output, _ = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode, output) == (0, b"")
        for client in clients.values():
            await until(lambda client=client: CLOSING in client.events)  # type: ignore[misc]
        assert {name: told(client) for name, client in clients.items()} == {
            "ada in tea": [KETTLE, SHIPPED, CLOSING],
            "ada": [SHIPPED, CLOSING],
            "bob in tea": [KETTLE, CLOSING],
            "cyd": [CLOSING],
        }
        with Redis(port=redis.port) as client:
            assert client.acl_log() == [], "nothing was tried that the user has no right to"

    async def test_what_the_service_alone_says_is_refused_and_what_is_said_without_redis_is_lost(
        self, clients: dict[str, ChatClient], nodes: list[RunningService], redis: RunningRedis, address: str
    ) -> None:
        outside = socketio.AsyncRedisManager(address, write_only=True)
        ada = clients["ada in tea"]
        for event in ("message", "room", "typing"):
            await outside.emit(event, {"room": "tea", "rev": 9}, namespace="/chat", room="tea")
        await outside.emit("notice", {"level": "loud", "text": "Kettle!"}, namespace="/chat")
        await outside.emit(*SHIPPED, namespace="/chat")
        await until(lambda: SHIPPED in ada.events)
        assert told(ada) == [SHIPPED]
        assert not ada.of("typing")
        redis.kill()
        await outside.emit(*KETTLE, namespace="/chat")  # It says nothing of it.
        await outside.redis.aclose()
        redis.start()
        with Redis(port=redis.port) as watch:
            await until(lambda: dict(watch.pubsub_numsub(CHANNEL))[CHANNEL.encode()] == len(nodes), 30)
        again = socketio.AsyncRedisManager(redis.url, write_only=True)
        await again.emit(*CLOSING, namespace="/chat")
        await again.redis.aclose()
        await until(lambda: CLOSING in ada.events)
        assert told(ada) == [SHIPPED, CLOSING]
        assert "outside.refused" in nodes[0].log
