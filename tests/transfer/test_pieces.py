"""Walking over a store, also while it is written to, and counting revisions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.errors import HubbubError
from hubbub.history.archive import Archive, ArchivedMessage
from hubbub.history.mongo_archive import MongoArchive
from hubbub.transfer.pieces import CHANGES_KEPT, Claims, MessagesPiece, RoomBegins, walk
from tests.support.archives import Whole, counted_room, exported, fill, lines_of, opened, sqlite_store, written
from tests.support.history import draft, editing
from tests.support.stores import open_history


async def lines(archive: Archive) -> bytes:
    """All lines of the export but its header."""
    return (await written(walk(archive))).partition(b"\n")[2]


class TestWalk:
    async def test_rooms_are_in_the_order_of_their_uids(self, tmp_path: Path) -> None:
        store = sqlite_store(tmp_path / "hubbub.db")
        whole = Whole(rooms=[counted_room(uid, 3) for uid in ("a", "b", "c")])
        await fill(store, Whole(rooms=whole.rooms[::-1]))
        async with opened(store) as archive:
            assert await lines(archive) == b"".join((await lines_of(whole))[1:])

    async def test_some_rooms_can_be_chosen_and_messages_left_out(self, tmp_path: Path) -> None:
        store = sqlite_store(tmp_path / "hubbub.db")
        await fill(store, Whole(rooms=[counted_room(uid, 3) for uid in ("a", "b", "c")]))
        async with opened(store) as archive:
            pieces = [piece async for piece in walk(archive, only={"b"}, messages=False)]
        assert [piece.room.room.uid for piece in pieces if isinstance(piece, RoomBegins)] == ["b"]
        assert not any(isinstance(piece, MessagesPiece) for piece in pieces)

    async def test_sqlite_shows_one_state_whatever_is_written(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        await fill(sqlite_store(path), Whole(rooms=[counted_room("a", 9), counted_room("b", 9)]))
        before = await exported(sqlite_store(path))
        async with open_history(f"sqlite://{path}") as history, opened(sqlite_store(path)) as archive:
            await history.commit([draft("b", "new"), editing("a", 1, "changed")])
            assert before.endswith(await lines(archive))
        assert await exported(sqlite_store(path)) != before

    async def test_a_room_that_goes_on_meanwhile_is_as_of_its_head(self, mongo_uri: str) -> None:
        """After its head was read one is sent and one is edited; no revision is missing, and none is there twice."""
        await fill(mongo_uri, Whole(rooms=[counted_room("a", 1)]))
        async with open_history(mongo_uri) as history:
            archive = Overtaken(mongo_uri)
            await archive.open(writable=False)

            async def overtake() -> None:
                await history.commit([draft("a", "later"), editing("a", 1, "newer than its revision")])

            archive.overtaken_by = overtake
            pieces = [piece async for piece in walk(archive)]
            await archive.close()
        (messages,) = [piece.messages for piece in pieces if isinstance(piece, MessagesPiece)]
        assert [(message.rev, message.body, revs) for message, revs in messages] == [
            (1, "newer than its revision", (1,))
        ]


class Overtaken(MongoArchive):
    """Somebody writes just before the messages are read."""

    overtaken_by: Callable[[], Awaitable[None]]

    async def messages(self, uid: str, *, after: int, upto: int) -> Sequence[ArchivedMessage]:
        if after == 0:
            await self.overtaken_by()
        return await super().messages(uid, after=after, upto=upto)


class TestClaims:
    @given(st.permutations(range(1, 30)), st.integers(1, 7))
    def test_each_is_claimed_once_in_whatever_order(self, revs: list[int], size: int) -> None:
        claims = Claims(29)
        for start in range(0, 29, size):
            claims.add(tuple(revs[start : start + size]))
        claims.check()

    def test_one_that_is_missing_is_named(self) -> None:
        claims = Claims(20)
        claims.add((*range(1, 17), 18, 19, 20))
        with pytest.raises(HubbubError, match="revision 17 was claimed by no message"):
            claims.check()

    def test_one_that_is_there_twice_is_named(self) -> None:
        claims = Claims(20)
        claims.add((1, 9))
        with pytest.raises(HubbubError, match="revision 9 was claimed by two"):
            claims.add((2, 9))

    def test_none_is_above_the_head(self) -> None:
        with pytest.raises(HubbubError, match="4 is above the room's head, 3"):
            Claims(3).add((1, 4))

    def test_a_message_that_was_changed_very_often_may_have_lost_some(self) -> None:
        claims = Claims(3 * CHANGES_KEPT)
        claims.add(tuple(range(1, CHANGES_KEPT + 1)))
        claims.check()
