"""A batch of one room, written so that every revision is claimed once and none is left out.

New messages that follow each other go as one `insert_many`, changes that follow each other as one `bulk_write`, both
ordered: the server stops at the first that it refuses, so revision n + 1 is claimed only once n is there. Who refuses
is a unique index: a taken revision means that another node was quicker (read the head, number anew, go on), a taken
key that the message was sent before (answer with that one).

A change expects the revision at which its message was read. An update that finds no such message would be passed over
in silence, and the next one would leave a hole behind it; so it is an upsert, which then runs into the message's own
`_id` and stops the command as a taken revision does.

What is read to number by is read with majority: a revision that is only on the old primary may vanish with it, and
whoever had counted on it would leave a hole. After a failure whose outcome nobody knows (a lost reply, a write concern
that was not met) the head is forgotten and the rest of the batch is not tried.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, PyMongoError

from hubbub.errors import HubbubError
from hubbub.history.base import Change, Insert, Message, Outcome, Written
from hubbub.history.mongo_documents import changes_of, document_of, message_of, stub_of
from hubbub.history.mongo_errors import DUPLICATE, RETRY_AFTER_S, as_hubbub_error, duplicate_index
from hubbub.history.mongo_server import Documents, MongoServer

__all__ = ["HEAD_VALID_S", "TOO_FAST", "Committer", "newest_revision"]

HEAD_VALID_S: Final = 60.0
"""How long a head that was read, or claimed by us, may be numbered by. It needs not be right (a taken revision is found
out), but a node that slept for a day would claim revisions whose claim was trimmed.
"""

HEADS_KEPT: Final = 10_000
TRIES_MOST: Final = 40
TOO_FAST: Final = "The room changes faster than this node can write."
FIRST_PAUSE_S: Final = 0.001
LONGEST_PAUSE_S: Final = 0.1

REVS_KEPT: Final = 10_000
"""How many of its last revisions a message remembers. Nobody claims one that far back: see `HEAD_VALID_S`."""

WITHOUT_REVS: Final = {"revs": False, "words": False}


async def newest_revision(messages: Documents, uid: str) -> int:
    """The room's head; 0 for a room without messages. Walks the index `room, rev` from its end."""
    found = await messages.find_one({"room": uid}, {"rev": True}, sort=[("rev", -1)])
    return 0 if found is None else int(found["rev"])


@dataclass(slots=True)
class _Known:
    """What is known of a room between batches."""

    head: int
    floor: int
    at: float
    public: bool


class _Seen(NamedTuple):
    """What a look at a room's document says."""

    floor: int
    public: bool


class Committer:
    """Writes batches. `clock` answers in seconds and never goes back."""

    def __init__(self, server: MongoServer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def commit(self, batch: Sequence[Insert | Change]) -> Sequence[Outcome]:
        """As `History.commit`. Writes of several rooms are several batches, at the same time."""
        rooms: dict[str, list[int]] = {}
        for number, op in enumerate(batch):
            rooms.setdefault(_uid(op), []).append(number)
        if len(rooms) == 1:
            return await self._commit_room(_uid(batch[0]), batch)
        outcomes: dict[int, Outcome] = {}

        async def commit_one(uid: str, numbers: Sequence[int]) -> None:
            found = await self._commit_room(uid, [batch[number] for number in numbers])
            outcomes.update(zip(numbers, found, strict=True))

        await asyncio.gather(*(commit_one(uid, numbers) for uid, numbers in rooms.items()))
        return [outcomes[number] for number in range(len(batch))]

    def forget(self, uid: str) -> None:
        """The room is gone, or its head is not to be trusted."""
        self._known.pop(uid, None)

    # -- one room ----------------------------------------------------------------------------------------------------

    async def _commit_room(self, uid: str, ops: Sequence[Insert | Change]) -> Sequence[Outcome]:
        """After those of the room that came before: the writer has one in flight, but one whose caller went away may
        still be there.
        """
        lock = self._locks.setdefault(uid, asyncio.Lock())
        async with lock:
            return await self._commit_next(uid, ops)

    async def _commit_next(self, uid: str, ops: Sequence[Insert | Change]) -> Sequence[Outcome]:
        known = self._fresh(uid)
        if known is not None and all(isinstance(op, Insert) for op in ops):
            # The room is very likely still there: whether it is, is asked beside the writing. Changes wait for the
            # answer, because it says up to where there is nothing to be changed any more.
            look = asyncio.ensure_future(self._look(uid))
            try:
                outcomes = await self._write(uid, ops, known)
            finally:
                await asyncio.wait([look])
            if look.exception() is not None:
                return outcomes  # What stands stands; the next batch asks again.
            seen = look.result()
            known.floor = known.floor if seen is None else max(known.floor, seen.floor)
        else:
            try:
                seen = await self._look(uid)
                if known is not None and seen is not None:
                    known.floor = max(known.floor, seen.floor)
                elif seen is not None:
                    known = await self._read(uid, seen)
            except (PyMongoError, UnicodeError) as error:
                return _all(ops, as_hubbub_error(error))
            outcomes = [] if known is None or seen is None else await self._write(uid, ops, known)
        if seen is None:
            self.forget(uid)
            return _all(ops, HubbubError("not_found", "There is no such room."))
        return outcomes

    def _fresh(self, uid: str) -> _Known | None:
        known = self._known.get(uid)
        if known is None or self._clock() - known.at > HEAD_VALID_S:
            return None
        self._known.move_to_end(uid)
        return known

    async def _look(self, uid: str) -> _Seen | None:
        """None if there is no such room."""
        found = await self._server.rooms.find_one({"uid": uid}, {"floor": True, "kind": True})
        return None if found is None else _Seen(int(found.get("floor", 0)), found.get("kind") == "public")

    async def _read(self, uid: str, seen: _Seen) -> _Known:
        head = await newest_revision(self._server.messages, uid)
        known = _Known(head, seen.floor, self._clock(), seen.public)
        self._known[uid] = known
        while len(self._known) > HEADS_KEPT:
            self._known.popitem(last=False)
        return known

    async def _write(self, uid: str, ops: Sequence[Insert | Change], known: _Known) -> list[Outcome]:
        work = _Batch(self._server.messages, uid, ops, known, look=self._look)
        try:
            await work.run()
        except (PyMongoError, UnicodeError) as error:
            self.forget(uid)
            work.fail_rest(as_hubbub_error(error))
        except HubbubError as error:
            self.forget(uid)
            work.fail_rest(error)
        except BaseException:
            self.forget(uid)
            raise
        known.at = self._clock()
        return work.outcomes


class _Batch:
    """The writes of one room on their way. `outcomes` grows in their order, as far as `_claim` got."""

    def __init__(
        self,
        messages: Documents,
        uid: str,
        ops: Sequence[Insert | Change],
        known: _Known,
        *,
        look: Callable[[str], Awaitable[_Seen | None]],
    ) -> None:
        self._messages = messages
        self._look = look
        self._uid = uid
        self._ops = ops
        self._known = known
        self._tries = 0
        self._read: dict[int, Message | None] = {}
        """By seq: messages that are to be changed as they stand, None where there is none (any more)."""
        self.outcomes: list[Outcome] = []

    async def run(self) -> None:
        await self._read_changed(self._ops)
        while len(self.outcomes) < len(self._ops):
            start = len(self.outcomes)
            kind = type(self._ops[start])
            end = start
            while end < len(self._ops) and type(self._ops[end]) is kind:
                end += 1
            if kind is Insert:
                await self._insert([op for op in self._ops[start:end] if isinstance(op, Insert)])
            else:
                await self._change([op for op in self._ops[start:end] if isinstance(op, Change)])

    def fail_rest(self, error: HubbubError) -> None:
        """What has no outcome yet may have happened or not."""
        self.outcomes += _all(self._ops[len(self.outcomes) :], error)

    # -- new messages ------------------------------------------------------------------------------------------------

    async def _insert(self, inserts: Sequence[Insert]) -> None:
        """Insert what can be inserted of these, from the first; at least one gets its outcome, or the head was read."""
        placed: list[Message] = []
        documents: list[dict[str, Any]] = []
        for insert in inserts:
            message = insert.message.placed(self._known.head + len(placed) + 1)
            document = _sound(message, public=self._known.public)
            if document is None:
                break  # Nothing may be numbered behind it until it has its outcome.
            placed.append(message)
            documents.append(document)
        if not placed:
            self.outcomes.append(_unstorable())
            return
        refused = await self._try(self._messages.insert_many(documents, ordered=True))
        stood = placed if refused is None else placed[: refused["index"]]
        for message in stood:
            self._take(message)
        if refused is None:
            return
        if {"sender", "key"} <= duplicate_index(refused):
            await self._answer_repeated(placed[len(stood)])
        else:
            await self._number_anew()

    async def _answer_repeated(self, message: Message) -> None:
        """The key is taken. Who took it may not have a majority yet: then it is not to be seen, and is waited for."""
        found = await self._messages.find_one(
            {"room": self._uid, "sender": message.sender.id, "key": message.key}, WITHOUT_REVS
        )
        seen = await self._look(self._uid)
        if seen is not None:
            self._known.floor = max(self._known.floor, seen.floor)
        if found is None:
            await self._number_anew()
            return
        first = message_of(found)
        if first.seq <= self._known.floor:
            first = stub_of(first)
        self._tries = 0
        self.outcomes.append(Written(first, 0, duplicate=True))

    # -- changes -----------------------------------------------------------------------------------------------------

    async def _read_changed(self, ops: Sequence[Insert | Change]) -> None:
        ids = {f"{self._uid}.{op.seq}": op.seq for op in ops if isinstance(op, Change)}
        if not ids:
            return
        self._read.update(dict.fromkeys(ids.values()))
        query = {"_id": {"$in": list(ids)}, "room": self._uid}
        async for found in self._messages.find(query, WITHOUT_REVS):
            message = message_of(found)
            is_stub = found.get("stub", False) or message.seq <= self._known.floor
            self._read[message.seq] = None if is_stub else message
            # It may have been changed since the head was read. An index does not keep a revision from being claimed
            # twice by one message, so the head has to be above all that is read.
            self._known.head = max(self._known.head, message.rev)

    async def _change(self, changes: Sequence[Change]) -> None:
        """Apply what can be applied of these, from the first; at least one gets its outcome, or all was read anew."""
        pending: list[Outcome] = []
        updates: list[UpdateOne] = []
        places: list[int] = []
        """By number of an update: which of `pending` it is for."""
        stands: dict[int, Message] = {}
        # A batch that was given up on may still be writing, and set the head back; see `_read_changed`.
        revs = [read.rev for change in changes if (read := self._read.get(change.seq)) is not None]
        head = max([self._known.head, *revs])
        for change in changes:
            before = stands.get(change.seq) or self._read.get(change.seq)
            outcome = _edited(change, before, head + len(updates) + 1)
            if isinstance(outcome, Written) and outcome.claimed and before is not None:
                update = _update(outcome.message, expected=before.rev)
                if update is None:
                    outcome = _unstorable()
                else:
                    places.append(len(pending))
                    updates.append(update)
                    stands[change.seq] = outcome.message
            pending.append(outcome)
        if not updates:
            self.outcomes += pending
            return
        refused = await self._try(self._messages.bulk_write(updates, ordered=True))
        count = len(updates) if refused is None else refused["index"]
        good = len(pending) if refused is None else places[count]
        for outcome in pending[:good]:
            if isinstance(outcome, Written) and outcome.claimed:
                self._take(outcome.message)
            else:
                self.outcomes.append(outcome)
        if refused is not None:
            await self._number_anew()
            await self._read_changed(self._ops[len(self.outcomes) :])

    # -- both --------------------------------------------------------------------------------------------------------

    async def _try(self, writing: Any) -> Mapping[str, Any] | None:
        """Await a bulk of writes. None if all stand; the error of the first that a unique index refused.

        Raises what leaves the outcome of any of them unknown.
        """
        try:
            result = await writing
        except BulkWriteError as error:
            errors: Sequence[Mapping[str, Any]] = error.details.get("writeErrors", [])
            # Those before the refused one stand only if their write concern was met.
            if error.details.get("writeConcernErrors") or len(errors) != 1 or errors[0].get("code") != DUPLICATE:
                raise
            await self._remove_strays(error.details.get("upserted", []))
            return errors[0]
        await self._remove_strays([{"_id": id} for id in (getattr(result, "upserted_ids", None) or {}).values()])
        return None

    async def _remove_strays(self, upserted: Sequence[Mapping[str, Any]]) -> None:
        """An update that made a document where none was: the room was deleted, and its messages with it."""
        if upserted:
            await self._messages.delete_many({"room": self._uid, "_id": {"$in": [each["_id"] for each in upserted]}})
            raise HubbubError("not_found", "There is no such room.")

    def _take(self, message: Message) -> None:
        """The message claimed its revision, and stands so."""
        self._known.head = max(self._known.head, message.rev)
        if message.seq in self._read or message.seq == message.rev:
            self._read[message.seq] = message
        self._tries = 0
        self.outcomes.append(Written(message, message.rev))

    async def _number_anew(self) -> None:
        """Another node was quicker: read the head, after a moment that grows, so that two do not collide again."""
        self._tries += 1
        if self._tries > TRIES_MOST:
            raise HubbubError("unavailable", TOO_FAST, retry_after=RETRY_AFTER_S)
        if self._tries > 1:
            pause = min(FIRST_PAUSE_S * 2 ** (self._tries - 2), LONGEST_PAUSE_S)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - Spreads two nodes; nobody gains by guessing.
        self._known.head = await newest_revision(self._messages, self._uid)


def _edited(change: Change, before: Message | None, rev: int) -> Outcome:
    """What the change comes to, if it claims this revision."""
    if before is None:
        return HubbubError("not_found", "There is no such message.")
    try:
        after = change.edit(before)
    except Exception as error:  # An edit is not ours; whatever it raises must not take the batch with it.
        return as_hubbub_error(error)
    if after is None:
        return Written(before, 0)
    return Written(replace(after, uid=before.uid, seq=before.seq, rev=rev, key=before.key, sender=before.sender), rev)


def _update(message: Message, *, expected: int) -> UpdateOne | None:
    """The update to this state of a message; None for text that is not Unicode. `stub` is set once a message was
    emptied by retention, and then nothing may fill it again.
    """
    try:
        changes = changes_of(message)
        message.body.encode()
    except (TypeError, UnicodeError):
        return None
    return UpdateOne(
        {"_id": message.id, "room": message.uid, "rev": expected, "stub": None},
        {"$set": {**changes, "rev": message.rev}, "$push": {"revs": {"$each": [message.rev], "$slice": -REVS_KEPT}}},
        upsert=True,
    )


def _sound(message: Message, *, public: bool) -> dict[str, Any] | None:
    """The document of a new message; None for text that is not Unicode, and for a NUL in what it is found by: that no
    store would take it the same way is reason enough.
    """
    names = f"{message.uid}{message.sender.id}{message.key}"
    try:
        document = document_of(message, public=public)
        names.encode()
    except (TypeError, UnicodeError):
        return None
    return None if "\0" in names else document


def _all(ops: Sequence[Insert | Change], error: HubbubError) -> list[Outcome]:
    return [HubbubError(error.code, error.message, retry_after=error.retry_after) for _ in ops]


def _unstorable() -> HubbubError:
    return HubbubError("bad_request", "The message has text that cannot be stored.")


def _uid(op: Insert | Change) -> str:
    return op.message.uid if isinstance(op, Insert) else op.uid
