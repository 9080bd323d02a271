"""Finishing what was left half done by nodes that died: changes whose records are not in the control log.

Each change says in the document that it changes what the log is to be told, until it was told. So a change without its
record is found by an index that holds such documents alone, and is empty nearly always.
"""

from __future__ import annotations

from typing import Any, Final

from hubbub.history.mongo_intents import settle
from hubbub.history.mongo_rooms import WAKE_MS, say_deleted, say_updated
from hubbub.history.mongo_server import MongoServer

__all__ = ["mend"]

LEFT_MS: Final = 2000
"""What is older has been left behind by its author. Finishing it too early is not wrong, only for nothing."""

AT_ONCE: Final = 100


async def mend(server: MongoServer, *, now: int) -> None:
    """As `Ledger.mend`; `now` is in milliseconds. A bounded number, and the rest at the next time."""
    pending = server.rooms.find(_is_left("pending.at", now=now), {"uid": True}).limit(AT_ONCE)
    for room in await pending.to_list(None):
        await settle(server, room["uid"])
    updated = server.rooms.find(_is_left("unsaid.at", now=now), {"uid": True, "unsaid": True}).limit(AT_ONCE)
    for room in await updated.to_list(None):
        await say_updated(server, room["_id"], room["uid"], room["unsaid"])
    for grave in await server.graveyard.find({"unsaid": {"$exists": True}}).limit(AT_ONCE).to_list(None):
        if abs(now - grave["at"]) > LEFT_MS:
            await _mend_grave(server, grave, now=now)


def _is_left(name: str, *, now: int) -> dict[str, Any]:
    """Finds what is older. Clocks differ, in either direction: a time that has not come yet would be waited for."""
    return {"$or": [{name: {"$lt": now - LEFT_MS}}, {name: {"$gt": now + LEFT_MS}}]}


async def _mend_grave(server: MongoServer, grave: dict[str, Any], *, now: int) -> None:
    """Either the room is gone, which the log is to be told; or whoever dug the grave has not come to it, or never
    will.
    """
    uid: str = grave["_id"]
    if await server.rooms.find_one({"uid": uid}, {"uid": True}) is None:
        await say_deleted(server, uid, grave["unsaid"], at=grave["at"])
    elif abs(now - grave["at"]) > WAKE_MS:
        await server.graveyard.update_one({"_id": uid}, {"$unset": {"unsaid": ""}})
