"""The control log at the level of its rows: a record and its change are one, and no query walks over the log."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from hubbub.errors import HubbubError
from hubbub.history import sqlite_log
from hubbub.history.base import Person
from hubbub.history.sqlite_file import open_database
from hubbub.history.sqlite_log import PRUNE_MOST, RoomLog, append, prune, read_head, read_records
from hubbub.history.sqlite_rooms import create_room, delete_room, update_room
from hubbub.history.sqlite_standings import ban, invite, join, leave, mute, set_role
from hubbub.history.sqlite_thread import WriterThread
from tests.support.control_log import entry
from tests.support.history import make_room, member, walks

Write = Callable[[sqlite3.Connection, str, RoomLog], object]

WRITES: list[Write] = [
    lambda c, uid, log: create_room(c, make_room(), [member("zoe", "owner"), member("yan")], log=log),
    lambda c, uid, log: update_room(c, uid, values={"title": "New"}, log=log),
    lambda c, uid, log: delete_room(c, uid, log=log),
    lambda c, uid, log: join(c, uid, Person("zoe", "Z"), at=9, role="member", need_invite=False, log=log),
    lambda c, uid, log: leave(c, uid, "ann", kicked=True, log=log),
    lambda c, uid, log: invite(c, uid, Person("zoe", "Z"), at=9, log=log),
    lambda c, uid, log: set_role(c, uid, "bob", "moderator", log=log),
    lambda c, uid, log: mute(c, uid, "bob", until=9, log=log),
    lambda c, uid, log: ban(c, uid, "ann", until=9, log=log),
]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = open_database(tmp_path / "hubbub.db")
    yield connection
    connection.close()


@pytest.fixture
def thread(connection: sqlite3.Connection) -> Iterator[WriterThread]:
    thread = WriterThread(connection, after_commit=lambda: None, chore=lambda _: False)
    yield thread
    thread.close()


@pytest.fixture
def uid(connection: sqlite3.Connection) -> str:
    return create_room(connection, make_room(), [member("ann", "owner"), member("bob")]).uid


def tables(connection: sqlite3.Connection) -> dict[str, list[Any]]:
    names = ("rooms", "standings", "people", "graveyard", "control_log")
    return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}


class TestOneStep:
    @pytest.mark.parametrize("write", WRITES)
    @pytest.mark.parametrize("in_company", [False, True])
    async def test_a_change_and_its_record_are_undone_together(
        self, connection: sqlite3.Connection, thread: WriterThread, uid: str, write: Write, in_company: bool
    ) -> None:
        """A process that is killed before the commit leaves neither, a unit that fails behind both does not either."""
        before = tables(connection)
        log = RoomLog("origin", lambda: 7)

        def fails(c: sqlite3.Connection) -> None:
            write(c, uid, log)
            now = tables(c)
            assert now["control_log"] != before["control_log"]
            assert now != {**before, "control_log": now["control_log"]}
            raise HubbubError("conflict", "After both.")

        if in_company:
            company = [thread.submit(partial(append, entries=[entry(f"k{n}")], origin="o")) for n in range(2)]
        with pytest.raises(HubbubError, match="After both"):
            await thread.submit(fails)
        if in_company:
            assert [await each for each in company] == [[1], [2]]
        after = tables(connection)
        assert {**after, "control_log": []} == {**before, "control_log": []}
        assert len(after["control_log"]) == 2 * in_company

    @pytest.mark.parametrize("write", WRITES)
    async def test_no_change_stands_whose_record_cannot_be_written(
        self, connection: sqlite3.Connection, thread: WriterThread, uid: str, write: Write
    ) -> None:
        before = tables(connection)
        connection.execute(
            "CREATE TEMP TRIGGER refuse BEFORE INSERT ON control_log BEGIN SELECT raise(ABORT, 'no'); END"
        )
        with pytest.raises(HubbubError, match="internal"):
            await thread.submit(lambda c: write(c, uid, RoomLog("origin", lambda: 7)))
        assert tables(connection) == before

    def test_a_record_has_the_origin_and_the_time_of_the_log(self, connection: sqlite3.Connection, uid: str) -> None:
        update_room(connection, uid, values={"title": "New"}, log=RoomLog("origin", lambda: 7))
        (record,) = read_records(connection, after=0, limit=9)
        assert (record.n, record.kind, record.origin, record.at) == (1, "room", "origin", 7)
        assert record.data == {"room": uid}


class TestAppending:
    def test_two_keys_that_differ_behind_a_nul_are_two(self, connection: sqlite3.Connection) -> None:
        keys = ["a\0b", "a\0c", "a"]
        assert append(connection, [entry(key) for key in keys], origin="o") == [1, 2, 3]
        assert [record.key for record in read_records(connection, after=0, limit=9)] == keys

    def test_what_is_no_json_is_not_taken_for_bad_text(self, connection: sqlite3.Connection) -> None:
        with pytest.raises(TypeError):
            append(connection, [entry("a", large=b"bytes")], origin="o")


class TestPruning:
    def test_it_is_done_in_slices(self, connection: sqlite3.Connection) -> None:
        append(connection, [entry(f"k{n}") for n in range(PRUNE_MOST * 2 + 11)], origin="o")
        assert [prune(connection, before=9, keep=10) for _ in range(4)] == [PRUNE_MOST, PRUNE_MOST, 1, 0]
        assert read_head(connection) == PRUNE_MOST * 2 + 11
        assert len(read_records(connection, after=0, limit=99)) == 10

    def test_an_empty_log_has_nothing_to_prune(self, connection: sqlite3.Connection) -> None:
        assert prune(connection, before=9, keep=1) == 0


class TestPlans:
    @pytest.mark.parametrize("name", ["HEAD", "READ", "APPEND", "BY_KEY"])
    def test_no_query_walks_over_the_log(self, connection: sqlite3.Connection, name: str) -> None:
        parameters = dict.fromkeys(("after", "most", "max_bytes", "key", "kind", "at", "origin", "data"), 1)
        found = walks(connection, getattr(sqlite_log, name), parameters)
        assert [step for step in found if "(subquery" not in step] == []

    def test_pruning_looks_at_the_oldest_only(self, connection: sqlite3.Connection) -> None:
        parameters = {"before": 9, "keep": 1, "most": PRUNE_MOST}
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sqlite_log.PRUNE}", parameters)]
        assert [step for step in plan if "control_log" in step and "rowid<?" not in step] == ["SEARCH control_log"]
