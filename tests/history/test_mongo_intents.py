"""Intents: written by anybody, any number of times, in any order, they end at the newest."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from hubbub.history.base import Standing
from hubbub.history.mongo_book import Changed
from hubbub.history.mongo_intents import (
    MOMENT_MS,
    clear_intent,
    find_room,
    intent_of,
    is_left_behind,
    settle,
    standing_of,
    write_standings,
)
from hubbub.history.mongo_server import TOMBSTONES_KEPT_S, MongoServer
from tests.support.mongo_members import NOW_MS, Node, node_at

UID = "uid-of-intents"
MEMBER = Standing("bob", "member", 5, read_seq=3)
GONE = Standing("bob")


@pytest.fixture
async def node(mongo_uri: str) -> AsyncIterator[Node]:
    async with node_at(mongo_uri) as node:
        yield node


@pytest.fixture
def server(node: Node) -> MongoServer:
    return node.server


def intent(version: int, standing: Standing, *, is_new: bool = False, marks: bool = True) -> dict[str, Any]:
    return intent_of(version, [Changed(standing, is_new=is_new, marks=marks)], at=NOW_MS)


async def found(server: MongoServer) -> dict[str, Any]:
    document = await server.standings.find_one({"_id": f"{UID} bob"})
    assert document is not None
    return document


class TestWriting:
    @pytest.mark.parametrize("is_new", [True, False])
    async def test_a_standing_is_written_once(self, server: MongoServer, is_new: bool) -> None:
        for _ in range(2):
            await write_standings(server.standings, UID, intent(2, MEMBER, is_new=is_new))
        document = await found(server)
        assert standing_of(document) == MEMBER
        assert (document["room"], document["v"], "ended" in document, "new" in document) == (UID, 2, False, False)

    @pytest.mark.parametrize("is_new", [True, False])
    @pytest.mark.parametrize("last", [MEMBER, GONE])
    async def test_an_older_one_never_replaces_a_newer(self, server: MongoServer, is_new: bool, last: Standing) -> None:
        intents = [
            intent(1, Standing("bob", "owner", 1), is_new=is_new),
            intent(2, Standing("bob", "invited"), is_new=is_new),
            intent(3, last, is_new=is_new),
        ]
        for order in itertools.permutations(intents):
            await server.standings.delete_many({})
            for each in order:
                await write_standings(server.standings, UID, each)
            assert standing_of(await found(server)) == last

    async def test_of_many_at_once_the_newest_stays(self, server: MongoServer) -> None:
        intents = [intent(version, replace(MEMBER, joined_at=version), is_new=True) for version in range(1, 9)]
        await asyncio.gather(*(write_standings(server.standings, UID, each) for each in intents))
        assert (await found(server))["joined_at"] == 8

    async def test_a_standing_without_a_version_is_replaced(self, server: MongoServer) -> None:
        await server.standings.insert_one({"_id": f"{UID} bob", "room": UID, "user": "bob"})
        await write_standings(server.standings, UID, intent(1, MEMBER, is_new=True))
        assert standing_of(await found(server)) == MEMBER

    async def test_a_read_mark_that_is_no_part_of_it_is_left_alone(self, server: MongoServer) -> None:
        await write_standings(server.standings, UID, intent(1, MEMBER))
        await server.standings.update_one({"user": "bob"}, {"$set": {"read_seq": 9}})
        await write_standings(server.standings, UID, intent(2, replace(MEMBER, role="owner"), marks=False))
        assert standing_of(await found(server)) == replace(MEMBER, role="owner", read_seq=9)
        await write_standings(server.standings, UID, intent(3, GONE))
        assert standing_of(await found(server)) == GONE

    async def test_what_says_nothing_any_more_expires_unless_it_says_something_again(self, server: MongoServer) -> None:
        await write_standings(server.standings, UID, intent(1, GONE))
        assert (await found(server))["ended"].timestamp() > 0
        assert (await server.standings.index_information())["ended_1"]["expireAfterSeconds"] == TOMBSTONES_KEPT_S
        await write_standings(server.standings, UID, intent(2, Standing("bob", muted_until=9)))
        assert "ended" not in await found(server)


class TestSettling:
    async def room_with(self, server: MongoServer, pending: dict[str, Any]) -> None:
        await server.rooms.insert_one({"_id": "room", "uid": UID, "v": 2, "pending": pending})

    async def test_a_young_intent_is_its_authors(self, server: MongoServer) -> None:
        await self.room_with(server, intent(2, MEMBER))
        room = await find_room(server, UID, now=NOW_MS + MOMENT_MS)
        assert room is not None
        assert room["pending"] == {"v": 2, "at": NOW_MS}
        assert await server.standings.count_documents({}) == 0

    @pytest.mark.parametrize("now", [NOW_MS + MOMENT_MS + 1, NOW_MS - 10_000_000])
    async def test_one_that_was_left_behind_is_written_and_taken_away(self, server: MongoServer, now: int) -> None:
        await self.room_with(server, intent(2, MEMBER))
        assert await find_room(server, UID, now=now) is not None
        assert standing_of(await found(server)) == MEMBER
        room = await find_room(server, UID, now=now)
        assert room == {"_id": "room", "uid": UID, "v": 2}

    async def test_the_next_intent_is_not_taken_away_with_the_last(self, server: MongoServer) -> None:
        await self.room_with(server, intent(2, MEMBER))
        await clear_intent(server.rooms, "room", UID, 1)
        room = await server.rooms.find_one({"uid": UID})
        assert room is not None
        assert is_left_behind(room, now=NOW_MS + 10_000)
        await settle(server, UID)
        await settle(server, UID)
        assert await server.rooms.find_one({"uid": UID}) == {"_id": "room", "uid": UID, "v": 2}

    async def test_there_may_be_no_room(self, server: MongoServer) -> None:
        assert await find_room(server, UID, now=NOW_MS) is None
        await settle(server, UID)
