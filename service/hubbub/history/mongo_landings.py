"""What a join needs, and what many who join at once need: few questions to the server, asked beside each other.

There is no common snapshot. What decides is the head of the page, which is read before the page is; how a user stands
to the room and what is unread to them may be a moment newer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hubbub.errors import HubbubError
from hubbub.history.base import MEMBER_ROLES, Landing, MessagePage, Person, Standing, Views
from hubbub.history.mongo_batch import newest_revision
from hubbub.history.mongo_intents import find_room, standing_id, standing_of
from hubbub.history.mongo_lists import read_members, read_view
from hubbub.history.mongo_messages import MessageReader
from hubbub.history.mongo_rooms import room_of
from hubbub.history.mongo_server import MongoServer
from hubbub.history.standing_rules import said
from hubbub.history.unread import WALKED, unread_counts

__all__ = ["read_landing", "read_views"]

_Members = Sequence[tuple[Standing, Person]]


async def read_landing(
    server: MongoServer,
    reader: MessageReader,
    uid: str,
    user: str,
    *,
    since: int | None,
    limit: int,
    max_bytes: int,
    members_most: int,
    now: int,
) -> Landing | None:
    """As `History.landing`; `now`, here and below, is the time in milliseconds."""
    try:
        view, page = await asyncio.gather(
            read_view(server, uid, user, now=now), _page(reader, uid, since=since, limit=limit, max_bytes=max_bytes)
        )
    except HubbubError as error:
        if error.code != "not_found":
            raise
        return None
    if view is None:
        return None
    members = await _few_members(server, uid, view.room.members, members_most, now=now)
    return Landing(page, replace(view, room=replace(view.room, head=page.head)), members)


async def read_views(
    server: MongoServer, uid: str, users: Sequence[str], *, members_most: int, now: int
) -> Views | None:
    """As `History.views`."""
    room = await find_room(server, uid, now=now)
    if room is None:
        return None
    ids = [standing_id(uid, user) for user in dict.fromkeys(users)]
    head, documents, members = await asyncio.gather(
        newest_revision(server.messages, uid),
        server.standings.find({"_id": {"$in": ids}, "room": uid}).to_list(),
        _few_members(server, uid, int(room["members"]), members_most, now=now),
    )
    standings = {
        document["user"]: standing for document in documents if (standing := said(standing_of(document))) is not None
    }
    unread = await _unread(server, uid, int(room.get("floor", 0)), standings, now=now)
    return Views(room_of(room, head=head), standings, unread, members)


async def _page(reader: MessageReader, uid: str, *, since: int | None, limit: int, max_bytes: int) -> MessagePage:
    if since is not None:
        page = await reader.changes(uid, since=since, limit=limit, max_bytes=max_bytes)
        if since <= page.head:
            return page
    return await reader.page(uid, before=None, after=None, around=None, limit=limit, max_bytes=max_bytes)


async def _few_members(server: MongoServer, uid: str, count: int, most: int, *, now: int) -> _Members | None:
    if count > most:
        return None
    return (await read_members(server, uid, limit=most, cursor=None, now=now)).members


async def _unread(
    server: MongoServer, uid: str, floor: int, standings: Mapping[str, Standing], *, now: int
) -> Mapping[str, int]:
    """What is unread to those who are members."""
    marks = {user: max(each.read_seq, floor) for user, each in standings.items() if each.role in MEMBER_ROLES}
    if not marks:
        return {}
    query: dict[str, Any] = {"room": uid, "seq": {"$gt": min(marks.values())}, "gone": False}
    cursor = server.messages.find(query, {"seq": True, "sender": True}).sort("seq", -1).limit(WALKED)
    newest = [(int(each["seq"]), str(each["sender"])) async for each in cursor]
    counts = unread_counts(newest, marks)
    untold = [user for user, count in counts.items() if count is None]
    views = await asyncio.gather(*(read_view(server, uid, user, now=now) for user in untold))
    told = {user: view.unread for user, view in zip(untold, views, strict=True) if view is not None}
    return {user: told.get(user, 0) if count is None else count for user, count in counts.items()}
