"""A batch is a constant number of statements, however long it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from hubbub.history import sqlite_batch
from hubbub.history.sqlite_batch import by_key, write_batch
from hubbub.history.sqlite_file import open_database
from hubbub.history.sqlite_rooms import create_room
from tests.support.history import Op, code_of, draft, editing, make_room, member, walks, written


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(tmp_path / "hubbub.db")
    yield connection
    connection.close()


def statements(connection: sqlite3.Connection, batch: list[Op]) -> int:
    """How many statements a batch takes."""
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    write_batch(connection, batch)
    connection.set_trace_callback(None)
    return len(seen)


class TestStatements:
    def test_their_number_does_not_depend_on_the_batch(self, connection: sqlite3.Connection) -> None:
        rooms = [create_room(connection, make_room(), [member("ann", "owner")]).uid for _ in range(20)]
        write_batch(connection, [draft(uid, "first") for uid in rooms])
        one = statements(connection, [draft(rooms[0], "x"), editing(rooms[0], 1, "y")])
        many = statements(
            connection,
            [op for uid in rooms for n in range(20) for op in (draft(uid, f"k{n}"), editing(uid, 1, f"b{n}"))],
        )
        assert one == many == 6

    def test_what_claims_nothing_writes_nothing(self, connection: sqlite3.Connection) -> None:
        uid = create_room(connection, make_room(), [member("ann", "owner")]).uid
        write_batch(connection, [draft(uid, "a")])
        before = connection.total_changes
        outcomes, changed = write_batch(connection, [draft(uid, "a"), draft("nowhere", "a"), editing(uid, 5, "x")])
        assert connection.total_changes == before
        assert changed == set()
        assert [code_of(outcome) for outcome in outcomes[1:]] == ["not_found"] * 2

    @pytest.mark.parametrize("text", ["BY_PLACE", "HEADS", "REWRITE"])
    def test_every_query_goes_by_an_index(self, connection: sqlite3.Connection, text: str) -> None:
        query: str = getattr(sqlite_batch, text)
        parameters = {"uids": "[]", "places": "[]", "rows": "[]"}
        assert walks(connection, query, parameters) == []

    @pytest.mark.parametrize("rows", [1, 64])
    def test_keys_are_looked_up_in_their_index(self, connection: sqlite3.Connection, rows: int) -> None:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {by_key(rows)}", [None] * 3 * rows)]
        assert "SEARCH m USING INDEX messages_by_key (room=? AND sender=? AND key=?)" in plan
        assert not any(step.startswith("SCAN m") for step in plan)


class TestClaims:
    def test_the_changed_rooms_are_named_by_their_numbers(self, connection: sqlite3.Connection) -> None:
        rooms = [create_room(connection, make_room(), [member("ann", "owner")]).uid for _ in range(3)]
        _, changed = write_batch(connection, [draft(rooms[0], "a"), draft(rooms[2], "a")])
        assert changed == {1, 3}

    def test_a_message_changed_often_in_a_batch_is_written_as_it_is_last(self, connection: sqlite3.Connection) -> None:
        uid = create_room(connection, make_room(), [member("ann", "owner")]).uid
        batch: list[Op] = [draft(uid, "a"), *(editing(uid, 1, f"b{n}") for n in range(5))]
        outcomes, _ = write_batch(connection, batch)
        assert [written(outcome).message.body for outcome in outcomes] == ["hello", "b0", "b1", "b2", "b3", "b4"]
        assert connection.execute("SELECT rev, doc ->> '$.body' FROM messages").fetchall() == [(6, "b4")]
        assert connection.execute("SELECT place & 0xFFFFFFFFF, seq FROM changes").fetchall() == [
            (n, 1) for n in range(2, 7)
        ]
