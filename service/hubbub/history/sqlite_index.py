"""The search index: a file of its own beside the database, which can be lost without losing anything.

It is written by one thread and never takes the lock that messages are written under. It says itself how far it has
come, room by room, in the transaction that brings it there. Since it can be made anew from the database, its writes are
not synced one by one, and a file that is missing, damaged or of another version is simply made anew.

A document's id is `created_at << 20 | n`: the newest first, over all rooms, is the order of the ids. The column `scope`
says whose it is: `r<room number>`, and `pub` in a public room.

What is to be written lies in `fresh`, a table in memory that the connection has for itself (`sqlite_fresh` fills it).
Documents go in by their ids: an index that is given ids which do not ascend begins a new piece of itself with each step
back, and the pieces have to be put together later (4 of 8 us where each message is of another room).
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from hubbub.history.sqlite_errors import is_damage
from hubbub.history.sqlite_file import connect, create_private
from hubbub.history.sqlite_rows import MASK, SHIFT, fetch, json_text

__all__ = ["forget_slice", "index_path", "open_index", "read_progress", "remove_index", "trim_slice", "write_slice"]

APPLICATION_ID: Final = 0x48756269
VERSION: Final = 2
SIDE_FILES: Final = ("", "-wal", "-shm", "-journal")
LOG_KEPT_BYTES: Final = 16 * 2**20

SCHEMA: Final = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE progress (no INTEGER PRIMARY KEY, uid TEXT NOT NULL, rev INTEGER NOT NULL);
    CREATE TABLE docs (
        id INTEGER PRIMARY KEY, place INTEGER NOT NULL UNIQUE, scope TEXT NOT NULL, body TEXT NOT NULL);
    CREATE VIRTUAL TABLE fts USING fts5 (
        scope, body, content='docs', content_rowid='id', columnsize=0, tokenize='unicode61 remove_diacritics 2');
    CREATE TRIGGER docs_added AFTER INSERT ON docs BEGIN
        INSERT INTO fts (rowid, scope, body) VALUES (new.id, new.scope, new.body);
    END;
    CREATE TRIGGER docs_dropped AFTER DELETE ON docs BEGIN
        INSERT INTO fts (fts, rowid, scope, body) VALUES ('delete', old.id, old.scope, old.body);
    END;
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {VERSION};
    COMMIT;"""

FRESH: Final = """
    CREATE TEMP TABLE fresh (
        place INTEGER NOT NULL, rev INTEGER NOT NULL, at INTEGER NOT NULL, scope TEXT NOT NULL, body TEXT NOT NULL,
        again INTEGER NOT NULL)"""
"""Messages as they stand; an empty body is taken out of the index. Those that may be in it already say `again`."""

DROP: Final = "DELETE FROM docs WHERE place IN (SELECT place FROM temp.fresh WHERE again)"

# Of one millisecond, about a million messages can be told apart; whatever is beyond that is not indexed.
ADD: Final = """
    INSERT OR IGNORE INTO docs (id, place, scope, body)
    SELECT min(row_number() OVER (PARTITION BY at ORDER BY place)
               + coalesce((SELECT max(id) FROM docs WHERE id >= at << 20 AND id < (at + 1) << 20), (at << 20) - 1),
               (at << 20) + 0xFFFFF), place, scope, body
    FROM temp.fresh WHERE body <> '' ORDER BY at, place"""

ADVANCE: Final = """
    INSERT INTO progress (no, uid, rev)
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:progress) WHERE true
    ON CONFLICT (no) DO UPDATE SET rev = excluded.rev"""

FORGET: Final = f"""
    DELETE FROM docs WHERE id IN (
        SELECT id FROM docs WHERE place BETWEEN :no << {SHIFT} AND (:no << {SHIFT}) + :upto LIMIT :most)"""


def index_path(database: Path) -> Path:
    return database.with_name(f"{database.name}-search")


def remove_index(path: Path) -> None:
    for suffix in SIDE_FILES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def open_index(path: Path) -> sqlite3.Connection:
    """The connection for writing, to an index of this version; one that is not is made anew."""
    try:
        connection = connect(path)
    except sqlite3.OperationalError:
        return _make(path)
    try:
        version = connection.execute("PRAGMA user_version").fetchone()
        application = connection.execute("PRAGMA application_id").fetchone()
        if (application, version) == ((APPLICATION_ID,), (VERSION,)):
            connection.execute("SELECT * FROM progress, docs, fts LIMIT 1").fetchone()
            return _prepared(connection)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            connection.close()
            raise
    connection.close()
    return _make(path)


def _make(path: Path) -> sqlite3.Connection:
    remove_index(path)
    create_private(path)
    connection = _prepared(connect(path))
    try:
        connection.executescript(SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = NORMAL")
    # What is deleted is overwritten where its page is written anyway. Some builds of SQLite do it everywhere, and an
    # index is always putting pieces of itself together.
    connection.execute("PRAGMA secure_delete = FAST").fetchone()
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(FRESH)
    connection.execute(f"PRAGMA journal_size_limit = {LOG_KEPT_BYTES}")
    return connection


def read_progress(connection: sqlite3.Connection) -> dict[int, tuple[str, int]]:
    """From room number to uid and the last revision that is indexed."""
    rows = fetch(connection, "SELECT json_group_array(json_array(no, uid, rev)) FROM progress", {})
    return {no: (uid, rev) for no, uid, rev in rows}


def write_slice(connection: sqlite3.Connection, *, progress: Mapping[int, tuple[str, int]]) -> None:
    """Index the messages in `fresh` as they stand, and record how far their rooms have come, in one transaction.

    From room number to uid and revision. `fresh` is empty afterwards.
    """
    advanced = json_text([(no, uid, rev) for no, (uid, rev) in progress.items()])
    try:
        _in_transaction(connection, [(DROP, {}), (ADD, {}), (ADVANCE, {"progress": advanced})])
    finally:
        connection.execute("DELETE FROM temp.fresh")


def forget_slice(connection: sqlite3.Connection, no: int, *, most: int) -> bool:
    """Take a few messages of a room out of the index, the room itself with the last; whether there is more."""
    if trim_slice(connection, no, floor=MASK, most=most):
        return True
    _in_transaction(connection, [("DELETE FROM progress WHERE no = :no", {"no": no})])
    return False


def trim_slice(connection: sqlite3.Connection, no: int, *, floor: int, most: int) -> bool:
    """Take a few of a room's messages up to this seq out of the index; whether there is more."""
    return _in_transaction(connection, [(FORGET, {"no": no, "upto": floor, "most": most})]) >= most


def _in_transaction(connection: sqlite3.Connection, steps: Sequence[tuple[str, Mapping[str, object]]]) -> int:
    """How many rows the last step changed. Only the index is locked: an attached database is not written, and `BEGIN
    IMMEDIATE` would begin to read it.
    """
    changed = 0
    connection.execute("BEGIN")
    try:
        for statement, parameters in steps:
            changed = connection.execute(statement, parameters).rowcount
        connection.execute("COMMIT")
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    return changed
