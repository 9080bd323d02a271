"""The log stays short, also while there is always somebody who reads it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hubbub.history.sqlite_file import BUSY_S, connect, open_database
from hubbub.history.sqlite_keeper import Keeper
from tests.support.history import open_sqlite

BOUND_BYTES = 256 * 1024


@contextmanager
def overlapping_readers(path: Path) -> Iterator[list[int]]:
    """Two connections that read in turn, so that a snapshot is open at every moment; counts how many there were."""
    stop = threading.Event()
    count = [0]

    def read() -> None:
        pair = [connect(path, read_only=True), connect(path, read_only=True)]
        self_index = 0
        begin(pair[0])
        while not stop.is_set():
            self_index = 1 - self_index
            begin(pair[self_index])
            pair[1 - self_index].execute("ROLLBACK")
            count[0] += 1
        for connection in pair:
            connection.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield count
    finally:
        stop.set()
        thread.join()


def begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM graveyard").fetchone()


def write_much(connection: sqlite3.Connection, keeper: Keeper, path: Path) -> int:
    """Commit twenty times the bound; the largest that the log was."""
    largest = 0
    for number in range(20 * BOUND_BYTES // 20_000):
        connection.execute(
            "INSERT INTO people VALUES (?, ?, 0, 0) ON CONFLICT DO UPDATE SET name = excluded.name",
            (f"user{number}", "x" * 16_000),
        )
        keeper.relieve(connection)
        largest = max(largest, path.with_name(f"{path.name}-wal").stat().st_size)
    return largest


class TestLog:
    def test_it_is_bounded_under_readers_that_overlap_without_end(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        connection = open_database(path)
        keeper = Keeper(path, wal_bytes=BOUND_BYTES, interval_s=0.001)
        with overlapping_readers(path) as count:
            largest = write_much(connection, keeper, path)
        keeper.close()
        connection.close()
        assert count[0] > 10
        assert largest < 4 * BOUND_BYTES

    def test_without_a_keeper_it_would_not_be(self, tmp_path: Path) -> None:
        """So that the test above says something: the same writes and readers, and a keeper that never wakes."""
        path = tmp_path / "hubbub.db"
        connection = open_database(path)
        keeper = Keeper(path, wal_bytes=BOUND_BYTES, interval_s=600)
        with overlapping_readers(path):
            largest = write_much(connection, keeper, path)
        keeper.close()
        connection.close()
        assert largest > 10 * BOUND_BYTES

    def test_a_reader_that_stays_does_not_stop_the_writer(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        connection = open_database(path)
        keeper = Keeper(path, wal_bytes=4096, interval_s=0.001)
        connection.execute("INSERT INTO people VALUES ('ann', 'Ann', 0, 0)")
        reader = connect(path, read_only=True)
        begin(reader)
        began = time.monotonic()
        for number in range(100):
            connection.execute("INSERT INTO people VALUES (?, 'U', 0, 0)", (f"u{number}",))
            keeper.relieve(connection)
        assert connection.execute("SELECT count(*) FROM people").fetchone() == (101,)
        # Waiting as for a lock, each would take a second.
        assert time.monotonic() - began < 50 * BUSY_S
        assert connection.execute("PRAGMA busy_timeout").fetchone() == (BUSY_S * 1000,)
        reader.close()
        keeper.close()
        connection.close()

    async def test_what_is_moved_is_in_the_database(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            await history.check()
        assert not (tmp_path / "hubbub.db-wal").exists()
