"""Changes of a room's members in a store without transactions: one step that decides, then steps that may be repeated.

What has to hold together lies in several documents: the room's, with the count of its members, and one per user with
their standing. So a change is decided by one conditional update of the room's document: it expects the version `v` that
was read, raises it, sets the count, and leaves the standings that follow from it as `pending`, the room's intent. From
then on the change stands, whoever dies. Then the standings are written, and only then anybody is told.

Writing them can be repeated, by anybody, at any time: each standing bears the version of the intent that it is of, and
is replaced only by a higher one. Whoever is about to change the room writes a pending intent first, before reading the
standings that decide. Whoever only reads writes it if it is older than a moment, because then its author has probably
died; a younger one has not been acknowledged to anybody.

A standing that says nothing any more must not be deleted: an author who was slow would put an old one in its place. It
stays for a day as a tombstone, with the time in `ended`, and an index that expires takes it away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError

from hubbub.history.base import Standing
from hubbub.history.mongo_errors import DUPLICATE
from hubbub.history.mongo_server import Documents, MongoServer
from hubbub.history.standing_rules import said

__all__ = [
    "LIVING",
    "WITHOUT_PENDING",
    "clear_intent",
    "find_room",
    "intent_of",
    "is_left_behind",
    "settle",
    "standing_id",
    "standing_of",
    "write_standings",
]

Document = Mapping[str, Any]

MOMENT_MS: Final = 1000
"""An intent that is older has been left behind by its author. Writing one too early is not wrong, only for nothing."""

LIVING: Final[Document] = {"ended": None}
"""Of standings: those that are not tombstones."""

WITHOUT_PENDING: Final[Document] = {"pending.standings": False}
"""The room with the version and the age of its intent; what it intends may be long."""

EPOCH: Final = datetime(1970, 1, 1)


def standing_id(uid: str, user: str) -> str:
    return f"{uid} {user}"


def standing_of(document: Document) -> Standing:
    """The standing of a document. The driver's 64-bit integers are made plain: standings stay in memory for long."""
    return Standing(
        document["user"],
        document["role"],
        int(document["joined_at"]),
        int(document["muted_until"]),
        int(document["banned_until"]),
        bool(document["knew"]),
        int(document["read_seq"]),
    )


def intent_of(version: int, changed: Sequence[tuple[Standing, bool]], *, at: int) -> dict[str, Any]:
    """The intent to bring about these standings, each with whether its read mark is a part of the change."""
    return {"v": version, "at": at, "standings": [_entry(standing, marks) for standing, marks in changed]}


def is_left_behind(room: Document, *, now: int) -> bool:
    """Whether the room has an intent that its author should have written by now. Clocks differ, in either direction."""
    pending = room.get("pending")
    return pending is not None and abs(now - pending["at"]) > MOMENT_MS


async def find_room(server: MongoServer, uid: str, *, now: int) -> dict[str, Any] | None:
    """The room of this uid, without what it intends; None if there is none. An intent left behind is written first."""
    room = await server.rooms.find_one({"uid": uid}, WITHOUT_PENDING)
    if room is not None and is_left_behind(room, now=now):
        await settle(server, uid)
    return room


async def settle(server: MongoServer, uid: str) -> None:
    """Write the standings that the room's intent asks for, and take it from the room."""
    room = await server.rooms.find_one({"uid": uid}, {"pending": True})
    if room is not None and room.get("pending") is not None:
        await write_standings(server.standings, uid, room["pending"])
        await clear_intent(server.rooms, room["_id"], uid, room["pending"]["v"])


async def write_standings(standings: Documents, uid: str, intent: Document) -> None:
    """Write what is intended, unless the like or something newer is there. Complete when it returns."""
    updates = [_update(uid, entry, intent) for entry in intent["standings"]]
    refused = await _write(standings, [UpdateOne(*update, upsert=True) for update in updates])
    if refused:
        # There is such a standing, of this version or a higher one; or one was being made that moment, and is lower.
        await _write(standings, [UpdateOne(*updates[index]) for index in refused])


async def clear_intent(rooms: Documents, id: str, uid: str, version: int) -> None:
    """Take this intent, which was written, from the room. Without it nothing would be wrong, only longer."""
    await rooms.update_one({"_id": id, "uid": uid, "pending.v": version}, {"$unset": {"pending": ""}})


async def _write(standings: Documents, updates: Sequence[UpdateOne]) -> list[int]:
    """Write them all; the numbers of those that ran into a standing that is there."""
    if not updates:
        return []
    try:
        await standings.bulk_write(updates, ordered=False)
    except BulkWriteError as error:
        errors: Sequence[Document] = error.details.get("writeErrors", ())
        if error.details.get("writeConcernErrors") or any(each["code"] != DUPLICATE for each in errors):
            raise
        return [each["index"] for each in errors]
    return []


def _entry(standing: Standing, marks: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "user": standing.user,
        "role": standing.role,
        "joined_at": standing.joined_at,
        "muted_until": standing.muted_until,
        "banned_until": standing.banned_until,
        "knew": standing.knew,
    }
    if marks:
        entry["read_seq"] = standing.read_seq
    if said(standing) is None:
        entry["ended"] = True
    return entry


def _update(uid: str, entry: Document, intent: Document) -> tuple[dict[str, Any], dict[str, Any]]:
    """The update's filter and what it does. A standing without a version counts as one of a lower version."""
    values = {**entry, "v": intent["v"]}
    update: dict[str, Any] = {"$set": values}
    if values.pop("ended", False):
        values["ended"] = EPOCH + timedelta(milliseconds=intent["at"])
    else:
        update["$unset"] = {"ended": ""}
    if "read_seq" not in values:
        update["$setOnInsert"] = {"read_seq": 0}
    filter = {"_id": standing_id(uid, entry["user"]), "room": uid, "v": {"$not": {"$gte": intent["v"]}}}
    return filter, update
