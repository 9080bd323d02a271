"""`/admin` of two nodes that have nothing in common but a store."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.admin import AdminClient, admin_client
from tests.support.chat import ChatClient, RefusedError, chat_client
from tests.support.halting import halt
from tests.support.service import RunningService, running_service

SECRET = "a-secret-of-both-nodes-that-is-long-enough"
TIMEOUT_S = 30.0


class Pair:
    """Two nodes, with an administrator on the first and whoever is wanted on either."""

    def __init__(self, nodes: list[RunningService], stack: AsyncExitStack) -> None:
        self.nodes = nodes
        self._stack = stack

    async def admin(self, **claims: Any) -> AdminClient:
        one = self.nodes[0]
        token = one.token(user="root", **({"roles": ["admin"]} | claims))
        admin = await self._stack.enter_async_context(admin_client(one.url, token))
        await until(lambda: living(admin), 2)
        return admin

    async def chat(self, node: int, user: str, room: str | None = None) -> ChatClient:
        service = self.nodes[node]
        client = await self._stack.enter_async_context(chat_client(service.url, service.token(user=user)))
        if room is not None:
            await client.call("room:create", {"kind": "public", "id": room, "title": room})
            await client.ok("room:join", {"room": room})
        return client


async def living(admin: AdminClient) -> int:
    return len((await admin.ok("nodes:list", {}))["nodes"])


async def until(ask: Callable[[], Any], wanted: Any) -> None:
    """Ask again until the answer is what is wanted."""
    async with asyncio.timeout(TIMEOUT_S):
        while await ask() != wanted:
            await asyncio.sleep(0.1)


@asynccontextmanager
async def started(tmp_path: Path, uri: str) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        services = []
        for name in ("n1", "n2"):
            (tmp_path / name).mkdir()
            services.append(
                await stack.enter_async_context(
                    running_service(tmp_path / name, node=name, store=uri, jwt_secret=SECRET)
                )
            )
        yield Pair(services, stack)


@pytest.fixture
async def pair(tmp_path: Path, mongo_uri: str) -> AsyncIterator[Pair]:
    async with started(tmp_path, mongo_uri) as pair:
        yield pair


class TestList:
    async def test_it_has_the_connections_of_both_in_pages_and_ends_one_of_the_other_node(self, pair: Pair) -> None:
        admin = await pair.admin()
        bobs = [await pair.chat(node, "bob", "tea") for node in (1, 1, 0)]
        eve = await pair.chat(1, "eve")
        listed = (await admin.ok("connections:list", {"user": "bob"}))["connections"]
        assert [each["node"] for each in listed] == ["n1", "n2", "n2"]
        assert [each["id"] for each in listed] == [bobs[n].sio.get_sid("/chat") for n in (2, 0, 1)]
        assert {tuple(each["rooms"]) for each in listed} == {("tea",)}
        in_room = await admin.ok("connections:list", {"room": "tea"})
        assert (in_room["connections"], in_room["cursor"]) == (listed, None)

        found: list[str] = []
        cursor = None
        while cursor is not None or not found:
            page = await admin.ok("connections:list", {"limit": 2, "cursor": cursor})
            assert "missing" not in page
            found += [each["user"]["id"] for each in page["connections"]]
            cursor = page["cursor"]
        assert found == ["root", "bob", "bob", "bob", "eve"]

        await admin.ok("connection:disconnect", {"id": listed[1]["id"], "reason": "test"})
        async with asyncio.timeout(TIMEOUT_S):
            await bobs[0].disconnected.wait()
        assert (await bobs[0].wait_for("closing"))["reconnect"] is False
        left = (await admin.ok("connections:list", {"user": "bob", "node": "n2"}))["connections"]
        assert [each["id"] for each in left] == [listed[2]["id"]]
        gone = await admin.error("connection:disconnect", {"id": listed[1]["id"], "reason": "test"})
        assert gone["code"] == "not_found"
        await eve.ok("room:list", {})

    async def test_a_node_that_does_not_answer_is_named(self, pair: Pair) -> None:
        admin = await pair.admin()
        bob = await pair.chat(1, "bob")
        id = bob.sio.get_sid("/chat")
        process = pair.nodes[1].process
        halt(process.pid)
        try:
            began = time.monotonic()
            listing = await admin.ok("connections:list", {})
            assert time.monotonic() - began < 8
            assert [each["user"]["id"] for each in listing["connections"]] == ["root"]
            assert listing["missing"] == ["n2"]
            # Nobody knows whether it is there, so the order waits for its node.
            await admin.ok("connection:disconnect", {"id": id, "reason": "test"})
        finally:
            process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(TIMEOUT_S):
            await bob.disconnected.wait()


class TestService:
    async def test_figures_are_of_both_nodes(self, pair: Pair) -> None:
        admin = await pair.admin()
        bob = await pair.chat(1, "bob", "tea")
        await admin.ok("stats:watch", {"every_ms": 500})
        stats = await admin.wait_for("stats", lambda stats: stats["connections"].get("/chat") == 1)
        assert (stats["node"], stats["nodes"], stats["users"], stats["rooms"]) == ("n1", ["n1", "n2"], 1, 1)
        for number in range(10):
            await bob.ok("message:send", {"room": "tea", "key": f"k{number}", "body": "hello"})
        await admin.wait_for("stats", lambda stats: stats["messages_per_s"] > 0)
        one, two = (await admin.ok("nodes:list", {}))["nodes"]
        assert [(each["node"], each["own"]) for each in (one, two)] == [("n1", True), ("n2", False)]
        assert two["connections"]["/chat"] == 1

    async def test_bans_and_notices_reach_the_other_node(self, pair: Pair) -> None:
        admin = await pair.admin()
        bob, eve = await pair.chat(1, "bob", "tea"), await pair.chat(1, "eve")
        await admin.ok("notice:send", {"room": "tea", "level": "info", "text": "Tea is ready"})
        await admin.ok("notice:send", {"level": "warning", "text": "Soon"})
        assert await bob.wait_count("notice", 2) == [
            {"level": "info", "text": "Tea is ready"},
            {"level": "warning", "text": "Soon"},
        ]
        assert await eve.wait_count("notice", 1) == [{"level": "warning", "text": "Soon"}]
        await admin.ok("user:ban", {"user": "eve", "reason": "spam"})
        async with asyncio.timeout(TIMEOUT_S):
            await eve.disconnected.wait()
        with pytest.raises(RefusedError, match="banned"):
            await pair.chat(1, "eve")
        await admin.ok("room:delete", {"room": "tea", "reason": "cold"})
        assert (await bob.wait_for("room:removed"))["reason"] == "deleted"

    async def test_a_node_is_drained_from_the_other_and_is_listed_no_more(self, pair: Pair) -> None:
        admin = await pair.admin()
        bob = await pair.chat(1, "bob")
        await admin.ok("node:drain", {"node": "n2"})
        await bob.wait_for("draining")
        assert await asyncio.wait_for(pair.nodes[1].process.wait(), TIMEOUT_S) == 0
        await until(lambda: living(admin), 1)
        assert (await admin.error("node:drain", {"node": "n2"}))["code"] == "not_found"
        entries = (await admin.ok("audit:list", {}))["entries"]
        assert [(entry["target"], entry["outcome"]) for entry in entries] == [
            ({"node": "n2"}, "not_found"),
            ({"node": "n2"}, "ok"),
        ]
