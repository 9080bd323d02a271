"""Filling a store: once, again, after an interruption, and beside what is there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubbub.errors import HubbubError
from hubbub.history.archive import Archive, stub_of
from hubbub.history.base import Person, Standing
from hubbub.transfer.loader import Loader
from hubbub.transfer.pieces import walk
from tests.support.archives import (
    Whole,
    WholeRoom,
    counted_room,
    exported,
    fill,
    histories,
    lines_of,
    opened,
    sqlite_store,
)
from tests.support.history import Op, deleting, draft, editing, say
from tests.support.mongodb import SharedMongo
from tests.support.stores import open_history

ANN, BOB = (Person("ann", "Ann"), 5), (Person("bob", "Bob"), 5)
WHOLE = Whole([ANN, BOB], [counted_room("a", 40, floor=7), counted_room("b", 25), counted_room("c", 0)])


@pytest.fixture(params=["sqlite", "mongo"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a store that is not there yet."""
    if request.param == "mongo":
        yield request.getfixturevalue("mongo_uri")
    else:
        yield sqlite_store(tmp_path / "hubbub.db")


async def expected(whole: Whole) -> bytes:
    return b"".join(await lines_of(whole))


def changed(room: WholeRoom, number: int, *, rev: int | None, **values: object) -> WholeRoom:
    """The room with a message that is other; with a revision of its own if there is one."""
    messages = [*room.messages]
    message, revs = messages[number]
    head = room.room.room.head if rev is None else rev
    if rev is not None:
        message, revs = replace(message, rev=rev), (*revs, rev)
    messages[number] = (replace(message, **values), revs)  # type: ignore[arg-type]
    return replace(room, messages=messages, room=replace(room.room, room=replace(room.room.room, head=head)))


class TestOnce:
    async def test_all_arrives(self, store: str) -> None:
        loader = await fill(store, WHOLE)
        assert loader.refusals == {}
        assert loader.written == sum(len(room.messages) for room in WHOLE.rooms)
        assert await exported(store) == await expected(WHOLE)

    async def test_a_second_time_nothing_is_written(self, store: str) -> None:
        await fill(store, WHOLE)
        assert (await fill(store, WHOLE)).written == 0
        assert (await fill(store, WHOLE, update=True)).written == 0
        assert await exported(store) == await expected(WHOLE)


class TestAnyHistory:
    @given(whole=histories(), page=st.integers(1, 5))
    @settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_it_goes_to_one_store_and_on_to_the_other_and_is_the_same(
        self, whole: Whole, page: int, mongo: SharedMongo, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        async def go() -> None:
            first = sqlite_store(tmp_path_factory.mktemp("store") / "hubbub.db")
            with mongo.database() as second:
                await fill(first, whole, page=page)
                there = await exported(first)
                assert there == await expected(whole)
                await copy(first, second)
                assert await exported(second) == there
                third = sqlite_store(tmp_path_factory.mktemp("store") / "hubbub.db")
                await copy(second, third)
                assert await exported(third) == there

        asyncio.run(go())


async def copy(source: str, target: str) -> None:
    async with opened(source) as origin, opened(target, writable=True) as archive:
        loader = Loader(archive)
        async for piece in walk(origin):
            await loader.take(piece)
        assert loader.refusals == {}


class TestInterrupted:
    """The process dies between two writes, as often as one likes, and is started again."""

    @pytest.mark.parametrize("seed", range(3))
    async def test_the_result_is_the_same(self, store: str, seed: int) -> None:
        chance = random.Random(seed)
        deaths = 0
        for _ in range(100):
            try:
                async with opened(store, writable=True) as target:
                    loader = Loader(cast(Archive, Dying(target, chance.randrange(1, 12))))
                    for piece in WHOLE.pieces(page=chance.randrange(1, 6)):
                        await loader.take(piece)
                    break
            except DeathError:
                deaths += 1
        assert deaths > 2
        assert loader.refusals == {}
        assert await exported(store) == await expected(WHOLE)

    async def test_what_has_arrived_is_not_written_again(self, store: str) -> None:
        room = counted_room("a", 60)
        async with opened(store, writable=True) as target:
            loader = Loader(target)
            pieces = Whole(rooms=[room]).pieces(page=5)
            for piece in pieces[:5]:
                await loader.take(piece)
        assert (await fill(store, Whole(rooms=[room]))).written == len(room.messages) - loader.written > 0

    async def test_a_source_that_went_on_meanwhile_is_followed(self, store: str) -> None:
        before = counted_room("a", 20)
        async with opened(store, writable=True) as target:
            loader = Loader(target)
            for piece in Whole(rooms=[before]).pieces(page=5)[:-1]:
                await loader.take(piece)
        after = changed(before, 3, rev=21, body="changed since")
        after.standings = [replace(after.standings[0], role="moderator"), Standing("zoe", "owner", 1)]
        await fill(store, Whole(rooms=[after]))
        assert await exported(store) == await expected(Whole(rooms=[after]))

    async def test_remains_of_another_attempt_are_cleared_away(self, store: str) -> None:
        async with opened(store, writable=True) as target:
            loader = Loader(target)
            for piece in Whole(rooms=[counted_room("a", 60, seed=1)]).pieces(page=5)[:-1]:
                await loader.take(piece)
        room = counted_room("a", 30, seed=2)
        await fill(store, Whole(rooms=[room]))
        assert await exported(store) == await expected(Whole(rooms=[room]))


class DeathError(Exception):
    """The process died."""


class Dying:
    """A target that dies at the n-th write, before it or behind it."""

    def __init__(self, target: Archive, writes: int) -> None:
        self._target = target
        self._left = writes

    def __getattr__(self, name: str) -> Callable[..., object]:
        method: Callable[..., object] = getattr(self._target, name)
        if name not in {"begin", "put_messages", "put_standings", "put_people", "finish", "drop_messages"}:
            return method

        async def write(*args: object, **kwargs: object) -> object:
            self._left -= 1
            if self._left == 0:
                raise DeathError
            result = await method(*args, **kwargs)  # type: ignore[misc]
            if self._left == 1 and name != "begin":
                raise DeathError
            return result

        return write


class TestBeside:
    """The target has rooms already."""

    async def test_other_rooms_stay(self, store: str) -> None:
        async with open_history(store.replace("sqlite:///", "sqlite://")) as history:
            other = await history.create_room(counted_room("zz", 0).room.room, [])
            await say(history, other.uid, "hello")
        await fill(store, WHOLE)
        async with open_history(store.replace("sqlite:///", "sqlite://")) as history:
            assert await history.head("zz") == 1
            assert await history.head("a") == 40

    async def test_a_room_of_the_same_id_is_refused_and_the_others_arrive(self, store: str) -> None:
        await fill(store, Whole(rooms=[counted_room("zz", 3, id="room-b")]))
        loader = await fill(store, WHOLE)
        assert loader.refusals == {"b": "There is another room with the id room-b."}
        async with opened(store) as archive:
            assert list(await archive.uids(after="")) == ["a", "c", "zz"]

    async def test_a_room_that_is_there_is_left_as_it_is(self, store: str) -> None:
        room = counted_room("a", 20)
        await fill(store, Whole(rooms=[room]))
        newer = changed(room, 3, rev=21, body="newer")
        assert (await fill(store, Whole(rooms=[newer]))).written == 0
        assert await exported(store) == await expected(Whole(rooms=[room]))

    async def test_with_update_it_follows_the_source(self, store: str) -> None:
        room = counted_room("a", 20)
        await fill(store, Whole(rooms=[room]))
        newer = changed(room, 3, rev=21, body="newer")
        newer.standings = [*newer.standings[1:], Standing("zoe", "invited")]
        newer.room = replace(newer.room, room=replace(newer.room.room, title="Other", capacity=7))
        assert (await fill(store, Whole(rooms=[newer]), update=True)).written == 1
        assert await exported(store) == await expected(Whole(rooms=[newer]))

    async def test_retention_is_followed(self, store: str) -> None:
        room = counted_room("a", 20)
        await fill(store, Whole(rooms=[room]))
        emptied = replace(
            room,
            room=replace(room.room, floor=9),
            messages=[(stub_of(message) if message.seq <= 9 else message, revs) for message, revs in room.messages],
        )
        await fill(store, Whole(rooms=[emptied]), update=True)
        assert await exported(store) == await expected(Whole(rooms=[emptied]))

    @pytest.mark.parametrize("what", ["sent", "edited", "deleted", "both sent", "other content"])
    async def test_what_was_said_in_the_target_is_never_lost(self, store: str, what: str) -> None:
        room = counted_room("a", 20)
        await fill(store, Whole(rooms=[room]))
        seq = room.messages[2][0].seq
        new = draft("a", "new")
        change: dict[str, Op] = {"sent": new, "both sent": new, "edited": editing("a", seq, "newer")}
        async with open_history(store.replace("sqlite:///", "sqlite://")) as history:
            if what != "other content":
                await history.commit([change.get(what, deleting("a", seq))])
        if what == "both sent":
            room = changed(room, 3, rev=21, body="newer")
        if what == "other content":
            room = changed(room, 3, rev=None, body="not what it was")
        before = await exported(store)
        loader = await fill(store, Whole(rooms=[room]), update=True)
        assert loader.refusals == {
            "a": "The room room-a has gone on in the target by itself, and is left as it is there."
        }
        assert await exported(store) == before


class TestPeople:
    async def test_whoever_was_seen_later_in_the_target_stays(self, store: str) -> None:
        await fill(store, Whole([(Person("ann", "Ann B."), 9), (Person("bob", "Old"), 1), (Person("zoe", "Zoe"), 1)]))
        loader = await fill(store, Whole([ANN, BOB]))
        assert loader.people.totals().people == 1
        async with opened(store) as archive:
            assert list(await archive.people(after="")) == [
                (Person("ann", "Ann B."), 9),
                BOB,
                (Person("zoe", "Zoe"), 1),
            ]


class TestRevisions:
    @pytest.mark.parametrize("number", [0, 5])
    async def test_a_history_with_a_hole_is_refused(self, store: str, number: int) -> None:
        room = counted_room("a", 20)
        del room.messages[number]
        loader = await fill(store, Whole(rooms=[room, counted_room("b", 3)]))
        assert "was claimed by no message" in loader.refusals["a"]
        async with opened(store) as archive:
            assert list(await archive.uids(after="")) == ["b"]

    async def test_a_store_that_goes_away_ends_it(self, store: str) -> None:
        async with opened(store, writable=True) as target:
            loader = Loader(target)
            await target.close()
            with pytest.raises(HubbubError) as caught:
                await loader.take(WHOLE.pieces()[0])
            assert caught.value.code == "unavailable"
