"""Writing how users stand to rooms. Each function is a unit of the writer's transaction."""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import Final

from hubbub.errors import HubbubError
from hubbub.history import standing_rules as rules
from hubbub.history.base import MEMBER_ROLES, Left, Person, Role, Room, Standing
from hubbub.history.sqlite_log import RoomLog
from hubbub.history.sqlite_rooms import known_room, remember_people
from hubbub.history.sqlite_rows import NEWEST, STANDING, UNREAD, fetch, fetch_number, standing_from

__all__ = ["ban", "invite", "join", "leave", "mark_read", "mute", "set_role"]

OF_USER: Final = f"SELECT json_array({STANDING}) FROM standings s WHERE s.room = :no AND s.user = :user"

PUT: Final = """
    INSERT INTO standings (room, user, role, joined_at, muted_until, banned_until, knew, read_seq)
    VALUES (:no, :user, :role, :joined_at, :muted_until, :banned_until, :knew, :read_seq)
    ON CONFLICT (room, user) DO UPDATE SET role = excluded.role, joined_at = excluded.joined_at,
        muted_until = excluded.muted_until, banned_until = excluded.banned_until, knew = excluded.knew,
        read_seq = excluded.read_seq"""

STAFF: Final = "s.role IN ('owner', 'moderator')"
"""Written exactly as in the partial index, which SQLite does not choose by itself: it cannot know how few they are."""

HEIR: Final = f"""
    SELECT json_array({STANDING}) FROM (
        SELECT * FROM (SELECT * FROM standings s INDEXED BY standings_staff
                       WHERE s.room = :no AND {STAFF} AND s.role = 'moderator'
                       ORDER BY s.joined_at, s.user LIMIT 1)
        UNION ALL
        SELECT * FROM (SELECT * FROM standings s WHERE s.room = :no AND s.role IN ('owner', 'moderator', 'member')
                       ORDER BY s.joined_at, s.user LIMIT 1)
        LIMIT 1) s"""

OWNED: Final = f"""
    SELECT 1 FROM standings s INDEXED BY standings_staff
    WHERE s.room = :no AND {STAFF} AND s.role = 'owner' AND s.user <> :user"""

NEWEST_OF: Final = f"SELECT {NEWEST} FROM rooms r WHERE r.no = :no"

UNREAD_OF: Final = f"""
    SELECT {UNREAD} FROM rooms r CROSS JOIN standings s ON s.room = r.no AND s.user = :user WHERE r.no = :no"""


def join(
    connection: sqlite3.Connection, uid: str, person: Person, *, at: int, role: Role, need_invite: bool, log: RoomLog
) -> tuple[Standing, bool, int]:
    """As `History.join`."""
    no, room = known_room(connection, uid)
    before = _standing(connection, no, person.id)
    if before.role in MEMBER_ROLES:
        return before, False, room.members
    standing = rules.joined(
        before,
        at=at,
        role=role,
        need_invite=need_invite,
        members=room.members,
        capacity=room.capacity,
        newest=lambda: _newest(connection, no),
    )
    _put(connection, no, standing)
    remember_people(connection, [person], at=at)
    log.stands(connection, uid, standing, why="joined", was=before.role)
    return standing, True, _count(connection, no, room, 1)


def leave(
    connection: sqlite3.Connection, uid: str, user: str, *, log: RoomLog, kicked: bool = False, text: str = ""
) -> Left:
    """As `History.leave`."""
    try:
        no, room = known_room(connection, uid)
    except HubbubError:
        return Left(0)
    before = _standing(connection, no, user)
    if before.role is None:
        return Left(room.members, standing=rules.said(before))
    after = rules.left(before)
    _put(connection, no, after)
    log.stands(connection, uid, after, why="kicked" if kicked else "left", was=before.role, text=text)
    if before.role not in MEMBER_ROLES:
        return Left(room.members, before.role, rules.said(after))
    heir = _succeed(connection, no, uid, before, log=log)
    return Left(_count(connection, no, room, -1), before.role, rules.said(after), heir)


def invite(connection: sqlite3.Connection, uid: str, person: Person, *, at: int, log: RoomLog) -> Standing | None:
    """As `History.invite`."""
    no, _ = known_room(connection, uid)
    before = _standing(connection, no, person.id)
    invited = rules.invited(before, at=at)
    if invited is not None:
        _put(connection, no, invited)
        remember_people(connection, [person], at=at)
        log.stands(connection, uid, invited, why="invited", was=None)
    return invited


def set_role(connection: sqlite3.Connection, uid: str, user: str, role: Role, *, log: RoomLog) -> Standing:
    """As `History.set_role`."""
    no, _ = known_room(connection, uid)
    before = _standing(connection, no, user)
    standing = rules.with_role(before, role, owned_without=lambda: _is_owned_without(connection, no, user))
    if standing != before:
        _put(connection, no, standing)
        log.stands(connection, uid, standing, why="role", was=before.role)
    return standing


def mute(connection: sqlite3.Connection, uid: str, user: str, *, until: int, log: RoomLog) -> Standing:
    """As `History.mute`."""
    no, _ = known_room(connection, uid)
    before = _standing(connection, no, user)
    standing = replace(before, muted_until=until)
    if standing != before:
        _put(connection, no, standing)
        log.stands(connection, uid, standing, why="muted", was=before.role)
    return standing


def ban(
    connection: sqlite3.Connection, uid: str, user: str, *, until: int, log: RoomLog, text: str = ""
) -> tuple[Standing, bool, int, Standing | None]:
    """As `History.ban`."""
    no, room = known_room(connection, uid)
    before = _standing(connection, no, user)
    standing = rules.banned(before, until=until)
    if standing != before:
        _put(connection, no, standing)
        log.stands(connection, uid, standing, why="banned" if until else "unbanned", was=before.role, text=text)
    if until == 0 or before.role not in MEMBER_ROLES:
        return standing, False, room.members, None
    heir = _succeed(connection, no, uid, before, log=log)
    return standing, True, _count(connection, no, room, -1), heir


def mark_read(connection: sqlite3.Connection, uid: str, user: str, seq: int) -> tuple[int, int]:
    """As `History.mark_read`."""
    no, _ = known_room(connection, uid)
    before = _standing(connection, no, user)
    if before.role not in MEMBER_ROLES:
        raise HubbubError("not_found", "The user is no member of the room.")
    standing = replace(before, read_seq=max(before.read_seq, min(seq, _newest(connection, no))))
    if standing != before:
        _put(connection, no, standing)
    return standing.read_seq, fetch_number(connection, UNREAD_OF, {"no": no, "user": user}) or 0


def _standing(connection: sqlite3.Connection, no: int, user: str) -> Standing:
    row = fetch(connection, OF_USER, {"no": no, "user": user})
    return (None if row is None else standing_from(row)) or Standing(user)


def _newest(connection: sqlite3.Connection, no: int) -> int:
    return fetch_number(connection, NEWEST_OF, {"no": no}) or 0


def _put(connection: sqlite3.Connection, no: int, standing: Standing) -> None:
    """Record a standing; one that says nothing any more is forgotten."""
    if rules.said(standing) is None:
        connection.execute("DELETE FROM standings WHERE room = ? AND user = ?", (no, standing.user))
        return
    connection.execute(
        PUT,
        {
            "no": no,
            "user": standing.user,
            "role": standing.role,
            "joined_at": standing.joined_at,
            "muted_until": standing.muted_until,
            "banned_until": standing.banned_until,
            "knew": standing.knew,
            "read_seq": standing.read_seq,
        },
    )


def _count(connection: sqlite3.Connection, no: int, room: Room, change: int) -> int:
    connection.execute("UPDATE rooms SET members = members + ? WHERE no = ?", (change, no))
    return room.members + change


def _is_owned_without(connection: sqlite3.Connection, no: int, user: str) -> bool:
    return connection.execute(OWNED, {"no": no, "user": user}).fetchone() is not None


def _succeed(connection: sqlite3.Connection, no: int, uid: str, gone: Standing, *, log: RoomLog) -> Standing | None:
    """The new owner after this member has gone, if one is needed and there is anybody."""
    if gone.role != "owner" or _is_owned_without(connection, no, gone.user):
        return None
    row = fetch(connection, HEIR, {"no": no})
    heir = None if row is None else standing_from(row)
    if heir is None:
        return None
    was, heir = heir.role, replace(heir, role="owner")
    _put(connection, no, heir)
    log.stands(connection, uid, heir, why="heir", was=was)
    return heir
