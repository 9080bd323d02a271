"""Reading messages from MongoDB: one, a page by seq, what changed by revision.

There is no snapshot to read from without a transaction, and none is needed: the room's head is read first, and then
the documents. A document whose revision is not above the head is as it was at the head, because every change claims a
revision. One that is above it was changed in between; then a page is read again, a few times, and after that it may
hold a document newer than its head, never an older one (whoever shows it gets the change once more, in its order).

A page by revision is of the head that was read before it, too, and never of what it holds itself: a walk along an index
that others write to may meet revision 12 and have passed the place of 11 before that was there. A document that was
changed in between has moved behind the head, and is not in the page: it comes with what is behind the head. Were it
there, a reader who counts on the head (`domain/stretch`) would have it in a place that does not exist yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hubbub.errors import HubbubError
from hubbub.history.base import Message, MessagePage
from hubbub.history.mongo_batch import WITHOUT_REVS, newest_revision
from hubbub.history.mongo_documents import message_of, stub_of
from hubbub.history.mongo_server import Documents, MongoServer
from hubbub.history.sizes import cut

__all__ = ["MessageReader", "clamped"]

SEQ_MOST: Final = 2**62
PAGE_TRIES: Final = 4

HEADS_OF: Final = (
    # The server takes the first entry of each room from the index `room, rev`, and no document.
    {"$sort": {"room": -1, "rev": -1}},
    {"$group": {"_id": "$room", "rev": {"$first": "$rev"}}},
)


def clamped(number: int) -> int:
    """A number of a client's, as BSON can hold it."""
    return min(max(number, -1), SEQ_MOST)


class MessageReader:
    """The readings of `History` that are of messages."""

    def __init__(self, server: MongoServer) -> None:
        self._rooms = server.rooms
        self._messages: Documents = server.messages

    async def message(self, uid: str, seq: int) -> Message | None:
        floor, found = await asyncio.gather(
            self._floor(uid), self._messages.find_one({"_id": f"{uid}.{seq}", "room": uid}, WITHOUT_REVS)
        )
        return None if floor is None or found is None or found["seq"] <= floor else message_of(found)

    async def by_key(self, uid: str, sender: str, key: str) -> Message | None:
        floor, found = await asyncio.gather(
            self._floor(uid), self._messages.find_one({"room": uid, "sender": sender, "key": key}, WITHOUT_REVS)
        )
        return None if floor is None or found is None else _above(found, floor)

    async def seqs_of(self, uid: str, sender: str, *, below: int, limit: int) -> list[int]:
        """As `History.seqs_of`."""
        floor = await self._floor(uid)
        if floor is None:
            return []
        query = {"room": uid, "sender": sender, "gone": False, "seq": {"$gt": floor, "$lt": below}}
        found = self._messages.find(query, {"seq": True}, batch_size=limit).sort("seq", -1).limit(limit)
        return [int(document["seq"]) for document in await found.to_list(None)]

    async def head(self, uid: str) -> int:
        return (await self._head_and_floor(uid))[0]

    async def heads(self, uids: Sequence[str]) -> Mapping[str, int]:
        rooms = {each["uid"] for each in await self._rooms.find({"uid": {"$in": [*uids]}}, {"uid": True}).to_list()}
        cursor = await self._messages.aggregate([{"$match": {"room": {"$in": [*rooms]}}}, *HEADS_OF])
        return dict.fromkeys(rooms, 0) | {each["_id"]: int(each["rev"]) async for each in cursor}

    async def page(
        self, uid: str, *, before: int | None, after: int | None, around: int | None, limit: int, max_bytes: int
    ) -> MessagePage:
        older, newer = (limit, 0) if after is None else (0, limit)
        split = before if before is not None else after + 1 if after is not None else SEQ_MOST
        if around is not None:
            split, older, newer = around, limit // 2, limit - limit // 2
        split = clamped(split)
        for _ in range(PAGE_TRIES):
            head, floor = await self._head_and_floor(uid)
            below, above = await asyncio.gather(
                self._side(uid, (floor, min(split - 1, head)), -1, older, max_bytes),
                self._side(uid, (max(floor, split - 1), head), 1, newer, max_bytes),
            )
            fewer, more = cut(
                [(each["seq"], each["bytes"]) for each in below[:older]],
                [(each["seq"], each["bytes"]) for each in above[:newer]],
                max_bytes,
            )
            messages = [message_of(each) for each in (*reversed(below[:fewer]), *above[:more])]
            if all(message.rev <= head for message in messages):
                break
        return MessagePage(messages, head, more_before=len(below) > fewer, more_after=len(above) > more)

    async def changes(self, uid: str, *, since: int, limit: int, max_bytes: int) -> MessagePage:
        since = clamped(since)
        head, floor = await self._head_and_floor(uid)
        query: dict[str, Any] = {"room": uid, "rev": {"$gt": since, "$lte": head}}
        if floor > since:
            # A stub is news for those alone who may have the message as it was before.
            query["$or"] = [{"seq": {"$gt": floor}}, {"seq": {"$lte": since}}]
        found = await self._some(query, "rev", 1, limit, max_bytes)
        _, count = cut((), [(each["rev"], each["bytes"]) for each in found[:limit]], max_bytes)
        messages = [_above(each, floor) for each in found[:count]]
        return MessagePage(messages, head, more_after=len(found) > count, floor=floor)

    async def revisions(self, uid: str, *, after: int, upto: int) -> list[tuple[int, Message]]:
        after, upto = clamped(after), clamped(upto)
        query = {"room": uid, "revs": {"$elemMatch": {"$gt": after, "$lte": upto}}}
        floor, found = await asyncio.gather(
            self._floor(uid), self._messages.find(query, {"words": False}).to_list() if after < upto else _nothing()
        )
        if floor is None:
            return []
        claims: list[tuple[int, Message]] = []
        for each in found:
            message = _above(each, floor)
            claims += ((int(rev), message) for rev in each["revs"] if after < rev <= upto)
        return sorted(claims, key=_rev)

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _floor(self, uid: str) -> int | None:
        """Up to which seq the room's messages are stubs; None if there is no such room."""
        found = await self._rooms.find_one({"uid": uid}, {"floor": True})
        return None if found is None else int(found.get("floor", 0))

    async def _head_and_floor(self, uid: str) -> tuple[int, int]:
        floor, head = await asyncio.gather(self._floor(uid), newest_revision(self._messages, uid))
        if floor is None:
            raise HubbubError("not_found", "There is no such room.")
        return head, floor

    async def _side(
        self, uid: str, seqs: tuple[int, int], direction: int, limit: int, max_bytes: int
    ) -> Sequence[Mapping[str, Any]]:
        """The messages whose seq is in `(low, high]`, one more than asked for."""
        low, high = seqs
        if low >= high:
            return ()
        query = {"room": uid, "seq": {"$gt": low, "$lte": high}}
        return await self._some(query, "seq", direction, limit, max_bytes)

    async def _some(
        self, query: Mapping[str, Any], field: str, direction: int, limit: int, max_bytes: int
    ) -> list[dict[str, Any]]:
        """One document more than asked for, or as far as the bytes go: what is beyond is not fetched."""
        found: list[dict[str, Any]] = []
        total = 0
        async with self._messages.find(query, WITHOUT_REVS).sort(field, direction).limit(limit + 1) as cursor:
            async for each in cursor:
                found.append(each)
                total += each["bytes"]
                if total > max_bytes and len(found) > 1:
                    break
        return found


def _above(document: Mapping[str, Any], floor: int) -> Message:
    """The message, as deleted if it is one that retention has emptied or is about to."""
    message = message_of(document)
    return message if message.seq > floor else stub_of(message)


def _rev(claim: tuple[int, Message]) -> int:
    return claim[0]


async def _nothing() -> list[dict[str, Any]]:
    return []
