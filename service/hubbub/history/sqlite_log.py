"""The control log: its records of rooms, which are units' own part, and reading, appending and pruning.

A record of a room is written in the transaction of its change, so there is never one without the other, and nothing to
mend.
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from hubbub.history.ledger import Entry, Record
from hubbub.history.records import Role, Standing
from hubbub.history.sqlite_rows import fetch, fetch_number, json_text

__all__ = ["RoomLog", "append", "prune", "read_head", "read_records"]

READ_BYTES: Final = 256 * 2**10
"""Of the data in one reading, about: a node that was away for long reads the log in many steps of a moment each."""

PRUNE_MOST: Final = 1000
"""How many records one pruning removes: a few milliseconds of the writer's time."""

PUT: Final = "INSERT INTO control_log (kind, at, origin, data) "

SAY_STANDING: Final = f"""{PUT} VALUES ('standing', :at, :origin, json_object(
    'room', :room, 'user', :user, 'why', :why, 'was', :was, 'role', :role, 'text', :text))"""

SAY_CREATED: Final = f"""{PUT} SELECT 'standing', :at, :origin, json_object(
    'room', :room, 'user', value ->> 0, 'why', 'created', 'was', NULL, 'role', value ->> 1, 'text', '')
    FROM json_each(:members) ORDER BY json_each.id"""

SAY_ROOM: Final = f"{PUT} VALUES ('room', :at, :origin, json_object('room', :room))"

SAY_DELETED: Final = f"{PUT} VALUES ('deleted', :at, :origin, json_object('room', :room, 'id', :id))"

HEAD: Final = "SELECT coalesce(max(n), 0) FROM control_log"

READ: Final = """
    WITH measured AS (
        SELECT n, sum(length(CAST(data AS BLOB))) OVER (ORDER BY n ROWS UNBOUNDED PRECEDING) AS bytes,
               row_number() OVER (ORDER BY n) AS place
        FROM (SELECT n, data FROM control_log WHERE n > :after ORDER BY n LIMIT :most))
    SELECT json_group_array(json_array(l.n, l.kind, coalesce(l.key, 'store.' || l.n), l.at, l.origin, json(l.data)))
    FROM measured CROSS JOIN control_log l ON l.n = measured.n WHERE place = 1 OR bytes <= :max_bytes"""

APPEND: Final = """
    INSERT INTO control_log (key, kind, at, origin, data) VALUES (:key, :kind, :at, :origin, :data)
    ON CONFLICT (key) WHERE key IS NOT NULL DO NOTHING"""

BY_KEY: Final = "SELECT n FROM control_log WHERE key = :key"

PRUNE: Final = """
    DELETE FROM control_log WHERE n < (
        WITH oldest AS (
            SELECT n, at FROM control_log WHERE n <= (SELECT max(n) FROM control_log) - :keep ORDER BY n LIMIT :most)
        SELECT coalesce((SELECT min(n) FROM oldest WHERE at >= :before), (SELECT max(n) + 1 FROM oldest)))"""
"""It begins with DELETE because Python counts no rows of a statement that does not."""


@dataclass(frozen=True, slots=True)
class RoomLog:
    """Says, within a unit's transaction, what the unit has changed. `clock` is in milliseconds, as `origin` of whoever
    changes it.
    """

    origin: str
    clock: Callable[[], int]

    def created(self, connection: sqlite3.Connection, uid: str, members: Sequence[Standing]) -> None:
        """That the room is there: a record for each who has a role in it."""
        rows = json_text([(standing.user, standing.role) for standing in members if standing.role is not None])
        connection.execute(SAY_CREATED, {**self._stamp(), "room": uid, "members": rows})

    def stands(
        self,
        connection: sqlite3.Connection,
        uid: str,
        standing: Standing,
        *,
        why: str,
        was: Role | None,
        text: str = "",
    ) -> None:
        """That the user stands to the room in another way now; `was` is the role before."""
        said = {"room": uid, "user": standing.user, "why": why, "was": was, "role": standing.role, "text": text}
        connection.execute(SAY_STANDING, {**self._stamp(), **said})

    def room(self, connection: sqlite3.Connection, uid: str) -> None:
        """That the room is another now."""
        connection.execute(SAY_ROOM, {**self._stamp(), "room": uid})

    def deleted(self, connection: sqlite3.Connection, uid: str, id: str) -> None:
        """That it is gone."""
        connection.execute(SAY_DELETED, {**self._stamp(), "room": uid, "id": id})

    def _stamp(self) -> dict[str, object]:
        return {"at": self.clock(), "origin": self.origin}


def read_head(connection: sqlite3.Connection) -> int:
    return fetch_number(connection, HEAD, {}) or 0


def read_records(connection: sqlite3.Connection, *, after: int, limit: int) -> list[Record]:
    """As `Ledger.read`."""
    rows = fetch(connection, READ, {"after": after, "most": limit, "max_bytes": READ_BYTES})
    return sorted((Record(*row) for row in rows), key=lambda record: record.n)


def append(connection: sqlite3.Connection, entries: Sequence[Entry], *, origin: str) -> list[int]:
    """As `Ledger.append`; a unit of the writer's transaction. One statement for each, since they are few, and since a
    text out of JSON ends for SQLite where it has a NUL: two keys would become one.
    """
    numbers: list[int] = []
    for entry in entries:
        row = {
            "key": entry.key,
            "kind": entry.kind,
            "at": entry.at,
            "origin": origin,
            "data": json_text({**entry.data}),
        }
        connection.execute(APPEND, row)
        numbers.append(fetch_number(connection, BY_KEY, {"key": entry.key}) or 0)
    return numbers


def prune(connection: sqlite3.Connection, *, before: int, keep: int) -> int:
    """As `Ledger.prune`; a unit of the writer's transaction."""
    return connection.execute(PRUNE, {"before": before, "keep": max(keep, 1), "most": PRUNE_MOST}).rowcount
