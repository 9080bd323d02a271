"""Moderation on two services over one MongoDB, with nothing else between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat import ChatClient, chat_client
from tests.support.service import RunningService, running_service

SECRET = "a secret for tests, which is long enough"
LOBBY = {"room": "lobby"}


@pytest.fixture
async def nodes(tmp_path: Path, mongo_uri: str) -> AsyncIterator[tuple[RunningService, RunningService]]:
    async with AsyncExitStack() as stack:
        services = []
        for name in ("n1", "n2"):
            (tmp_path / name).mkdir()
            services.append(
                await stack.enter_async_context(
                    running_service(tmp_path / name, store=mongo_uri, node=name, jwt_secret=SECRET, limits="off")
                )
            )
        yield services[0], services[1]


@pytest.fixture
async def cast(nodes: tuple[RunningService, RunningService]) -> AsyncIterator[dict[str, ChatClient]]:
    """Ada owns the lobby, on the first node; bob is on both."""
    async with AsyncExitStack() as stack:
        cast = {}
        for name, user, service in (("ada", "ada", nodes[0]), ("bob", "bob", nodes[0]), ("bob2", "bob", nodes[1])):
            opened = chat_client(service.url, service.token(user=user))
            cast[name] = await stack.enter_async_context(opened)
        await cast["ada"].ok(
            "room:create",
            {
                "kind": "public",
                "id": "lobby",
                "title": "Lobby",
            },
        )
        await cast["ada"].ok("room:update", {**LOBBY, "slow_mode_s": 3600})
        for client in cast.values():
            await client.ok("room:join", LOBBY)
        yield cast


def message(key: str) -> dict[str, Any]:
    return {**LOBBY, "key": key, "body": "hello"}


class TestSlowMode:
    async def test_a_turn_on_one_node_is_a_turn_on_the_other_as_soon_as_it_is_stored(
        self, cast: dict[str, ChatClient]
    ) -> None:
        await cast["bob"].ok("message:send", message("k1"))
        error = await cast["bob2"].error("message:send", message("k2"))
        assert error["code"] == "slow_mode"
        assert 3500 < error["retry_after"] <= 3600
        assert (await cast["bob2"].ok("message:send", message("k1")))["duplicate"]

    async def test_deleting_it_does_not_give_the_turn_back_where_it_was_seen(self, cast: dict[str, ChatClient]) -> None:
        sent = (await cast["bob"].ok("message:send", message("k1")))["message"]
        await cast["bob2"].wait_for("message")
        await cast["bob"].ok("message:delete", {**LOBBY, "id": sent["id"]})
        assert (await cast["bob2"].error("message:send", message("k2")))["code"] == "slow_mode"


class TestPurge:
    async def test_what_was_said_on_another_node_goes_everywhere(self, cast: dict[str, ChatClient]) -> None:
        await cast["ada"].ok("room:update", {**LOBBY, "slow_mode_s": 0})
        # The other node learns from the control log that the room is slow no more.
        await cast["bob2"].wait_for("room", lambda room: room["slow_mode_s"] == 0)
        await asyncio.gather(*(cast["bob2"].ok("message:send", message(f"k{number}")) for number in range(60)))
        purged = await cast["ada"].ok("room:purge", {**LOBBY, "user": "bob"})
        assert purged == {"purged": 60, "more": False}
        events = await cast["bob2"].wait_count("message", 120)
        assert [each["rev"] for each in events] == list(range(1, 121))
        assert all(each["deleted"] for each in events[60:])
