"""Emptying in MongoDB: what is begun is finished by whoever comes next, and what was emptied is never filled again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from hubbub.errors import HubbubError
from hubbub.history import mongo_retention
from hubbub.history.base import Written
from hubbub.history.mongo import MongoHistory
from hubbub.history.mongo_batch import Committer
from hubbub.history.mongo_retention import Retention
from hubbub.history.mongo_server import MongoServer
from tests.support.history import all_messages, code_of, editing, new_room, say


@pytest.fixture
async def history(mongo_uri: str) -> AsyncIterator[MongoHistory]:
    history = MongoHistory(mongo_uri)
    await history.open()
    yield history
    await history.close()


@pytest.fixture
async def server(mongo_uri: str, history: MongoHistory) -> AsyncIterator[MongoServer]:
    """The same database, as another node sees it."""
    server = MongoServer(mongo_uri)
    yield server
    await server.close()


async def bodies(server: MongoServer, uid: str) -> list[str]:
    return [each["body"] async for each in server.messages.find({"room": uid}).sort("seq")]


async def marks(server: MongoServer, uid: str) -> tuple[int, int]:
    room = await server.rooms.find_one({"uid": uid})
    assert room is not None
    return room["floor"], room.get("emptied", 0)


class TestCrashes:
    async def test_a_floor_without_its_emptying_is_finished(self, history: MongoHistory, server: MongoServer) -> None:
        """As it stands when a node dies between the two: readers see no difference, and the next round ends it."""
        room = await new_room(history)
        await say(history, room.uid, *"abcde")
        await server.rooms.update_one({"uid": room.uid}, {"$set": {"floor": 3}})
        assert list(await all_messages(history, room.uid)) == [4, 5]
        before = await history.revisions(room.uid, after=0, upto=5)
        assert [message.body for _, message in before] == ["", "", "", "d", "e"]
        assert await history.expire(before=None, keep=None) == 3
        assert await bodies(server, room.uid) == ["", "", "", "d", "e"]
        assert await marks(server, room.uid) == (3, 3)
        assert await history.revisions(room.uid, after=0, upto=5) == before
        assert await history.expire(before=None, keep=None) == 0

    async def test_a_large_gap_is_finished_in_slices(
        self, history: MongoHistory, server: MongoServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mongo_retention, "SLICE_ROWS", 4)
        room = await new_room(history)
        await say(history, room.uid, *["word"] * 12)
        await server.rooms.update_one({"uid": room.uid}, {"$set": {"floor": 10}})
        assert [await history.expire(before=None, keep=None) for _ in range(4)] == [4, 4, 2, 0]
        assert await marks(server, room.uid) == (10, 10)

    async def test_what_was_emptied_but_not_marked_is_marked(self, history: MongoHistory, server: MongoServer) -> None:
        room = await new_room(history)
        await say(history, room.uid, *"abcde")
        assert await history.expire(before=None, keep=2) == 3
        await server.rooms.update_one({"uid": room.uid}, {"$set": {"emptied": 1}})
        assert await history.expire(before=None, keep=2) == 0
        assert await marks(server, room.uid) == (3, 3)

    async def test_a_room_without_marks_has_none(self, history: MongoHistory, server: MongoServer) -> None:
        room = await new_room(history)
        await say(history, room.uid, *"abc")
        await server.rooms.update_one({"uid": room.uid}, {"$unset": {"floor": True}})
        assert await history.expire(before=None, keep=1) == 2


class TestOtherNodes:
    async def test_a_floor_that_another_node_raised_first_is_left(
        self, history: MongoHistory, server: MongoServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room = await new_room(history)
        await say(history, room.uid, *"abcdef")
        retention, other = Retention(server), Retention(server)
        high = retention._high

        async def quicker(*args: Any, **kwargs: Any) -> int:
            monkeypatch.setattr(retention, "_high", high)
            found = await high(*args, **kwargs)
            assert await other.expire(before=None, keep=3) == 3
            return found

        monkeypatch.setattr(retention, "_high", quicker)
        assert await retention.expire(before=None, keep=5) == 0
        assert await marks(server, room.uid) == (3, 3)
        assert await bodies(server, room.uid) == ["", "", "", "d", "e", "f"]

    async def test_a_change_on_its_way_does_not_fill_a_stub(
        self, history: MongoHistory, server: MongoServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The message was read, then it is emptied, then the change comes."""
        room = await new_room(history)
        await say(history, room.uid, *"abc")
        committer = Committer(server)
        look = committer._look

        async def look_then_empty(uid: str) -> Any:
            seen = await look(uid)
            assert await history.expire(before=None, keep=1) == 2
            return seen

        monkeypatch.setattr(committer, "_look", look_then_empty)
        (outcome,) = await committer.commit([editing(room.uid, 1, "again")])
        monkeypatch.undo()
        assert not isinstance(outcome, Written)
        assert code_of(outcome) == "not_found"
        assert await bodies(server, room.uid) == ["", "", "c"]
        assert await history.head(room.uid) == 3

    async def test_words_and_text_are_gone_from_the_documents(self, history: MongoHistory, server: MongoServer) -> None:
        room = await new_room(history)
        await say(history, room.uid, "secret", "last")
        assert await history.expire(before=None, keep=1) == 1
        (stub, _) = await server.messages.find({"room": room.uid}).sort("seq").to_list()
        assert "secret" not in str(stub)
        assert (stub["stub"], stub["gone"], stub["words"], stub["revs"]) == (True, True, [], [1])


class TestRounds:
    async def test_rooms_beyond_one_look_are_found_too(
        self, history: MongoHistory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mongo_retention, "ROOMS_AT_ONCE", 2)
        rooms = [await new_room(history) for _ in range(5)]
        for room in (rooms[1], rooms[4]):
            await say(history, room.uid, *"abc")
        assert [await history.expire(before=None, keep=2) for _ in range(3)] == [1, 1, 0]
        assert [await history.expire(before=None, keep=1) for _ in range(3)] == [1, 1, 0]

    async def test_a_round_goes_on_where_the_last_slice_ended(
        self, history: MongoHistory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mongo_retention, "SLICE_ROWS", 4)
        rooms = [await new_room(history) for _ in range(3)]
        for room in rooms:
            await say(history, room.uid, *"abcd")
        emptied = []
        while count := await history.expire(before=None, keep=1):
            emptied.append(count)
        assert emptied == [4, 4, 1]

    async def test_a_closed_store_is_unavailable(self, history: MongoHistory) -> None:
        await history.close()
        with pytest.raises(HubbubError) as caught:
            await history.expire(before=None, keep=1)
        assert caught.value.code == "unavailable"
