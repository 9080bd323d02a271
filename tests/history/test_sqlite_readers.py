"""Reads have their own connections, one state each, and a bound on how many wait."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hubbub.errors import HubbubError
from hubbub.history import sqlite_readers
from hubbub.history.sqlite_file import open_database
from hubbub.history.sqlite_readers import Readers, snapshot


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[sqlite3.Connection]:
    connection = await asyncio.to_thread(open_database, tmp_path / "hubbub.db")
    yield connection
    connection.close()


@pytest.fixture
async def readers(writer: sqlite3.Connection, tmp_path: Path) -> AsyncIterator[Readers]:
    readers = await asyncio.to_thread(lambda: Readers(tmp_path / "hubbub.db", size=2))
    yield readers
    await asyncio.to_thread(readers.close)


class TestReaders:
    async def test_as_many_run_at_once_as_there_are(self, readers: Readers) -> None:
        both = threading.Barrier(2)
        await asyncio.gather(*(readers.run(lambda _: both.wait(20)) for _ in range(2)))

    async def test_behind_a_slow_read_others_are_served(self, readers: Readers) -> None:
        gate = threading.Event()
        slow = readers.run(lambda _: gate.wait(20))
        assert await asyncio.gather(*(readers.run(lambda _, n=n: n) for n in range(5))) == [*range(5)]  # type: ignore[misc]
        assert not slow.done()
        gate.set()
        assert await slow
        assert await asyncio.gather(*(readers.run(lambda _, n=n: n) for n in range(5))) == [*range(5)]  # type: ignore[misc]

    async def test_a_connection_that_met_an_error_reads_again(self, readers: Readers) -> None:
        for _ in range(4):
            with pytest.raises(HubbubError, match="internal"):
                await readers.run(lambda connection: connection.execute("nonsense"))
        assert await readers.run(lambda connection: connection.execute("SELECT 1").fetchone()) == (1,)

    async def test_nothing_can_be_written(self, readers: Readers) -> None:
        with pytest.raises(HubbubError, match="can only be read"):
            await readers.run(lambda connection: connection.execute("DELETE FROM rooms"))

    async def test_a_bounded_number_waits(self, readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_readers, "WAITING_MOST", 3)
        gate = threading.Event()
        held = [asyncio.ensure_future(readers.run(lambda _: gate.wait(20))) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(HubbubError, match="Too many reads"):
            await readers.run(lambda _: None)
        gate.set()
        assert await asyncio.gather(*held) == [True] * 3
        assert await readers.run(lambda _: 1) == 1

    async def test_closing_finishes_what_waits(self, writer: sqlite3.Connection, tmp_path: Path) -> None:
        readers = await asyncio.to_thread(lambda: Readers(tmp_path / "hubbub.db", size=1))
        gate = threading.Event()
        first = readers.run(lambda _: gate.wait(20))
        waiting = [readers.run(lambda _, n=n: n) for n in range(10)]  # type: ignore[misc]
        gate.set()
        await asyncio.to_thread(readers.close)
        assert await first
        assert await asyncio.gather(*waiting) == list(range(10))

    async def test_nobody_waits_for_a_read_that_was_given_up(self, readers: Readers) -> None:
        gate = threading.Event()
        held = [readers.run(lambda _: gate.wait(20)) for _ in range(2)]
        held[0].cancel()
        gate.set()
        assert await held[1]
        assert await readers.run(lambda _: 1) == 1

    async def test_a_missing_file_leaves_nothing_open(self, tmp_path: Path) -> None:
        with pytest.raises(sqlite3.OperationalError):
            await asyncio.to_thread(lambda: Readers(tmp_path / "missing.db", size=2))


class TestSnapshots:
    async def test_what_is_committed_meanwhile_is_not_seen(self, readers: Readers, writer: sqlite3.Connection) -> None:
        def read(connection: sqlite3.Connection) -> list[int]:
            counts = []
            with snapshot(connection):
                for _ in range(2):
                    counts += connection.execute("SELECT count(*) FROM graveyard").fetchone()
                    writer.execute("INSERT INTO graveyard DEFAULT VALUES")
            counts += connection.execute("SELECT count(*) FROM graveyard").fetchone()
            return counts

        assert await readers.run(read) == [0, 0, 2]

    async def test_one_within_another_sees_the_same(self, readers: Readers, writer: sqlite3.Connection) -> None:
        def read(connection: sqlite3.Connection) -> list[int]:
            counts: list[int] = []
            with snapshot(connection):
                counts += connection.execute("SELECT count(*) FROM graveyard").fetchone()
                writer.execute("INSERT INTO graveyard DEFAULT VALUES")
                with snapshot(connection):
                    counts += connection.execute("SELECT count(*) FROM graveyard").fetchone()
                counts += connection.execute("SELECT count(*) FROM graveyard").fetchone()
            return counts

        assert await readers.run(read) == [0, 0, 0]

    async def test_one_that_fails_is_over(self, readers: Readers) -> None:
        def fail(connection: sqlite3.Connection) -> None:
            with snapshot(connection):
                raise ZeroDivisionError

        with pytest.raises(HubbubError, match="internal"):
            await readers.run(fail)
        assert await readers.run(lambda connection: connection.in_transaction) is False
