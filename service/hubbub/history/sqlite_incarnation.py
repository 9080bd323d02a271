"""Which life of its store a database file is (`History.incarnation`), and whether a copy was put in its place.

The database records which file it was in when a service opened it last. A copy carries that record into another file,
and is known by it. A copy that was written over the old file is in the same one, and so is one that came back with the
whole disk: only the operator knows of those, and says so (`say_restored`).
"""

from __future__ import annotations

import ctypes
import logging
import os
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Final

from hubbub.errors import StoreError
from hubbub.history.incarnations import new_incarnation
from hubbub.history.sqlite_file import FileLock, create_private, explained, open_database

__all__ = ["identity", "say_restored", "settle"]

logger: Final = logging.getLogger(__name__)

AT_FDCWD: Final = -100
STATX_BTIME: Final = 0x800
STATX_BYTES: Final = 256
BTIME_AT: Final = 80
"""Of `statx` (man 2 statx): where in its answer the time is, in seconds and nanoseconds. The same on every machine."""


def identity(path: Path) -> str:
    """What tells the file from every other on its file system: its inode number, and when it was made.

    The number alone would not do: ext4 gives that of a file that was removed to the next one that is made, which is the
    copy. The device is no part of it, since its number may change when the machine starts. An empty file is made if
    there is none.
    """
    create_private(path)
    found = path.stat()
    # Python tells the time of making on some systems, and on Linux not yet.
    return f"{found.st_ino}.{getattr(found, 'st_birthtime', None) or _born(path)}"


def _born(path: Path) -> int:
    """When the file was made, in nanoseconds; 0 where the system or the file system does not know."""
    try:
        statx = ctypes.CDLL(None).statx
    except (AttributeError, OSError):
        return 0
    statx.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p)
    answer = ctypes.create_string_buffer(STATX_BYTES)
    if statx(AT_FDCWD, os.fsencode(path), 0, STATX_BTIME, answer) != 0:
        return 0
    (known,) = struct.unpack_from("=I", answer)
    seconds, nanoseconds = struct.unpack_from("=qI", answer, BTIME_AT)
    return int(seconds) * 10**9 + int(nanoseconds) if known & STATX_BTIME else 0


def settle(connection: sqlite3.Connection, path: Path, found: str) -> str:
    """The incarnation of a file that a service opens, `found` being its identity: a new one, on the disk, if it was
    another file last time.
    """
    name, known = connection.execute("SELECT name, file FROM incarnation").fetchone()
    if known == found:
        return str(name)
    if known is not None:
        name = new_incarnation()
        logger.warning(
            "history: %s is another file than it was, taken for a copy: clients fetch anew what they had of it",
            path,
        )
    connection.execute("UPDATE incarnation SET name = ?, file = ?", (name, found))
    return str(name)


def say_restored(path: Path) -> str:
    """Give the store at `path` a new incarnation, and return it. Raises `StoreError`, also if a service has it open."""
    if not path.exists():
        raise StoreError(f"There is no database {path}.")
    with explained(path):
        lock = FileLock(path)
        lock.acquire()
        try:
            found, name = identity(path), new_incarnation()
            with closing(open_database(path)) as connection:
                connection.execute("UPDATE incarnation SET name = ?, file = ?", (name, found))
            return name
        finally:
            lock.release()
