"""What is wrong with a database file is found before the service listens, and said in one sentence."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sqlite3
import stat
from pathlib import Path
from typing import Final

import pytest

from hubbub.errors import StoreError
from hubbub.history.sqlite_file import MIGRATIONS, FileLock, connect, open_database
from hubbub.history.sqlite_messages import read_changes, read_head, read_revisions
from hubbub.history.sqlite_rooms import create_room
from tests.support.history import child, make_room, new_room, open_sqlite, say

HOLDER: Final = """
import sys
from pathlib import Path
from hubbub.history.sqlite_file import FileLock
FileLock(Path(sys.argv[1])).acquire()
print("locked", flush=True)
sys.stdin.read()
"""


def version_of(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


async def open_and_close(path: Path) -> None:
    async with open_sqlite(path) as history:
        await history.check()


async def talk(path: Path) -> None:
    async with open_sqlite(path) as history:
        await say(history, (await new_room(history)).uid, "hello")


def refusal(path: Path) -> str:
    """The sentence with which a file is refused."""
    with pytest.raises(StoreError) as caught:
        asyncio.run(open_and_close(path))
    return str(caught.value)


class TestOpening:
    async def test_directories_are_made(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "a" / "b" / "hubbub.db") as history:
            await history.check()

    async def test_only_the_owner_may_read_the_files(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            await say(history, (await new_room(history)).uid, "hello")
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        assert {"hubbub.db", "hubbub.db-wal", "hubbub.db-search", "hubbub.db-lock"} <= set(modes)
        assert set(modes.values()) == {0o600}

    def test_every_commit_is_synced(self, tmp_path: Path) -> None:
        connection = open_database(tmp_path / "hubbub.db")
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        connection.close()

    def test_a_reading_connection_cannot_write(self, tmp_path: Path) -> None:
        open_database(tmp_path / "hubbub.db").close()
        connection = connect(tmp_path / "hubbub.db", read_only=True)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM rooms")
        connection.close()

    @pytest.mark.parametrize("name", ["with space.db", "per%cent?.db", "ünï#.db"])
    async def test_any_file_name_will_do(self, tmp_path: Path, name: str) -> None:
        async with open_sqlite(tmp_path / name) as history:
            await new_room(history)
        assert (tmp_path / name).stat().st_size > 0


class TestRefusals:
    def test_a_directory_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        assert refusal(tmp_path / "file" / "hubbub.db") == (
            f"The database {tmp_path}/file/hubbub.db cannot be opened: File exists."
        )

    def test_a_path_that_is_a_directory(self, tmp_path: Path) -> None:
        (tmp_path / "hubbub.db").mkdir()
        assert re.fullmatch(r"The database .* cannot be opened: Is a directory\.", refusal(tmp_path / "hubbub.db"))

    @pytest.mark.parametrize("content", [b"not a database " * 100, b"SQLite format 3\0" + b"\xff" * 4080])
    def test_a_file_that_is_no_database(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "hubbub.db"
        path.write_bytes(content)
        assert refusal(path) == f"The file {path} is not a database, or its header is damaged."
        assert path.read_bytes() == content

    def test_a_database_whose_header_was_overwritten(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        open_database(path).close()
        with path.open("r+b") as file:
            file.write(b"\0" * 100)
        assert "its header is damaged" in refusal(path)

    def test_a_database_that_was_cut_off(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        open_database(path).close()
        os.truncate(path, 8192)
        assert re.search(r"A part of the store is damaged|is not a database", refusal(path))

    @pytest.mark.parametrize("application", [0, 4711])
    def test_a_database_of_another_program(self, tmp_path: Path, application: int) -> None:
        path = tmp_path / "other.db"
        other = sqlite3.connect(path)
        other.executescript(f"CREATE TABLE songs (name); PRAGMA application_id = {application};")
        other.close()
        before = path.read_bytes()
        assert refusal(path) == f"The file {path} is a database of another program."
        assert path.read_bytes() == before

    def test_a_newer_schema(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        connection = open_database(path)
        known = version_of(connection)
        connection.execute(f"PRAGMA user_version = {known + 1}")
        connection.close()
        assert refusal(path) == (
            f"The database {path} was written by a newer Hubbub (its schema is {known + 1}, this one knows {known})."
        )

    def test_no_space(self, tmp_path: Path) -> None:
        """The size of files is limited in a process of its own, since the limit cannot be lifted for the tests."""
        code = """
import resource, sys, asyncio
from pathlib import Path
from hubbub.errors import StoreError
from hubbub.history.sqlite import SqliteHistory
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    asyncio.run(SqliteHistory(Path(sys.argv[1])).open())
except StoreError as error:
    print(error)
"""
        with child(code, tmp_path / "hubbub.db") as process:
            said, _ = process.communicate()
        assert re.match(r"The database .* cannot be opened: ", said), said


class TestLock:
    def test_a_second_holder_is_told_of_the_first(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        with child(HOLDER, path) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "locked\n"
            assert refusal(path) == (
                f"The database {path} is in use by process {holder.pid}; one database serves one process."
            )
            holder.kill()
        asyncio.run(open_and_close(path))

    async def test_the_same_process_cannot_hold_it_twice(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        async with open_sqlite(path) as history:
            with pytest.raises(StoreError, match=f"process {os.getpid()};"):
                await open_and_close(path)
            await history.check()

    def test_a_failed_opening_holds_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "hubbub.db"
        path.write_text("nonsense " * 100)
        refusal(path)
        path.unlink()
        asyncio.run(open_and_close(path))

    def test_releasing_twice_is_harmless(self, tmp_path: Path) -> None:
        lock = FileLock(tmp_path / "hubbub.db")
        lock.acquire()
        lock.release()
        lock.release()


class TestMigrations:
    @pytest.fixture
    def steps(self, tmp_path: Path) -> Path:
        """The migrations of this version and one that is still to come."""
        steps = tmp_path / "migrations"
        shutil.copytree(MIGRATIONS, steps)
        (steps / "9000_later.sql").unlink(missing_ok=True)
        return steps

    def later(self, steps: Path, script: str) -> int:
        number = max(int(path.name[:4]) for path in steps.glob("*.sql")) + 1
        (steps / f"{number:04}_later.sql").write_text(script)
        return number

    def test_their_numbers_have_no_holes(self) -> None:
        numbers = sorted(int(path.name[:4]) for path in MIGRATIONS.glob("*.sql"))
        assert numbers == list(range(1, len(numbers) + 1))

    def test_an_older_file_is_brought_up_with_what_is_in_it(self, tmp_path: Path, steps: Path) -> None:
        path = tmp_path / "hubbub.db"
        asyncio.run(talk(path))
        number = self.later(steps, "ALTER TABLE messages ADD COLUMN colour TEXT DEFAULT 'red';")
        connection = open_database(path, migrations=steps)
        assert version_of(connection) == number
        assert connection.execute("SELECT colour FROM messages").fetchall() == [("red",)]
        connection.close()
        again = open_database(path, migrations=steps)
        assert version_of(again) == number
        again.close()

    def test_the_first_version_named_every_revision(self, tmp_path: Path, steps: Path) -> None:
        path = tmp_path / "hubbub.db"
        for later in sorted(steps.glob("*.sql"))[1:]:
            later.unlink()
        old = open_database(path, migrations=steps)
        create_room(old, make_room(id="tea"), [])
        for seq, rev in ((1, 3), (2, 2)):
            row = (1 << 36 | seq, rev, 1, "ann", f"key{seq}", 0, 1, 300, '{"name":"Ann","body":"hello"}')
            old.execute("INSERT INTO messages VALUES (?,?,?,?,?,?,?,?,?)", row)
        old.executemany(
            "INSERT INTO changes VALUES (?,?)", [(1 << 36 | rev, seq) for rev, seq in ((1, 1), (2, 2), (3, 1))]
        )
        old.close()
        new = open_database(path)
        (uid,) = new.execute("SELECT uid FROM rooms").fetchone()
        assert read_head(new, uid) == 3
        revisions = read_revisions(new, uid, after=0, upto=9)
        assert [(rev, message.seq, message.rev) for rev, message in revisions] == [(1, 1, 3), (2, 2, 2), (3, 1, 3)]
        changes = read_changes(new, uid, since=1, limit=9, max_bytes=9999)
        assert [(message.seq, message.rev) for message in changes.messages] == [(2, 2), (1, 3)]
        new.close()

    def test_a_step_that_fails_leaves_the_file_as_it_was(self, tmp_path: Path, steps: Path) -> None:
        path = tmp_path / "hubbub.db"
        before = open_database(path)
        version = version_of(before)
        before.close()
        self.later(steps, "CREATE TABLE half (a); INSERT INTO nowhere VALUES (1);")
        with pytest.raises(StoreError):
            open_database(path, migrations=steps)
        after = open_database(path)
        assert version_of(after) == version
        assert after.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").fetchone() == (0,)
        after.close()
