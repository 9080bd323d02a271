"""Changes of a room's members in a store without transactions: one step that decides, then steps that may be repeated.

What has to hold together lies in several documents: the room's, with the count of its members, and one per user with
their standing. So a change is decided by one conditional update of the room's document: it expects the version `v` that
was read, raises it, sets the count, and leaves the standings that follow from it as `pending`, the room's intent. From
then on the change stands, whoever dies. Then the standings are written, and only then anybody is told.

With the standings go the records of the control log, which the intent holds as well: they are appended before anybody
is told, and before the intent is taken away, so they are there whoever dies. Their keys are made from the room, the
version and their place, so that they come once.

Writing all this can be repeated, by anybody, at any time: each standing bears the version of the intent that it is of,
and is replaced only by a higher one. Whoever is about to change the room writes a pending intent first, before reading
the standings that decide. Whoever only reads writes it if it is older than a moment, because then its author has
probably died; a younger one has not been acknowledged to anybody.

A standing that says nothing any more must not be deleted: an author who was slow would put an old one in its place. It
stays for a day as a tombstone, with the time in `ended`, and an index that expires takes it away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo import InsertOne, UpdateOne

from hubbub.history.base import Entry, Standing
from hubbub.history.mongo_book import Changed, Told
from hubbub.history.mongo_people import write_all
from hubbub.history.mongo_server import Documents, MongoServer

__all__ = [
    "LIVING",
    "WITHOUT_PENDING",
    "carry_out",
    "clear_intent",
    "find_room",
    "intent_of",
    "is_left_behind",
    "settle",
    "standing_id",
    "standing_of",
    "write_standings",
]

_Document = Mapping[str, Any]

MOMENT_MS: Final = 1000
"""An intent that is older has been left behind by its author. Writing one too early is not wrong, only for nothing."""

LIVING: Final[_Document] = {"ended": None}
"""Of standings: those that are not tombstones."""

WITHOUT_PENDING: Final[_Document] = {"pending.standings": False, "pending.told": False, "pending.origin": False}
"""The room with the version and the age of its intent; what it intends may be long."""

EPOCH: Final = datetime(1970, 1, 1)


def standing_id(uid: str, user: str) -> str:
    return f"{uid} {user}"


def standing_of(document: _Document) -> Standing:
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


def intent_of(
    version: int, changed: Sequence[Changed], *, at: int, told: Sequence[Told] = (), origin: str = ""
) -> dict[str, Any]:
    """The intent to bring about these standings, and to tell this of them; `origin` is whose it is."""
    return {
        "v": version,
        "at": at,
        "origin": origin,
        "standings": [_entry(each) for each in changed],
        "told": [asdict(each) for each in told],
    }


def is_left_behind(room: _Document, *, now: int) -> bool:
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
    """Do what the room's intent asks for, and take it from the room."""
    room = await server.rooms.find_one({"uid": uid}, {"pending": True})
    if room is not None and room.get("pending") is not None:
        await carry_out(server, uid, room["pending"])
        await clear_intent(server.rooms, room["_id"], uid, room["pending"]["v"])


async def carry_out(server: MongoServer, uid: str, intent: _Document) -> None:
    """Write what is intended, and tell the log. Complete when it returns; may be repeated."""
    await write_standings(server.standings, uid, intent)
    # One that was left by an older version of the service tells nothing.
    entries = [
        Entry("standing", f"{uid}.{intent['v']}.{place}", intent["at"], {"room": uid, **told})
        for place, told in enumerate(intent.get("told", ()))
    ]
    if entries:
        await server.log.append(entries, origin=intent["origin"])


async def write_standings(standings: Documents, uid: str, intent: _Document) -> None:
    """Write the standings that are intended, unless the like or something newer is there. Complete when it returns."""
    refused = await write_all(standings, [_first_write(uid, entry, intent) for entry in intent["standings"]])
    # There is such a standing, of this version or a higher one; or one was being made that moment, and is lower.
    await write_all(standings, [_update(uid, intent["standings"][index], intent) for index in refused])


async def clear_intent(rooms: Documents, id: str, uid: str, version: int) -> None:
    """Take this intent, which was written, from the room. Without it nothing would be wrong, only longer."""
    await rooms.update_one({"_id": id, "uid": uid, "pending.v": version}, {"$unset": {"pending": ""}})


def _entry(changed: Changed) -> dict[str, Any]:
    standing = changed.standing
    entry: dict[str, Any] = {
        "user": standing.user,
        "role": standing.role,
        "joined_at": standing.joined_at,
        "muted_until": standing.muted_until,
        "banned_until": standing.banned_until,
        "knew": standing.knew,
    }
    if changed.marks:
        entry["read_seq"] = standing.read_seq
    if changed.is_new:
        entry["new"] = True
    return entry


def _first_write(uid: str, entry: _Document, intent: _Document) -> InsertOne[dict[str, Any]] | UpdateOne:
    """A standing that was new to the author of the intent is inserted: servers take many of those at once."""
    if not entry.get("new", False):
        return _update(uid, entry, intent, upsert=True)
    return InsertOne({"_id": standing_id(uid, entry["user"]), "room": uid, "read_seq": 0, **_values(entry, intent)})


def _update(uid: str, entry: _Document, intent: _Document, *, upsert: bool = False) -> UpdateOne:
    """Put this standing in the place of one of a lower version, or without any."""
    values = _values(entry, intent)
    update: dict[str, Any] = {"$set": values}
    if "ended" not in values:
        update["$unset"] = {"ended": ""}
    if "read_seq" not in values:
        update["$setOnInsert"] = {"read_seq": 0}
    lower = {"v": {"$not": {"$gte": intent["v"]}}}
    return UpdateOne({"_id": standing_id(uid, entry["user"]), "room": uid, **lower}, update, upsert=upsert)


def _values(entry: _Document, intent: _Document) -> dict[str, Any]:
    values = {name: value for name, value in entry.items() if name != "new"} | {"v": intent["v"]}
    if not (entry["role"] or entry["muted_until"] or entry["banned_until"] or entry["knew"]):
        values["ended"] = EPOCH + timedelta(milliseconds=intent["at"])
    return values
