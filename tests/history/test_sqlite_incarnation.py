"""A copy in the place of a database is found out, and nothing else is taken for one."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from hubbub.errors import StoreError
from hubbub.history.sqlite_file import open_database
from hubbub.history.sqlite_incarnation import identity, say_restored, settle
from tests.support.history import new_room, open_sqlite, say


async def incarnation_of(path: Path) -> str:
    """What a service finds at its start."""
    async with open_sqlite(path) as history:
        return history.incarnation


async def used(path: Path) -> None:
    async with open_sqlite(path) as history:
        await say(history, (await new_room(history)).uid, "hello")


def back_up(path: Path, copy: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", [str(copy)])


class TestIdentity:
    def test_it_stays_while_the_file_is_written_and_moved(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        before = identity(path)
        path.write_bytes(b"more")
        path.rename(tmp_path / "other.db")
        assert identity(tmp_path / "other.db") == before

    def test_a_file_that_was_given_the_inode_number_of_one_before_is_another(self, tmp_path: Path) -> None:
        """As soon as the system's clock has gone on, which it does every few milliseconds."""
        path = tmp_path / "hubbub.db"
        before, until = identity(path), time.monotonic() + 5
        path.unlink()
        while (after := identity(path)) == before and time.monotonic() < until:
            path.unlink()
        assert after != before

    def test_a_system_that_does_not_know_when_it_was_made_has_the_number(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "hubbub.db"
        known = identity(path)
        monkeypatch.setattr("ctypes.CDLL", lambda name: object())
        assert identity(path) == f"{path.stat().st_ino}.0"
        assert not known.endswith(".0")

    def test_a_file_that_it_makes_is_private(self, tmp_path: Path) -> None:
        identity(tmp_path / "hubbub.db")
        assert (tmp_path / "hubbub.db").stat().st_mode & 0o777 == 0o600


class TestOpening:
    async def test_a_new_store_has_none_and_a_restart_changes_nothing(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path = tmp_path / "hubbub.db"
        await used(path)
        assert [await incarnation_of(path) for _ in range(2)] == ["", ""]
        assert not caplog.records

    @pytest.mark.parametrize("way", ["moved", "copied", "removed and copied"])
    async def test_a_copy_in_its_place_is_another_from_then_on(
        self, tmp_path: Path, way: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        path, copy = tmp_path / "hubbub.db", tmp_path / "copy.db"
        async with open_sqlite(path) as history:
            await say(history, (await new_room(history)).uid, "hello")
            await asyncio.to_thread(back_up, path, copy)
        if way == "removed and copied":
            path.unlink()
        else:
            path.rename(tmp_path / "before.db")
        shutil.move(copy, path) if way == "moved" else shutil.copy(copy, path)
        with caplog.at_level(logging.WARNING):
            name = await incarnation_of(path)
        assert name
        (record,) = caplog.records
        assert record.getMessage() == (
            f"history: {path} is another file than it was, taken for a copy: clients fetch anew what they had of it"
        )
        assert await incarnation_of(path) == name
        assert len(caplog.records) == 1

    async def test_the_same_copy_put_back_twice_is_two(self, tmp_path: Path) -> None:
        path, copy = tmp_path / "hubbub.db", tmp_path / "copy.db"
        await used(path)
        shutil.copy(path, copy)
        names = set()
        for _ in range(2):
            path.unlink()
            shutil.copy(copy, path)
            names.add(await incarnation_of(path))
        assert len(names) == 2

    async def test_the_first_file_back_in_its_place_is_what_it_was(self, tmp_path: Path) -> None:
        path, copy = tmp_path / "hubbub.db", tmp_path / "copy.db"
        await used(path)
        shutil.copy(path, copy)
        path.rename(tmp_path / "before.db")
        shutil.copy(copy, path)
        assert await incarnation_of(path)
        (tmp_path / "before.db").rename(path)
        assert await incarnation_of(path) == ""

    def test_it_is_on_the_disk_before_a_client_can_see_it(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        with closing(open_database(path)) as connection:
            settle(connection, path, "1.1")
            name = settle(connection, path, "2.1")
            assert not connection.in_transaction
            assert connection.execute("SELECT name, file FROM incarnation").fetchone() == (name, "2.1")


class TestSayingSo:
    async def test_a_file_that_was_written_over_is_another_once_it_is_said(self, tmp_path: Path) -> None:
        path, copy = tmp_path / "hubbub.db", tmp_path / "copy.db"
        await used(path)
        shutil.copy(path, copy)
        shutil.copy(copy, path)
        assert await incarnation_of(path) == ""
        name = await asyncio.to_thread(say_restored, path)
        assert name
        assert await incarnation_of(path) == name
        assert await asyncio.to_thread(say_restored, path) != name

    async def test_beside_a_service_it_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        async with open_sqlite(path) as history:
            with pytest.raises(StoreError, match=f"is in use by process {os.getpid()}"):
                await asyncio.to_thread(say_restored, path)
            await say(history, (await new_room(history)).uid, "hello")
        assert await incarnation_of(path) == ""

    def test_a_file_that_is_not_there_is_not_made(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="There is no database"):
            say_restored(tmp_path / "hubbub.db")
        assert not list(tmp_path.iterdir())

    def test_a_file_of_another_program_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        path.write_bytes(b"not a database " * 100)
        with pytest.raises(StoreError, match="is not a database"):
            say_restored(path)
        assert path.read_bytes() == b"not a database " * 100
