"""Reading rooms, standings and people.

A room is read with all that belongs to it by one aggregation: what another collection holds is looked up per room, by
an index. Standings of a room that was deleted may still lie about, so whoever reads standings asks for the room too.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hubbub.history.base import Arrival, Person, Room, RoomPage, RoomView, Standing, StandingPage
from hubbub.history.cursors import decode_cursor, encode_cursor
from hubbub.history.mongo_intents import (
    LIVING,
    WITHOUT_PENDING,
    find_room,
    is_left_behind,
    settle,
    standing_id,
    standing_of,
)
from hubbub.history.mongo_marks import IS_MEMBER, UNREAD_MOST, unread_filter
from hubbub.history.mongo_people import AT_ONCE, read_people
from hubbub.history.mongo_rooms import room_of
from hubbub.history.mongo_server import MongoServer
from hubbub.history.standing_rules import said

__all__ = [
    "read_arrival",
    "read_member_ids",
    "read_members",
    "read_room",
    "read_rooms",
    "read_rooms_at",
    "read_standing",
    "read_standings_at",
    "read_standings_of",
    "read_view",
]

_Document = Mapping[str, Any]
_Stages = list[dict[str, Any]]

BEYOND: Final = 2**62
"""A seq that no message has: where somebody who is no member has read up to, since nothing is unread to them."""

HEAD: Final[_Document] = {
    "$lookup": {
        "from": "messages",
        "localField": "uid",
        "foreignField": "room",
        "pipeline": [{"$sort": {"rev": -1}}, {"$limit": 1}, {"$project": {"rev": True}}],
        "as": "head",
    }
}
"""The end of the index `room, rev`."""


def _of_user(user: str) -> _Stages:
    """How the user stands to each room, and what is unread to them: behind their mark, and above the room's floor."""
    standing = {
        "$lookup": {
            "from": "standings",
            "localField": "uid",
            "foreignField": "room",
            "pipeline": [{"$match": {"user": user}}],
            "as": "standing",
        }
    }
    own = {"$arrayElemAt": ["$standing", 0]}
    mark = {
        "$cond": [
            {"$in": [{"$ifNull": ["$own.role", ""]}, IS_MEMBER["$in"]]},
            {"$max": ["$own.read_seq", "$floor"]},
            BEYOND,
        ]
    }
    unread = {
        "$lookup": {
            "from": "messages",
            "localField": "uid",
            "foreignField": "room",
            "let": {"mark": "$mark"},
            "pipeline": [
                {"$match": {"$expr": {"$gt": ["$seq", "$$mark"]}, **unread_filter(user)}},
                {"$limit": UNREAD_MOST},
                {"$group": {"_id": None, "count": {"$sum": 1}}},
            ],
            "as": "unread",
        }
    }
    return [standing, {"$set": {"own": own}}, {"$set": {"mark": mark}}, unread]


async def read_room(server: MongoServer, id: str, *, now: int) -> Room | None:
    """As `History.room`; `now`, here and below, is the time in milliseconds."""
    documents = await _read(server, [{"$match": {"_id": id}}, _without_pending(), HEAD], now=now)
    return _room(documents[0]) if documents else None


async def read_view(server: MongoServer, uid: str, user: str, *, now: int) -> RoomView | None:
    """As `History.view`."""
    documents = await _read(server, [{"$match": {"uid": uid}}, _without_pending(), HEAD, *_of_user(user)], now=now)
    return _view(documents[0]) if documents else None


async def read_rooms(
    server: MongoServer,
    *,
    user: str,
    query: str | None,
    mine: bool,
    everything: bool,
    limit: int,
    cursor: str | None,
    now: int,
) -> RoomPage:
    """As `History.rooms`. Each way in which a room may be known has its own index; their first pages are merged."""
    after = "" if cursor is None else decode_cursor(cursor, "rooms", str)[0]
    standings = await read_standings_of(server, user, now=now)
    banned = [uid for uid, standing in standings.items() if standing.banned_until > now]
    own = [uid for uid, standing in standings.items() if standing.role is not None]
    ways: list[_Document] = [{"uid": {"$in": own}, "$or": [{"kind": "public"}, {"uid": {"$nin": banned}}]}]
    if not mine:
        ways.append({"kind": "public"})
    if everything and not mine:
        ways.append({"kind": "private", "uid": {"$nin": banned}})
    matches: dict[str, Any] = {"_id": {"$gt": after}}
    if query:
        matches["folded"] = {"$regex": _literal(query.casefold())}
    pages = await asyncio.gather(
        *(
            server.rooms.find({**matches, **way}, {"_id": True}, batch_size=AT_ONCE)
            .sort("_id", 1)
            .limit(limit + 1)
            .to_list(None)
            for way in ways
        )
    )
    ids = sorted({document["_id"] for page in pages for document in page}, key=str.encode)[: limit + 1]
    shown = [
        {"$match": {"_id": {"$in": ids[:limit]}}},
        _without_pending(),
        HEAD,
        *_of_user(user),
    ]
    views = [_view(document) for document in (await _read(server, shown, now=now) if ids else [])]
    views.sort(key=lambda view: view.room.id.encode())
    return RoomPage(views, encode_cursor("rooms", ids[limit - 1]) if len(ids) > limit else None)


async def read_standing(server: MongoServer, uid: str, user: str, *, now: int) -> Standing | None:
    """As `History.standing`."""
    if await find_room(server, uid, now=now) is None:
        return None
    found = await server.standings.find_one({"_id": standing_id(uid, user), "room": uid})
    return None if found is None else said(standing_of(found))


async def read_rooms_at(server: MongoServer, uids: Sequence[str]) -> dict[str, Room]:
    """As `History.rooms_at`."""
    found = await server.rooms.find({"uid": {"$in": [*uids]}}, WITHOUT_PENDING, batch_size=AT_ONCE).to_list(None)
    return {document["uid"]: room_of(document, head=0) for document in found}


async def read_standings_at(
    server: MongoServer, pairs: Sequence[tuple[str, str]], *, now: int
) -> dict[tuple[str, str], Standing]:
    """As `History.standings_at`."""
    uids = list(dict.fromkeys(uid for uid, _ in pairs))
    rooms = await server.rooms.find(
        {"uid": {"$in": uids}}, {"uid": True, "pending.v": True, "pending.at": True}, batch_size=AT_ONCE
    ).to_list(None)
    await asyncio.gather(*(settle(server, room["uid"]) for room in rooms if is_left_behind(room, now=now)))
    living = {room["uid"] for room in rooms}
    ids = [standing_id(uid, user) for uid, user in dict.fromkeys(pairs) if uid in living]
    found = await server.standings.find({"_id": {"$in": ids}, **LIVING}, batch_size=AT_ONCE).to_list(None)
    standings = ((document["room"], said(standing_of(document))) for document in found)
    return {(uid, standing.user): standing for uid, standing in standings if standing is not None}


async def read_standings_of(server: MongoServer, user: str, *, now: int) -> dict[str, Standing]:
    """As `History.standings_of`. Standings stay in memory while their users are connected: a room's uid and a role
    are kept once for all of its members.
    """
    standings = await _standings(server, user)
    rooms = await server.rooms.find(
        {"uid": {"$in": [*standings]}}, {"uid": True, "pending.v": True, "pending.at": True}, batch_size=AT_ONCE
    ).to_list(None)
    left_behind = [room["uid"] for room in rooms if is_left_behind(room, now=now)]
    if left_behind:
        await asyncio.gather(*(settle(server, uid) for uid in left_behind))
        standings = await _standings(server, user)
    living = {room["uid"] for room in rooms}
    return {sys.intern(uid): standing for uid, standing in standings.items() if uid in living}


async def read_arrival(server: MongoServer, user: str, *, now: int) -> Arrival:
    """As `History.arrival`."""
    standings, people = await asyncio.gather(
        read_standings_of(server, user, now=now), read_people(server.people, [user])
    )
    return Arrival(standings, people.get(user))


async def read_members(server: MongoServer, uid: str, *, limit: int, cursor: str | None, now: int) -> StandingPage:
    """As `History.members`. The index `room, role, joined_at, user` has each role in their order; they are merged."""
    joined_at, after = (-1, "") if cursor is None else decode_cursor(cursor, "members", int, str)
    if await find_room(server, uid, now=now) is None:
        return StandingPage([], None)
    stages: _Stages = [
        {
            "$match": {
                "room": uid,
                "role": IS_MEMBER,
                "joined_at": {"$gte": joined_at},
                "$or": [{"joined_at": {"$gt": joined_at}}, {"joined_at": joined_at, "user": {"$gt": after}}],
            }
        },
        {"$sort": {"joined_at": 1, "user": 1}},
        {"$limit": limit + 1},
        {"$lookup": {"from": "people", "localField": "user", "foreignField": "_id", "as": "person"}},
    ]
    documents = await (await server.standings.aggregate(stages, batchSize=AT_ONCE)).to_list(None)
    members = [(standing_of(document), _person(document["user"], document["person"])) for document in documents]
    last = members[limit - 1][0] if len(members) > limit else None
    return StandingPage(members[:limit], None if last is None else encode_cursor("members", last.joined_at, last.user))


async def read_member_ids(server: MongoServer, uid: str, candidates: Sequence[str], *, now: int) -> frozenset[str]:
    """As `History.member_ids`."""
    if not candidates or await find_room(server, uid, now=now) is None:
        return frozenset()
    ids = [standing_id(uid, user) for user in candidates]
    found = await server.standings.find({"_id": {"$in": ids}, "room": uid, "role": IS_MEMBER}, {"user": True}).to_list(
        None
    )
    return frozenset(document["user"] for document in found)


# -- inside ------------------------------------------------------------------------------------------------------------


async def _read(server: MongoServer, stages: Sequence[_Document], *, now: int) -> list[dict[str, Any]]:
    """The rooms that an aggregation finds; read once more if one of them had an intent that was left behind."""
    documents = await (await server.rooms.aggregate(stages, batchSize=AT_ONCE)).to_list(None)
    left_behind = [document["uid"] for document in documents if is_left_behind(document, now=now)]
    if left_behind:
        await asyncio.gather(*(settle(server, uid) for uid in left_behind))
        documents = await (await server.rooms.aggregate(stages, batchSize=AT_ONCE)).to_list(None)
    return documents


async def _standings(server: MongoServer, user: str) -> dict[str, Standing]:
    """All that is recorded of a user by room uid, deleted rooms included."""
    found = await server.standings.find({"user": user, **LIVING}, batch_size=AT_ONCE).to_list(None)
    return {document["room"]: standing_of(document) for document in found}


def _without_pending() -> dict[str, Any]:
    return {"$project": WITHOUT_PENDING}


def _room(document: _Document) -> Room:
    return room_of(document, head=int(document["head"][0]["rev"]) if document["head"] else 0)


def _view(document: _Document) -> RoomView:
    standing = said(standing_of(document["standing"][0])) if document["standing"] else None
    unread = int(document["unread"][0]["count"]) if document["unread"] else 0
    return RoomView(_room(document), standing, unread)


def _person(user: str, found: Sequence[_Document]) -> Person:
    """A person as far as anything is known; one of whom nothing is, is called by the id."""
    return Person(user, found[0]["name"], found[0]["guest"]) if found else Person(user, user)


def _literal(text: str) -> str:
    """A regular expression that matches this text alone. It may hold a NUL, which the expression itself must not."""
    return re.sub(r"[^\w\s]|[\x00-\x1f]", lambda found: _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 128 else character
