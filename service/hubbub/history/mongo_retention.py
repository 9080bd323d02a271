"""Emptying old messages in MongoDB (`History.expire`), on as many nodes at once as there are.

There is no transaction over many documents, so a room has two marks: `floor`, up to which its messages are stubs to
every reader, and `emptied`, up to which their documents are. The floor is raised first, in one step that expects it
where it was found; then what is below it is emptied, and `emptied` follows. Whoever finds `emptied` behind does it
first, so what a crash interrupts is finished by the next round of any node. Emptying twice is emptying once: `stub`
says that it is done, and keeps a change that was on its way from filling the message again.

A round reads rooms by their ids, some hundred with one command, which looks up the oldest message above the floor or
the newest one of each: a step in the index `room, seq`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from hubbub.history.floors import Counts, Gap, rising
from hubbub.history.mongo_server import Documents, MongoServer
from hubbub.history.sizes import REST_BYTES

__all__ = ["Retention"]

SLICE_ROWS: Final = 500
"""How many messages one call empties, with one command per room."""

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
    """A room as a round finds it, and as it stands after each slice. `newest` is 0 if it was not looked up."""

    uid: str
    floor: int
    emptied: int
    newest: int


class Retention:
    """Goes round the rooms, some at a time. Raises what the driver raises."""

    def __init__(self, server: MongoServer) -> None:
        self._rooms: Documents = server.rooms
        self._messages: Documents = server.messages
        self._counts = Counts()
        self._after = ""
        self._due: deque[_Room] = deque()
        """Rooms that this round has found, and in which there may be something left to do."""
        self._is_idle = False
        self._running = asyncio.Lock()

    async def expire(self, *, before: int | None, keep: int | None) -> int:
        """As `History.expire`."""
        async with self._running:
            emptied = 0
            while True:
                while self._due:
                    emptied += await self._empty_next(SLICE_ROWS - emptied, before=before, keep=keep)
                    if emptied >= SLICE_ROWS:
                        return emptied
                if emptied or (self._after == "" and self._is_idle):
                    self._is_idle = False
                    return emptied
                await self._look(before=before, keep=keep)

    async def _look(self, *, before: int | None, keep: int | None) -> None:
        """Find what is due in the next rooms; the last of them end the round, which is idle if nothing ever was."""
        if self._after == "":
            self._is_idle = True
        stages = _stages(self._after, oldest=before is not None, newest=keep is not None)
        found = await (await self._rooms.aggregate(stages)).to_list()
        self._due.extend(_room_of(each) for each in found if _is_due(each, before=before, keep=keep))
        self._after = found[-1]["_id"] if len(found) == ROOMS_AT_ONCE else ""

    async def _empty_next(self, most: int, *, before: int | None, keep: int | None) -> int:
        """Empty messages of the room that is next, or find that it needs nothing; how many were emptied."""
        room = self._due[0]
        if room.newest == 0:
            newest = await self._messages.find_one({"room": room.uid}, {"seq": True}, sort=[("seq", -1)])
            room = replace(room, newest=0 if newest is None else int(newest["seq"]))
        high = await self._high(room, most, before=before, keep=keep)
        if not high or not await self._raise(room, high):
            self._due.popleft()
            return 0
        between = {"room": room.uid, "seq": {"$gt": room.emptied, "$lte": high}}
        emptied = await self._messages.update_many({**between, "stub": None}, {"$set": STUB})
        await self._rooms.update_one({"uid": room.uid}, {"$max": {"emptied": high}})
        self._due[0] = replace(room, floor=max(room.floor, high), emptied=high)
        return int(emptied.modified_count)

    async def _raise(self, room: _Room, high: int) -> bool:
        """Raise the floor, unless it is there. False if the room is gone or another node was quicker, who empties it;
        the next round sees to it that it did.
        """
        self._is_idle = False
        if high <= room.floor:
            return True
        floor: Any = room.floor if room.floor else {"$in": [0, None]}
        raised = await self._rooms.update_one({"uid": room.uid, "floor": floor}, {"$set": {"floor": high}})
        return bool(raised.modified_count)

    async def _high(self, room: _Room, most: int, *, before: int | None, keep: int | None) -> int:
        """Up to where to empty the room now; 0 if there is nothing to do."""
        if room.emptied < room.floor:
            begun = await self._oldest(room.uid, (room.emptied, room.floor), most)
            return begun[-1][0] if len(begun) == most else room.floor
        excess = 0
        if keep is not None and room.newest - room.floor > keep:
            excess = await self._count(room) - keep
        if excess <= 0 and before is None:
            return 0
        oldest = await self._oldest(room.uid, (room.floor, room.newest), most)
        return rising(oldest, newest=room.newest, before=before, excess=excess)[0]

    async def _oldest(self, uid: str, gap: Gap, most: int) -> Sequence[tuple[int, int]]:
        """Seq and time of the first messages in the gap. They are looked for in a range that has about as many places:
        a server may sort all that lies in a range before it gives the first of it.
        """
        found: list[tuple[int, int]] = []
        low, width = gap[0], 2 * most
        while low < gap[1] and len(found) < most:
            high = min(low + width, gap[1])
            rows = self._messages.find(_between(uid, (low, high)), {"_id": False, "seq": True, "at": True})
            found += [
                (int(each["seq"]), int(each["at"])) async for each in rows.sort("seq", 1).limit(most - len(found))
            ]
            low, width = high, width * 4
        return found

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


def _stages(after: str, *, oldest: bool, newest: bool) -> list[dict[str, Any]]:
    """The next rooms, each with its two oldest messages above the floor, and with its newest one, as far as asked for.
    Two, since one alone is the newest.
    """

    def looked_up(name: str, stages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        lookup = {"from": "messages", "localField": "uid", "foreignField": "room", "let": {"floor": "$floor"}}
        shown = {"$project": {"_id": False, "seq": True, "at": True}}
        return {"$lookup": {**lookup, "pipeline": [*stages, shown], "as": name}}

    above = {"$match": {"$expr": {"$gt": ["$seq", {"$ifNull": ["$$floor", 0]}]}}}
    return [
        {"$match": {"_id": {"$gt": after}}},
        {"$sort": {"_id": 1}},
        {"$limit": ROOMS_AT_ONCE},
        {"$project": {"uid": True, "floor": True, "emptied": True}},
        *([looked_up("oldest", [above, {"$sort": {"seq": 1}}, {"$limit": 2}])] if oldest else []),
        *([looked_up("newest", [{"$sort": {"seq": -1}}, {"$limit": 1}])] if newest else []),
    ]


def _is_due(document: Mapping[str, Any], *, before: int | None, keep: int | None) -> bool:
    """Whether there may be something to do in a room, from a document of `_stages`."""
    room = _room_of(document)
    oldest = document.get("oldest", ())
    is_old = before is not None and len(oldest) > 1 and int(oldest[0]["at"]) < before
    # So many messages there are at the most: some revisions are changes.
    is_long = keep is not None and room.newest - room.floor > keep
    return room.emptied < room.floor or is_old or is_long


def _room_of(document: Mapping[str, Any]) -> _Room:
    newest = document.get("newest")
    return _Room(
        document["uid"],
        int(document.get("floor") or 0),
        int(document.get("emptied") or 0),
        int(newest[0]["seq"]) if newest else 0,
    )
