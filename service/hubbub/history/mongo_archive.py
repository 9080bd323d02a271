"""A whole history in MongoDB, to read beside services or to fill without them.

A room that is being brought in is messages and standings without a room's document: they are found by its uid, and
nobody knows that before the document is there. There is no snapshot over the whole: a page is as of its moment, and a
room as of the moment when its head was read (see `hubbub.transfer.pieces`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import pymongo
from pymongo import ASCENDING, DESCENDING, InsertOne, ReplaceOne
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from hubbub.errors import HubbubError, StoreError
from hubbub.history.archive import PAGE_BYTES, PAGE_ROWS, ArchivedMessage, ArchivedRoom, KnownPerson, Size
from hubbub.history.base import MEMBER_ROLES, Message, Person, Standing
from hubbub.history.mongo_batch import newest_revision
from hubbub.history.mongo_documents import document_of, message_of
from hubbub.history.mongo_errors import DUPLICATE, as_store_error, translated
from hubbub.history.mongo_intents import LIVING, settle, standing_id, standing_of
from hubbub.history.mongo_rooms import fold, room_of
from hubbub.history.mongo_server import SCHEMA_VERSION, Documents, MongoServer, place

__all__ = ["MongoArchive"]

_Document = dict[str, Any]
_Write = InsertOne[_Document] | ReplaceOne[_Document]

WRITES_AT_ONCE: Final = 500
"""How many documents one command has, so that a server that is slow answers within the time for a call."""

CALL_S: Final = 20.0
"""How long a few calls that belong together may take. Nobody waits for them as for those of a service, and a page here
is more than any that a service asks for. It is also how long it takes to say that a server is gone: the driver tries
again until then, so that an election passes unnoticed.
"""

UNSEARCHED: Final = {"words": False}
FIRST_VERSION: Final = 1


class MongoArchive:
    """`Archive` in the database that the address names."""

    def __init__(self, uri: str) -> None:
        self.where = f"mongodb://{place(uri)}"
        self._uri = uri
        self._server: MongoServer | None = None

    # -- life --------------------------------------------------------------------------------------------------------

    async def open(self, *, writable: bool) -> None:
        self._server = server = MongoServer(self._uri)
        try:
            if writable:
                await server.connect()
            else:
                await self._look(server)
        except HubbubError as error:
            raise StoreError(f"The store at {place(self._uri)} cannot be opened: {error.message}") from error

    async def _look(self, server: MongoServer) -> None:
        """See that there is a history that this version can read, and make nothing."""
        try:
            found = await server.meta.find_one({"_id": "schema"})
        except (PyMongoError, OSError) as error:
            raise as_store_error(error, place(self._uri)) from error
        if found is None:
            raise StoreError(f"There is no history in the database {server.database.name} at {place(self._uri)}.")
        if int(found["version"]) > SCHEMA_VERSION:
            raise StoreError(f"The store at {place(self._uri)} was written by a newer version of Hubbub.")

    async def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    @property
    def _open_server(self) -> MongoServer:
        if self._server is None:
            raise HubbubError("unavailable", "The store is closed.")
        return self._server

    # -- reading -----------------------------------------------------------------------------------------------------

    async def size(self) -> Size:
        server = self._open_server
        async with _patient():
            return Size(
                await server.rooms.estimated_document_count(),
                await server.people.estimated_document_count(),
                await server.messages.estimated_document_count(),
            )

    async def uids(self, *, after: str) -> Sequence[str]:
        rooms = self._open_server.rooms.find({"uid": {"$gt": after}}, {"uid": True})
        return [document["uid"] for document in await _listed(rooms, "uid")]

    async def room(self, uid: str) -> ArchivedRoom | None:
        server = self._open_server
        async with _patient():
            document = await server.rooms.find_one({"uid": uid})
            if document is None:
                return None
            if document.get("pending") is not None:
                await settle(server, uid)
            return ArchivedRoom(
                room_of(document, head=await newest_revision(server.messages, uid)), int(document.get("floor", 0))
            )

    async def standings(self, uid: str, *, after: str) -> Sequence[Standing]:
        found = self._open_server.standings.find({"room": uid, "user": {"$gt": after}, **LIVING})
        return [standing_of(document) for document in await _listed(found, "user")]

    async def messages(self, uid: str, *, after: int, upto: int) -> Sequence[ArchivedMessage]:
        return [(message_of(document), _revs(document)) for document in await self._page(uid, after, upto)]

    async def people(self, *, after: str) -> Sequence[KnownPerson]:
        found = self._open_server.people.find({"_id": {"$gt": after}})
        return [_known(document) for document in await _listed(found, "_id")]

    async def people_of(self, ids: Sequence[str]) -> Mapping[str, KnownPerson]:
        found = self._open_server.people.find({"_id": {"$in": list(ids)}})
        async with _patient():
            return {document["_id"]: _known(document) async for document in found}

    async def held(self, uid: str, *, first: int, last: int) -> Mapping[int, Message]:
        found: dict[int, Message] = {}
        while page := await self._page(uid, first - 1, last):
            found.update((document["seq"], message_of(document)) for document in page)
            first = page[-1]["seq"] + 1
        return found

    async def _page(self, uid: str, after: int, upto: int) -> list[_Document]:
        """The next page. It is looked for in a range that has about as many places: a server may sort all that lies in
        a range before it gives the first of it. Where a run of changes left no message, the range is widened.
        """
        found: list[_Document] = []
        width = PAGE_ROWS
        while not found and after < upto:
            last = min(after + width, upto)
            found = await self._range(uid, after, last)
            after, width = last, width * 4
        return found

    async def _range(self, uid: str, after: int, last: int) -> list[_Document]:
        found: list[_Document] = []
        bytes_left = PAGE_BYTES
        query = {"room": uid, "seq": {"$gt": after, "$lte": last}}
        async with _patient():
            cursor = self._open_server.messages.find(query, UNSEARCHED).sort("seq", ASCENDING).limit(PAGE_ROWS)
            async with cursor:
                async for document in cursor:
                    found.append(document)
                    bytes_left -= document["bytes"]
                    if bytes_left < 0:
                        break
        return found

    # -- writing -----------------------------------------------------------------------------------------------------

    async def begin(self, room: ArchivedRoom) -> int:
        server, uid = self._open_server, room.room.uid
        async with _patient():
            if await server.rooms.find_one({"_id": room.room.id, "uid": {"$ne": uid}}, {"uid": True}) is not None:
                raise HubbubError("conflict", f"There is another room with the id {room.room.id}.")
            was_deleted = await server.graveyard.find_one({"_id": uid}) is not None
        if was_deleted:
            # The room was here before. Nobody may take what arrives now for what was left of it.
            await self._remove_all(uid)
        async with _patient():
            await server.graveyard.delete_one({"_id": uid})
            newest = await server.messages.find_one({"room": uid}, {"seq": True}, sort=[("seq", DESCENDING)])
        return 0 if newest is None else int(newest["seq"])

    async def hide(self, uid: str) -> None:
        async with _patient():
            await self._open_server.rooms.delete_one({"uid": uid})

    async def put_messages(self, room: ArchivedRoom, messages: Sequence[ArchivedMessage]) -> None:
        try:
            documents = [_document(archived, room) for archived in messages]
        except (TypeError, UnicodeError):
            raise HubbubError("bad_request", "A message has text that cannot be stored.") from None
        taken = f"The room {room.room.uid} has another message with the key or a revision of one of these."
        async with _patient():
            collection = self._open_server.messages
            for start in range(0, len(documents), WRITES_AT_ONCE):
                some = documents[start : start + WRITES_AT_ONCE]
                there = await _write(collection, [InsertOne(document) for document in some])
                await _write(collection, [_replacing(some[number]) for number in there], taken=taken)

    async def drop_messages(self, uid: str, seqs: Sequence[int]) -> None:
        async with _patient():
            await self._open_server.messages.delete_many({"room": uid, "seq": {"$in": list(seqs)}})

    async def put_standings(self, uid: str, standings: Sequence[Standing]) -> None:
        async with _patient():
            server = self._open_server
            documents = [_standing_document(uid, standing) for standing in standings]
            writes = [_replacing(document) for document in documents]
            await _write(server.standings, writes, taken=f"The room {uid} has another standing of one of these users.")

    async def drop_standings(self, uid: str, users: Sequence[str]) -> None:
        async with _patient():
            await self._open_server.standings.delete_many({"room": uid, "user": {"$in": list(users)}})

    async def finish(self, room: ArchivedRoom) -> None:
        server, properties = self._open_server, room.room
        async with _patient():
            members = await server.standings.count_documents(
                {"room": properties.uid, "role": {"$in": sorted(MEMBER_ROLES)}, **LIVING}
            )
            values = {
                "kind": properties.kind,
                "title": properties.title,
                "topic": properties.topic,
                "capacity": properties.capacity,
                "slow_mode_s": properties.slow_mode_s,
                "created_at": properties.created_at,
                "members": members,
                "floor": room.floor,
                "emptied": room.floor,
                "folded": fold(properties.id, properties.title),
                # Standings give way to higher versions only, and the room may have been here before.
                "v": 1 + await self._version(server, properties.uid),
            }
            try:
                await server.rooms.update_one(
                    {"_id": properties.id, "uid": properties.uid}, {"$set": values}, upsert=True
                )
            except DuplicateKeyError:
                raise HubbubError("conflict", f"There is another room with the id {properties.id}.") from None

    async def _version(self, server: MongoServer, uid: str) -> int:
        """The highest of the room's standings, those included that say nothing any more."""
        found = await server.standings.find_one({"room": uid}, {"v": True}, sort=[("v", DESCENDING)])
        return FIRST_VERSION if found is None else int(found.get("v", FIRST_VERSION))

    async def put_people(self, people: Sequence[KnownPerson]) -> None:
        async with _patient():
            documents: list[_Document] = [
                {"_id": person.id, "name": person.name, "guest": person.guest, "seen_at": seen_at}
                for person, seen_at in people
            ]
            writes = [_replacing(document) for document in documents]
            await _write(self._open_server.people, writes, taken="There is another person with one of these ids.")

    async def delete(self, uid: str) -> None:
        """The room first: what is left of it then is nobody's, should this be cut off."""
        async with _patient():
            await self._open_server.rooms.delete_one({"uid": uid})
        await self._remove_all(uid)

    async def _remove_all(self, uid: str) -> None:
        """In pages: one command that takes long would run out of its time."""
        server = self._open_server
        for collection in (server.messages, server.standings):
            while await self._remove_some(collection, uid):
                pass

    async def _remove_some(self, collection: Documents, uid: str) -> bool:
        async with _patient():
            found = await collection.find({"room": uid}, {"_id": True}).limit(WRITES_AT_ONCE).to_list()
            if found:
                await collection.delete_many({"room": uid, "_id": {"$in": [each["_id"] for each in found]}})
        return bool(found)


@asynccontextmanager
async def _patient() -> AsyncIterator[None]:
    """Raise the driver's errors as `HubbubError`, and give each call the time of an archive."""
    with pymongo.timeout(CALL_S):
        async with translated():
            yield


async def _listed(cursor: AsyncCursor[_Document], key: str) -> list[_Document]:
    async with _patient():
        return await cursor.sort(key, ASCENDING).limit(PAGE_ROWS).to_list()


async def _write(collection: Documents, writes: Sequence[_Write], *, taken: str | None = None) -> list[int]:
    """Write all of these, in whatever order. Answers with the numbers of those that a unique index refused; `conflict`
    with this sentence, if there is one, instead.
    """
    refused: list[int] = []
    for start in range(0, len(writes), WRITES_AT_ONCE):
        try:
            await collection.bulk_write(writes[start : start + WRITES_AT_ONCE], ordered=False)
        except BulkWriteError as error:
            errors: Sequence[_Document] = error.details.get("writeErrors", ())
            if error.details.get("writeConcernErrors") or any(each.get("code") != DUPLICATE for each in errors):
                raise
            if taken is not None:
                raise HubbubError("conflict", taken) from None
            refused += [start + each["index"] for each in errors]
    return refused


def _replacing(document: _Document) -> ReplaceOne[_Document]:
    """Put a document in the place of the one with its `_id`, or where none is."""
    # With what a sharded cluster finds its place by.
    key: _Document = {name: document[name] for name in ("_id", "room", "seq", "user") if name in document}
    return ReplaceOne(key, document, upsert=True)


def _document(archived: ArchivedMessage, room: ArchivedRoom) -> _Document:
    message, revs = archived
    document = document_of(message, public=room.room.kind == "public", revs=revs)
    if message.seq <= room.floor:
        document["stub"] = True  # Nothing may fill it again.
    return document


def _revs(document: _Document) -> tuple[int, ...]:
    """A message that was changed very often has lost the oldest of its revisions, but its first is its seq."""
    revs: list[int] = document["revs"]
    return tuple(map(int, revs)) if revs[0] == document["seq"] else (int(document["seq"]), *map(int, revs))


def _standing_document(uid: str, standing: Standing) -> _Document:
    return {
        "_id": standing_id(uid, standing.user),
        "room": uid,
        "user": standing.user,
        "role": standing.role,
        "joined_at": standing.joined_at,
        "muted_until": standing.muted_until,
        "banned_until": standing.banned_until,
        "knew": standing.knew,
        "read_seq": standing.read_seq,
        "v": FIRST_VERSION,
    }


def _known(document: _Document) -> KnownPerson:
    return Person(document["_id"], document["name"], document["guest"]), int(document["seen_at"])
