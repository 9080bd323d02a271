"""The control log in MongoDB: records claim their numbers as messages claim their revisions.

A record's number is its `_id`. Whoever appends claims the numbers behind the last one that it knows, with one ordered
insert; a number that somebody else has taken means that there are more, and the rest is numbered anew. So a number is
given once, and n + 1 only where n is. `key` is unique too: a record that is appended again is found, and claims
nothing.

What waits on a node goes together, and one batch is on its way at a time: nodes compete, changes on one node do not.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
import pymongo
from bson.errors import BSONError
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, PyMongoError

from hubbub.errors import HubbubError
from hubbub.history.base import Entry, Record
from hubbub.history.mongo_errors import DUPLICATE, RETRY_AFTER_S, as_hubbub_error, duplicate_index

__all__ = ["CALL_TIMEOUT_MS", "Documents", "Log"]

Documents = AsyncCollection[dict[str, Any]]

CALL_TIMEOUT_MS: Final = 5_000
"""After this a call fails as `unavailable`, whatever it waited for: a server, a connection, an answer. Shorter than the
deadline of an event; an election may take longer, and then those who are refused come again.
"""

READ_BYTES: Final = 256 * 2**10
"""Of the data in one reading, about: a node that was away for long reads the log in many steps of a moment each."""

PRUNE_MOST: Final = 1000
BATCH_MOST: Final = 500
WAITING_MOST: Final = 20_000
TRIES_MOST: Final = 40
"""Each of these finds that another node was quicker, which then has its turn behind it."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """Entries of one caller, as documents without numbers."""

    documents: list[dict[str, Any]]
    future: asyncio.Future[list[int]]


class Log:
    """The records in `documents`, and the one who appends them, `origin`."""

    def __init__(self, documents: Documents, *, origin: str) -> None:
        self._documents = documents
        self._waiting: deque[_Waiting] = deque()
        self._count = 0
        self._task: asyncio.Task[None] | None = None
        self._head: int | None = None
        self.origin = origin

    async def close(self) -> None:
        """Wait for what is on its way."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def head(self) -> int:
        """As `Ledger.head`."""
        found = await self._documents.find_one({}, {"_id": True}, sort=[("_id", pymongo.DESCENDING)])
        return 0 if found is None else int(found["_id"])

    async def read(self, *, after: int, limit: int) -> list[Record]:
        """As `Ledger.read`."""
        records: list[Record] = []
        size = 0
        found = self._documents.find({"_id": {"$gt": after}}, batch_size=limit).sort("_id", 1).limit(limit)
        async for document in found:
            size += len(document["data"])
            if records and size > READ_BYTES:
                break
            records.append(_record(document))
        await found.close()
        return records

    async def append(self, entries: Sequence[Entry], *, origin: str | None = None) -> list[int]:
        """As `Ledger.append`; `origin` if the entries are another process's, which did not come to it."""
        documents = [_document(entry, origin or self.origin) for entry in entries]
        if not documents:
            return []
        if self._count + len(documents) > WAITING_MOST:
            raise HubbubError("unavailable", "Too many records are waiting.", retry_after=RETRY_AFTER_S)
        waiting = _Waiting(documents, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._count += len(documents)
        if self._task is None:
            # Not in the caller's context: others wait for it as well, and would inherit the time of the first.
            self._task = asyncio.create_task(self._run(), name="history-log", context=contextvars.Context())
        return await asyncio.shield(waiting.future)

    async def prune(self, *, before: int, keep: int) -> int:
        """As `Ledger.prune`."""
        upto = await self.head() - max(keep, 1)
        oldest = self._documents.find({"_id": {"$lte": upto}}, {"at": True}, batch_size=PRUNE_MOST)
        last = 0
        for document in await oldest.sort("_id", 1).limit(PRUNE_MOST).to_list(None):
            if document["at"] >= before:
                break
            last = int(document["_id"])
        if not last:
            return 0
        return (await self._documents.delete_many({"_id": {"$lte": last}})).deleted_count

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                try:
                    with pymongo.timeout(CALL_TIMEOUT_MS / 1000):
                        numbers = await self._write([each for waiting in batch for each in waiting.documents])
                except (HubbubError, PyMongoError, BSONError, UnicodeError, OverflowError) as error:
                    self._head = None
                    _fail(batch, as_hubbub_error(error))
                    continue
                for waiting in batch:
                    count = len(waiting.documents)
                    if not waiting.future.done():
                        waiting.future.set_result(numbers[:count])
                    del numbers[:count]
        finally:
            self._task = None
            left = [self._waiting.popleft() for _ in range(len(self._waiting))]
            self._count = 0
            _fail(left, HubbubError("unavailable", "The store was closed.", retry_after=RETRY_AFTER_S))

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        count = 0
        while self._waiting and (not batch or count + len(self._waiting[0].documents) <= BATCH_MOST):
            waiting = self._waiting.popleft()
            count += len(waiting.documents)
            batch.append(waiting)
        self._count -= count
        return batch

    async def _write(self, documents: list[dict[str, Any]]) -> list[int]:
        """Insert what is not there; the number of each."""
        numbers: dict[int, int] = {}
        places = list(range(len(documents)))
        for _ in range(TRIES_MOST + len(documents)):
            if not places:
                return [numbers[place] for place in range(len(documents))]
            if self._head is None:
                self._head = await self.head()
            claimed = [{"_id": number, **documents[place]} for number, place in enumerate(places, self._head + 1)]
            try:
                await self._documents.insert_many(claimed, ordered=True)
            except BulkWriteError as error:
                done, of_key = _first_refused(error)
                numbers.update((place, claimed[at]["_id"]) for at, place in enumerate(places[:done]))
                places = places[done:]
                self._head = None
                if of_key:
                    numbers[places[0]] = await self._number_of(documents[places[0]]["key"])
                    places = places[1:]
            else:
                numbers.update((place, each["_id"]) for place, each in zip(places, claimed, strict=True))
                self._head = claimed[-1]["_id"]
                places = []
        raise HubbubError("unavailable", "The log grows faster than this node can write.", retry_after=RETRY_AFTER_S)

    async def _number_of(self, key: str) -> int:
        found = await self._documents.find_one({"key": key}, {"_id": True})
        if found is None:
            raise HubbubError("unavailable", "The record was pruned meanwhile.", retry_after=RETRY_AFTER_S)
        return int(found["_id"])


def _first_refused(error: BulkWriteError) -> tuple[int, bool]:
    """How many were inserted before the one that was refused, and whether its key was there; or the error."""
    refused = (error.details or {}).get("writeErrors") or ()
    if not refused or refused[0].get("code") != DUPLICATE:
        raise error
    return int(refused[0]["index"]), "key" in duplicate_index(refused[0])


def _document(entry: Entry, origin: str) -> dict[str, Any]:
    """A record without its number. The data is text, because not every name can be a field's in every version."""
    try:
        data = orjson.dumps(dict(entry.data)).decode()
        entry.key.encode()
    except (TypeError, UnicodeError) as error:
        raise HubbubError("bad_request", "The text is not Unicode.") from error
    return {"key": entry.key, "kind": entry.kind, "at": entry.at, "origin": origin, "data": data}


def _record(document: dict[str, Any]) -> Record:
    return Record(
        int(document["_id"]),
        document["kind"],
        document["key"],
        int(document["at"]),
        document["origin"],
        orjson.loads(document["data"]),
    )


def _fail(batch: Sequence[_Waiting], error: HubbubError) -> None:
    for waiting in batch:
        if not waiting.future.done():
            copy = HubbubError(error.code, error.message, fields=error.fields, retry_after=error.retry_after)
            waiting.future.set_exception(copy)
            waiting.future.exception()  # Seen: a caller that went away is no reason for a warning.
