"""What a connect and what a join need, each read at once: a hop to a reader's thread costs as much as the reading.

Coming in to a room anew is the commonest, so it is one statement, which needs no transaction around it. Many who come
in to the same room at once are read together, in a few statements for all.
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from typing import Any, Final

from hubbub.history.base import MEMBER_ROLES, Arrival, Landing, Message, MessagePage, Person, Standing, Views
from hubbub.history.sqlite_lists import LISTED, members_from, read_members, read_view, standings_from
from hubbub.history.sqlite_messages import read_changes
from hubbub.history.sqlite_readers import snapshot
from hubbub.history.sqlite_rows import (
    MASK,
    MESSAGE,
    ROOM,
    SHIFT,
    STANDING,
    VIEW,
    fetch,
    json_text,
    message_from,
    room_from,
    standing_from,
    view_from,
)
from hubbub.history.unread import WALKED, unread_counts

__all__ = ["read_arrival", "read_landing", "read_views"]

ARRIVAL: Final = f"""
    SELECT json_array(
        (SELECT json_group_array(json_array(r.uid, {STANDING}))
         FROM standings s CROSS JOIN rooms r ON r.no = s.room WHERE s.user = :user),
        (SELECT json_array(p.name, p.guest, p.seen_at) FROM people p WHERE p.id = :user))"""

# The page is cut by the sum of the sizes before the documents are looked at, as `sizes.cut` does.
NEWEST: Final = f"""
    SELECT json_array({VIEW},
        (SELECT json_group_array({MESSAGE}) FROM (
            SELECT place, row_number() OVER nearest AS n, sum(bytes) OVER nearest AS total FROM (
                SELECT place, bytes FROM messages
                WHERE place > (r.no << {SHIFT}) + r.floor AND place <= (r.no << {SHIFT}) + {MASK}
                ORDER BY place DESC LIMIT :limit)
            WINDOW nearest AS (ORDER BY place DESC ROWS UNBOUNDED PRECEDING)) cut
         CROSS JOIN messages m ON m.place = cut.place WHERE n = 1 OR total <= :max_bytes),
        (SELECT place & {MASK} FROM messages
         WHERE place > (r.no << {SHIFT}) + r.floor AND place <= (r.no << {SHIFT}) + {MASK} ORDER BY place LIMIT 1),
        CASE WHEN r.members <= :members_most THEN (
            SELECT {LISTED} FROM standings s LEFT JOIN people p ON p.id = s.user
            WHERE s.room = r.no AND s.role IN ('owner', 'moderator', 'member')) END)
    FROM rooms r LEFT JOIN standings s ON s.room = r.no AND s.user = :user WHERE r.uid = :uid"""


STANDINGS_IN: Final = f"""
    SELECT json_array(r.no, r.floor, json_array({ROOM}), (
        SELECT json_group_array(json_array({STANDING}))
        FROM json_each(:users) j CROSS JOIN standings s ON s.room = r.no AND s.user = j.value))
    FROM rooms r WHERE r.uid = :uid"""

WALK: Final = f"""
    SELECT json_group_array(json_array(seq, sender)) FROM (
        SELECT place & {MASK} AS seq, sender FROM messages
        WHERE place > (:no << {SHIFT}) + :mark AND place <= (:no << {SHIFT}) + {MASK} AND deleted = 0
        ORDER BY place DESC LIMIT {WALKED})"""


def read_arrival(connection: sqlite3.Connection, user: str) -> Arrival:
    """As `History.arrival`."""
    rows, known = fetch(connection, ARRIVAL, {"user": user})
    person = None if known is None else (Person(user, known[0], bool(known[1])), known[2])
    for row in rows:
        # These stay in memory while the user is connected: a room's uid is kept once for all of its members.
        row[:2] = sys.intern(row[0]), user
    return Arrival(standings_from(rows), person)


def read_landing(
    connection: sqlite3.Connection,
    uid: str,
    user: str,
    *,
    since: int | None,
    limit: int,
    max_bytes: int,
    members_most: int,
) -> Landing | None:
    """As `History.landing`."""
    if since is not None:
        with snapshot(connection):
            view = read_view(connection, uid, user)
            if view is None:
                return None
            if since <= view.room.head:
                page = read_changes(connection, uid, since=since, limit=limit, max_bytes=max_bytes)
                few = view.room.members <= members_most
                members = read_members(connection, uid, limit=members_most, cursor=None).members if few else None
                return Landing(page, view, members)
    return _read_newest(connection, uid, user, limit=limit, max_bytes=max_bytes, members_most=members_most)


def read_views(connection: sqlite3.Connection, uid: str, users: Sequence[str], *, members_most: int) -> Views | None:
    """As `History.views`."""
    with snapshot(connection):
        found = fetch(connection, STANDINGS_IN, {"uid": uid, "users": json_text([*dict.fromkeys(users)])})
        if found is None:
            return None
        no, floor, row, rows = found
        room = room_from(row)
        standings = {each.user: each for each in map(standing_from, rows) if each is not None}
        few = room.members <= members_most
        members = read_members(connection, uid, limit=members_most, cursor=None).members if few else None
        return Views(room, standings, _unread(connection, uid, (no, floor), standings), members)


def _unread(
    connection: sqlite3.Connection, uid: str, room: tuple[int, int], standings: dict[str, Standing]
) -> dict[str, int]:
    """What is unread to those who are members; `room` is its number and its floor."""
    no, floor = room
    marks = {user: max(each.read_seq, floor) for user, each in standings.items() if each.role in MEMBER_ROLES}
    if not marks:
        return {}
    newest = fetch(connection, WALK, {"no": no, "mark": min(marks.values())})
    unread: dict[str, int] = {}
    for user, count in unread_counts(newest, marks).items():
        if count is None:
            view = read_view(connection, uid, user)
            count = 0 if view is None else view.unread
        unread[user] = count
    return unread


def _read_newest(
    connection: sqlite3.Connection, uid: str, user: str, *, limit: int, max_bytes: int, members_most: int
) -> Landing | None:
    parameters = {"uid": uid, "user": user, "limit": limit, "max_bytes": max_bytes, "members_most": members_most}
    row = fetch(connection, NEWEST, parameters)
    if row is None:
        return None
    viewed, rows, oldest, listed = row
    view = view_from(viewed)
    messages: list[Message] = [message_from(uid, each) for each in sorted(rows, key=_first)]
    more_before = bool(messages) and messages[0].seq > oldest
    page = MessagePage(messages, view.room.head, more_before=more_before)
    return Landing(page, view, None if listed is None else members_from(listed))


def _first(row: list[Any]) -> int:
    place: int = row[0]
    return place
