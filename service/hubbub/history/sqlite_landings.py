"""What a connect and what a join need, each read at once: a hop to a reader's thread costs as much as the reading.

Coming in to a room anew is the commonest, so it is one statement, which needs no transaction around it.
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import sqlite3
import sys
from typing import Any, Final

from hubbub.history.base import Arrival, Landing, Message, MessagePage, Person
from hubbub.history.sqlite_lists import LISTED, members_from, read_members, read_view, standings_from
from hubbub.history.sqlite_messages import read_changes
from hubbub.history.sqlite_readers import snapshot
from hubbub.history.sqlite_rows import MASK, MESSAGE, SHIFT, STANDING, VIEW, fetch, message_from, view_from

__all__ = ["read_arrival", "read_landing"]

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
