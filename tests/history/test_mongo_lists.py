"""Reading rooms and members in MongoDB, beside what is in the contract's tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from hubbub.history.base import Person, Room, Standing
from hubbub.history.mongo_book import Changed
from hubbub.history.mongo_intents import intent_of
from hubbub.history.mongo_lists import (
    read_arrival,
    read_member_ids,
    read_members,
    read_room,
    read_rooms,
    read_rooms_at,
    read_standing,
    read_standings_at,
    read_standings_of,
    read_view,
)
from hubbub.history.mongo_rooms import create_room, delete_room
from hubbub.history.mongo_server import MongoServer
from tests.support.history import make_room, member
from tests.support.mongo_members import LATER_MS, NOW_MS, Commands, node_at


@pytest.fixture
async def server(mongo_uri: str) -> AsyncIterator[MongoServer]:
    async with node_at(mongo_uri) as node:
        yield node.server


async def new_room(server: MongoServer, *members: tuple[Standing, Person], id: str | None = None) -> Room:
    return await create_room(server, make_room(id=id), members or [member("ann", "owner")], at=NOW_MS)


async def ids(
    server: MongoServer, *, query: str | None = None, limit: int = 100, cursor: str | None = None
) -> tuple[list[str], str | None]:
    page = await read_rooms(
        server, user="ann", query=query, mine=False, everything=False, limit=limit, cursor=cursor, now=NOW_MS
    )
    return [view.room.id for view in page.rooms], page.cursor


Reading = Callable[[MongoServer, str], Awaitable[object]]

READINGS: dict[str, Reading] = {
    "members": lambda server, uid: read_members(server, uid, limit=9, cursor=None, now=LATER_MS),
    "member_ids": lambda server, uid: read_member_ids(server, uid, ["bob"], now=LATER_MS),
    "room": lambda server, uid: read_room(server, "room", now=LATER_MS),
    "rooms": lambda server, uid: read_rooms(
        server, user="ann", query=None, mine=True, everything=False, limit=9, cursor=None, now=LATER_MS
    ),
    "standing": lambda server, uid: read_standing(server, uid, "bob", now=LATER_MS),
    "standings_at": lambda server, uid: read_standings_at(server, [(uid, "bob"), (uid, "ann")], now=LATER_MS),
    "standings_of": lambda server, uid: read_standings_of(server, "ann", now=LATER_MS),
    "view": lambda server, uid: read_view(server, uid, "bob", now=LATER_MS),
}


class TestWhatWasLeftBehind:
    @pytest.mark.parametrize("name", READINGS)
    async def test_whoever_reads_writes_it(self, server: MongoServer, name: str) -> None:
        room = await new_room(server, id="room")
        bob, ann = Standing("bob", "owner", 5), Standing("ann", muted_until=7)
        changed = [Changed(bob, is_new=True, marks=True), Changed(ann, is_new=False, marks=True)]
        await server.rooms.update_one(
            {"uid": room.uid}, {"$set": {"v": 2, "members": 1, "pending": intent_of(2, changed, at=NOW_MS)}}
        )
        first = await READINGS[name](server, room.uid)
        assert await READINGS[name](server, room.uid) == first
        document = await server.rooms.find_one({"uid": room.uid})
        assert document is not None
        assert "pending" not in document
        assert await server.standings.count_documents({"v": 2}) == 2

    async def test_it_is_in_the_answer(self, server: MongoServer) -> None:
        room = await new_room(server)
        changed = [Changed(Standing("ann", muted_until=7), is_new=False, marks=True)]
        await server.rooms.update_one(
            {"uid": room.uid}, {"$set": {"v": 2, "members": 0, "pending": intent_of(2, changed, at=NOW_MS)}}
        )
        assert await read_standings_of(server, "ann", now=LATER_MS) == {room.uid: Standing("ann", muted_until=7)}
        assert (await read_members(server, room.uid, limit=9, cursor=None, now=LATER_MS)).members == []


class TestManyAtOnce:
    async def test_however_many_are_asked_for_it_is_a_question_or_two(self, mongo_uri: str) -> None:
        commands = Commands()
        async with node_at(mongo_uri, listeners=[commands]) as node:
            made = [await new_room(node.server, member("ann", "owner"), member("bob")) for _ in range(12)]
            pairs = [(room.uid, user) for room in made for user in ("ann", "bob", "eve")]
            commands.names.clear()
            assert len(await read_rooms_at(node.server, [room.uid for room in made])) == len(made)
            assert commands.names == ["find"]
            commands.names.clear()
            assert len(await read_standings_at(node.server, pairs, now=NOW_MS)) == 2 * len(made)
            assert commands.names == ["find"] * 2

    async def test_a_tombstone_and_what_lies_about_of_a_room_that_is_gone_are_no_standings(
        self, server: MongoServer
    ) -> None:
        room = await new_room(server, member("ann", "owner"), member("bob"))
        gone = await new_room(server, member("ann", "owner"))
        await delete_room(server, gone.uid, at=NOW_MS)
        changed = [Changed(Standing("bob"), is_new=False, marks=True)]
        await server.rooms.update_one(
            {"uid": room.uid}, {"$set": {"v": 2, "members": 1, "pending": intent_of(2, changed, at=NOW_MS)}}
        )
        pairs = [(gone.uid, "ann"), (room.uid, "bob"), (room.uid, "ann")]
        found = await read_standings_at(server, pairs, now=LATER_MS)
        assert await server.standings.count_documents({"user": "bob", "ended": {"$ne": None}}) == 1
        assert await server.standings.count_documents({"room": gone.uid}) == 1
        assert {pair: standing.role for pair, standing in found.items()} == {(room.uid, "ann"): "owner"}

    async def test_a_young_intent_is_left_to_its_author(self, server: MongoServer) -> None:
        room = await new_room(server)
        changed = [Changed(Standing("bob", "member", 5), is_new=True, marks=True)]
        await server.rooms.update_one(
            {"uid": room.uid}, {"$set": {"v": 2, "members": 2, "pending": intent_of(2, changed, at=NOW_MS)}}
        )
        assert await read_standings_at(server, [(room.uid, "bob")], now=NOW_MS) == {}
        assert [*await read_standings_at(server, [(room.uid, "bob")], now=LATER_MS)] == [(room.uid, "bob")]

    async def test_a_room_that_is_not_there_is_not_found(self, server: MongoServer) -> None:
        room = await new_room(server)
        assert [*await read_rooms_at(server, ["nowhere", room.uid, room.uid])] == [room.uid]
        assert await read_standings_at(server, [("nowhere", "ann")], now=NOW_MS) == {}


class TestOrder:
    async def test_ids_ascend_by_their_bytes(self, server: MongoServer) -> None:
        """UTF-16 would have the second last come first of the two; upper case comes before lower case."""
        names = ["B", "a", "z", "é", "ﬀ", "𝒳"]
        await asyncio.gather(*(new_room(server, id=name) for name in reversed(names)))
        seen: list[str] = []
        cursor: str | None = None
        for _ in names:
            page, cursor = await ids(server, limit=1, cursor=cursor)
            seen += page
        assert (seen, cursor) == (names, None)

    async def test_so_do_members_who_joined_at_once(self, server: MongoServer) -> None:
        users = ["B", "a", "é", "ﬀ", "𝒳"]
        room = await new_room(server, *(member(user, "owner" if user == "é" else "member") for user in users))
        seen: list[str] = []
        cursor: str | None = None
        for _ in users:
            page = await read_members(server, room.uid, limit=1, cursor=cursor, now=NOW_MS)
            seen += [standing.user for standing, _ in page.members]
            cursor = page.cursor
        assert (seen, cursor) == (users, None)


class TestQueries:
    @pytest.mark.parametrize("text", ["a.c", "[x]", "^$", "\\d", "$where", "a\0b", "(", "é|Ω", "a b\tc", "%_", "𝒳{2}"])
    async def test_text_is_searched_to_the_letter(self, server: MongoServer, text: str) -> None:
        made = make_room(id="one", title=f"before {text} after")
        await create_room(server, made, [member("ann", "owner")], at=NOW_MS)
        await create_room(server, make_room(id="two", title="abc x 1 xx"), [member("ann", "owner")], at=NOW_MS)
        assert await ids(server, query=text) == (["one"], None)


class TestPeople:
    async def test_of_whom_nothing_is_known_is_called_by_the_id(self, server: MongoServer) -> None:
        room = await new_room(server)
        await server.people.delete_many({})
        page = await read_members(server, room.uid, limit=9, cursor=None, now=NOW_MS)
        assert [person for _, person in page.members] == [Person("ann", "ann")]

    async def test_an_arrival_keeps_a_rooms_uid_once(self, server: MongoServer) -> None:
        room = await new_room(server, member("ann", "owner"), member("bob"))
        gone = await new_room(server)
        await delete_room(server, gone.uid, at=NOW_MS)
        arrivals = [await read_arrival(server, user, now=NOW_MS) for user in ("ann", "bob")]
        (first,), (second,) = (arrival.standings for arrival in arrivals)
        assert first == room.uid
        assert first is second
        assert arrivals[1].known == (Person("bob", "Bob"), 1)

    async def test_no_candidates_are_no_members(self, server: MongoServer) -> None:
        room = await new_room(server)
        assert await read_member_ids(server, room.uid, [], now=NOW_MS) == frozenset()
        assert await read_member_ids(server, "nowhere", ["ann"], now=NOW_MS) == frozenset()
