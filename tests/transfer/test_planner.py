"""What may become of the rooms that a target has already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hubbub.history.archive import ArchivedRoom, stub_of
from hubbub.history.base import Message, Standing
from hubbub.transfer.planner import GONE_ON, Planner, emptied, standings_between
from tests.support.archives import Whole, WholeRoom, counted_room, fill, opened, sqlite_store

ROOM = counted_room("a", 20)


async def plan(tmp_path: Path, there: WholeRoom, source: WholeRoom) -> Planner:
    store = sqlite_store(tmp_path / "hubbub.db")
    await fill(store, Whole(rooms=[there]))
    async with opened(store) as target:
        planner = Planner(target)
        for piece in Whole(rooms=[source, counted_room("new", 3)]).pieces():
            await planner.take(piece)
    return planner


def with_room(room: WholeRoom, floor: int = 0, **values: object) -> WholeRoom:
    return replace(room, room=ArchivedRoom(replace(room.room.room, **values), floor))  # type: ignore[arg-type]


def with_message(room: WholeRoom, number: int, *revs: int, head: int = 20, **values: object) -> WholeRoom:
    messages: list[tuple[Message, tuple[int, ...]]] = [*room.messages]
    message, before = messages[number]
    revs = (*before, *revs)
    messages[number] = (replace(message, rev=revs[-1], **values), revs)  # type: ignore[arg-type]
    return with_room(replace(room, messages=messages), head=head)


class TestPlan:
    async def test_what_is_the_same_needs_nothing(self, tmp_path: Path) -> None:
        planner = await plan(tmp_path, ROOM, ROOM)
        assert (planner.behind, planner.refusals) == (set(), {})

    @pytest.mark.parametrize(
        "source",
        [
            with_room(ROOM, title="Other"),
            replace(ROOM, standings=ROOM.standings[:-1]),
            replace(ROOM, standings=[*ROOM.standings, Standing("zoe")]),
            replace(ROOM, standings=[replace(ROOM.standings[0], read_seq=3), *ROOM.standings[1:]]),
            replace(ROOM, standings=[]),
            with_message(ROOM, 1, 21, head=21, body="newer"),
            with_message(ROOM, 1, 21, 22, head=22, body="newer"),
            with_room(
                replace(
                    ROOM, messages=[(stub_of(each) if each.seq <= 5 else each, revs) for each, revs in ROOM.messages]
                ),
                floor=5,
            ),
        ],
    )
    async def test_a_later_state_is_taken(self, tmp_path: Path, source: WholeRoom) -> None:
        planner = await plan(tmp_path, ROOM, source)
        assert (planner.behind, planner.refusals) == ({"a"}, {})

    @pytest.mark.parametrize(
        ("there", "source"),
        [
            (with_message(ROOM, 1, 21, head=21, body="newer"), ROOM),
            (ROOM, with_room(ROOM, id="other")),
            (ROOM, with_room(ROOM, created_at=5)),
            (ROOM, with_message(ROOM, 1, body="other")),
            (ROOM, with_message(ROOM, 1, key="other")),
            (
                with_message(ROOM, 1, 21, head=21, body="newer"),
                with_message(ROOM, 2, 21, 22, head=22, body="newer"),
            ),
            (ROOM, replace(ROOM, messages=ROOM.messages[:-1])),
            (ROOM, replace(ROOM, messages=ROOM.messages[1:])),
            (replace(counted_room("a", 20), messages=counted_room("a", 20, seed=3).messages), ROOM),
        ],
    )
    async def test_what_has_parted_is_left(self, tmp_path: Path, there: WholeRoom, source: WholeRoom) -> None:
        if there.messages == counted_room("a", 20, seed=3).messages:
            assert there.messages != ROOM.messages
        planner = await plan(tmp_path, there, source)
        assert (planner.behind, planner.refusals) == (set(), {"a": GONE_ON.format(id=source.room.room.id)})


class TestStandings:
    async def test_those_between_two_users_are_found(self, tmp_path: Path) -> None:
        store = sqlite_store(tmp_path / "hubbub.db")
        await fill(store, Whole(rooms=[ROOM]))
        async with opened(store) as target:
            assert [*await standings_between(target, "a", "user0", "user1")] == ["user1"]
            assert [*await standings_between(target, "a", "user0", None)] == ["user1", "user2"]
            assert [*await standings_between(target, "a", "user2", None)] == []


class TestEmptied:
    def test_what_retention_reaches_is_a_stub(self) -> None:
        message, _ = ROOM.messages[2]
        assert emptied(message, message.seq) == stub_of(message)
        assert emptied(message, message.seq - 1) == message
