"""Making, changing and deleting rooms, at the level of their rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubbub.errors import HubbubError
from hubbub.history.sqlite_batch import write_batch
from hubbub.history.sqlite_file import open_database
from hubbub.history.sqlite_rooms import SLICE_ROWS, bury_slice, create_room, delete_room, known_room, update_room
from tests.support.history import LOG, draft, editing, make_room, member


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(tmp_path / "hubbub.db")
    yield connection
    connection.close()


class TestRooms:
    def test_a_number_is_never_used_twice(self, connection: sqlite3.Connection) -> None:
        """What a deleted room left behind would belong to the next one."""
        first = create_room(connection, make_room(), [])
        assert delete_room(connection, first.uid) == 1
        second = create_room(connection, make_room(), [])
        assert known_room(connection, second.uid)[0] == 2

    def test_a_kind_that_is_none_is_no_conflict(self, connection: sqlite3.Connection) -> None:
        with pytest.raises(sqlite3.IntegrityError):
            create_room(connection, make_room("secret"), [])  # type: ignore[arg-type]

    def test_an_update_that_changes_nothing_writes_nothing(self, connection: sqlite3.Connection) -> None:
        room = create_room(connection, make_room(title="T"), [])
        before = connection.total_changes
        assert update_room(connection, room.uid, values={"title": "T", "topic": None}, log=LOG) == room
        assert connection.total_changes == before

    def test_a_room_that_is_gone_is_not_found(self, connection: sqlite3.Connection) -> None:
        assert delete_room(connection, "nowhere") is None
        with pytest.raises(HubbubError, match="not_found"):
            known_room(connection, "nowhere")


class TestBurying:
    def test_it_goes_slice_by_slice_and_touches_no_other_room(self, connection: sqlite3.Connection) -> None:
        rooms = [create_room(connection, make_room(), [member("ann", "owner")]) for _ in range(3)]
        for room in rooms:
            write_batch(connection, [draft(room.uid, str(n)) for n in range(SLICE_ROWS + 1)])
            write_batch(connection, [editing(room.uid, n, "x") for n in range(1, SLICE_ROWS + 2)])
        delete_room(connection, rooms[1].uid)
        assert connection.execute("SELECT room FROM standings ORDER BY room").fetchall() == [(1,), (3,)]
        slices = 0
        while bury_slice(connection):
            slices += 1
        assert slices == 3  # A full one, one message, and the grave itself.
        left = connection.execute("SELECT room, count(*) FROM messages GROUP BY room").fetchall()
        assert left == [(1, SLICE_ROWS + 1), (3, SLICE_ROWS + 1)]
        assert connection.execute("SELECT count(*) FROM changes").fetchone() == (2 * (SLICE_ROWS + 1),)
        assert connection.execute("SELECT count(*) FROM graveyard").fetchone() == (0,)
