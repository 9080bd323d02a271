"""Emptying old messages in SQLite (`History.expire`): a reader finds them, the writer's thread empties them in slices.

Finding goes over the rooms, and looks in each for its oldest message above the floor and for its newest: two steps in
an index, some microseconds, wherever nothing is to be done. A slice raises the floors and empties the messages in one
transaction, so that a row below a floor is always a stub, and no reader has to make it one.

The rows are taken out and put back as stubs. Written over in place they would leave the pages as they are, almost
empty for ever, because SQLite puts pages together only where rows are deleted: of 10,544 pages with 100,000 messages,
emptying nine tenths gave back none in place, and 6,084 this way (20 us per message; 3 us in place). Meanwhile SQLite is
told to write zeros over what it lets go.
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hubbub.history.floors import Counts, Gap, rising
from hubbub.history.sizes import REST_BYTES
from hubbub.history.sqlite_readers import snapshot
from hubbub.history.sqlite_rows import MASK, NEWEST, SHIFT, fetch, fetch_number, json_text

__all__ = ["Finder", "Rise", "empty_slice"]

SLICE_ROWS: Final = 250
"""How many messages one slice empties: five milliseconds of the thread that everybody's writes wait for."""

ROOMS_AT_ONCE: Final = 1000
"""How many rooms one statement looks at: a few milliseconds of a reader's time."""

CANDIDATES: Final = f"""
    SELECT json_array(
        json_group_array(json_array(no, floor, newest)) FILTER (
            WHERE oldest & {MASK} < newest AND (newest - floor > :keep OR created_at < :before)),
        max(no), count(*))
    FROM (
        SELECT r.no, r.floor, r.newest, r.oldest, m.created_at FROM (
            SELECT r.no, r.floor, {NEWEST} AS newest,
                (SELECT o.place FROM messages o
                 WHERE o.place > (r.no << {SHIFT}) + r.floor AND o.place <= (r.no << {SHIFT}) + {MASK}
                 ORDER BY o.place LIMIT 1) AS oldest
            FROM rooms r WHERE r.no > :after ORDER BY r.no LIMIT :most) r
        LEFT JOIN messages m ON m.place = r.oldest)"""

OLDEST: Final = f"""
    SELECT json_group_array(json_array(seq, created_at)) FROM (
        SELECT place & {MASK} AS seq, created_at FROM messages
        WHERE place > (:no << {SHIFT}) + :low AND place <= (:no << {SHIFT}) + :high ORDER BY place LIMIT :most)"""

COUNT: Final = f"""
    SELECT count(*) FROM messages
    WHERE place > (:no << {SHIFT}) + :low AND place <= (:no << {SHIFT}) + :high"""

COUNT_ALL: Final = f"""
    SELECT count(*) FROM messages INDEXED BY messages_by_key
    WHERE room = :no AND place <= (:no << {SHIFT}) + :high"""
"""The same where nothing was emptied yet and the room may be large: the index is a fraction of the table."""

RAISE: Final = """
    UPDATE rooms SET floor = j.value ->> 2
    FROM json_each(:rises) j WHERE rooms.no = j.value ->> 0 AND rooms.floor = j.value ->> 1"""

EMPTIED: Final = f"""
    SELECT json_group_array(json_array(m.place, m.rev, m.room, m.sender, m.key, m.created_at,
        {REST_BYTES} + length(CAST(json_array(m.key, m.sender, m.doc ->> '$.name') AS BLOB)),
        json_set(json_remove(m.doc, '$.reply_to', '$.mentions', '$.reactions'), '$.body', '')))
    FROM json_each(:rises) j CROSS JOIN rooms r ON r.no = j.value ->> 0 AND r.floor = j.value ->> 2
    CROSS JOIN messages m ON m.place > (r.no << {SHIFT}) + (j.value ->> 1) AND m.place <= (r.no << {SHIFT}) + r.floor"""

TAKE_OUT: Final = "DELETE FROM messages WHERE place IN (SELECT value ->> 0 FROM json_each(:rows))"

PUT_BACK: Final = """
    INSERT INTO messages (place, rev, room, sender, key, deleted, created_at, bytes, doc)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, 1, value ->> 5, value ->> 6, value ->> 7
    FROM json_each(:rows)"""


@dataclass(frozen=True, slots=True)
class Rise:
    """A room's floor is to rise from `low` to `high`, which empties `count` messages."""

    no: int
    low: int
    high: int
    count: int


class Finder:
    """Goes round the rooms, some at a time. Used by one call at a time, on whatever thread."""

    def __init__(self) -> None:
        self._after = 0
        self._counts = Counts()

    @property
    def at_start(self) -> bool:
        """Whether the next look begins a round."""
        return self._after == 0

    def look(self, connection: sqlite3.Connection, *, before: int | None, keep: int | None) -> list[Rise]:
        """What the next slice is to empty in the next rooms; the last of them end the round."""
        rises: list[Rise] = []
        parameters = {"after": self._after, "most": ROOMS_AT_ONCE, "before": before, "keep": keep}
        room_left = SLICE_ROWS
        with snapshot(connection):
            candidates, last, seen = fetch(connection, CANDIDATES, parameters)
            for no, floor, newest in candidates:
                rise = self._rise(connection, (no, floor, newest), room_left, before=before, keep=keep)
                if rise is None:
                    continue
                rises.append(rise)
                room_left -= rise.count
                if room_left == 0:
                    self._after = no - 1  # There may be more in this room.
                    return rises
        self._after = last if seen == ROOMS_AT_ONCE else 0
        return rises

    def _rise(
        self,
        connection: sqlite3.Connection,
        room: tuple[int, int, int],
        most: int,
        *,
        before: int | None,
        keep: int | None,
    ) -> Rise | None:
        no, floor, newest = room
        excess = 0
        if keep is not None and newest - floor > keep:
            excess = self._count(connection, no, floor, newest) - keep
        parameters = {"no": no, "low": floor, "high": newest, "most": most}
        oldest = fetch(connection, OLDEST, parameters)
        high, count = rising(oldest, newest=newest, before=before, excess=excess)
        return Rise(no, floor, high, count) if count else None

    def _count(self, connection: sqlite3.Connection, no: int, floor: int, newest: int) -> int:
        def between(gap: Gap) -> int:
            low, high = gap
            if low >= high:
                return 0
            query = COUNT_ALL if low == 0 else COUNT
            return fetch_number(connection, query, {"no": no, "low": low, "high": high}) or 0

        came, went = self._counts.unknown(no, floor, newest)
        return self._counts.learn(no, floor, newest, came=between(came), went=None if went is None else between(went))


def empty_slice(connection: sqlite3.Connection, rises: Sequence[Rise]) -> int:
    """Raise the floors and empty what is below them, within the caller's transaction; how many messages that were.

    A room that is gone, or whose floor is not where it was found, is left alone.
    """
    text = json_text([(rise.no, rise.low, rise.high) for rise in rises])
    connection.execute("PRAGMA secure_delete = ON").fetchone()
    try:
        connection.execute(RAISE, {"rises": text})
        (rows,) = connection.execute(EMPTIED, {"rises": text}).fetchone()
        connection.execute(TAKE_OUT, {"rows": rows})
        return connection.execute(PUT_BACK, {"rows": rows}).rowcount
    finally:
        connection.execute("PRAGMA secure_delete = OFF").fetchone()
