"""HTTP on two services over one MongoDB: whichever is asked, it is the same service."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.support.admin import admin_client
from tests.support.chat import ChatClient, chat_client
from tests.support.service import RunningService, running_service

SECRET: Final = "a secret for tests, which is long enough"
WITHIN_S: Final = 1.0
"""What is promised of an administrator's order."""

SLACK_S: Final = 0.6
"""Two cores are shared by many tests, and so is the store."""


@dataclass
class Nodes:
    """Two services; Ada is connected to the first, and owns the room `tea`."""

    first: RunningService
    second: RunningService
    ada: ChatClient
    http: aiohttp.ClientSession

    def token(self, user: str, *, bot: bool = False) -> str:
        return self.first.token(user=user, roles=["bot"] if bot else ())

    async def send(self, service: RunningService, token: str, key: str) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
        url = f"{service.url}/api/rooms/tea/messages"
        async with self.http.post(url, json={"body": f"message {key}"}, headers=headers) as response:
            return response.status, await response.json()

    async def get(self, service: RunningService, token: str, path: str) -> tuple[int, dict[str, Any]]:
        async with self.http.get(service.url + path, headers={"Authorization": f"Bearer {token}"}) as response:
            return response.status, await response.json()


@pytest.fixture
async def nodes(tmp_path: Path, mongo_uri: str) -> AsyncIterator[Nodes]:
    async with AsyncExitStack() as stack:
        services = []
        for name in ("n1", "n2"):
            (tmp_path / name).mkdir()
            service = running_service(tmp_path / name, store=mongo_uri, node=name, jwt_secret=SECRET, limits="off")
            services.append(await stack.enter_async_context(service))
        first, second = services
        ada = await stack.enter_async_context(chat_client(first.url, first.token(user="ada")))
        await ada.ok("room:create", {"id": "tea", "kind": "public", "title": "Tea"})
        http = await stack.enter_async_context(aiohttp.ClientSession())
        yield Nodes(first, second, ada, http)


class TestNodes:
    """What one service did, the other knows."""

    async def test_a_key_is_stored_once_whichever_node_is_asked(self, nodes: Nodes) -> None:
        bot = nodes.token("bot", bot=True)
        replies = await asyncio.gather(
            *(nodes.send(service, bot, "k") for _ in range(5) for service in (nodes.first, nodes.second))
        )
        assert sorted(status for status, _ in replies) == [200] * 9 + [201]
        assert len({reply["message"]["id"] for _, reply in replies}) == 1
        _, page = await nodes.get(nodes.second, bot, "/api/rooms/tea/messages")
        assert [each["key"] for each in page["messages"]] == ["k"]

    async def test_whoever_was_removed_on_one_is_so_on_the_other_at_once(self, nodes: Nodes) -> None:
        bob = nodes.token("bob")
        async with chat_client(nodes.first.url, bob) as client:
            await client.ok("room:join", {"room": "tea"})
        assert (await nodes.send(nodes.second, bob, "1"))[0] == 201
        await nodes.ada.ok("room:ban", {"room": "tea", "user": "bob"})
        status, error = await nodes.send(nodes.second, bob, "2")
        assert (status, error["code"]) == (403, "banned")
        assert (await nodes.get(nodes.second, bob, "/api/rooms/tea/messages"))[0] == 403

    @pytest.mark.parametrize(
        ("event", "code"), [("user:ban", "banned"), ("token:revoke", "unauthorized")], ids=["banned", "revoked"]
    )
    async def test_an_order_is_in_force_on_the_other_within_a_second(self, nodes: Nodes, event: str, code: str) -> None:
        bot = nodes.token("bot", bot=True)
        assert (await nodes.send(nodes.second, bot, "1"))[0] == 201
        async with admin_client(nodes.first.url, nodes.first.token(user="root", roles=["admin"])) as root:
            await root.ok(event, {"user": "bot", "reason": "Test."})
            ordered = time.monotonic()
            while (reply := await nodes.get(nodes.second, bot, "/api/rooms"))[0] == 200:
                assert time.monotonic() - ordered < WITHIN_S + SLACK_S
                await asyncio.sleep(0.02)
            assert reply[1]["code"] == code
            assert (await nodes.send(nodes.second, bot, "1"))[1]["code"] == code
            assert (await nodes.get(nodes.first, bot, "/api/rooms"))[1]["code"] == code
