"""The control log in MongoDB: records claim their numbers as messages claim their revisions.

A record's `_id` is its key, and its number is unique too. Whoever appends claims the numbers behind the last one that a
majority has, with one ordered insert; a number that somebody else has taken means that there are more, and the rest is
numbered anew. So a number is given once, and n + 1 only where n is. A key that is appended again is found, and claims
nothing. What is claimed behind a number that no majority has could be left behind a hole, when that one is
rolled back; so the last number is always one that was read with a majority's concern, or was acknowledged.

What waits on a node goes together, and one batch is on its way at a time: nodes compete, changes on one node do not.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import bson
import orjson
import pymongo
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from hubbub.errors import HubbubError
from hubbub.history.base import Entry, Record
from hubbub.history.mongo_errors import DUPLICATE, RETRY_AFTER_S, as_hubbub_error, duplicate_index, translated

__all__ = ["PRUNE_MOST", "WAITING_MOST", "Log", "json_text"]

READ_BYTES: Final = 256 * 2**10
"""Of the data in one reading, about: a node that was away for long reads the log in many steps of a moment each."""

RECORD_BYTES_MOST: Final = 12 * 2**20
"""A document may have 16 MB. One that is too large must fail by itself, not the batch that it would be in."""

PRUNE_MOST: Final = 1000
"""How many records one pruning removes."""

BATCH_MOST: Final = 500
"""How many records go together; the records of one caller are not parted."""

WAITING_MOST: Final = 20_000
"""Records that may wait on a node; whoever comes then is refused."""

APPEND_S: Final = 5.0
"""How long one who appends waits, and how long a batch may take, whatever number of calls it makes."""

HEAD_VALID_S: Final = 60.0
"""How long a last number may be numbered by. It needs not be right, since one that is taken is found out; but a node
that slept must not number by one from before the store was put back from a copy.
"""

TRIES_MOST: Final = 40
"""Each of these finds that another node was quicker, which then has its turn behind it."""

AT_ONCE_TRIES: Final = 3
"""So many come one after the other: whoever was quicker leaves a moment. Behind them each waits for longer."""

FIRST_PAUSE_S: Final = 0.002
LONGEST_PAUSE_S: Final = 0.1

LONGEST_COURTESY_S: Final = 0.05
"""See `Log._let_others_go_first`."""

_Document = dict[str, Any]


@dataclass(slots=True, eq=False)
class _Waiting:
    """Records of one caller, without their numbers."""

    documents: list[_Document]
    future: asyncio.Future[list[int]]


class Log:
    """The records in `documents`, and the one who appends them, `origin`."""

    def __init__(self, documents: AsyncCollection[_Document], *, origin: str) -> None:
        self._documents = documents
        self._waiting: deque[_Waiting] = deque()
        self._count = 0
        self._task: asyncio.Task[None] | None = None
        self._known: tuple[int, float] | None = None
        """The last number that is known to stay, and when it was; it may be behind the truth, never before it."""
        self._highest = 0
        """A number from which on the last one is looked for."""
        self._next_turn = 0.0
        """From when on the next batch may go, by the monotonic clock."""
        self.origin = origin
        self.on_logged: Callable[[], None] = lambda: None
        """Called when something was appended."""

    async def close(self) -> None:
        """Wait for what is on its way."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def head(self) -> int:
        """As `Ledger.head`."""
        found = await self._newest(above=self._highest)
        if found is None and self._highest:
            found, self._known = await self._newest(above=0), None  # The store was put back from a copy.
        self._highest = 0 if found is None else int(found["n"])
        return self._highest

    async def read(self, *, after: int, limit: int) -> list[Record]:
        """As `Ledger.read`."""
        records: list[Record] = []
        size = 0
        found = self._documents.find({"n": {"$gt": after}}, batch_size=limit).sort("n", 1).limit(limit)
        async with found:
            async for document in found:
                size += len(document["data"])
                # A query that takes long may see that records were pruned meanwhile. The hole has to be in front.
                if records and (size > READ_BYTES or document["n"] != records[-1].n + 1):
                    break
                records.append(_record(document))
        return records

    async def append(self, entries: Sequence[Entry], *, origin: str | None = None) -> list[int]:
        """As `Ledger.append`; `origin` if the entries are another process's, which did not come to it. What has not
        been begun when its caller goes away is not appended.
        """
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
        try:
            async with asyncio.timeout(APPEND_S):
                return await waiting.future
        except TimeoutError:
            raise HubbubError("unavailable", "The store took too long.", retry_after=RETRY_AFTER_S) from None

    async def prune(self, *, before: int, keep: int) -> int:
        """As `Ledger.prune`."""
        upto = await self.head() - max(keep, 1)
        oldest = self._documents.find({"n": {"$lte": upto}}, {"n": True, "at": True}, batch_size=PRUNE_MOST)
        last = 0
        for document in await oldest.sort("n", 1).limit(PRUNE_MOST).to_list(None):
            if document["at"] >= before:
                break
            last = int(document["n"])
        if not last:
            return 0
        return (await self._documents.delete_many({"n": {"$lte": last}})).deleted_count

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _newest(self, *, above: int) -> _Document | None:
        return await self._documents.find_one({"n": {"$gte": above}}, {"n": True}, sort=[("n", pymongo.DESCENDING)])

    async def _run(self) -> None:
        """Append what waits, batch after batch, until nothing waits."""
        batch: list[_Waiting] = []
        try:
            while self._waiting:
                await self._let_others_go_first()
                batch = self._take()
                try:
                    async with translated(APPEND_S):
                        numbers = await self._write([each for waiting in batch for each in waiting.documents])
                except Exception as error:  # Whatever it is, those who wait have to learn of it.
                    self._known = None
                    _fail(batch, as_hubbub_error(error))
                    continue
                for waiting in batch:
                    if not waiting.future.done():
                        waiting.future.set_result([numbers[each["_id"]] for each in waiting.documents])
                if numbers:
                    self.on_logged()
        finally:
            self._task = None
            _fail([*batch, *self._waiting], HubbubError("unavailable", "The store was closed.", retry_after=1.0))
            self._waiting.clear()
            self._count = 0

    async def _let_others_go_first(self) -> None:
        """Whoever was refused a number has to read where the log ends before it can claim another. Without a moment's
        courtesy between two batches, a node that always has something to append would be quicker every time.
        """
        await asyncio.sleep(self._next_turn - time.monotonic())

    def _take(self) -> list[_Waiting]:
        """The next batch; empty if nobody waits any more."""
        batch: list[_Waiting] = []
        count = 0
        while self._waiting and (not batch or count + len(self._waiting[0].documents) <= BATCH_MOST):
            waiting = self._waiting.popleft()
            self._count -= len(waiting.documents)
            if not waiting.future.done():
                count += len(waiting.documents)
                batch.append(waiting)
        return batch

    async def _write(self, documents: Iterable[_Document]) -> dict[str, int]:
        """Insert what is not there; the number of each, by its key."""
        left: dict[str, _Document] = {}
        for document in documents:
            left.setdefault(document["_id"], document)
        numbers: dict[str, int] = {}
        tries = 0
        while left:
            if tries > TRIES_MOST:
                raise HubbubError(
                    "unavailable", "The log grows faster than this node can write.", retry_after=RETRY_AFTER_S
                )
            if tries > AT_ONCE_TRIES:
                pause = min(FIRST_PAUSE_S * 2 ** (tries - AT_ONCE_TRIES - 1), LONGEST_PAUSE_S)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - It guards nothing.
            found = await self._claim([*left.values()])
            numbers |= found
            tries = 0 if found else tries + 1
            left = {key: document for key, document in left.items() if key not in found}
        return numbers

    async def _claim(self, documents: Sequence[_Document]) -> dict[str, int]:
        """Try to insert these; the number of each that is there then, by its key."""
        head = await self._last()
        claimed = [{**document, "n": number} for number, document in enumerate(documents, head + 1)]
        refused: Mapping[str, Any] | None = None
        began = time.monotonic()
        try:
            await self._documents.insert_many(claimed, ordered=True)
        except BulkWriteError as error:
            refused = _first_refused(error)
            claimed = claimed[: refused["index"]]
        if claimed:
            self._learn(claimed[-1]["n"])
            taken = time.monotonic() - began
            courtesy = taken * random.uniform(1.0, 2.0)  # noqa: S311 - It guards nothing.
            self._next_turn = began + taken + min(courtesy, LONGEST_COURTESY_S)
        numbers = {document["_id"]: document["n"] for document in claimed}
        if refused is None:
            return numbers
        if "n" in duplicate_index(refused):
            self._known = None
            return numbers
        # If one was there already, then most are: it is the second time that they come. Who has taken a key may not
        # have a majority yet; then it is not seen, and is waited for.
        left = [document["_id"] for document in documents[len(claimed) :]]
        there = self._documents.find({"_id": {"$in": left}}, {"n": True}, batch_size=len(left) + 1)
        return numbers | {document["_id"]: int(document["n"]) for document in await there.to_list(None)}

    async def _last(self) -> int:
        if self._known is None or time.monotonic() - self._known[1] > HEAD_VALID_S:
            self._learn(await self.head())
        assert self._known is not None
        return self._known[0]

    def _learn(self, head: int) -> None:
        self._known = head, time.monotonic()
        self._highest = max(self._highest, head)


def json_text(document: Mapping[str, Any]) -> str:
    """As text, because not every name can be a field's in every version of the server. Raises `bad_request` for what
    is not Unicode.
    """
    try:
        return orjson.dumps({**document}).decode()
    except TypeError as error:
        raise HubbubError("bad_request", "The request has text that cannot be stored.") from error


def _first_refused(error: BulkWriteError) -> Mapping[str, Any]:
    """The refusal by a unique index; those before it are inserted. Raises what leaves the outcome of any unknown."""
    details = error.details or {}
    refused: Sequence[Mapping[str, Any]] = details.get("writeErrors", ())
    # Those before the refused one stand only if their write concern was met.
    if details.get("writeConcernErrors") or len(refused) != 1 or refused[0].get("code") != DUPLICATE:
        raise error
    return refused[0]


def _document(entry: Entry, origin: str) -> _Document:
    """A record without its number. What cannot be stored must fail its own caller, not the batch it would be in."""
    document = {
        "_id": entry.key,
        "kind": entry.kind,
        "at": entry.at,
        "origin": origin,
        "data": json_text(entry.data),
    }
    try:
        size = len(bson.encode(document))
    except (bson.errors.BSONError, UnicodeError, OverflowError) as error:
        raise as_hubbub_error(error) from error
    if size > RECORD_BYTES_MOST:
        raise HubbubError("too_large", "The record is larger than the log takes.")
    return document


def _record(document: _Document) -> Record:
    return Record(
        int(document["n"]),
        document["kind"],
        document["_id"],
        int(document["at"]),
        document["origin"],
        orjson.loads(document["data"]),
    )


def _fail(batch: Iterable[_Waiting], error: HubbubError) -> None:
    for waiting in batch:
        if not waiting.future.done():
            copy = HubbubError(error.code, error.message, fields=error.fields, retry_after=error.retry_after)
            waiting.future.set_exception(copy)
            waiting.future.exception()  # Seen: a caller that went away is no reason for a warning.
