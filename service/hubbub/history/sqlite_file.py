"""The database file: whose it is, that it is ours, and that it has the tables of this version.

What can be wrong with it is found here, before the service listens, and said in one sentence.
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hubbub.errors import StoreError
from hubbub.history.sqlite_errors import sentence

__all__ = ["FileLock", "check_to_read", "connect", "create_private", "explained", "migrate", "open_database"]

APPLICATION_ID: Final = 0x48756262
"""`Hubb` in ASCII: what makes a database file ours (https://sqlite.org/pragma.html#pragma_application_id)."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"
BUSY_S: Final = 1.0
"""How long a statement waits for another program's lock. `check` answers within two seconds, so this is less."""

WAL_BYTES: Final = 16 * 2**20
"""The write-ahead log starts anew when it is longer: readers look pages up in it, so short is fast."""

WAL_FILE_BYTES: Final = 64 * 2**20
"""Its file is cut back to this then. Under load it grows beyond `WAL_BYTES` before it can start anew, and writing over
a file is cheaper than making it longer: by 2 of 50 us of a message.
"""


class FileLock:
    """The right to use a database: one process per file, because numbering rests on there being one writer.

    A file of its own beside the database, since SQLite's locks on the database go when any descriptor of it is closed.
    It stays when the lock is released: removing it would let two processes lock two files of the same name.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None

    def acquire(self) -> None:
        """Raises `StoreError` that names the process which has it."""
        path = f"{self._path}-lock"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(file, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(file)
            raise StoreError(
                f"The database {self._path} is in use by process {holder}; one database serves one process."
            ) from None
        self._file = file
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())

    def release(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                os.ftruncate(self._file, 0)
            os.close(self._file)
            self._file = None


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection for one thread at a time, without transactions of its own making."""
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=256
    )
    try:
        if read_only:
            connection.execute("PRAGMA query_only = on")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def create_private(path: Path) -> None:
    """Make an empty file that only its owner may read, unless there is one. SQLite's side files get the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def open_database(path: Path, *, migrations: Path = MIGRATIONS) -> sqlite3.Connection:
    """The connection for writing, with the file checked and brought to this version. Raises `StoreError`."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        create_private(path)
        connection = connect(path)
        try:
            _check_ours(connection, path)
            _prepare(connection, path)
            migrate(connection, path, migrations=migrations)
            _check_readable(connection)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the system and SQLite say into a sentence for the operator."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"The database {path} cannot be opened: {error.strerror or error}.") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_NOTADB:
            raise StoreError(f"The file {path} is not a database, or its header is damaged.") from error
        reason = sentence(error) or str(error)
        raise StoreError(f"The database {path} cannot be opened: {reason.removesuffix('.')} ({error}).") from error


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or tables):
        raise StoreError(f"The file {path} is a database of another program.")


def check_to_read(connection: sqlite3.Connection, path: Path) -> int:
    """The schema's number of a file that is only read, and may be of an older version. Raises `StoreError`."""
    with explained(path):
        _check_ours(connection, path)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            raise StoreError(f"The database {path} is empty.")
        _check_known(version, max(_steps(MIGRATIONS)), path)
        _check_readable(connection)
        return int(version)


def _check_known(version: int, newest: int, path: Path) -> None:
    if version > newest:
        raise StoreError(
            f"The database {path} was written by a newer Hubbub (its schema is {version}, this one knows {newest})."
        )


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"The database {path} lies on a file system without shared memory, which its log needs.")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_FILE_BYTES}")
    # Checkpoints are made by the keeper, away from the thread that others wait for.
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def migrate(connection: sqlite3.Connection, path: Path, *, migrations: Path = MIGRATIONS) -> None:
    """Apply what this file has not had yet, each step in one transaction with its number. Raises `StoreError`."""
    steps = _steps(migrations)
    newest = max(steps)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    _check_known(version, newest, path)
    for number in range(version + 1, newest + 1):
        script = steps[number].read_text(encoding="utf-8")
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; PRAGMA application_id = {APPLICATION_ID};\n{script}\n"
                f"PRAGMA user_version = {number}; COMMIT;"
            )
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _steps(migrations: Path) -> dict[int, Path]:
    """From number to file: `0001_history.sql` is 1."""
    return {
        int(match[1]): path
        for path in migrations.glob("*.sql")
        if (match := re.fullmatch(r"(\d{4})_[a-z_]+\.sql", path.name))
    }


def _check_readable(connection: sqlite3.Connection) -> None:
    """Look at the first page of each table, so that a file that was overwritten does not come to light later."""
    for table in ("rooms", "messages", "changes", "standings", "people"):
        connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
