"""The search index: a file of its own beside the database, which can be lost without losing anything.

It is written by one thread and never takes the lock that messages are written under. It says itself how far it has
come, room by room, in the transaction that brings it there. Since it can be made anew from the database, its writes are
not synced one by one, and a file that is missing, damaged or of another version is simply made anew.

A document's id is `created_at << 20 | n`: the newest first, over all rooms, is the order of the ids. The column `scope`
says whose it is: `r<room number>`, and `pub` in a public room.
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

__all__ = ["forget_slice", "index_path", "open_index", "read_progress", "remove_index", "write_slice"]

APPLICATION_ID: Final = 0x48756269
VERSION: Final = 1
SIDE_FILES: Final = ("", "-wal", "-shm", "-journal")
LOG_KEPT_BYTES: Final = 16 * 2**20

SCHEMA: Final = f"""
    BEGIN IMMEDIATE;
    CREATE TABLE progress (no INTEGER PRIMARY KEY, uid TEXT NOT NULL, rev INTEGER NOT NULL);
    CREATE TABLE docs (id INTEGER PRIMARY KEY, place INTEGER NOT NULL UNIQUE, scope TEXT NOT NULL, body TEXT NOT NULL);
    CREATE VIRTUAL TABLE fts USING fts5 (
        scope, body, content='docs', content_rowid='id', columnsize=0, tokenize='unicode61 remove_diacritics 2');
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {VERSION};
    COMMIT;"""

UNLIST: Final = """
    INSERT INTO fts (fts, rowid, scope, body)
    SELECT 'delete', d.id, d.scope, d.body FROM json_each(:rows) j CROSS JOIN docs d ON d.place = j.value ->> 0"""

DROP: Final = "DELETE FROM docs WHERE place IN (SELECT value ->> 0 FROM json_each(:rows))"

# Of one millisecond, about a million messages can be told apart; whatever is beyond that is not indexed.
ADD: Final = """
    WITH fresh AS (
        SELECT value ->> 0 AS place, value ->> 1 AS at, value ->> 2 AS scope, value ->> 3 AS body,
               row_number() OVER (PARTITION BY value ->> 1 ORDER BY value ->> 0) AS n
        FROM json_each(:rows) WHERE value ->> 3 <> '')
    INSERT OR IGNORE INTO docs (id, place, scope, body)
    SELECT min(n + coalesce((SELECT max(id) FROM docs WHERE id >= at << 20 AND id < (at + 1) << 20), (at << 20) - 1),
               (at << 20) + 0xFFFFF), place, scope, body
    FROM fresh"""

LIST: Final = """
    INSERT INTO fts (rowid, scope, body)
    SELECT d.id, d.scope, d.body FROM json_each(:rows) j CROSS JOIN docs d ON d.place = j.value ->> 0"""

ADVANCE: Final = """
    INSERT INTO progress (no, uid, rev)
    SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:progress) WHERE true
    ON CONFLICT (no) DO UPDATE SET rev = excluded.rev"""

OF_ROOM: Final = f"""
    SELECT count(*), json_group_array(json_array(place)) FROM (
        SELECT place FROM docs WHERE place BETWEEN :no << {SHIFT} AND (:no << {SHIFT}) + {MASK} LIMIT :most)"""


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
    connection.execute(f"PRAGMA journal_size_limit = {LOG_KEPT_BYTES}")
    return connection


def read_progress(connection: sqlite3.Connection) -> dict[int, tuple[str, int]]:
    """From room number to uid and the last revision that is indexed."""
    rows = fetch(connection, "SELECT json_group_array(json_array(no, uid, rev)) FROM progress", {})
    return {no: (uid, rev) for no, uid, rev in rows}


def write_slice(
    connection: sqlite3.Connection, *, new: str = "[]", reworked: str = "[]", progress: Mapping[int, tuple[str, int]]
) -> None:
    """Index messages as they stand, and record how far their rooms have come, in one transaction.

    Both are JSON: `[[place, created_at, scope, body], …]`; an empty body is taken out of the index. What is `new` has
    never been in it; what is `reworked` may be.
    """
    advanced = json_text([(no, uid, rev) for no, (uid, rev) in progress.items()])
    steps: list[tuple[str, Mapping[str, object]]] = []
    if reworked != "[]":
        steps += [(statement, {"rows": reworked}) for statement in (UNLIST, DROP, ADD, LIST)]
    if new != "[]":
        steps += [(ADD, {"rows": new}), (LIST, {"rows": new})]
    _in_transaction(connection, [*steps, (ADVANCE, {"progress": advanced})])


def forget_slice(connection: sqlite3.Connection, no: int, *, most: int) -> bool:
    """Take a few messages of a room out of the index, the room itself with the last; whether there is more."""
    count, rows = connection.execute(OF_ROOM, {"no": no, "most": most}).fetchone()
    steps: list[tuple[str, dict[str, object]]] = [(UNLIST, {"rows": rows}), (DROP, {"rows": rows})]
    if count < most:
        steps.append(("DELETE FROM progress WHERE no = :no", {"no": no}))
    _in_transaction(connection, steps)
    return bool(count >= most)


def _in_transaction(connection: sqlite3.Connection, steps: Sequence[tuple[str, Mapping[str, object]]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement, parameters in steps:
            connection.execute(statement, parameters)
        connection.execute("COMMIT")
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
