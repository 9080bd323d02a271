"""Rooms in MongoDB: made and deleted in several steps, of which any may be the last one of its node."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from pymongo.errors import PyMongoError

from hubbub.errors import HubbubError
from hubbub.history import mongo_rooms
from hubbub.history.base import Room, Standing
from hubbub.history.mongo_lists import read_room, read_standing, read_standings_of, read_view
from hubbub.history.mongo_mending import mend
from hubbub.history.mongo_people import read_people
from hubbub.history.mongo_rooms import WAKE_MS, bury_slice, create_room, delete_room, update_room
from hubbub.history.mongo_server import MongoServer
from tests.support.history import make_room, member
from tests.support.mongo_members import LATER_MS, NOW_MS, Cut, Node, cut_server, node_at, whole_room


@pytest.fixture
async def node(mongo_uri: str) -> AsyncIterator[Node]:
    async with node_at(mongo_uri) as node:
        yield node


@pytest.fixture
def server(node: Node) -> MongoServer:
    return node.server


async def new_room(server: MongoServer, *, id: str | None = None) -> Room:
    return await create_room(server, make_room(id=id), [member("ann", "owner"), member("bob")], at=NOW_MS)


async def add_messages(server: MongoServer, uid: str, first: int, last: int) -> None:
    await server.messages.insert_many(
        [
            {"_id": f"{uid}.{n}", "room": uid, "seq": n, "rev": n, "revs": [n], "sender": "ann", "key": f"k{n}"}
            for n in range(first, last + 1)
        ]
    )


async def left_of(server: MongoServer, uid: str) -> list[int]:
    """How many messages, standings and graves of a room there are."""
    return [
        await server.messages.count_documents({"room": uid}),
        await server.standings.count_documents({"room": uid}),
        await server.graveyard.count_documents({"_id": uid}),
    ]


class TestMaking:
    async def test_nothing_is_left_pending(self, server: MongoServer) -> None:
        room = await new_room(server)
        document = await server.rooms.find_one({"uid": room.uid})
        assert document is not None
        assert ("pending" in document, document["v"], document["floor"]) == (False, 1, 0)

    @pytest.mark.parametrize("happens", [True, False])
    async def test_a_room_that_is_there_has_its_members(self, mongo_uri: str, node: Node, happens: bool) -> None:
        falls, after, made = True, 0, 0
        while falls:
            room = make_room()
            async with node_at(mongo_uri) as dying:
                cut = Cut(after, happens=happens)
                cut_server(dying.server, cut)
                try:
                    await create_room(dying.server, room, [member("ann", "owner"), member("bob")], at=NOW_MS)
                    told = True
                except (PyMongoError, HubbubError):
                    told = False
                falls = cut.fell
            if await read_room(node.server, room.id, now=LATER_MS) is None:
                assert not told
            else:
                made += 1
                _, members = await whole_room(node.server, room)
                assert members == [Standing("ann", "owner", 1), Standing("bob", "member", 1)]
                await mend(node.server, now=LATER_MS)
                said = [
                    each for each in await node.server.log.read(after=0, limit=999) if each.data["room"] == room.uid
                ]
                assert [(each.data["user"], each.data["why"]) for each in said] == [
                    ("ann", "created"),
                    ("bob", "created"),
                ]
            after += 1
        assert made >= 3

    async def test_names_are_remembered(self, server: MongoServer) -> None:
        await new_room(server)
        assert {id: person.name for id, (person, _) in (await read_people(server.people, ["ann", "bob"])).items()} == {
            "ann": "Ann",
            "bob": "Bob",
        }


class TestChanging:
    async def test_only_a_capacity_makes_those_count_again_who_let_in(self, server: MongoServer) -> None:
        room = await new_room(server)
        versions = []
        for values in ({"title": "New"}, {"capacity": 5}, {"capacity": 5}):
            await update_room(server, room.uid, values=values, at=NOW_MS)
            document = await server.rooms.find_one({"uid": room.uid})
            assert document is not None
            versions.append(document["v"])
        assert versions == [1, 2, 2]

    async def test_a_room_that_goes_meanwhile_is_not_found(
        self, server: MongoServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room = await new_room(server)

        async def head_of_a_room_that_goes(messages: object, uid: str) -> int:
            await server.rooms.delete_one({"uid": uid})
            return 0

        monkeypatch.setattr(mongo_rooms, "newest_revision", head_of_a_room_that_goes)
        for values in ({"title": "New"}, {"capacity": 5}):
            with pytest.raises(HubbubError) as refused:
                await update_room(server, room.uid, values=values, at=NOW_MS)
            assert refused.value.code == "not_found"


async def deletions_said(server: MongoServer, uid: str) -> int:
    records = await server.log.read(after=0, limit=1000)
    return sum(record.kind == "deleted" and record.data["room"] == uid for record in records)


class TestDeleting:
    async def test_nobody_sees_what_still_lies_about(self, server: MongoServer) -> None:
        room = await new_room(server)
        await add_messages(server, room.uid, 1, 3)
        assert await delete_room(server, room.uid, at=NOW_MS)
        assert await left_of(server, room.uid) == [3, 2, 1]
        assert await read_view(server, room.uid, "ann", now=NOW_MS) is None
        assert await read_standing(server, room.uid, "ann", now=NOW_MS) is None
        assert await read_standings_of(server, "ann", now=NOW_MS) == {}
        assert not await delete_room(server, room.uid, at=NOW_MS)

    async def test_its_space_comes_back_slice_by_slice(
        self, server: MongoServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mongo_rooms, "SLICE_DOCUMENTS", 2)
        room, kept = await new_room(server), await new_room(server)
        for each in (room, kept):
            await add_messages(server, each.uid, 1, 5)
        await delete_room(server, room.uid, at=NOW_MS)
        left = []
        while await bury_slice(server, now=NOW_MS):
            left.append(await left_of(server, room.uid))
        assert left == [[3, 0, 1], [1, 0, 1], [0, 0, 1]]
        assert await left_of(server, kept.uid) == [5, 2, 0]

    async def test_a_write_that_came_late_is_removed_too(self, server: MongoServer) -> None:
        room = await new_room(server)
        await delete_room(server, room.uid, at=NOW_MS)
        while await bury_slice(server, now=NOW_MS + WAKE_MS):
            pass
        await add_messages(server, room.uid, 1, 1)
        later = NOW_MS + WAKE_MS + 1
        assert await bury_slice(server, now=later)
        assert not await bury_slice(server, now=later)
        assert await left_of(server, room.uid) == [0, 0, 0]

    @pytest.mark.parametrize("happens", [True, False])
    async def test_a_deletion_that_was_cut_did_all_or_nothing(self, mongo_uri: str, node: Node, happens: bool) -> None:
        falls, after = True, 0
        while falls:
            room = await new_room(node.server)
            await add_messages(node.server, room.uid, 1, 1)
            async with node_at(mongo_uri) as dying:
                cut = Cut(after, happens=happens)
                cut_server(dying.server, cut)
                with suppress(PyMongoError, HubbubError):
                    assert await delete_room(dying.server, room.uid, at=NOW_MS)
                falls = cut.fell
            gone = await read_room(node.server, room.id, now=LATER_MS) is None
            await mend(node.server, now=NOW_MS + WAKE_MS + 1)
            assert await deletions_said(node.server, room.uid) == int(gone)
            while await bury_slice(node.server, now=NOW_MS + WAKE_MS + 1):
                pass
            if gone:
                assert await left_of(node.server, room.uid) == [0, 0, 0]
            else:
                assert (await left_of(node.server, room.uid))[:2] == [1, 2]
                assert await delete_room(node.server, room.uid, at=LATER_MS)
            again = await new_room(node.server, id=room.id)
            assert again.uid != room.uid
            after += 1
        assert after == 5
