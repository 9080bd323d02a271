"""What another node writes, and nobody announces: the feeds find it in the store, within five seconds and in order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hubbub.history.base import Change, Insert
from hubbub.history.mongo import MongoHistory
from tests.support.chat import chat_client
from tests.support.history import deleting, draft, editing
from tests.support.service import RunningService, running_service

SECRET = "a secret for tests, which is long enough"
CHECK_S = 5.0
SLACK_S = 1.5
"""Two cores are shared by many tests, and so is the store."""


@pytest.fixture
async def service(tmp_path: Path, mongo_uri: str) -> AsyncIterator[RunningService]:
    async with running_service(tmp_path, store=mongo_uri, jwt_secret=SECRET, limits="off") as service:
        yield service


@pytest.fixture
async def other_node(service: RunningService, mongo_uri: str) -> AsyncIterator[MongoHistory]:
    """The store as another node has it, which shares nothing else with the first."""
    history = MongoHistory(mongo_uri)
    await history.open()
    yield history
    await history.close()


class TestAnotherNode:
    async def test_its_changes_reach_everybody_once_and_in_order(
        self, service: RunningService, other_node: MongoHistory
    ) -> None:
        async with (
            chat_client(service.url, service.token(user="ada")) as ada,
            chat_client(service.url, service.token(user="bob")) as bob,
        ):
            await ada.ok("room:create", {"kind": "public", "id": "tea", "title": "Tea"})
            for client in (ada, bob):
                await client.ok("room:join", {"room": "tea"})
            await ada.ok("message:send", {"room": "tea", "key": "first", "body": "first"})
            room = await other_node.room("tea")
            assert room is not None
            for number in itertools.count(1):
                # More than two reads of a fill, with edits and deletions among them, and our own sends in between.
                ops: list[Insert | Change] = [draft(room.uid, f"k{number}-{n}", sender="zoe") for n in range(60)]
                await other_node.commit(
                    [*ops, editing(room.uid, 1, f"edited {number}"), deleting(room.uid, 1 + number)]
                )
                if number == 5:
                    break
                await ada.ok("message:send", {"room": "tea", "key": f"own{number}", "body": "own"})
            head = await other_node.head(room.uid)
            async with asyncio.timeout(CHECK_S + SLACK_S):
                for client in (ada, bob):
                    await client.wait_count("message", head)
            for client in (ada, bob):
                assert [event["rev"] for event in client.of("message")] == list(range(1, head + 1))
                assert client.of("gap") == []
            last = {event["id"]: event for event in bob.of("message")}
            page = await bob.ok("history:sync", {"room": "tea", "since": 0, "limit": 200})
            assert [last[message["id"]] for message in page["messages"]] == page["messages"]

    async def test_a_room_that_it_deletes_is_closed_here(
        self, service: RunningService, other_node: MongoHistory
    ) -> None:
        async with chat_client(service.url, service.token(user="ada")) as ada:
            await ada.ok("room:create", {"kind": "public", "id": "tea", "title": "Tea"})
            await ada.ok("room:join", {"room": "tea"})
            room = await other_node.room("tea")
            assert room is not None
            await other_node.delete_room(room.uid)
            async with asyncio.timeout(CHECK_S + SLACK_S):
                removed = await ada.wait_for("room:removed")
            assert removed == {"room": "tea", "reason": "deleted"}
            refused = await ada.error("message:send", {"room": "tea", "key": "k", "body": "late"})
            assert refused["code"] == "not_found"
