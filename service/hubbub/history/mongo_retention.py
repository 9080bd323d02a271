"""Emptying old messages in MongoDB (`History.expire`), on as many nodes at once as there are.

There is no transaction over many documents, so a room has two marks: `floor`, up to which its messages are stubs to
every reader, and `emptied`, up to which their documents are. The floor is raised first, in one step that expects it
where it was found; then what is below it is emptied, and `emptied` follows. Whoever finds `emptied` behind does it
first, so what a crash interrupts is finished by the next round of any node. Emptying twice is emptying once: `stub`
says that it is done, and keeps a change that was on its way from filling the message again.

A round reads rooms by their ids, some hundred with one command, which looks up the oldest message above the floor and
the newest one of each: two steps in the index `room, seq`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hubbub.history.floors import Counts, Gap, rising
from hubbub.history.mongo_server import Documents, MongoServer
from hubbub.history.sizes import REST_BYTES

__all__ = ["Retention"]

SLICE_ROWS: Final = 500
"""How many messages one call empties, in one command per room."""

ROOMS_AT_ONCE: Final = 200
"""How many rooms one command looks at."""

STUB: Final[Mapping[str, Any]] = {
    "body": "",
    "words": [],
    "reply_to": None,
    "mentions": [],
    "reactions": [],
    "gone": True,
    "stub": True,
    "bytes": REST_BYTES + 100,  # A key, an id and a name have some 100.
}


@dataclass(frozen=True, slots=True)
class _Room:
    """A room as a round finds it."""

    uid: str
    floor: int
    emptied: int
    oldest: int
    oldest_at: int
    newest: int

    def is_due(self, *, before: int | None, keep: int | None) -> bool:
        """Whether there may be something to do."""
        return self.emptied < self.floor or (
            0 < self.oldest < self.newest
            and ((before is not None and self.oldest_at < before) or (keep is not None and self._most() > keep))
        )

    def _most(self) -> int:
        """How many messages there are above the floor at the most."""
        return self.newest - self.floor


class Retention:
    """Goes round the rooms, some at a time. Raises what the driver raises."""

    def __init__(self, server: MongoServer) -> None:
        self._rooms: Documents = server.rooms
        self._messages: Documents = server.messages
        self._counts = Counts()
        self._after = ""
        self._running = asyncio.Lock()

    async def expire(self, *, before: int | None, keep: int | None) -> int:
        """As `History.expire`."""
        async with self._running:
            whole = False
            while True:
                whole = whole or self._after == ""
                is_idle, emptied = await self._look(before=before, keep=keep)
                if emptied:
                    return emptied
                if is_idle and whole and self._after == "":
                    return 0

    async def _look(self, *, before: int | None, keep: int | None) -> tuple[bool, int]:
        """Do what there is to do in the next rooms, up to a slice; whether nothing was, and how many were emptied."""
        found = await (await self._rooms.aggregate(_stages(self._after))).to_list()
        is_idle, emptied, passed = True, 0, self._after
        for document in found:
            room = _room_of(document)
            if room.is_due(before=before, keep=keep):
                high = await self._high(room, SLICE_ROWS - emptied, before=before, keep=keep)
                if high:
                    is_idle = False
                    emptied += await self._empty(room, high)
                if emptied >= SLICE_ROWS:
                    self._after = passed  # There may be more in this room.
                    return False, emptied
            passed = document["_id"]
        self._after = passed if len(found) == ROOMS_AT_ONCE else ""
        return is_idle, emptied

    async def _high(self, room: _Room, most: int, *, before: int | None, keep: int | None) -> int:
        """Up to where to empty the room now; 0 if there is nothing to do."""
        if room.emptied < room.floor:
            begun = await self._oldest(room.uid, (room.emptied, room.floor), most)
            return begun[-1][0] if len(begun) == most else room.floor
        excess = 0
        if keep is not None and room.newest - room.floor > keep:
            excess = await self._count(room) - keep
        oldest = await self._oldest(room.uid, (room.floor, room.newest), most)
        return rising(oldest, newest=room.newest, before=before, excess=excess)[0]

    async def _empty(self, room: _Room, high: int) -> int:
        """Raise the floor, unless it is there; empty what is below it; say that it is done."""
        if high > room.floor:
            floor: Any = room.floor if room.floor else {"$in": [0, None]}
            raised = await self._rooms.update_one({"uid": room.uid, "floor": floor}, {"$set": {"floor": high}})
            if not raised.modified_count:
                return 0  # The room is gone, or another node was quicker.
        between = {"room": room.uid, "seq": {"$gt": room.emptied, "$lte": high}}
        emptied = await self._messages.update_many({**between, "stub": None}, {"$set": STUB})
        await self._rooms.update_one({"uid": room.uid}, {"$max": {"emptied": high}})
        return int(emptied.modified_count)

    async def _oldest(self, uid: str, gap: Gap, most: int) -> Sequence[tuple[int, int]]:
        found = self._messages.find(_between(uid, gap), {"_id": False, "seq": True, "at": True})
        return [(int(each["seq"]), int(each["at"])) async for each in found.sort("seq", 1).limit(most)]

    async def _count(self, room: _Room) -> int:
        came, went = self._counts.unknown(room.uid, room.floor, room.newest)
        return self._counts.learn(
            room.uid,
            room.floor,
            room.newest,
            came=await self._number(room.uid, came),
            went=None if went is None else await self._number(room.uid, went),
        )

    async def _number(self, uid: str, gap: Gap) -> int:
        return await self._messages.count_documents(_between(uid, gap)) if gap[0] < gap[1] else 0


def _between(uid: str, gap: Gap) -> dict[str, Any]:
    return {"room": uid, "seq": {"$gt": gap[0], "$lte": gap[1]}}


def _stages(after: str) -> list[dict[str, Any]]:
    """The next rooms, each with its oldest message above the floor and its newest one."""

    def looked_up(name: str, stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        lookup = {"from": "messages", "localField": "uid", "foreignField": "room", "let": {"floor": "$floor"}}
        shown = {"$project": {"_id": False, "seq": True, "at": True}}
        return {"$lookup": {**lookup, "pipeline": [*stages, {"$limit": 1}, shown], "as": name}}

    above = {"$match": {"$expr": {"$gt": ["$seq", {"$ifNull": ["$$floor", 0]}]}}}
    return [
        {"$match": {"_id": {"$gt": after}}},
        {"$sort": {"_id": 1}},
        {"$limit": ROOMS_AT_ONCE},
        {"$project": {"uid": True, "floor": True, "emptied": True}},
        looked_up("oldest", [above, {"$sort": {"seq": 1}}]),
        looked_up("newest", [{"$sort": {"seq": -1}}]),
    ]


def _room_of(document: Mapping[str, Any]) -> _Room:
    (oldest,), (newest,) = (document[name] or [{"seq": 0, "at": 0}] for name in ("oldest", "newest"))
    return _Room(
        document["uid"],
        int(document.get("floor") or 0),
        int(document.get("emptied") or 0),
        int(oldest["seq"]),
        int(oldest["at"]),
        int(newest["seq"]),
    )
