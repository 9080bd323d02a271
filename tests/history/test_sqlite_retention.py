"""Emptying in SQLite: by which ways rooms are looked at, that nothing is half done, and that space comes back."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hubbub.history import sqlite_retention
from hubbub.history.base import Change, Insert, Room
from hubbub.history.sizes import document_bytes
from hubbub.history.sqlite_batch import write_batch
from hubbub.history.sqlite_file import open_database
from hubbub.history.sqlite_index import index_path
from hubbub.history.sqlite_messages import read_by_key
from hubbub.history.sqlite_retention import SLICE_ROWS, Finder, Rise, empty_slice
from hubbub.history.sqlite_rooms import create_room, delete_room
from tests.support.history import draft, editing, eventually, make_room, new_room, open_sqlite, say, walks

NAMES = ("CANDIDATES", "OLDEST", "COUNT", "COUNT_ALL", "RAISE", "EMPTIED", "TAKE_OUT", "PUT_BACK")
PARAMETERS = ("after", "most", "before", "keep", "no", "low", "high", "rises", "rows")


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(tmp_path / "hubbub.db")
    yield connection
    connection.close()


def fill(connection: sqlite3.Connection, room: Room, *bodies: str) -> None:
    for start in range(0, len(bodies), 500):
        part = bodies[start : start + 500]
        ops = [draft(room.uid, f"{start + n}", body=body, at=start + n) for n, body in enumerate(part)]
        connection.execute("BEGIN")
        write_batch(connection, ops)
        connection.execute("COMMIT")


def look_round(finder: Finder, connection: sqlite3.Connection, **rule: int | None) -> Sequence[Rise]:
    """Until something is found, or a round is over in which there was nothing."""
    whole = False
    while True:
        whole = whole or finder.at_start
        rises = finder.look(connection, **{"before": None, "keep": None, **rule})
        if rises or (whole and finder.at_start):
            return rises


class TestFinding:
    @pytest.mark.parametrize("name", NAMES)
    def test_no_query_walks_over_a_table_or_sorts(self, connection: sqlite3.Connection, name: str) -> None:
        query: str = getattr(sqlite_retention, name)
        parameters = {**dict.fromkeys(PARAMETERS, 1), "rises": "[]", "rows": "[]"}
        assert [step for step in walks(connection, query, parameters) if not step.startswith("SCAN (subquery")] == []
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
        assert [step for step in plan if "TEMP B-TREE FOR ORDER BY" in step] == []

    def test_rooms_beyond_one_look_are_found_too(
        self, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_retention, "ROOMS_AT_ONCE", 2)
        rooms = [create_room(connection, make_room(), []) for _ in range(5)]
        for room in (rooms[1], rooms[4]):
            fill(connection, room, *"abc")
        finder = Finder()
        found = []
        while rises := look_round(finder, connection, keep=2):
            found += [rise.no for rise in rises]
            assert empty_slice(connection, rises) == len(rises)
        assert found == [2, 5]
        assert finder.at_start

    def test_a_room_is_counted_once(self, connection: sqlite3.Connection) -> None:
        """A room with many changes, which looks as if it had more messages than it has."""
        room = create_room(connection, make_room(), [])
        fill(connection, room, *"abcd")
        write_batch(connection, [*(editing(room.uid, 1, str(n)) for n in range(9)), draft(room.uid, "e")])
        finder = Finder()
        seen: list[str] = []
        connection.set_trace_callback(seen.append)
        for expected in (1, 0):
            assert look_round(finder, connection, keep=5) == []
            assert sum("SELECT count(*) FROM" in text for text in seen) == expected
            seen.clear()
        write_batch(connection, [draft(room.uid, "f")])
        assert [rise.high for rise in look_round(finder, connection, keep=5)] == [1]
        connection.set_trace_callback(None)
        (query,) = [text for text in seen if "SELECT count(*) FROM" in text]
        assert "place > (1 << 36) + 14" in query


class TestEmptying:
    def test_a_stub_has_its_own_size_and_nothing_else_left(self, connection: sqlite3.Connection) -> None:
        room = create_room(connection, make_room(), [])
        message = draft(room.uid, "kéy\n", body="secret", sender="b\u00f6b").message
        full = replace(
            message, reply_to="x", mentions=("eve",), edited_at=7, sender=replace(message.sender, guest=True)
        )
        react = Change(room.uid, 1, lambda message: replace(message, reactions={"👍": ("bob",)}))
        write_batch(connection, [Insert(full), react])
        assert empty_slice(connection, [Rise(1, 0, 1, 1)]) == 1
        stub = read_by_key(connection, room.uid, sender="böb", key="kéy\n")
        assert stub == replace(full, seq=1, rev=2, body="", reply_to=None, mentions=(), deleted=True)
        row = connection.execute("SELECT bytes, doc FROM messages").fetchone()
        assert row[0] == pytest.approx(document_bytes(stub), abs=20)
        assert set(sqlite3.connect(":memory:").execute("SELECT key FROM json_each(?)", (row[1],)).fetchall()) == {
            ("name",), ("body",), ("guest",), ("edited_at",),
        }  # fmt: skip

    def test_a_room_that_is_gone_or_further_is_left_alone(self, connection: sqlite3.Connection) -> None:
        gone, further = (create_room(connection, make_room(), []) for _ in range(2))
        for room in (gone, further):
            fill(connection, room, *"abcd")
        delete_room(connection, gone.uid)
        assert empty_slice(connection, [Rise(2, 0, 2, 2)]) == 2
        assert empty_slice(connection, [Rise(1, 0, 3, 3), Rise(2, 0, 1, 1)]) == 0
        assert connection.execute("SELECT floor FROM rooms").fetchall() == [(2,)]
        assert connection.execute("SELECT sum(deleted) FROM messages").fetchone() == (2,)

    def test_what_fails_in_the_middle_leaves_the_floor(
        self, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        room = create_room(connection, make_room(), [])
        fill(connection, room, *"abcd")
        monkeypatch.setattr(sqlite_retention, "PUT_BACK", "INSERT INTO nowhere SELECT :rows")
        connection.execute("BEGIN")
        with pytest.raises(sqlite3.OperationalError, match="nowhere"):
            empty_slice(connection, [Rise(1, 0, 2, 2)])
        connection.execute("ROLLBACK")
        assert connection.execute("SELECT floor FROM rooms").fetchone() == (0,)
        assert connection.execute("SELECT count(*), sum(deleted) FROM messages").fetchone() == (4, 0)
        assert connection.execute("PRAGMA secure_delete").fetchone() == (0,)

    def test_space_comes_back_and_the_text_is_gone_from_the_file(
        self, connection: sqlite3.Connection, tmp_path: Path
    ) -> None:
        room = create_room(connection, make_room(), [])
        fill(connection, room, *["a needle in the hay " * 20] * 4000)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        finder = Finder()
        while rises := look_round(finder, connection, keep=1):
            assert sum(rise.count for rise in rises) <= SLICE_ROWS
            connection.execute("BEGIN")
            empty_slice(connection, rises)
            connection.execute("COMMIT")
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        assert free > pages * 0.6
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        # What is left is the newest message.
        assert (tmp_path / "hubbub.db").read_bytes().count(b"needle in the hay") == 20


class TestIndex:
    async def test_what_was_emptied_leaves_the_index(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        async with open_sqlite(path) as history:
            room = await new_room(history)
            await say(history, room.uid, *["word"] * 10)
            await eventually(lambda: indexed(path), 10)
            assert await history.expire(before=None, keep=3) == 7
            await eventually(lambda: indexed(path), 3)

    async def test_what_was_emptied_before_a_crash_leaves_it_after(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        async with open_sqlite(path) as history:
            room = await new_room(history)
            await say(history, room.uid, *["word"] * 10)
            await eventually(lambda: indexed(path), 10)
        assert await asyncio.to_thread(empty_alone, path) == 7
        async with open_sqlite(path):
            await eventually(lambda: indexed(path), 3)


def empty_alone(path: Path) -> int:
    """Empty the first seven messages of the first room, with no index there to follow."""
    connection = open_database(path)
    try:
        return empty_slice(connection, [Rise(1, 0, 7, 7)])
    finally:
        connection.close()


async def indexed(path: Path) -> int:
    """How many messages the index of a database has."""
    connection = sqlite3.connect(f"{index_path(path).as_uri()}?mode=ro", uri=True)
    try:
        (count,) = connection.execute("SELECT count(*) FROM docs").fetchone()
    finally:
        connection.close()
    return int(count)
