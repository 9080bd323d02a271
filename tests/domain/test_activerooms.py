"""The rooms in memory."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from hubbub.domain.activerooms import ActiveRoom, ActiveRooms
from hubbub.errors import HubbubError
from hubbub.history.base import History
from hubbub.transport.fanout import Fanout
from tests.support.domain import PromptBatch, RecordingOutlet, room_of
from tests.support.history import new_room
from tests.support.house import ChatHouse


class TestARoom:
    async def test_its_head_is_what_was_delivered(self) -> None:
        room = ActiveRoom(room_of(head=3))
        assert room.now().head == 3
        room.feed.advance(5)
        assert room.now().head == 5
        assert room.record.head == 3

    async def test_waiting_ends_when_the_revision_was_delivered(self) -> None:
        room = ActiveRoom(room_of(head=3))
        await room.wait_delivered(3)
        waits = [asyncio.ensure_future(room.wait_delivered(rev)) for rev in (4, 5)]
        await asyncio.sleep(0)
        room.feed.advance(4)
        room.wake()
        await waits[0]
        assert not waits[1].done()
        room.feed.advance(9)
        room.wake()
        await waits[1]
        assert room._waiters == []

    async def test_who_gave_up_waiting_is_forgotten(self) -> None:
        room = ActiveRoom(room_of(head=3))
        wait = asyncio.ensure_future(room.wait_delivered(4))
        await asyncio.sleep(0)
        wait.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wait
        room.wake()
        assert room._waiters == []


class TestTheCache:
    @staticmethod
    def over(house: ChatHouse, *, keep: int = 4096) -> tuple[ActiveRooms, Fanout]:
        fanout = Fanout("/chat", batch=PromptBatch())
        return ActiveRooms(cast(History, house.store), fanout, keep=keep), fanout

    async def test_a_room_is_read_once_however_many_ask(self, house: ChatHouse) -> None:
        record = await new_room(house.chat.house.history, id="tea")
        rooms, _ = self.over(house)
        house.store.calls.clear()
        found = await asyncio.gather(*(rooms.get("tea") for _ in range(5)))
        assert found[0] is not None
        assert all(each is found[0] for each in found)
        assert await rooms.get("tea") is found[0] is rooms.by_uid(record.uid)
        assert house.store.calls == ["room"]

    async def test_a_room_that_is_not_there_is_none_and_asked_for_again(self, house: ChatHouse) -> None:
        rooms, _ = self.over(house)
        assert await rooms.get("tea") is None
        await new_room(house.chat.house.history, id="tea")
        assert await rooms.get("tea") is not None

    async def test_a_store_that_does_not_answer_is_asked_again(self, house: ChatHouse) -> None:
        await new_room(house.chat.house.history, id="tea")
        rooms, _ = self.over(house)
        house.store.fail("room", HubbubError("unavailable"))
        with pytest.raises(HubbubError):
            await rooms.get("tea")
        assert await rooms.get("tea") is not None

    async def test_who_gives_up_takes_nobody_along(self, house: ChatHouse) -> None:
        await new_room(house.chat.house.history, id="tea")
        rooms, _ = self.over(house)
        held = house.store.hold("room")
        one, other = (asyncio.ensure_future(rooms.get("tea")) for _ in range(2))
        await held.wait()
        one.cancel()
        held.release()
        assert await other is not None

    async def test_a_newer_record_keeps_the_feed_and_the_higher_head(self, house: ChatHouse) -> None:
        rooms, _ = self.over(house)
        room = rooms.put(room_of("u", head=5))
        assert rooms.put(room_of("u", head=3, title="New")) is room
        assert (room.record.title, room.record.head) == ("New", 5)

    async def test_a_room_made_anew_under_an_id_replaces_the_one_before(self, house: ChatHouse) -> None:
        rooms, _ = self.over(house)
        rooms.put(room_of("old", id="tea"))
        rooms.forget("old")
        new = rooms.put(room_of("new", id="tea"))
        rooms.forget("old")
        assert await rooms.get("tea") is new

    async def test_of_rooms_without_subscribers_those_used_last_are_kept(self, house: ChatHouse) -> None:
        rooms, _ = self.over(house, keep=3)
        for number in range(3):
            rooms.put(room_of(f"u{number}"))
        await rooms.get("room-u0")
        for number in range(3, 20):
            rooms.put(room_of(f"u{number}"))
            await rooms.get("room-u0")
        kept = [f"u{number}" for number in range(20) if rooms.by_uid(f"u{number}") is not None]
        assert {"u0", "u18", "u19"} <= set(kept)
        assert len(kept) <= 3 + 3

    async def test_a_room_with_subscribers_is_never_lost(self, house: ChatHouse) -> None:
        rooms, fanout = self.over(house, keep=2)
        for number in range(10):
            fanout.subscribe(RecordingOutlet(), f"u{number}")
            rooms.put(room_of(f"u{number}"))
        for number in range(10, 30):
            rooms.put(room_of(f"u{number}"))
        assert all(rooms.by_uid(f"u{number}") is not None for number in range(10))

    async def test_a_room_with_watchers_is_never_lost(self, house: ChatHouse) -> None:
        fanout = Fanout("/chat", batch=PromptBatch())
        rooms = ActiveRooms(cast(History, house.store), fanout, keep=2, is_watched=lambda uid: uid == "u0")
        for number in range(30):
            rooms.put(room_of(f"u{number}"))
        assert rooms.by_uid("u0") is not None
        assert rooms.by_uid("u1") is None

    async def test_a_room_that_was_just_found_is_there_however_many_others_are_in_use(self, house: ChatHouse) -> None:
        rooms, fanout = self.over(house, keep=2)
        for number in range(10):
            fanout.subscribe(RecordingOutlet(), f"u{number}")
            rooms.put(room_of(f"u{number}"))
        new = rooms.put(room_of("new"))
        assert rooms.by_uid("new") is new
