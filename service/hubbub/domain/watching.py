"""The events of /presence: watching rooms, saying how one is, asking how others are.

Who may read a room may watch it. Of a user may be asked who shares a room with the caller that both may read: a room of
which both are members, or a public one of which the other is. Nobody else is in an answer, as if they did not exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.documents import user_document
from hubbub.domain.house import House, no_room
from hubbub.domain.identity import Identity
from hubbub.domain.permissions import Action, is_banned
from hubbub.domain.presence.statuses import Face
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.history.base import MEMBER_ROLES, Person, RoomView

__all__ = ["Watching"]

WATCHES: Final = 1000
"""Rooms that one connection watches: as many as a user may be in by default. Each costs an entry in its group."""

_SHARED_PAGE: Final = 100
_SHARED_PAGES: Final = 10


class Watching:
    """The events `presence:*`."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def watch(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`presence:watch`: all of these rooms, or none if one is refused; `fields` says which."""
        rooms = [await self._enter(client, room_id, number) for number, room_id in enumerate(request["rooms"])]
        new = {room.uid for room in rooms}.difference(client.joined)
        if len(client.joined) + len(new) > WATCHES:
            raise HubbubError("too_large", f"A connection watches at most {WATCHES} rooms.")
        await client.outlet.wait_room()
        house = self._house
        try:
            for room in rooms:
                await house.presence.prepare(room.uid)
            # Much may have happened while we waited; what decides is how it stands now.
            for number, room in enumerate(rooms):
                if house.rooms.by_uid(room.uid) is not room:
                    room = rooms[number] = await self._enter(client, room.id, number)
                self._require(client, room, number)
            if not client.outlet.is_open:
                return {"rooms": {}}
            return {"rooms": {room.id: house.watchers.add(client, room.uid, room.id) for room in rooms}}
        finally:
            for room in rooms:
                house.presence.release(room.uid)

    async def unwatch(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`presence:unwatch`. A room that is not watched, or not there, is no error."""
        for room_id in request["rooms"]:
            room = await self._house.rooms.get(room_id)
            if room is not None:
                self._house.watchers.remove(client, room.uid)
        return {}

    async def set_status(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`presence:set`. Returns how the user is now, with all devices."""
        if client.held is None or not client.outlet.is_open:
            return {"status": request["status"], "text": request.get("text", "")}
        face = self._house.presence.set_status(client.held, request["status"], request.get("text"))
        if face.is_hidden:
            self._house.whispers.hush(face.person.id)
        return {"status": face.status, "text": face.text}

    async def users(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`presence:get`."""
        asked = list(dict.fromkeys(request["users"]))
        known = [user for user in asked if await self._may_know(client, user)]
        faces = await self._house.presence.faces(known)
        seen = await self._house.history.people(known)
        found = (self._user(client, user, faces.get(user), seen.get(user)) for user in known)
        return {"users": [document for document in found if document is not None]}

    async def list_users(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`presence:list`: who is in a room, by id, a page at a time, however large it is."""
        room = await self._enter(client, request["room"], None)
        await self._house.presence.prepare(room.uid)
        try:
            self._house.require(client, room, Action.READ)
            limit = request.get("limit", self._house.limits.page_default)
            after = request.get("cursor") or ""
            faces, more = self._house.presence.page(room.uid, after=after, limit=limit, admin=client.identity.is_admin)
        finally:
            self._house.presence.release(room.uid)
        users = [user_document(face.person, face) for face in faces]
        return {"users": users, "cursor": faces[-1].person.id if more else None}

    # -- for the others ----------------------------------------------------------------------------------------------

    def left(self, client: Client) -> None:
        """A connection is gone."""
        self._house.watchers.forget(client)

    def renew(self, client: Client, identity: Identity) -> None:
        """A connection's token was replaced: rooms that the new one does not reach are watched no more."""
        was_admin = client.identity.is_admin
        lost: list[str] = []
        for uid in client.joined:
            room = self._house.rooms.by_uid(uid)
            if room is None or not self._may_read(client, identity, room):
                lost.append(uid)
        for uid in lost:
            self._house.watchers.end(client, uid, "token")
        client.identity = identity
        for uid in list(client.joined):
            self._house.watchers.move(client, uid, was_admin=was_admin)
        self._house.roster.rename(client, identity.person)

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _enter(self, client: Client, room_id: str, number: int | None) -> ActiveRoom:
        room = await self._house.rooms.get(room_id)
        if room is None:
            raise _refused(no_room(), number)
        self._require(client, room, number)
        return room

    def _require(self, client: Client, room: ActiveRoom, number: int | None) -> None:
        try:
            self._house.require(client, room, Action.READ)
        except HubbubError as error:
            raise _refused(error, number) from None

    def _may_read(self, client: Client, identity: Identity, room: ActiveRoom) -> bool:
        return self._house.refusal_of(client.user, identity, room, Action.READ) is None

    def _user(
        self, client: Client, user: str, face: Face | None, seen: tuple[Person, int] | None
    ) -> dict[str, Any] | None:
        if face is not None and face.is_hidden and not client.identity.is_admin and user != client.user.person.id:
            return user_document(face.person, None, last_seen=face.hidden_at)
        if face is not None:
            return user_document(face.person, face)
        if seen is None:
            return None
        unwritten = self._house.presence.last_seen.at(user)
        return user_document(seen[0], None, last_seen=seen[1] if unwritten is None else unwritten)

    async def _may_know(self, client: Client, user: str) -> bool:
        if user == client.user.person.id or client.identity.is_admin:
            return True
        other = self._house.roster.user(user)
        if other is not None and other.loading is None:
            both = client.user.standings.keys() & other.standings.keys()
            rooms = (self._house.rooms.by_uid(uid) for uid in both)
            if any(room is not None and self._shares(client, other.standings[room.uid].role, room) for room in rooms):
                return True
        return await self._share_any(client, user)

    def _shares(self, client: Client, role: str | None, room: ActiveRoom) -> bool:
        return role in MEMBER_ROLES and self._house.refusal(client, room, Action.READ) is None

    async def _share_any(self, client: Client, user: str) -> bool:
        """Whether any room of the other is one that the caller may read, by what the store has."""
        cursor: str | None = None
        for _ in range(_SHARED_PAGES):
            page = await self._house.history.rooms(
                user=user, query=None, mine=True, everything=False, limit=_SHARED_PAGE, cursor=cursor
            )
            if self._any_readable(client, page.rooms):
                return True
            cursor = page.cursor
            if cursor is None:
                return False
        return False

    def _any_readable(self, client: Client, views: Sequence[RoomView]) -> bool:
        standings: Mapping[str, Any] = client.user.standings
        for view in views:
            if view.standing is None or view.standing.role not in MEMBER_ROLES:
                continue
            own = standings.get(view.room.uid)
            if not client.identity.covers(view.room.id) or is_banned(own, self._house.clock()):
                continue
            if view.room.kind == "public" or (own is not None and own.role in MEMBER_ROLES):
                return True
        return False


def _refused(error: HubbubError, number: int | None) -> HubbubError:
    """The refusal of one room among several."""
    if number is None:
        return error
    return HubbubError(error.code, error.message, fields={f"rooms.{number}": [error.message]})
