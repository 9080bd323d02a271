"""The log stays short, also while there is always somebody who reads it."""

from __future__ import annotations

import itertools
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

import pytest

from hubbub.history.sqlite_file import BUSY_S, connect, open_database
from hubbub.history.sqlite_keeper import PATIENCE_S, RESTS, TRY_S, Keeper
from tests.support.history import open_sqlite

BOUND_BYTES = 256 * 1024
COMMIT_BYTES = 20_000
NEVER_S = 600.0
AMPLE_S = 2.0
COMMITS = 20 * BOUND_BYTES // COMMIT_BYTES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hubbub.db"


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Somebody has a snapshot open."""
    reader = connect(path, read_only=True)
    try:
        begin(reader)
        yield
    finally:
        reader.close()


class Readers:
    """Two connections that read in turn on a thread, so that a snapshot is open at every moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stop = threading.Event()
        self._turns = 0
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._stop.set()
        self._thread.join()

    def change(self) -> None:
        """Wait until everybody who reads now has gone, and others have come."""
        turns = self._turns
        while self._turns < turns + 2:
            time.sleep(0.0001)

    def _read(self) -> None:
        with ExitStack() as reading_now:
            reading_now.enter_context(reading(self._path))
            while not self._stop.is_set():
                with ExitStack() as next_one:
                    next_one.enter_context(reading(self._path))
                    reading_now.close()
                    reading_now.push(next_one.pop_all())
                self._turns += 1


def begin(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM graveyard").fetchone()


class Store:
    """A database that is written to, with a keeper. `waits` counts how often the writer asked for the log to start
    anew, which is when it may have to wait for readers.
    """

    def __init__(self, path: Path, keeper: Keeper, connection: sqlite3.Connection) -> None:
        self.log = path.with_name(f"{path.name}-wal")
        self.keeper = keeper
        self.connection = connection
        self.waits = 0
        self._numbers = itertools.count()
        connection.set_trace_callback(self._count)

    def _count(self, statement: str) -> None:
        self.waits += statement == f"PRAGMA busy_timeout = {round(TRY_S * 1000)}"

    def write(self) -> None:
        """One commit of four pages and a few more, after which the keeper may ask for something."""
        self.connection.execute("INSERT INTO people VALUES (?, ?, 0, 0)", (f"u{next(self._numbers)}", "x" * 16_000))
        self.keeper.relieve(self.connection)

    def look_and_write(self) -> None:
        self.keeper.look()
        self.write()

    @property
    def bytes(self) -> int:
        return self.log.stat().st_size

    @property
    def beginnings(self) -> int:
        """How often the log started anew: its header has the number (https://sqlite.org/fileformat2.html#walformat)."""
        return int.from_bytes(self.log.read_bytes()[12:16], "big")


@contextmanager
def opened(path: Path, *, interval_s: float = NEVER_S, patience_s: float = PATIENCE_S) -> Iterator[Store]:
    connection = open_database(path)
    keeper = Keeper(path, wal_bytes=BOUND_BYTES, interval_s=interval_s, patience_s=patience_s)
    try:
        yield Store(path, keeper, connection)
    finally:
        keeper.close()
        connection.close()


class TestLog:
    """The keeper of most tests does not wake by itself: it looks when it is told to, however busy the machine is."""

    def test_it_is_bounded_under_readers_that_overlap_without_end(self, path: Path) -> None:
        with opened(path, patience_s=AMPLE_S) as store, Readers(path) as readers:
            for _ in range(COMMITS):
                readers.change()
                store.look_and_write()
            assert store.bytes < 4 * BOUND_BYTES

    def test_without_a_keeper_it_would_not_be(self, path: Path) -> None:
        """So that the test above says something: the same writes and readers, and a keeper that does not look."""
        with opened(path) as store, Readers(path):
            for _ in range(COMMITS):
                store.write()
            assert store.bytes > 10 * BOUND_BYTES

    def test_the_keeper_looks_by_itself(self, path: Path) -> None:
        with opened(path, interval_s=0.001) as store, Readers(path):
            store.write()
            first = store.beginnings
            while store.beginnings < first + 3:
                store.write()

    def test_who_stays_is_not_waited_for_and_the_log_comes_back_when_they_go(self, path: Path) -> None:
        """As an export does, and then others come and go."""
        with opened(path) as store:
            for _ in range(COMMITS // 4):
                store.look_and_write()
            with reading(path):
                store.waits = 0
                for _ in range(COMMITS):
                    store.look_and_write()
                assert store.waits <= 1
                assert store.bytes > 10 * BOUND_BYTES
            with Readers(path):
                first = store.beginnings
                while store.beginnings < first + 3:
                    store.look_and_write()

    def test_who_comes_and_goes_and_takes_long_is_waited_for_now_and_then(self, path: Path) -> None:
        with opened(path, patience_s=TRY_S) as store, ExitStack() as reading_now:
            for _ in range(COMMITS):
                with ExitStack() as next_one:
                    next_one.enter_context(reading(path))
                    reading_now.close()
                    reading_now.push(next_one.pop_all())
                store.look_and_write()
            assert 2 <= store.waits <= 1 + COMMITS / RESTS

    def test_the_writer_waits_for_a_lock_as_before(self, path: Path) -> None:
        with opened(path, patience_s=TRY_S) as store:
            for _ in range(COMMITS):
                store.write()
            with reading(path):
                store.look_and_write()
            assert store.waits == 1
            assert store.connection.execute("PRAGMA busy_timeout").fetchone() == (BUSY_S * 1000,)

    async def test_what_is_moved_is_in_the_database(self, path: Path) -> None:
        async with open_sqlite(path) as history:
            await history.check()
        assert not path.with_name(f"{path.name}-wal").exists()
