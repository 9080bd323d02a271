"""Read marks in MongoDB: raised in place, beside changes of the same standing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import Room, Standing
from hubbub.history.mongo_book import Changed
from hubbub.history.mongo_documents import document_of
from hubbub.history.mongo_intents import intent_of
from hubbub.history.mongo_lists import read_standing, read_view
from hubbub.history.mongo_marks import mark_read, newest_seq
from hubbub.history.mongo_rooms import create_room
from tests.support.history import draft, make_room, member
from tests.support.mongo_members import LATER_MS, NOW_MS, Node, node_at


@pytest.fixture
async def node(mongo_uri: str) -> AsyncIterator[Node]:
    async with node_at(mongo_uri) as node:
        yield node


@pytest.fixture
async def room(node: Node) -> Room:
    """Six messages by Ann, whom Bob reads."""
    room = await create_room(node.server, make_room(), [member("ann", "owner"), member("bob")], at=NOW_MS)
    messages = [draft(room.uid, f"k{seq}").message.placed(seq) for seq in range(1, 7)]
    await node.server.messages.insert_many([document_of(message, public=True) for message in messages])
    return room


class TestMarks:
    async def test_of_many_at_once_the_highest_stays(self, node: Node, room: Room) -> None:
        marks = [mark_read(node.server, room.uid, "bob", seq, now=NOW_MS) for seq in (1, 5, 3, 4, 2)]
        for seq, unread in await asyncio.gather(*marks):
            assert unread == 6 - seq
        assert await read_standing(node.server, room.uid, "bob", now=NOW_MS) == Standing("bob", "member", 1, read_seq=5)

    async def test_a_change_beside_it_takes_nothing_back(self, node: Node, room: Room) -> None:
        for seq in range(1, 7):
            await asyncio.gather(
                mark_read(node.server, room.uid, "bob", seq, now=NOW_MS),
                node.members.set_role(room.uid, "bob", "moderator" if seq % 2 else "member"),
            )
        standing = await read_standing(node.server, room.uid, "bob", now=NOW_MS)
        assert standing is not None
        assert standing.read_seq == 6

    async def test_who_leaves_meanwhile_leaves_no_mark(self, node: Node, room: Room) -> None:
        marks = [mark_read(node.server, room.uid, "bob", seq, now=NOW_MS) for seq in range(1, 7)]
        outcomes = await asyncio.gather(node.members.leave(room.uid, "bob"), *marks, return_exceptions=True)
        refused = [outcome.code for outcome in outcomes if isinstance(outcome, HubbubError)]
        assert {*refused} <= {"not_found"}
        assert sum(isinstance(outcome, BaseException) for outcome in outcomes) == len(refused)
        document = await node.server.standings.find_one({"room": room.uid, "user": "bob"})
        assert document is not None
        assert document["read_seq"] == 0

    async def test_stubs_are_never_unread(self, node: Node, room: Room) -> None:
        await node.server.rooms.update_one({"uid": room.uid}, {"$set": {"floor": 4}})
        assert await mark_read(node.server, room.uid, "bob", 1, now=NOW_MS) == (1, 2)
        view = await read_view(node.server, room.uid, "bob", now=NOW_MS)
        assert view is not None
        assert view.unread == 2
        assert await mark_read(node.server, room.uid, "bob", 5, now=NOW_MS) == (5, 1)

    async def test_whose_joining_was_left_behind_is_a_member(self, node: Node, room: Room) -> None:
        cy = Standing("cy", "member", 5, read_seq=2)
        intent = intent_of(2, [Changed(cy, is_new=True, marks=True)], at=NOW_MS)
        await node.server.rooms.update_one({"uid": room.uid}, {"$set": {"v": 2, "members": 3, "pending": intent}})
        assert await mark_read(node.server, room.uid, "cy", 4, now=LATER_MS) == (4, 2)

    async def test_a_room_without_messages_has_no_newest(self, node: Node) -> None:
        assert await newest_seq(node.server.messages, "nowhere") == 0
