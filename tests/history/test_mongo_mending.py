"""Whatever a node was doing when it died: a change that stands has its records once another node has mended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from pymongo.errors import PyMongoError

from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, Person
from hubbub.history.mongo_lists import read_room, read_standing
from hubbub.history.mongo_mending import LEFT_MS, mend
from hubbub.history.mongo_rooms import create_room, update_room
from tests.support.history import make_room, member
from tests.support.mongo_members import LATER_MS, NOW_MS, Commands, Cut, Node, cut_server, node_at

Do = Callable[[Node, str], Awaitable[object]]

CHANGES: dict[str, Do] = {
    "join": lambda node, uid: node.members.join(uid, Person("zoe", "Zoe"), at=5),
    "kick": lambda node, uid: node.members.leave(uid, "bob", kicked=True, text="spam"),
    "ban": lambda node, uid: node.members.ban(uid, "ann", until=FOREVER),
    "mute": lambda node, uid: node.members.mute(uid, "bob", until=FOREVER),
    "update": lambda node, uid: update_room(node.server, uid, values={"title": "New"}, at=NOW_MS),
}


@pytest.fixture
async def node(mongo_uri: str) -> AsyncIterator[Node]:
    async with node_at(mongo_uri, now=LATER_MS) as node:
        yield node


async def state(node: Node, id: str, uid: str) -> object:
    room = await read_room(node.server, id, now=LATER_MS)
    return room, [await read_standing(node.server, uid, user, now=LATER_MS) for user in ("ann", "bob", "zoe")]


class TestMending:
    @pytest.mark.parametrize("happens", [True, False])
    @pytest.mark.parametrize("change", CHANGES)
    async def test_a_change_has_its_records_exactly_if_it_stands(
        self, mongo_uri: str, node: Node, change: str, happens: bool
    ) -> None:
        falls, after, stood = True, 0, 0
        while falls:
            room = await create_room(
                node.server, make_room(), [member("ann", "owner", at=1), member("bob", at=2)], at=NOW_MS
            )
            before, head = await state(node, room.id, room.uid), await node.server.log.head()
            async with node_at(mongo_uri) as dying:
                cut = Cut(after, happens=happens)
                cut_server(dying.server, cut)
                try:
                    await CHANGES[change](dying, room.uid)
                    told = True
                except (PyMongoError, HubbubError):
                    told = False
                await cut.silence()
                falls = cut.fell
            for _ in range(2):  # As two nodes would, one after the other.
                await mend(node.server, now=LATER_MS)
            stands = await state(node, room.id, room.uid) != before
            said = await node.server.log.read(after=head, limit=99)
            assert bool(said) == stands, (after, said)
            assert stands or not told
            assert (
                len({record.key for record in said}) == len(said) == (0 if not stands else 2 if change == "ban" else 1)
            )
            stood += stands
            after += 1
        assert stood >= 2
        assert after >= 4

    async def test_what_is_on_its_way_is_left_to_its_author(self, node: Node) -> None:
        room = await create_room(node.server, make_room(), [member("ann", "owner")], at=NOW_MS)
        head = await node.server.log.head()
        unsaid = {"key": "k", "at": NOW_MS, "origin": "other"}
        await node.server.rooms.update_one({"uid": room.uid}, {"$set": {"unsaid": [unsaid]}})
        await mend(node.server, now=NOW_MS + LEFT_MS)
        assert await node.server.log.head() == head
        await mend(node.server, now=NOW_MS + LEFT_MS + 1)
        [record] = await node.server.log.read(after=head, limit=9)
        assert (record.kind, record.origin, record.data) == ("room", "other", {"room": room.uid})

    async def test_a_clock_that_was_ahead_holds_nothing_up(self, mongo_uri: str, node: Node) -> None:
        room = await create_room(node.server, make_room(), [member("ann", "owner")], at=NOW_MS)
        async with node_at(mongo_uri, now=LATER_MS) as ahead:
            cut_server(ahead.server, Cut(2, happens=False))
            with pytest.raises(HubbubError):
                await ahead.members.join(room.uid, Person("zoe", "Zoe"), at=5)
        unsaid = {"key": "k", "at": LATER_MS, "origin": "other"}
        await node.server.rooms.update_one({"uid": room.uid}, {"$set": {"unsaid": [unsaid]}})
        head = await node.server.log.head()
        await mend(node.server, now=NOW_MS)
        said = await node.server.log.read(after=head, limit=9)
        assert sorted((record.kind, record.data.get("user")) for record in said) == [
            ("room", None),
            ("standing", "zoe"),
        ]

    async def test_an_update_that_is_asked_for_again_is_said_before_its_answer(
        self, mongo_uri: str, node: Node
    ) -> None:
        room = await create_room(node.server, make_room(), [member("ann", "owner")], at=NOW_MS)
        head = await node.server.log.head()
        async with node_at(mongo_uri) as dying:
            cut_server(dying.server, Cut(0, happens=True))
            with pytest.raises(PyMongoError):
                await update_room(dying.server, room.uid, values={"title": "New"}, at=NOW_MS)
        assert await node.server.log.head() == head
        for _ in range(2):
            await update_room(node.server, room.uid, values={"title": "New"}, at=NOW_MS)
            [record] = await node.server.log.read(after=head, limit=9)
            assert record.kind == "room"

    async def test_an_intent_of_an_older_version_tells_nothing_and_harms_nobody(self, node: Node) -> None:
        room = await create_room(node.server, make_room(), [member("ann", "owner")], at=NOW_MS)
        head = await node.server.log.head()
        await node.server.rooms.update_one(
            {"uid": room.uid}, {"$set": {"v": 2, "pending": {"v": 2, "at": 1, "standings": []}}}
        )
        await mend(node.server, now=LATER_MS)
        assert await node.server.log.head() == head
        assert "pending" not in await node.settled(room.uid)

    async def test_without_anything_to_mend_it_is_three_questions(self, mongo_uri: str) -> None:
        commands = Commands()
        async with node_at(mongo_uri, listeners=[commands]) as node:
            await create_room(node.server, make_room(), [member("ann", "owner")], at=NOW_MS)
            commands.names.clear()
            await mend(node.server, now=LATER_MS)
            assert commands.names == ["find"] * 3
