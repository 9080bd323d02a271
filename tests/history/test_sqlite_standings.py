"""Standings at the level of their rows; what they mean is in the contract's tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubbub.history import sqlite_standings
from hubbub.history.base import Person, Room
from hubbub.history.sqlite_file import open_database
from hubbub.history.sqlite_rooms import create_room
from hubbub.history.sqlite_standings import ban, join, leave, mark_read, mute, set_role
from tests.support.history import LOG, make_room, member, walks


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(tmp_path / "hubbub.db")
    yield connection
    connection.close()


@pytest.fixture
def room(connection: sqlite3.Connection) -> Room:
    return create_room(connection, make_room(), [member("ann", "owner"), member("bob")])


class TestRows:
    def test_a_standing_that_says_nothing_takes_no_row(self, connection: sqlite3.Connection, room: Room) -> None:
        mute(connection, room.uid, "zoe", until=5, log=LOG)
        ban(connection, room.uid, "zoe", until=5, log=LOG)
        mute(connection, room.uid, "zoe", until=0, log=LOG)
        ban(connection, room.uid, "zoe", until=0, log=LOG)
        leave(connection, room.uid, "bob", log=LOG)
        assert connection.execute("SELECT user FROM standings").fetchall() == [("ann",)]

    def test_what_changes_nothing_writes_nothing(self, connection: sqlite3.Connection, room: Room) -> None:
        """A connection that comes back joins its rooms again; that must not cost a sync of the disk."""
        before = connection.total_changes
        join(connection, room.uid, Person("bob", "Bob"), at=9, role="member", need_invite=False, log=LOG)
        set_role(connection, room.uid, "bob", "member", log=LOG)
        mark_read(connection, room.uid, "bob", 0)
        leave(connection, room.uid, "zoe", log=LOG)
        assert connection.total_changes == before

    def test_the_count_of_members_is_what_the_rows_say(self, connection: sqlite3.Connection, room: Room) -> None:
        for number in range(5):
            join(connection, room.uid, Person(f"u{number}", "U"), at=9, role="member", need_invite=False, log=LOG)
        leave(connection, room.uid, "u1", log=LOG)
        leave(connection, room.uid, "u1", log=LOG)
        ban(connection, room.uid, "u2", until=99, log=LOG)
        ban(connection, room.uid, "u2", until=99, log=LOG)
        assert connection.execute("SELECT members FROM rooms").fetchone() == (5,)
        assert connection.execute("SELECT count(*) FROM standings WHERE role IS NOT NULL").fetchone() == (5,)


class TestPlans:
    @pytest.mark.parametrize("name", ["OF_USER", "HEIR", "OWNED", "NEWEST_OF", "UNREAD_OF"])
    def test_no_query_walks_over_a_table(self, connection: sqlite3.Connection, name: str) -> None:
        query: str = getattr(sqlite_standings, name)
        assert walks(connection, query, {"no": 1, "user": "ann"}) == []
