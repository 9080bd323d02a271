"""What a connect and a join need goes by an index, in one statement each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubbub.history import sqlite_landings
from hubbub.history.sqlite_batch import write_batch
from hubbub.history.sqlite_file import open_database
from hubbub.history.sqlite_landings import read_arrival, read_landing
from hubbub.history.sqlite_rooms import create_room
from tests.support.history import draft, make_room, member, walks


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(tmp_path / "hubbub.db")
    yield connection
    connection.close()


def statements(connection: sqlite3.Connection) -> list[str]:
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    return seen


class TestOneStatement:
    @pytest.mark.parametrize("name", ["ARRIVAL", "NEWEST"])
    def test_none_walks_over_a_table(self, connection: sqlite3.Connection, name: str) -> None:
        query: str = getattr(sqlite_landings, name)
        parameters = {"uid": "x", "user": "ann", "limit": 1, "max_bytes": 1, "members_most": 1}
        assert [step for step in walks(connection, query, parameters) if not step.startswith("SCAN (subquery")] == []

    def test_a_connect_and_a_join_take_one_each(self, connection: sqlite3.Connection) -> None:
        room = create_room(connection, make_room(), [member("ann", "owner")])
        write_batch(connection, [draft(room.uid, str(n)) for n in range(3)])
        seen = statements(connection)
        arrival = read_arrival(connection, "ann")
        landing = read_landing(connection, room.uid, "ann", since=None, limit=1, max_bytes=9999, members_most=9)
        connection.set_trace_callback(None)
        assert len(seen) == 2
        assert list(arrival.standings) == [room.uid]
        assert landing is not None
        assert [message.seq for message in landing.page.messages] == [3]
