"""Read marks, and what is unread behind them.

A mark is a number in the user's standing that only rises, so it needs no version: it is raised in place, as long as
the user is a member.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from pymongo import ReturnDocument

from hubbub.errors import HubbubError
from hubbub.history.base import MEMBER_ROLES
from hubbub.history.mongo_intents import find_room, standing_id
from hubbub.history.mongo_server import Documents, MongoServer

__all__ = ["IS_MEMBER", "UNREAD_MOST", "mark_read", "newest_seq", "unread_filter"]

UNREAD_MOST: Final = 1000

IS_MEMBER: Final = {"$in": sorted(MEMBER_ROLES)}
"""Of the role of a standing."""


async def newest_seq(messages: Documents, uid: str) -> int:
    """The room's newest `seq`; 0 for a room without messages. Walks the index `room, seq` from its end."""
    found = await messages.find_one({"room": uid}, {"seq": True}, sort=[("seq", -1)])
    return 0 if found is None else int(found["seq"])


def unread_filter(user: str) -> dict[str, Any]:
    """Of messages: those that count as unread for this user once they are behind the mark and above the floor."""
    return {"gone": False, "sender": {"$ne": user}}


async def mark_read(server: MongoServer, uid: str, user: str, seq: int, *, now: int) -> tuple[int, int]:
    """As `History.mark_read`."""
    room, newest, standing = await asyncio.gather(
        find_room(server, uid, now=now),
        newest_seq(server.messages, uid),
        _member(server, uid, user),
    )
    if room is None:
        raise HubbubError("not_found", "There is no such room.")
    if standing is None:
        # Whose joining was left behind has only now been written down.
        standing = await _member(server, uid, user)
    if standing is None:
        raise _no_member()
    mark = min(seq, newest)
    if mark <= standing["read_seq"]:
        read_seq = int(standing["read_seq"])
    else:
        raised = await server.standings.find_one_and_update(
            {"_id": standing["_id"], "room": uid, "role": IS_MEMBER},
            {"$max": {"read_seq": mark}},
            {"read_seq": True},
            return_document=ReturnDocument.AFTER,
        )
        if raised is None:
            raise _no_member()
        read_seq = int(raised["read_seq"])
    return read_seq, await _unread(server.messages, uid, user, max(read_seq, int(room.get("floor", 0))))


async def _member(server: MongoServer, uid: str, user: str) -> dict[str, Any] | None:
    return await server.standings.find_one(
        {"_id": standing_id(uid, user), "room": uid, "role": IS_MEMBER}, {"read_seq": True}
    )


async def _unread(messages: Documents, uid: str, user: str, after: int) -> int:
    query = {"room": uid, "seq": {"$gt": after}, **unread_filter(user)}
    return await messages.count_documents(query, limit=UNREAD_MOST)


def _no_member() -> HubbubError:
    return HubbubError("not_found", "The user is no member of the room.")
