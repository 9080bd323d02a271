"""How messages, rooms and standings lie in the tables, and how they are read.

Every query answers with one row of one column: a JSON text of all that it found. Python's `sqlite3` lets go of the
interpreter lock for each row that it steps to, and beside a busy event loop each return costs up to a switch interval;
fifty rows of a page would wait fifty times.
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from hubbub.history.base import Message, Person, Room, RoomView, Sender, Standing
from hubbub.history.sizes import document_bytes
from hubbub.history.unread import UNREAD_MOST

__all__ = [
    "Row",
    "clamp",
    "encode_row",
    "fetch",
    "fetch_number",
    "json_text",
    "message_from",
    "person_from",
    "place_of",
    "room_from",
    "room_no_of",
    "standing_from",
    "view_from",
]

SHIFT: Final = 36
MASK: Final = (1 << SHIFT) - 1
MEMBER: Final = "('owner', 'moderator', 'member')"
"""Written exactly as in the partial indexes, or SQLite does not see that they fit."""

MESSAGE: Final = "json_array(m.place, m.rev, m.sender, m.key, m.deleted, m.created_at, json(m.doc))"
STANDING: Final = "s.user, s.role, s.joined_at, s.muted_until, s.banned_until, s.knew, s.read_seq"
NEWEST: Final = f"""coalesce((
    SELECT n.place & {MASK} FROM messages n
    WHERE n.place BETWEEN r.no << {SHIFT} AND (r.no << {SHIFT}) + {MASK} ORDER BY n.place DESC LIMIT 1), 0)"""
HEAD: Final = f"""max({NEWEST}, coalesce((
    SELECT c.place & {MASK} FROM changes c
    WHERE c.place BETWEEN r.no << {SHIFT} AND (r.no << {SHIFT}) + {MASK} ORDER BY c.place DESC LIMIT 1), 0))"""
"""A revision is claimed by a new message, whose seq it is, or by a change."""
UNCHANGED: Final = f"m.rev = m.place & {MASK}"
CHANGED: Final = f"m.rev <> m.place & {MASK}"
"""Written exactly as in the partial index `messages_by_rev`."""
ROOM: Final = f"r.uid, r.id, r.kind, r.title, r.topic, r.capacity, r.slow_mode_s, r.created_at, {HEAD}, r.members"
UNREAD: Final = f"""CASE WHEN s.role IN {MEMBER} THEN (SELECT count(*) FROM (
    SELECT 1 FROM messages u
    WHERE u.place > (r.no << {SHIFT}) + max(s.read_seq, r.floor) AND u.place <= (r.no << {SHIFT}) + {MASK}
      AND u.deleted = 0 AND u.sender <> s.user LIMIT {UNREAD_MOST})) ELSE 0 END"""
VIEW: Final = f"json_array(json_array({ROOM}), json_array({STANDING}), {UNREAD})"


def place_of(no: int, seq: int) -> int:
    return no << SHIFT | seq


def room_no_of(place: int) -> int:
    return place >> SHIFT


def clamp(seq: int) -> int:
    """A seq or revision from outside, as one that cannot reach into the next room's places."""
    return min(max(seq, 0), MASK)


def fetch(connection: sqlite3.Connection, query: str, parameters: Mapping[str, object] | Sequence[object]) -> Any:
    """The JSON that a query answers with; None if it has no row, or only NULL."""
    row = connection.execute(query, parameters).fetchone()
    return None if row is None or row[0] is None else orjson.loads(row[0])


def fetch_number(connection: sqlite3.Connection, query: str, parameters: Mapping[str, object]) -> int | None:
    """The one number that a query answers with; None if it has no row."""
    row = connection.execute(query, parameters).fetchone()
    return None if row is None else int(row[0])


def json_text(value: object) -> str:
    """JSON as SQLite takes it: its functions refuse bytes. Raises `UnicodeEncodeError` for text that is not Unicode, as
    SQLite does wherever it is given a text by itself.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        json.dumps(value, ensure_ascii=False).encode()  # Calls it by that name, if that is what was wrong.
        raise


Row = tuple[int, int, int, str, str, int, int, int, str]
"""The columns of a message in the order of the table."""


def encode_row(no: int, message: Message) -> Row:
    """A message as it is written. Raises `TypeError` for text that is not Unicode."""
    sender = message.sender
    doc: dict[str, object] = {"name": sender.name, "body": message.body}
    if sender.guest:
        doc["guest"] = True
    if message.reply_to is not None:
        doc["reply_to"] = message.reply_to
    if message.mentions:
        doc["mentions"] = message.mentions
    if message.edited_at is not None:
        doc["edited_at"] = message.edited_at
    if message.reactions:
        doc["reactions"] = message.reactions
    return (
        no << SHIFT | message.seq,
        message.rev,
        no,
        sender.id,
        message.key,
        int(message.deleted),
        message.created_at,
        document_bytes(message),
        orjson.dumps(doc).decode(),
    )


def message_from(uid: str, row: list[Any]) -> Message:
    """A message from the elements of `MESSAGE`."""
    place, rev, sender, key, deleted, created_at, doc = row
    return Message(
        uid=uid,
        seq=place & MASK,
        rev=rev,
        key=key,
        sender=Sender(sender, doc["name"], doc.get("guest", False)),
        body=doc["body"],
        reply_to=doc.get("reply_to"),
        mentions=tuple(doc.get("mentions", ())),
        created_at=created_at,
        edited_at=doc.get("edited_at"),
        deleted=bool(deleted),
        reactions={emoji: tuple(users) for emoji, users in doc.get("reactions", {}).items()},
    )


def room_from(row: list[Any]) -> Room:
    """A room from the elements of `ROOM`."""
    return Room(*row)


def standing_from(row: list[Any]) -> Standing | None:
    """A standing from the elements of `STANDING`; None where an outer join found none."""
    if row[0] is None:
        return None
    if row[1] is not None:
        row[1] = sys.intern(row[1])  # Standings stay in memory while their users are connected.
    user, role, joined_at, muted_until, banned_until, knew, read_seq = row
    return Standing(user, role, joined_at, muted_until, banned_until, bool(knew), read_seq)


def view_from(row: list[Any]) -> RoomView:
    """A room as a user sees it from the elements of `VIEW`."""
    room, standing, unread = row
    return RoomView(room_from(room), standing_from(standing), unread)


def person_from(row: list[Any], user: str) -> Person:
    """A person from name and guest; one of whom nothing is known is called by the id."""
    name, guest = row
    return Person(user, user if name is None else name, bool(guest))
