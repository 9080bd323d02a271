"""What the index has not seen is copied whole, in order, and without holes wherever a slice ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hubbub.history.base import Change, Insert, Message, Sender
from hubbub.history.sqlite_batch import write_batch
from hubbub.history.sqlite_file import open_database
from hubbub.history.sqlite_fresh import attach_store, copy_fresh, read_heads
from hubbub.history.sqlite_index import index_path, open_index


@pytest.fixture
def store(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    store = open_database(tmp_path / "hubbub.db")
    for no, kind in ((1, "public"), (2, "private"), (3, "public")):
        store.execute(
            "INSERT INTO rooms (no, uid, id, kind, title, topic, capacity, slow_mode_s, created_at, members, folded)"
            " VALUES (?, ?, ?, ?, '', '', 10, 0, 0, 0, '')",
            (no, f"uid{no}", f"id{no}", kind),
        )
    yield store
    store.close()


@pytest.fixture
def index(tmp_path: Path, store: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    index = open_index(index_path(tmp_path / "hubbub.db"))
    attach_store(index, tmp_path / "hubbub.db")
    yield index
    index.close()


def say(store: sqlite3.Connection, no: int, *bodies: str) -> None:
    (count,) = store.execute("SELECT count(*) FROM messages").fetchone()
    sender = Sender("ann", "Ann")
    drafts = [
        Insert(Message(f"uid{no}", 0, 0, f"{no}-{count}-{n}", sender, body, None, (), 1000 + n))
        for n, body in enumerate(bodies)
    ]
    write(store, *drafts)


def edit(store: sqlite3.Connection, no: int, seq: int, body: str) -> None:
    write(store, Change(f"uid{no}", seq, lambda message: replace(message, body=body)))


def write(store: sqlite3.Connection, *ops: Insert | Change) -> None:
    store.execute("BEGIN")
    write_batch(store, ops)
    store.execute("COMMIT")


def copied(index: sqlite3.Connection) -> list[tuple[int, int, str, str, int]]:
    """Room, seq, scope, body and whether it may be there already; takes them out."""
    rows = index.execute("DELETE FROM fresh RETURNING place >> 36, place & 0xFFFFFFFFF, scope, body, again").fetchall()
    return sorted(rows)


class TestCopying:
    def test_what_is_above_a_revision_comes_with_its_room(
        self, store: sqlite3.Connection, index: sqlite3.Connection
    ) -> None:
        say(store, 1, "one", "two", "three")
        say(store, 2, "four")
        fresh = copy_fresh(index, {1: 1, 2: 0, 3: 0}, most=100)
        assert copied(index) == [(1, 2, "r1 pub", "two", 0), (1, 3, "r1 pub", "three", 0), (2, 1, "r2", "four", 0)]
        assert fresh.progress == {1: ("uid1", 3), 2: ("uid2", 1)}
        assert sorted(fresh.done) == [1, 2, 3]
        assert not fresh.gone
        assert not index.in_transaction

    def test_what_was_changed_says_so_and_has_its_last_words(
        self, store: sqlite3.Connection, index: sqlite3.Connection
    ) -> None:
        say(store, 1, "one", "two")
        edit(store, 1, 1, "other")
        write(store, Change("uid1", 2, lambda message: replace(message, body="", deleted=True)))
        say(store, 1, "last")
        fresh = copy_fresh(index, {1: 2}, most=100)
        assert copied(index) == [(1, 1, "r1 pub", "other", 1), (1, 2, "r1 pub", "", 1), (1, 5, "r1 pub", "last", 0)]
        assert fresh.progress == {1: ("uid1", 5)}

    @pytest.mark.parametrize("most", [1, 2, 3, 4, 5, 7, 100])
    def test_a_slice_ends_anywhere_and_the_next_goes_on(
        self, store: sqlite3.Connection, index: sqlite3.Connection, most: int
    ) -> None:
        for no in (1, 2, 3):
            say(store, no, *(f"{no} {n}" for n in range(5)))
        edit(store, 2, 2, "2 changed")
        edit(store, 2, 4, "2 changed too")
        rooms = {1: 0, 2: 0, 3: 0}
        bodies: dict[tuple[int, int], str] = {}
        for _ in range(40):
            fresh = copy_fresh(index, rooms, most=most)
            rows = copied(index)
            assert len(rows) <= most
            bodies |= {(no, seq): body for no, seq, _, body, _ in rows}
            rooms |= {no: rev for no, (_, rev) in fresh.progress.items()}
            for no in fresh.done:
                del rooms[no]
            if not rooms:
                break
        assert not rooms
        expected = {(no, seq): f"{no} {seq - 1}" for no in (1, 2, 3) for seq in range(1, 6)}
        assert bodies == expected | {(2, 2): "2 changed", (2, 4): "2 changed too"}

    def test_rooms_that_are_gone_or_were_emptied_are_named(
        self, store: sqlite3.Connection, index: sqlite3.Connection
    ) -> None:
        say(store, 1, "one")
        store.execute("DELETE FROM rooms WHERE no = 2")
        store.execute("UPDATE rooms SET floor = 1 WHERE no = 1")
        fresh = copy_fresh(index, {1: 1, 2: 1, 3: 0}, most=100)
        assert (fresh.gone, fresh.floors, fresh.progress) == ([2], {1: 1}, {})

    def test_a_fault_leaves_nothing_begun(self, store: sqlite3.Connection, index: sqlite3.Connection) -> None:
        say(store, 1, "one")
        store.execute("DROP INDEX messages_by_rev")
        with pytest.raises(sqlite3.Error):
            copy_fresh(index, {1: 0}, most=100)
        assert not index.in_transaction
        assert copied(index) == []

    def test_the_database_is_not_written(self, store: sqlite3.Connection, index: sqlite3.Connection) -> None:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            index.execute("DELETE FROM store.rooms")


class TestHeads:
    def test_a_head_is_the_last_revision(self, store: sqlite3.Connection, index: sqlite3.Connection) -> None:
        say(store, 1, "one", "two")
        edit(store, 1, 1, "other")
        assert read_heads(index) == [(1, "uid1", 3, 0), (2, "uid2", 0, 0), (3, "uid3", 0, 0)]
