"""Writing rooms: making, changing and deleting them.

A room's document has its public id as `_id`, so that an id is taken once on a sharded cluster too. Its own name
everywhere else is its uid.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError, PyMongoError

from hubbub.errors import HubbubError
from hubbub.history.base import MEMBER_ROLES, Entry, Person, Room, Standing
from hubbub.history.mongo_batch import newest_revision
from hubbub.history.mongo_book import Changed, Told
from hubbub.history.mongo_errors import as_hubbub_error
from hubbub.history.mongo_intents import WITHOUT_PENDING, carry_out, clear_intent, intent_of
from hubbub.history.mongo_people import read_people, remember_new
from hubbub.history.mongo_server import Documents, MongoServer

__all__ = [
    "WAKE_MS",
    "bury_slice",
    "create_room",
    "delete_room",
    "fold",
    "room_of",
    "say_deleted",
    "say_updated",
    "update_room",
]

SLICE_DOCUMENTS: Final = 500
"""How many messages, and how many standings, of a deleted room go in one command."""

WAKE_MS: Final = 600_000
"""How long a deleted room is looked after: a write that was on its way when it was deleted is found and removed."""


def fold(id: str, title: str) -> str:
    """Id and title without regard to case, as they are searched."""
    return f"{id}\n{title}".casefold()


def room_of(document: Mapping[str, Any], *, head: int) -> Room:
    """The room of a document."""
    return Room(
        document["uid"],
        document["_id"],
        document["kind"],
        document["title"],
        document["topic"],
        int(document["capacity"]),
        int(document["slow_mode_s"]),
        int(document["created_at"]),
        head,
        int(document["members"]),
    )


async def create_room(server: MongoServer, room: Room, members: Sequence[tuple[Standing, Person]], *, at: int) -> Room:
    """As `History.create_room`; `at` is the time now. The room is there with the intent to have these members."""
    count = sum(standing.role in MEMBER_ROLES for standing, _ in members)
    told = [Told(standing.user, "created", None, standing.role) for standing, _ in members if standing.role is not None]
    changed = [Changed(standing, is_new=True, marks=True) for standing, _ in members]
    intent = intent_of(1, changed, at=at, told=told, origin=server.log.origin)
    document = {
        "_id": room.id,
        "uid": room.uid,
        "kind": room.kind,
        "title": room.title,
        "topic": room.topic,
        "capacity": room.capacity,
        "slow_mode_s": room.slow_mode_s,
        "created_at": room.created_at,
        "members": count,
        "floor": 0,
        "folded": fold(room.id, room.title),
        "v": 1,
        "pending": intent,
    }
    try:
        await server.rooms.insert_one(document)
    except DuplicateKeyError:
        raise HubbubError("conflict", "There is a room of this id.") from None
    await asyncio.gather(
        carry_out(server, room.uid, intent),
        _remember(server.people, [(person, room.created_at) for _, person in members]),
    )
    try:
        await clear_intent(server.rooms, room.id, room.uid, 1)
    except PyMongoError as error:
        as_hubbub_error(error)  # It is logged there. The room stands; whoever reads it next writes the intent again.
    return replace(room, head=0, members=count)


async def update_room(server: MongoServer, uid: str, *, values: Mapping[str, str | int | None], at: int) -> Room:
    """As `History.update_room`; `values` are its keyword arguments, and `at` is the time now.

    The update leaves in the room's document that the log is to be told of it, until it was.

    A capacity raises the room's version: whoever lets somebody in at that moment has counted with the old one, and has
    to count again. That the members fit is decided by the update itself.
    """
    document, head = await asyncio.gather(
        server.rooms.find_one({"uid": uid}, WITHOUT_PENDING), newest_revision(server.messages, uid)
    )
    if document is None:
        raise _no_room()
    changes: dict[str, Any] = {
        name: value for name, value in values.items() if value is not None and value != document[name]
    }
    if not changes:
        # Perhaps it is asked for again, because the answer was lost: that is not told before the log is.
        if document.get("unsaid"):
            await say_updated(server, document["_id"], uid, document["unsaid"])
        return room_of(document, head=head)
    if "title" in changes:
        changes["folded"] = fold(document["_id"], changes["title"])
    query: dict[str, Any] = {"_id": document["_id"], "uid": uid}
    unsaid = {"key": f"{uid}.{secrets.token_hex(6)}", "at": at, "origin": server.log.origin}
    update: dict[str, Any] = {"$set": changes, "$push": {"unsaid": unsaid}}
    if "capacity" in changes:
        query["members"] = {"$lte": changes["capacity"]}
        update["$inc"] = {"v": 1}
    updated = await server.rooms.find_one_and_update(
        query, update, WITHOUT_PENDING, return_document=ReturnDocument.AFTER
    )
    if updated is not None:
        await say_updated(server, document["_id"], uid, [unsaid])
        return room_of(updated, head=head)
    document = await server.rooms.find_one({"uid": uid}, {"members": True})
    if document is None:
        raise _no_room()
    raise HubbubError("conflict", f"The room has {document['members']} members already.")


async def say_updated(server: MongoServer, id: str, uid: str, unsaid: Sequence[Mapping[str, Any]]) -> None:
    """Tell the log of updates of a room, and then forget that it was to be told."""
    for each in unsaid:
        await server.log.append([Entry("room", each["key"], each["at"], {"room": uid})], origin=each["origin"])
    keys = [each["key"] for each in unsaid]
    await server.rooms.update_one({"_id": id, "uid": uid}, {"$pull": {"unsaid": {"key": {"$in": keys}}}})


async def delete_room(server: MongoServer, uid: str, *, at: int) -> bool:
    """As `History.delete_room`; `at` is the time now. Messages and standings of a room that is not there are seen by
    nobody, and are left for `bury_slice`.
    """
    document = await server.rooms.find_one({"uid": uid}, {"uid": True})
    if document is None:
        await _say_what_is_unsaid(server, uid)
        return False
    # First, so that a room which is gone has its grave, whoever dies in between. That of a living one does no harm.
    epitaph = {"id": document["_id"], "origin": server.log.origin}
    await server.graveyard.update_one({"_id": uid}, {"$max": {"at": at}, "$set": {"unsaid": epitaph}}, upsert=True)
    is_gone = (await server.rooms.delete_one({"_id": document["_id"], "uid": uid})).deleted_count == 1
    # Whoever was slower tells it too: the key is the same, and the quicker one may have died.
    await say_deleted(server, uid, epitaph, at=at)
    return is_gone


async def _say_what_is_unsaid(server: MongoServer, uid: str) -> None:
    """The room is gone. Whoever deletes it again, having had no answer, is not told before the log is."""
    grave = await server.graveyard.find_one({"_id": uid, "unsaid": {"$exists": True}})
    if grave is not None:
        await say_deleted(server, uid, grave["unsaid"], at=grave["at"])


async def say_deleted(server: MongoServer, uid: str, unsaid: Mapping[str, Any], *, at: int) -> None:
    """Tell the log that a room is gone, which it is, and then forget that it was to be told."""
    entry = Entry("deleted", f"{uid}.deleted", at, {"room": uid, "id": unsaid["id"]})
    await server.log.append([entry], origin=unsaid["origin"])
    await server.graveyard.update_one({"_id": uid}, {"$unset": {"unsaid": ""}})


async def bury_slice(server: MongoServer, *, now: int) -> bool:
    """Give back the space of a few messages and standings of deleted rooms; whether there was anything to give.

    May run on many nodes at once, and be cut anywhere. Costs a query per room that was deleted in the last ten minutes.
    """
    async for grave in server.graveyard.find().sort("at", 1):
        uid: str = grave["_id"]
        if await server.rooms.find_one({"uid": uid}, {"uid": True}) is not None:
            continue  # Whoever dug this one has not come to the room itself, or died before.
        messages, standings = await asyncio.gather(
            _remove_slice(server.messages, uid), _remove_slice(server.standings, uid)
        )
        if messages + standings:
            return True
        if abs(now - grave["at"]) > WAKE_MS and "unsaid" not in grave:
            await server.graveyard.delete_one({"_id": uid})
    return False


async def _remember(people: Documents, seen: Sequence[tuple[Person, int]]) -> None:
    known = await read_people(people, [person.id for person, _ in seen])
    await remember_new(people, seen, known=known)


async def _remove_slice(documents: Documents, uid: str) -> int:
    found = await documents.find({"room": uid}, {"_id": True}).limit(SLICE_DOCUMENTS).to_list(None)
    if found:
        await documents.delete_many({"room": uid, "_id": {"$in": [document["_id"] for document in found]}})
    return len(found)


def _no_room() -> HubbubError:
    return HubbubError("not_found", "There is no such room.")
