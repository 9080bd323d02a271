"""How those who join see the room: one read for one who comes alone, and a few for a crowd."""

from __future__ import annotations

import asyncio

import pytest

from hubbub.domain import views as module
from hubbub.domain.views import Seen, ViewReader
from hubbub.errors import HubbubError
from tests.support.domain import as_read
from tests.support.house import ChatHouse, refusal_of


async def prepared(house: ChatHouse, users: int, *, sent: int = 3) -> ViewReader:
    """A room `tea` of Ada's with some messages, whose other members have read one of them each."""
    ada = await house.enter("ada")
    await house.room(ada)
    for number in range(users):
        member = await house.enter(f"user{number}")
        await house.join(member)
        house.leave(member)
    for _ in range(sent):
        await house.send(ada)
    for number in range(users):
        await house.chat.house.history.mark_read(house.uid(), f"user{number}", 1)
    house.store.calls.clear()
    # What was read for these joins is not for those of the test.
    house.clock.forward(60)
    return house.chat.reading._views


async def read(house: ChatHouse, reader: ViewReader, user: str, since: int | None = 0) -> Seen | None:
    room = house.chat.house.rooms.by_uid(house.uid())
    assert room is not None
    return await reader.read(room, user, since=since, limit=50)


class TestReading:
    @pytest.mark.parametrize("since", [None, 0, 2, 99])
    async def test_one_who_comes_alone_takes_one_read_and_finds_the_page_read_as_well(
        self, house: ChatHouse, since: int | None
    ) -> None:
        reader = await prepared(house, 1)
        seen = await read(house, reader, "user0", since)
        assert seen is not None
        assert seen.view == await house.chat.house.history.view(house.uid(), "user0")
        assert {each["user"]["id"] for each in as_read(seen.members)} == {"ada", "user0"}
        room = house.chat.house.rooms.by_uid(house.uid())
        assert room is not None
        past_the_head = since is not None and since > room.feed.delivered
        assert house.chat.reading._pages.has(room, since=None if past_the_head else since, limit=50)
        assert house.store.calls == ["landing", "view"]

    async def test_one_for_whom_the_page_is_here_asks_for_the_rest_alone(self, house: ChatHouse) -> None:
        reader = await prepared(house, 2)
        await read(house, reader, "user0")
        await read(house, reader, "user1")
        assert house.store.calls == ["landing", "views"]

    async def test_a_crowd_is_a_few_reads_and_each_gets_their_own(self, house: ChatHouse) -> None:
        reader = await prepared(house, 20)
        held = house.store.hold("landing")
        reading = [asyncio.ensure_future(read(house, reader, f"user{n % 20}")) for n in range(60)]
        await held.wait()
        held.release()
        everybody = await asyncio.gather(*reading)
        assert house.store.calls == ["landing", "views"]
        for number, seen in enumerate(everybody):
            assert seen is not None
            assert seen.view == await house.chat.house.history.view(house.uid(), f"user{number % 20}")
        assert len({id(seen.members) for seen in everybody[1:] if seen is not None}) == 1

    async def test_a_very_large_one_is_some_more(self, house: ChatHouse, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "TOGETHER", 4)
        reader = await prepared(house, 10)
        await asyncio.gather(*(read(house, reader, f"user{number}") for number in range(10)))
        assert house.store.calls == ["landing", "views", "views", "views"]

    async def test_too_many_members_are_no_list(self, house: ChatHouse) -> None:
        reader = await prepared(house, 101)
        one, other = await asyncio.gather(*(read(house, reader, f"user{number}") for number in range(2)))
        assert one is not None
        assert other is not None
        assert one.members is other.members is None

    async def test_of_a_room_that_is_gone_there_is_nothing_to_see(self, house: ChatHouse) -> None:
        reader = await prepared(house, 3)
        room = house.chat.house.rooms.by_uid(house.uid())
        assert room is not None
        await house.chat.house.history.delete_room(room.uid)
        reading = (reader.read(room, f"user{number}", since=0, limit=9) for number in range(3))
        assert await asyncio.gather(*reading) == [None] * 3


class TestTrouble:
    async def test_a_failure_is_told_to_all_who_waited_for_that_read(self, house: ChatHouse) -> None:
        reader = await prepared(house, 4)
        house.store.fail("views", HubbubError("unavailable"))
        first, *others = await asyncio.gather(
            *(read(house, reader, f"user{number}") for number in range(4)), return_exceptions=True
        )
        assert isinstance(first, Seen)
        assert [getattr(other, "code", None) for other in others] == ["unavailable"] * 3
        assert isinstance(await read(house, reader, "user3"), Seen)

    async def test_so_it_is_for_one_alone_and_the_others_are_asked_for_all_the_same(self, house: ChatHouse) -> None:
        reader = await prepared(house, 3)
        house.store.fail("landing", HubbubError("unavailable"))
        first, *others = await asyncio.gather(
            *(read(house, reader, f"user{number}") for number in range(3)), return_exceptions=True
        )
        assert getattr(first, "code", None) == "unavailable"
        assert all(isinstance(other, Seen) for other in others)

    async def test_those_who_go_are_not_waited_for(self, house: ChatHouse) -> None:
        reader = await prepared(house, 4)
        held = house.store.hold("landing")
        reading = [asyncio.ensure_future(read(house, reader, f"user{number}")) for number in range(4)]
        await held.wait()
        for gone in (reading[0], reading[2]):
            gone.cancel()
        answers = await asyncio.gather(*reading, return_exceptions=True)
        assert [type(answer) for answer in answers] == [
            asyncio.CancelledError,
            Seen,
            asyncio.CancelledError,
            Seen,
        ]

    async def test_who_waits_when_it_stops_is_told(self, house: ChatHouse) -> None:
        reader = await prepared(house, 3)
        held = house.store.hold("landing")
        reading = [asyncio.ensure_future(read(house, reader, f"user{number}")) for number in range(3)]
        await held.wait()
        reader.stop()
        assert await refusal_of(reading[1]) == await refusal_of(reading[2]) == "unavailable"
        held.release()
        assert isinstance(await reading[0], Seen)

    async def test_who_is_asked_for_when_it_stops_is_told_too(self, house: ChatHouse) -> None:
        reader = await prepared(house, 3)
        held = house.store.hold("views")
        reading = [asyncio.ensure_future(read(house, reader, f"user{number}")) for number in range(3)]
        await held.wait()
        reader.stop()
        assert await refusal_of(reading[1]) == await refusal_of(reading[2]) == "unavailable"
