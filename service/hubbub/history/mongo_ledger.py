"""The ledger in MongoDB. The control log has a module of its own (`mongo_log`), and so has what mends it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson
from bson import ObjectId
from pymongo.errors import DuplicateKeyError

from hubbub.history.base import Audited, AuditPage, Ban, Beat, Entry, Record, Revocation, Sanctions
from hubbub.history.cursors import decode_cursor, encode_cursor
from hubbub.history.mongo_errors import as_hubbub_error, translated
from hubbub.history.mongo_log import Log, json_text
from hubbub.history.mongo_mending import mend
from hubbub.history.mongo_server import CALL_TIMEOUT_MS, Documents, MongoServer

__all__ = ["MongoLedger"]

CALL_S: Final = CALL_TIMEOUT_MS / 1000

OLD_MS: Final = 3_600_000
"""Of a beat."""


class MongoLedger:
    """See `ledger.Ledger`. `server` gives the open one, or raises `unavailable`; `clock` is in milliseconds."""

    def __init__(self, server: Callable[[], MongoServer], *, origin: str, clock: Callable[[], int]) -> None:
        self._server = server
        self._origin = origin
        self._clock = clock
        self.on_logged: Callable[[], None] = lambda: None

    @property
    def origin(self) -> str:
        return self._origin

    @property
    def _log(self) -> Log:
        return self._server().log

    # -- the control log ---------------------------------------------------------------------------------------------

    async def head(self) -> int:
        async with translated(CALL_S):
            return await self._log.head()

    async def read(self, *, after: int, limit: int) -> Sequence[Record]:
        async with translated(CALL_S):
            return await self._log.read(after=after, limit=limit)

    async def append(self, entries: Sequence[Entry]) -> Sequence[int]:
        async with translated():  # It has a time of its own, in which it goes with what others append.
            return await self._log.append(entries)

    async def prune(self, *, before: int, keep: int) -> int:
        async with translated(CALL_S):
            return await self._log.prune(before=before, keep=keep)

    async def mend(self) -> None:
        async with translated(CALL_S):
            await mend(self._server(), now=self._clock())

    # -- sanctions ---------------------------------------------------------------------------------------------------

    async def sanctions(self, *, now: int) -> Sanctions:
        server = self._server()
        async with translated(CALL_S):
            bans = await server.bans.find({"until": {"$gt": now}}).sort("_id", 1).to_list(None)
            revocations = await server.revocations.find().sort("n", 1).to_list(None)
        return Sanctions(
            [Ban(each["_id"], *(each[name] for name in ("until", "reason", "by", "at", "n"))) for each in bans],
            [
                Revocation(*(each[name] for name in ("user", "jti", "before", "reason", "by", "at", "n")))
                for each in revocations
            ],
        )

    async def put_ban(self, ban: Ban) -> None:
        async with translated(CALL_S):
            values = asdict(ban)
            await _put(self._server().bans, values.pop("user"), values)

    async def put_revocation(self, revocation: Revocation) -> None:
        if (revocation.user is None) == (revocation.jti is None):
            raise as_hubbub_error(ValueError("A revocation is of a user or of a token."))
        async with translated(CALL_S):
            values = asdict(revocation)
            id = f"jti {revocation.jti}" if revocation.user is None else f"user {revocation.user}"
            await _put(self._server().revocations, id, values)

    # -- audit -------------------------------------------------------------------------------------------------------

    async def audit_begin(self, *, at: int, actor: str, action: str, target: Mapping[str, str], reason: str) -> str:
        id = str(ObjectId())  # In the order in which this process makes them, which is that within a millisecond.
        entry = {
            "at": at,
            "actor": actor,
            "action": action,
            "target": json_text(target),
            "reason": reason,
            "outcome": "unknown",
        }
        async with translated(CALL_S):
            # An insert that the driver repeats, since the first may not stand, would run into the first.
            await self._server().audit.update_one({"_id": id}, {"$setOnInsert": entry}, upsert=True)
        return id

    async def audit_end(self, id: str, outcome: str) -> None:
        async with translated(CALL_S):
            await self._server().audit.update_one({"_id": id, "outcome": "unknown"}, {"$set": {"outcome": outcome}})

    async def audit(self, *, limit: int, cursor: str | None) -> AuditPage:
        query: dict[str, Any] = {}
        if cursor is not None:
            at, id = decode_cursor(cursor, "audit", int, str)
            query = {"at": {"$lte": at}, "$or": [{"at": {"$lt": at}}, {"_id": {"$lt": id}}]}
        async with translated(CALL_S):
            found = self._server().audit.find(query, batch_size=limit + 1).sort([("at", -1), ("_id", -1)])
            documents = await found.limit(limit + 1).to_list(None)
        entries = [_audited(document) for document in documents[:limit]]
        more = len(documents) > limit
        return AuditPage(entries, encode_cursor("audit", entries[-1].at, entries[-1].id) if more else None)

    # -- nodes -------------------------------------------------------------------------------------------------------

    async def beat(self, beat: Beat) -> None:
        beats = self._server().beats
        values = {"name": beat.name, "origin": beat.origin, "at": beat.at, "about": json_text(beat.about)}
        async with translated(CALL_S):
            await beats.replace_one({"_id": f"{beat.origin} {beat.name}"}, values, upsert=True)
            await beats.delete_many({"at": {"$lt": beat.at - OLD_MS}})

    async def stop_beating(self) -> None:
        async with translated(CALL_S):
            await self._server().beats.delete_many({"origin": self._origin})

    async def beats(self, *, since: int) -> Sequence[Beat]:
        async with translated(CALL_S):
            found = self._server().beats.find({"at": {"$gte": since}}).sort([("name", 1), ("origin", 1)])
            documents = await found.to_list(None)
        return [Beat(each["name"], each["origin"], each["at"], orjson.loads(each["about"])) for each in documents]


async def _put(documents: Documents, id: str, values: Mapping[str, Any]) -> None:
    """Put these in the place of values with a lower `n`, or without any. An upsert that meets a higher one runs into
    the document's own id.
    """
    try:
        await documents.update_one({"_id": id, "n": {"$lt": values["n"]}}, {"$set": dict(values)}, upsert=True)
    except DuplicateKeyError:
        # Or two were being made that moment, and this is the higher one.
        await documents.update_one({"_id": id, "n": {"$lt": values["n"]}}, {"$set": dict(values)})


def _audited(document: Mapping[str, Any]) -> Audited:
    return Audited(
        document["_id"],
        document["at"],
        document["actor"],
        document["action"],
        orjson.loads(document["target"]),
        document["reason"],
        document["outcome"],
    )
