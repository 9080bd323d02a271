"""What the search index has not seen yet, copied from the database.

The index's connection has the database attached, to be read only, and its statements carry what is new from the one to
the other: none of it passes through Python. It goes by way of a table in memory, so that the database is read in a
moment (a reader keeps its log from starting anew) and a fault of one file is never taken for a fault of the other.
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hubbub.history.sqlite_rows import CHANGED, HEAD, MASK, SHIFT, UNCHANGED, fetch, json_text

__all__ = ["Fresh", "attach_store", "copy_fresh", "read_heads"]

HEADS: Final = f"SELECT json_group_array(json_array(r.no, r.uid, {HEAD}, r.floor)) FROM store.rooms r"

REWORKED: Final = f"""
    FROM store.messages m INDEXED BY messages_by_rev WHERE m.room = {{room}} AND m.rev > {{rev}} AND {CHANGED}"""

SENT: Final = f"""
    m.place > ({{room}} << {SHIFT}) + {{rev}} AND m.place <= ({{room}} << {SHIFT}) + {MASK} AND {UNCHANGED}"""

STATES: Final = f"""
    SELECT json_group_array(json_array(j.value ->> 0, r.uid, r.floor, EXISTS (
        SELECT 1 {REWORKED.format(room="r.no", rev="(j.value ->> 1)")})))
    FROM json_each(:rooms) j LEFT JOIN store.rooms r ON r.no = j.value ->> 0"""

COLUMNS: Final = f"""
    m.place, m.rev, m.created_at, 'r' || m.room || :public, iif(m.deleted, '', m.doc ->> '$.body'), {CHANGED}"""

PUBLIC: Final = "CASE r.kind WHEN 'public' THEN ' pub' ELSE '' END"

COPY_SENT: Final = f"""
    INSERT INTO temp.fresh (place, rev, at, scope, body, again)
    SELECT {COLUMNS.replace(":public", PUBLIC)}
    FROM json_each(:rooms) j CROSS JOIN store.rooms r ON r.no = j.value ->> 0
    CROSS JOIN store.messages m ON {SENT.format(room="r.no", rev="(j.value ->> 1)")}
    LIMIT :most"""

COPY_ALL: Final = f"""
    INSERT INTO temp.fresh (place, rev, at, scope, body, again)
    SELECT {COLUMNS.replace(":public", PUBLIC)}
    FROM store.rooms r CROSS JOIN (
        SELECT * FROM (SELECT m.* FROM store.messages m WHERE {SENT.format(room=":no", rev=":rev")} LIMIT :most)
        UNION ALL
        SELECT * FROM (SELECT m.* {REWORKED.format(room=":no", rev=":rev")} ORDER BY m.rev LIMIT :most)
        ORDER BY rev LIMIT :most) m
    WHERE r.no = :no"""

COPIED: Final = f"""
    SELECT json_group_array(json_array(no, rev)) FROM (
        SELECT place >> {SHIFT} AS no, max(rev) AS rev FROM temp.fresh GROUP BY no)"""


@dataclass(frozen=True, slots=True)
class Fresh:
    """What was copied: how far each room has come with it, up to which seq rooms have been emptied by retention, which
    have no more, and which are gone.
    """

    progress: Mapping[int, tuple[str, int]]
    floors: Mapping[int, int]
    done: Sequence[int]
    gone: Sequence[int]


def attach_store(index: sqlite3.Connection, database: Path) -> None:
    """Let the index's connection read the database, as `store`."""
    index.execute("ATTACH ? AS store", (f"{database.absolute().as_uri()}?mode=ro",))


def read_heads(index: sqlite3.Connection) -> list[tuple[int, str, int, int]]:
    """Number, uid, last revision and floor of all rooms of the database."""
    return [(no, uid, head, floor) for no, uid, head, floor in fetch(index, HEADS, {})]


def copy_fresh(index: sqlite3.Connection, rooms: Mapping[int, int], *, most: int) -> Fresh:
    """Put up to `most` messages into `fresh`, in which is nothing: those of these rooms above these revisions, room by
    room, in one state of the database. A room that is not done comes up to some revision without holes.

    Raises `sqlite3.Error`; the fault is the database's then, and nothing is in `fresh`.
    """
    index.execute("BEGIN")
    try:
        found = _copy(index, rooms, most)
        index.execute("COMMIT")
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            index.execute("ROLLBACK")
        raise
    return found


def _copy(index: sqlite3.Connection, rooms: Mapping[int, int], most: int) -> Fresh:
    states = fetch(index, STATES, {"rooms": json_text([*rooms.items()])})
    uids = {no: uid for no, uid, _, _ in states}
    floors = {no: floor for no, _, floor, _ in states if floor}
    quiet = [no for no, uid, _, is_reworked in states if uid is not None and not is_reworked]
    reworked = [no for no, uid, _, is_reworked in states if uid is not None and is_reworked]
    left = most
    done: list[int] = []
    if quiet:
        quiet_rooms = json_text([(no, rooms[no]) for no in quiet])
        left -= index.execute(COPY_SENT, {"rooms": quiet_rooms, "most": most}).rowcount
        if left:
            done += quiet
    for no in reworked:
        if left:
            left -= index.execute(COPY_ALL, {"no": no, "rev": rooms[no], "most": left}).rowcount
            if left:
                done.append(no)
    revs: dict[int, int] = dict(fetch(index, COPIED, {}))
    if quiet and not left and not done:
        # The last of them from which something came may have more, and so may those behind it.
        done = quiet[: max(place for place, no in enumerate(quiet) if no in revs)]
    gone = [no for no, uid in uids.items() if uid is None]
    return Fresh({no: (uids[no], rev) for no, rev in revs.items()}, floors, done, gone)
