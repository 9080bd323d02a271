"""Work that nobody waits for any more goes on, on its thread; closing waits for it."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from hubbub.errors import HubbubError
from hubbub.history.sqlite_archive import SqliteArchive

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hubbub.db"


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


class TestClosing:
    async def test_it_waits_for_the_work_that_is_under_way(self, path: Path) -> None:
        archive = SqliteArchive(path)
        await archive.open(writable=True)
        begun, may_end = threading.Event(), threading.Event()
        found: list[object] = []

        def work(connection: sqlite3.Connection) -> None:
            begun.set()
            may_end.wait()
            found.append(connection.execute("SELECT count(*) FROM rooms").fetchone())

        task = asyncio.create_task(archive._do(work))
        await asyncio.to_thread(begun.wait)
        await cancelled(task)
        closing = asyncio.create_task(archive.close())
        assert await asyncio.wait([closing], timeout=0.3) == (set(), {closing})
        may_end.set()
        await closing
        assert found == [(0,)]

    @pytest.mark.parametrize("writable", [True, False])
    async def test_work_that_takes_long_is_told_to_stop(self, path: Path, writable: bool) -> None:
        archive = SqliteArchive(path)
        await archive.open(writable=True)
        await archive.close()
        await archive.open(writable=writable)
        begun = threading.Event()
        ends: list[str] = []

        def work(connection: sqlite3.Connection) -> None:
            begun.set()
            try:
                connection.execute(ENDLESS).fetchone()
            except sqlite3.OperationalError as error:
                ends.append(str(error))

        task = asyncio.create_task(archive._do(work))
        await asyncio.to_thread(begun.wait)
        await cancelled(task)
        await archive.close()
        assert ends == ["interrupted"]

    async def test_a_change_that_is_told_to_stop_is_undone(self, path: Path) -> None:
        archive = SqliteArchive(path)
        await archive.open(writable=True)
        begun = threading.Event()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO people (id, name, guest, seen_at) VALUES ('ann', 'Ann', 0, 1)")
            begun.set()
            connection.execute(f"INSERT INTO people (id, name, guest, seen_at) SELECT 'bob', 'Bob', 0, ({ENDLESS})")

        task = asyncio.create_task(archive._change(work))
        await asyncio.to_thread(begun.wait)
        await cancelled(task)
        await archive.close()
        await archive.open(writable=False)
        assert await archive.people(after="") == []
        await archive.close()

    async def test_one_that_was_being_opened_is_closed_as_well(self, path: Path) -> None:
        archive, other = SqliteArchive(path), SqliteArchive(path)
        for _ in range(20):
            task = asyncio.create_task(archive.open(writable=True))
            await asyncio.sleep(0)
            await cancelled(task)
            await archive.close()
            await other.open(writable=True)  # Nobody has the lock of the file.
            await other.close()

    async def test_what_comes_afterwards_is_refused(self, path: Path) -> None:
        archive = SqliteArchive(path)
        await archive.open(writable=True)
        await archive.close()
        await archive.close()
        with pytest.raises(HubbubError, match="The store is closed"):
            await archive.size()
