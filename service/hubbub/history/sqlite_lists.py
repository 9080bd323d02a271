"""Reading rooms, standings and people."""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from hubbub.history.base import Person, Room, RoomPage, RoomView, Standing, StandingPage
from hubbub.history.cursors import decode_cursor, encode_cursor
from hubbub.history.sqlite_rows import (
    MEMBER,
    ROOM,
    STANDING,
    VIEW,
    fetch,
    json_text,
    person_from,
    room_from,
    standing_from,
    view_from,
)

__all__ = [
    "LISTED",
    "members_from",
    "read_member_ids",
    "read_members",
    "read_people",
    "read_room",
    "read_rooms",
    "read_rooms_at",
    "read_standing",
    "read_standings_at",
    "read_standings_of",
    "read_view",
    "standings_from",
]

BY_ID: Final = f"SELECT json_array({ROOM}) FROM rooms r WHERE r.id = :id"

ROOMS_AT: Final = f"""
    SELECT json_group_array(json_array({ROOM})) FROM json_each(:uids) j CROSS JOIN rooms r ON r.uid = j.value"""

VIEW_OF: Final = f"""
    SELECT {VIEW} FROM rooms r LEFT JOIN standings s ON s.room = r.no AND s.user = :user WHERE r.uid = :uid"""

MATCHES: Final = "r.id > :after AND (:query = '' OR instr(r.folded, :query) > 0)"

OWN: Final = f"""
    SELECT r.no, r.id FROM standings s CROSS JOIN rooms r ON r.no = s.room
    WHERE s.user = :user AND s.role IS NOT NULL AND (r.kind = 'public' OR s.banned_until <= :now) AND {MATCHES}
    ORDER BY r.id LIMIT :most"""

PUBLIC: Final = f"SELECT r.no, r.id FROM rooms r WHERE r.kind = 'public' AND {MATCHES} ORDER BY r.id LIMIT :most"

PRIVATE: Final = f"""
    SELECT r.no, r.id FROM rooms r LEFT JOIN standings s ON s.room = r.no AND s.user = :user
    WHERE r.kind = 'private' AND coalesce(s.banned_until, 0) <= :now AND {MATCHES} ORDER BY r.id LIMIT :most"""

VIEWS: Final = f"""
    WITH found AS (SELECT no FROM ({{found}}) ORDER BY id LIMIT :most)
    SELECT json_group_array({VIEW}) FROM found CROSS JOIN rooms r ON r.no = found.no
    LEFT JOIN standings s ON s.room = r.no AND s.user = :user"""

STANDING_OF: Final = f"""
    SELECT json_array({STANDING}) FROM rooms r CROSS JOIN standings s ON s.room = r.no AND s.user = :user
    WHERE r.uid = :uid"""

STANDINGS_AT: Final = f"""
    SELECT json_group_array(json_array(r.uid, {STANDING})) FROM json_each(:pairs) j
    CROSS JOIN rooms r ON r.uid = j.value ->> 0 CROSS JOIN standings s ON s.room = r.no AND s.user = j.value ->> 1"""

STANDINGS_OF: Final = f"""
    SELECT json_group_array(json_array(r.uid, {STANDING}))
    FROM standings s CROSS JOIN rooms r ON r.no = s.room WHERE s.user = :user"""

LISTED: Final = f"json_group_array(json_array(json_array({STANDING}), json_array(p.name, p.guest)))"

MEMBERS: Final = f"""
    SELECT {LISTED} FROM (
        SELECT s.* FROM rooms r CROSS JOIN standings s ON s.room = r.no
        WHERE r.uid = :uid AND s.role IN {MEMBER} AND (s.joined_at, s.user) > (:joined_at, :after)
        ORDER BY s.joined_at, s.user LIMIT :most) s
    LEFT JOIN people p ON p.id = s.user"""

MEMBER_IDS: Final = f"""
    SELECT json_group_array(s.user) FROM rooms r CROSS JOIN json_each(:candidates) j
    CROSS JOIN standings s ON s.room = r.no AND s.user = j.value AND s.role IN {MEMBER} WHERE r.uid = :uid"""

PEOPLE: Final = """
    SELECT json_group_array(json_array(p.id, p.name, p.guest, p.seen_at))
    FROM json_each(:ids) j CROSS JOIN people p ON p.id = j.value"""


def read_room(connection: sqlite3.Connection, id: str) -> Room | None:
    row = fetch(connection, BY_ID, {"id": id})
    return None if row is None else room_from(row)


def read_rooms_at(connection: sqlite3.Connection, uids: Sequence[str]) -> dict[str, Room]:
    """As `History.rooms_at`."""
    rooms = (room_from(row) for row in fetch(connection, ROOMS_AT, {"uids": json_text([*uids])}))
    return {room.uid: room for room in rooms}


def read_view(connection: sqlite3.Connection, uid: str, user: str) -> RoomView | None:
    row = fetch(connection, VIEW_OF, {"uid": uid, "user": user})
    return None if row is None else view_from(row)


def read_rooms(
    connection: sqlite3.Connection,
    *,
    user: str,
    query: str | None,
    mine: bool,
    everything: bool,
    limit: int,
    cursor: str | None,
    now: int,
) -> RoomPage:
    """As `History.rooms`. Each way in which a room may be known has its own index; their first pages are merged."""
    after = "" if cursor is None else decode_cursor(cursor, "rooms", str)[0]
    ways = [OWN] if mine else [OWN, PUBLIC, PRIVATE] if everything else [OWN, PUBLIC]
    found = " UNION ".join(f"SELECT * FROM ({way})" for way in ways)
    parameters = {"user": user, "query": (query or "").casefold(), "after": after, "now": now, "most": limit + 1}
    views = [view_from(row) for row in fetch(connection, VIEWS.format(found=found), parameters)]
    views.sort(key=lambda view: view.room.id.encode())
    more = len(views) > limit
    return RoomPage(views[:limit], encode_cursor("rooms", views[limit - 1].room.id) if more else None)


def read_standing(connection: sqlite3.Connection, uid: str, user: str) -> Standing | None:
    row = fetch(connection, STANDING_OF, {"uid": uid, "user": user})
    return None if row is None else standing_from(row)


def read_standings_at(
    connection: sqlite3.Connection, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Standing]:
    """As `History.standings_at`."""
    rows = fetch(connection, STANDINGS_AT, {"pairs": json_text([*pairs])})
    standings = ((uid, standing_from(row)) for uid, *row in rows)
    return {(uid, standing.user): standing for uid, standing in standings if standing is not None}


def read_standings_of(connection: sqlite3.Connection, user: str) -> dict[str, Standing]:
    return standings_from(fetch(connection, STANDINGS_OF, {"user": user}))


def standings_from(rows: list[list[Any]]) -> dict[str, Standing]:
    """Standings by room uid from rows of both."""
    return {uid: standing for uid, *row in rows if (standing := standing_from(row)) is not None}


def read_members(connection: sqlite3.Connection, uid: str, *, limit: int, cursor: str | None) -> StandingPage:
    joined_at, after = (-1, "") if cursor is None else decode_cursor(cursor, "members", int, str)
    parameters = {"uid": uid, "joined_at": joined_at, "after": after, "most": limit + 1}
    members = members_from(fetch(connection, MEMBERS, parameters))
    last = members[limit - 1][0] if len(members) > limit else None
    return StandingPage(members[:limit], None if last is None else encode_cursor("members", last.joined_at, last.user))


def members_from(rows: list[list[Any]]) -> list[tuple[Standing, Person]]:
    """Members in their order from the elements of `LISTED`."""
    members: list[tuple[Standing, Person]] = []
    for row, known in rows:
        standing = standing_from(row)
        if standing is not None:
            members.append((standing, person_from(known, standing.user)))
    members.sort(key=lambda member: (member[0].joined_at, member[0].user.encode()))
    return members


def read_member_ids(connection: sqlite3.Connection, uid: str, candidates: Sequence[str]) -> frozenset[str]:
    return frozenset(fetch(connection, MEMBER_IDS, {"uid": uid, "candidates": json_text([*candidates])}))


def read_people(connection: sqlite3.Connection, ids: Sequence[str]) -> dict[str, tuple[Person, int]]:
    rows = fetch(connection, PEOPLE, {"ids": json_text([*ids])})
    return {id: (Person(id, name, bool(guest)), seen_at) for id, name, guest, seen_at in rows}
