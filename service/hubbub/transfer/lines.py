"""The lines of an export: one JSON object each, with these fields in this order and no spaces.

A line has one form, whatever store it comes from, so the checksum of a room is that of its lines: SHA-256 over the
room's line, its standings' and its messages', each with its line end. What follows from other lines has no field (how
many members a room has, what it is searched by).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from hubbub.history.archive import ArchivedMessage, ArchivedRoom, KnownPerson
from hubbub.history.base import Message, Person, Room, Sender, Standing

__all__ = [
    "FORMAT",
    "dump",
    "message_from_line",
    "message_line",
    "person_from_line",
    "person_line",
    "room_from_line",
    "room_line",
    "standing_from_line",
    "standing_line",
]

FORMAT: Final = 1
"""The number in the header. It rises when a line gets a field, or another meaning."""

_options: Final = orjson.OPT_APPEND_NEWLINE


def dump(document: Mapping[str, Any]) -> bytes:
    """A line with its end. Raises `TypeError` for text that is not Unicode."""
    return orjson.dumps(document, option=_options)


def person_line(known: KnownPerson) -> bytes:
    person, seen_at = known
    return dump({"type": "person", "id": person.id, "name": person.name, "guest": person.guest, "seen_at": seen_at})


def person_from_line(line: Mapping[str, Any]) -> KnownPerson:
    return Person(line["id"], line["name"], line["guest"]), line["seen_at"]


def room_line(archived: ArchivedRoom) -> bytes:
    room = archived.room
    return dump(
        {
            "type": "room",
            "uid": room.uid,
            "id": room.id,
            "kind": room.kind,
            "title": room.title,
            "topic": room.topic,
            "capacity": room.capacity,
            "slow_mode_s": room.slow_mode_s,
            "created_at": room.created_at,
            "head": room.head,
            "floor": archived.floor,
        }
    )


def room_from_line(line: Mapping[str, Any]) -> ArchivedRoom:
    room = Room(
        line["uid"],
        line["id"],
        line["kind"],
        line["title"],
        line["topic"],
        line["capacity"],
        line["slow_mode_s"],
        line["created_at"],
        line["head"],
    )
    return ArchivedRoom(room, line["floor"])


def standing_line(uid: str, standing: Standing) -> bytes:
    return dump(
        {
            "type": "standing",
            "room": uid,
            "user": standing.user,
            "role": standing.role,
            "joined_at": standing.joined_at,
            "muted_until": standing.muted_until,
            "banned_until": standing.banned_until,
            "knew": standing.knew,
            "read_seq": standing.read_seq,
        }
    )


def standing_from_line(line: Mapping[str, Any]) -> Standing:
    return Standing(
        line["user"],
        line["role"],
        line["joined_at"],
        line["muted_until"],
        line["banned_until"],
        line["knew"],
        line["read_seq"],
    )


def message_line(archived: ArchivedMessage, *, _dumps: Callable[..., bytes] = orjson.dumps) -> bytes:
    message, revs = archived
    sender = message.sender
    return _dumps(
        {
            "type": "message",
            "room": message.uid,
            "seq": message.seq,
            "revs": revs,
            "key": message.key,
            "sender": {"id": sender.id, "name": sender.name, "guest": sender.guest},
            "body": message.body,
            "reply_to": message.reply_to,
            "mentions": message.mentions,
            "created_at": message.created_at,
            "edited_at": message.edited_at,
            "deleted": message.deleted,
            "reactions": [*message.reactions.items()],
        },
        option=_options,
    )


def message_from_line(line: Mapping[str, Any]) -> ArchivedMessage:
    sender, revs = line["sender"], tuple(line["revs"])
    message = Message(
        line["room"],
        line["seq"],
        revs[-1],
        line["key"],
        Sender(sender["id"], sender["name"], sender["guest"]),
        line["body"],
        line["reply_to"],
        tuple(line["mentions"]),
        line["created_at"],
        line["edited_at"],
        line["deleted"],
        {emoji: tuple(users) for emoji, users in line["reactions"]},
    )
    return message, revs
