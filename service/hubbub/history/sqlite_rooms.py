"""Writing rooms: making, changing and deleting them. Each function is a unit of the writer's transaction."""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from hubbub.errors import HubbubError
from hubbub.history.base import MEMBER_ROLES, Person, Room, Standing
from hubbub.history.sqlite_log import RoomLog
from hubbub.history.sqlite_rows import MASK, ROOM, SHIFT, fetch, json_text, room_from

__all__ = ["bury_slice", "create_room", "delete_room", "folded", "known_room", "remember_people", "update_room"]

SLICE_ROWS: Final = 500
"""How many messages of a deleted room go in one transaction: a few milliseconds of the writer's time."""

CREATE: Final = """
    INSERT INTO rooms (uid, id, kind, title, topic, capacity, slow_mode_s, created_at, members, folded)
    VALUES (:uid, :id, :kind, :title, :topic, :capacity, :slow_mode_s, :created_at, :members, :folded)"""

STAND: Final = """
    INSERT INTO standings (room, user, role, joined_at, muted_until, banned_until, knew, read_seq)
    SELECT :no, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
    FROM json_each(:standings)"""

REMEMBER: Final = """
    INSERT INTO people (id, name, guest, seen_at)
    SELECT value ->> 0, value ->> 1, value ->> 2, :at FROM json_each(:people) WHERE true
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, guest = excluded.guest, seen_at = excluded.seen_at"""

BY_UID: Final = f"SELECT json_array(r.no, json_array({ROOM})) FROM rooms r WHERE r.uid = :uid"


def create_room(
    connection: sqlite3.Connection,
    room: Room,
    members: Sequence[tuple[Standing, Person]],
    *,
    log: RoomLog | None = None,
) -> Room:
    """As `History.create_room`; without a log where no service runs that has to take note."""
    count = sum(standing.role in MEMBER_ROLES for standing, _ in members)
    row: dict[str, object] = {
        "uid": room.uid,
        "id": room.id,
        "kind": room.kind,
        "title": room.title,
        "topic": room.topic,
        "capacity": room.capacity,
        "slow_mode_s": room.slow_mode_s,
        "created_at": room.created_at,
        "members": count,
        "folded": folded(room.id, room.title),
    }
    try:
        no = connection.execute(CREATE, row).lastrowid
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
            raise
        raise HubbubError("conflict", "There is a room of this id.") from None
    standings = [(s.user, s.role, s.joined_at, s.muted_until, s.banned_until, s.knew, s.read_seq) for s, _ in members]
    connection.execute(STAND, {"no": no, "standings": json_text(standings)})
    remember_people(connection, [person for _, person in members], at=room.created_at)
    if log is not None:
        log.created(connection, room.uid, [standing for standing, _ in members])
    return replace(room, head=0, members=count)


def remember_people(connection: sqlite3.Connection, people: Sequence[Person], *, at: int) -> None:
    """As `History.remember`, for several."""
    rows = json_text([(person.id, person.name, person.guest) for person in people])
    connection.execute(REMEMBER, {"people": rows, "at": at})


def known_room(connection: sqlite3.Connection, uid: str) -> tuple[int, Room]:
    """A room and its number; `not_found` if it is gone."""
    found = fetch(connection, BY_UID, {"uid": uid})
    if found is None:
        raise HubbubError("not_found", "There is no such room.")
    no, row = found
    return no, room_from(row)


def update_room(
    connection: sqlite3.Connection, uid: str, *, values: Mapping[str, str | int | None], log: RoomLog
) -> Room:
    """As `History.update_room`; `values` are its keyword arguments."""
    no, room = known_room(connection, uid)
    given = {name: value for name, value in values.items() if value is not None}
    capacity = values.get("capacity")
    if isinstance(capacity, int) and capacity < room.members:
        raise HubbubError("conflict", f"The room has {room.members} members already.")
    updated = replace(room, **given)  # type: ignore[arg-type] # Each value has its field's type, by `History`.
    if updated != room:
        connection.execute(
            """UPDATE rooms SET title = :title, topic = :topic, capacity = :capacity, slow_mode_s = :slow_mode_s,
               folded = :folded WHERE no = :no""",
            {
                "no": no,
                "title": updated.title,
                "topic": updated.topic,
                "capacity": updated.capacity,
                "slow_mode_s": updated.slow_mode_s,
                "folded": folded(room.id, updated.title),
            },
        )
        log.room(connection, uid)
    return updated


def delete_room(connection: sqlite3.Connection, uid: str, *, log: RoomLog | None = None) -> int | None:
    """Take the room from every reader, and leave its messages for `bury_slice`. Its number, None if there is none.
    The log as in `create_room`.
    """
    row = connection.execute("SELECT no, id FROM rooms WHERE uid = ?", (uid,)).fetchone()
    if row is None:
        return None
    no, id = row
    connection.execute("DELETE FROM rooms WHERE no = ?", (no,))
    connection.execute("DELETE FROM standings WHERE room = ?", (no,))
    connection.execute("INSERT INTO graveyard (no) VALUES (?)", (no,))
    if log is not None:
        log.deleted(connection, uid, id)
    return int(no)


def bury_slice(connection: sqlite3.Connection) -> bool:
    """Give back the space of a few messages of a deleted room, in a transaction of its own; whether there is more."""
    row = connection.execute("SELECT no FROM graveyard LIMIT 1").fetchone()
    if row is None:
        return False
    limits = {"low": row[0] << SHIFT, "high": (row[0] << SHIFT) + MASK, "most": SLICE_ROWS}
    connection.execute("BEGIN IMMEDIATE")
    gone = 0
    for table in ("messages", "changes"):
        gone += connection.execute(
            f"""DELETE FROM {table} WHERE place IN
                (SELECT place FROM {table} WHERE place BETWEEN :low AND :high LIMIT :most)""",
            limits,
        ).rowcount
    if gone == 0:
        connection.execute("DELETE FROM graveyard WHERE no = ?", row)
    connection.execute("COMMIT")
    return True


def folded(id: str, title: str) -> str:
    """What a search for rooms looks in: SQLite by itself folds ASCII only."""
    return f"{id}\n{title}".casefold()
