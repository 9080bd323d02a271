"""Rooms as such: making, listing, changing and deleting them."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.documents import room_document, room_view_document
from hubbub.domain.house import House, no_room
from hubbub.domain.moderation.acting import acting
from hubbub.domain.permissions import Action
from hubbub.domain.roomlist import RoomList
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.history.base import Role, Room, RoomView, Standing

__all__ = ["RoomService", "direct_room_id", "new_uid"]


def new_uid() -> str:
    """A room's uid: 80 random bits, so that no room is ever taken for another."""
    return base64.b32encode(secrets.token_bytes(10)).decode().lower()


def direct_room_id(one: str, other: str) -> str:
    """The id of the direct room of two users, the same whoever asks."""
    pair = "".join(f"{len(user)}:{user}" for user in sorted((one, other)))
    return "direct:" + base64.b32encode(hashlib.sha256(pair.encode()).digest()[:15]).decode().lower()


class RoomService:
    """The events `room:create`, `room:list`, `room:update` and `room:delete`."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def create(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`room:create`."""
        if request["kind"] == "direct":
            return await self._create_direct(client, request)
        capacity = request.get("capacity", self._house.limits.capacity)
        self._check_capacity(capacity)
        others = [user for user in dict.fromkeys(request.get("members", ())) if user != client.user.person.id]
        prefix = "private:" if request["kind"] == "private" else "room-"
        default_id = prefix + secrets.token_hex(8)
        room = await self._create(
            client,
            Room(
                uid=new_uid(),
                id=request.get("id", default_id),
                kind=request["kind"],
                title=request["title"],
                topic=request.get("topic", ""),
                capacity=capacity,
                slow_mode_s=0,
                created_at=self._house.clock(),
            ),
            others,
            role="owner",
            others_role="invited",
        )
        return {"room": await self.view(client, room)}

    async def list_rooms(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`room:list`. A token that is limited to rooms sees those only."""
        rooms = RoomList(self._house.history, client.identity, request.get("query"), request.get("mine", False))
        limit = request.get("limit", self._house.limits.page_default)
        page = await rooms.page(limit=limit, cursor=request.get("cursor"))
        return {"rooms": [self._shown(view) for view in page.rooms], "cursor": page.cursor}

    async def update(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`room:update`. Its subscribers get `room`."""
        capacity = request.get("capacity")
        async with acting(self._house, client, request, Action.UPDATE) as room:
            if capacity is not None:
                self._check_capacity(capacity)
                if capacity < room.record.members:
                    raise HubbubError("conflict", f"The room has {room.record.members} members already.")
            record = await self._house.history.update_room(
                room.uid,
                title=request.get("title"),
                topic=request.get("topic"),
                capacity=capacity,
                slow_mode_s=request.get("slow_mode_s"),
            )
            room = self._house.rooms.put(record)
            self._house.channel.publish(room.uid, "room", room_document(room.now(), epoch=self._house.epoch(room.uid)))
        return {"room": await self.view(client, room)}

    async def delete(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`room:delete`. Its members, whoever was invited and its subscribers get `room:removed`."""
        async with acting(self._house, client, request, Action.DELETE_ROOM) as room:
            if not await self._house.history.delete_room(room.uid):
                raise no_room()
            self._house.close_room(room)
        return {}

    # -- for the other services --------------------------------------------------------------------------------------

    async def view(self, client: Client, room: ActiveRoom) -> dict[str, Any]:
        """`room` as this client's user sees it."""
        view = await self._house.history.view(room.uid, client.user.person.id)
        if view is None:
            raise no_room()
        return self._shown(view)

    def check_room_count(self, standings: Mapping[str, Standing]) -> None:
        """Refuse a further membership or invitation to a user who has too many."""
        most = self._house.limits.rooms_per_user
        if sum(1 for standing in standings.values() if standing.role is not None) >= most:
            raise HubbubError("forbidden", f"A user is a member of or invited to at most {most} rooms.")

    async def announce(self, user: str, room: ActiveRoom) -> None:
        """Tell all connections of a user that they may join a room: `room:added`."""
        clients = [each for each in self._house.roster.clients(user) if each.identity.covers(room.id)]
        if clients:
            view = await self._house.history.view(room.uid, user)
            known = self._house.roster.user(user)
            standing = known.standings.get(room.uid) if known is not None else None
            # Whoever was removed meanwhile has been told so, and must not hear the opposite behind it.
            if view is not None and standing is not None and standing.role is not None:
                document = {"room": self._shown(view)}
                self._house.channel.send_many([each.outlet for each in clients], "room:added", document)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _shown(self, view: RoomView) -> dict[str, Any]:
        return room_view_document(view, epoch=self._house.epoch(view.room.uid))

    def _check_capacity(self, capacity: int) -> None:
        most = self._house.limits.capacity_max
        if capacity > most:
            fields = {"capacity": [f"More than {most}."]}
            raise HubbubError("too_large", f"A room has at most {most} members.", fields=fields)

    async def _create_direct(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        me, other = client.user.person.id, request["members"][0]
        if me == other:
            raise HubbubError("bad_request", fields={"members": ["A direct room is with somebody else."]})
        room_id = direct_room_id(me, other)
        self._require_covered(client, room_id)
        room = await self._house.rooms.get(room_id)
        if room is None:
            try:
                room = await self._create(
                    client,
                    Room(
                        uid=new_uid(),
                        id=room_id,
                        kind="direct",
                        title=request.get("title", ""),
                        topic=request.get("topic", ""),
                        capacity=2,
                        slow_mode_s=0,
                        created_at=self._house.clock(),
                    ),
                    [other],
                    role="member",
                    others_role="member",
                )
            except HubbubError as error:
                if error.code != "conflict":
                    raise
                # The other one was quicker.
                room = await self._house.find(room_id)
        return {"room": await self.view(client, room)}

    @staticmethod
    def _require_covered(client: Client, room_id: str) -> None:
        if not client.identity.covers(room_id):
            raise HubbubError("forbidden", "The token does not reach a room of this id.")

    async def _create(
        self, client: Client, record: Room, others: list[str], *, role: Role, others_role: Role
    ) -> ActiveRoom:
        self._require_covered(client, record.id)
        self.check_room_count(client.user.standings)
        for other in others:
            self.check_room_count(await self._house.history.standings_of(other))
        person = client.user.person
        at = record.created_at
        members = [(Standing(person.id, role=role, joined_at=at), person)]
        for other in others:
            standing = Standing(other, role=others_role, joined_at=at)
            members.append((standing, await self._house.person(other)))
        room = self._house.rooms.put(await self._house.history.create_room(record, members))
        for standing, _ in members:
            self._house.roster.update(room.uid, standing.user, standing)
        # The creator of a direct room may be looking at another device; of other rooms the ack is enough.
        told = [person.id, *others] if record.kind == "direct" else others
        for user in told:
            await self.announce(user, room)
        return room
