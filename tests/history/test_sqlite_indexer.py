"""The index comes after the database, whatever happens to it."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import Change
from hubbub.history.sqlite import SqliteHistory
from hubbub.history.sqlite_index import index_path, remove_index
from tests.support.history import draft, editing, eventually, new_room, open_sqlite, say


async def found(history: SqliteHistory, word: str) -> int:
    page = await history.search(uids=[], public=True, phrases=[word], limit=5000, cursor=None)
    return len(page.messages)


async def found_or_none(history: SqliteHistory, word: str) -> int | None:
    """None while the index cannot be read."""
    try:
        return await found(history, word)
    except HubbubError as error:
        if error.code == "unavailable":
            return None
        raise


def indexed(path: Path) -> dict[int, int]:
    """From room number to the revision that is indexed, as the file says."""
    connection = sqlite3.connect(index_path(path))
    rows = connection.execute("SELECT no, rev FROM progress").fetchall()
    connection.close()
    return dict(rows)


def documents(path: Path) -> int:
    """How many messages are in the index."""
    connection = sqlite3.connect(index_path(path))
    (count,) = connection.execute("SELECT count(*) FROM docs").fetchone()
    connection.close()
    return int(count)


class TestCatchingUp:
    async def test_rooms_of_more_than_one_slice_are_indexed_whole(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            large, small = await new_room(history), await new_room(history)
            await say(history, large.uid, *["word"] * 1700)
            await say(history, small.uid, "word")
            await eventually(lambda: found(history, "word"), 1701)

    async def test_many_rooms_share_their_slices(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        async with open_sqlite(path) as history:
            rooms = [await new_room(history) for _ in range(60)]
            await history.commit([draft(room.uid, "a", body="word") for room in rooms])
            await eventually(lambda: found(history, "word"), 60)
        assert await asyncio.to_thread(indexed, path) == dict.fromkeys(range(1, 61), 1)

    async def test_a_deleted_message_leaves_the_index_whatever_is_left_of_it(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        async with open_sqlite(path) as history:
            room = await new_room(history)
            await say(history, room.uid, "word", "word")
            await eventually(lambda: found(history, "word"), 2)
            await history.commit([Change(room.uid, 1, lambda message: replace(message, deleted=True))])
            assert await found(history, "word") == 1
            await eventually(lambda: asyncio.to_thread(indexed, path), {1: 3})
        assert await asyncio.to_thread(documents, path) == 1

    async def test_what_retention_empties_leaves_the_index(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        async with open_sqlite(path) as history:
            room = await new_room(history)
            await say(history, room.uid, *["word"] * 30)
            await eventually(lambda: found(history, "word"), 30)
            assert await history.expire(before=None, keep=10) == 20
            await eventually(lambda: asyncio.to_thread(documents, path), 10)

    async def test_a_deleted_room_leaves_the_index(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        async with open_sqlite(path) as history:
            room = await new_room(history)
            await say(history, room.uid, *["word"] * 1200)
            await eventually(lambda: asyncio.to_thread(indexed, path), {1: 1200})
            await history.delete_room(room.uid)
            await eventually(lambda: asyncio.to_thread(indexed, path), {})

    async def test_a_room_that_was_deleted_unseen_leaves_it_at_the_next_start(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        async with open_sqlite(path) as history:
            room = await new_room(history)
            await say(history, room.uid, "word")
            await eventually(lambda: asyncio.to_thread(indexed, path), {1: 1})
        await asyncio.to_thread(self.delete_behind_its_back, path)
        async with open_sqlite(path):
            await eventually(lambda: asyncio.to_thread(indexed, path), {})

    def delete_behind_its_back(self, path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute("DELETE FROM rooms")
        connection.commit()
        connection.close()


class TestMakingAnew:
    @pytest.mark.parametrize("harm", ["remove", "nonsense", "older version", "of a later state"])
    async def test_an_index_that_does_not_fit_is_made_anew(self, tmp_path: Path, harm: str) -> None:
        path = tmp_path / "hubbub.db"
        async with open_sqlite(path) as history:
            room = await new_room(history)
            await say(history, room.uid, *["word"] * 20)
            await eventually(lambda: found(history, "word"), 20)
        await asyncio.to_thread(self.harm, index_path(path), harm)
        async with open_sqlite(path) as history:
            await eventually(lambda: found(history, "word"), 20)
            await history.commit([editing(room.uid, 1, "other")])
            await eventually(lambda: found(history, "other"), 1)

    def harm(self, index: Path, harm: str) -> None:
        if harm == "remove":
            remove_index(index)
        elif harm == "nonsense":
            index.write_bytes(b"nonsense " * 1000)
        else:
            connection = sqlite3.connect(index)
            statement = "PRAGMA user_version = 0" if harm == "older version" else "UPDATE progress SET rev = 99"
            connection.execute(statement)
            connection.commit()
            connection.close()

    async def test_damage_that_comes_to_light_later_is_repaired(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        async with open_sqlite(path) as history:
            room = await new_room(history)
            await say(history, room.uid, *[f"word number{n} {n * 7919}" for n in range(3000)])
            await eventually(lambda: found(history, "word"), 3000)
        await asyncio.to_thread(self.overwrite_pages, index_path(path))
        async with open_sqlite(path) as history:
            await eventually(lambda: found_or_none(history, "word"), 3000)
            await say(history, room.uid, "one more word")
            await eventually(lambda: found_or_none(history, "word"), 3001)

    def overwrite_pages(self, index: Path) -> None:
        content = bytearray(index.read_bytes())
        for page in range(12, len(content) // 4096):
            content[page * 4096 : page * 4096 + 4096] = b"\xff" * 4096
        index.write_bytes(content)
