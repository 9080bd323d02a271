"""Sends that ask the store before they are handed to the writer, in the real service over MongoDB."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat import ChatClient, chat_client
from tests.support.service import running_service

LOBBY = {"room": "lobby"}


@pytest.fixture
async def people(tmp_path: Path, mongo_uri: str) -> AsyncIterator[tuple[ChatClient, ChatClient]]:
    async with running_service(tmp_path, store=mongo_uri, limits="off") as service, AsyncExitStack() as stack:
        ada, bob = [
            await stack.enter_async_context(chat_client(service.url, service.token(user=user)))
            for user in ("ada", "bob")
        ]
        await ada.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
        for client in (ada, bob):
            await client.ok("room:join", LOBBY)
        yield ada, bob


async def say(client: ChatClient, key: str, body: str = "hello", **more: Any) -> dict[str, Any]:
    sent: dict[str, Any] = await client.ok("message:send", {**LOBBY, "key": key, "body": body, **more})
    return sent


class TestSends:
    async def test_replies_mentions_of_the_absent_and_refused_repeats(
        self, people: tuple[ChatClient, ChatClient]
    ) -> None:
        ada, bob = people
        first = (await say(ada, "k1"))["message"]
        assert (await say(ada, "k2", reply_to=first["id"]))["message"]["reply_to"] == first["id"]
        await bob.close()
        assert (await say(ada, "k3", "hi @bob and @zoe"))["message"]["mentions"] == ["bob"]
        assert await say(ada, "k1", "x" * 9000) == {"message": first, "duplicate": True}
        error = await ada.error("message:send", {**LOBBY, "key": "k4", "body": "x", "reply_to": f"{first['id']}9"})
        assert error["code"] == "not_found"

    async def test_a_room_in_slow_mode(self, people: tuple[ChatClient, ChatClient]) -> None:
        ada, bob = people
        await ada.ok("room:update", {**LOBBY, "slow_mode_s": 3600})
        await say(bob, "k1")
        assert (await bob.error("message:send", {**LOBBY, "key": "k2", "body": "x"}))["code"] == "slow_mode"
