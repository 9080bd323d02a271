"""Who belongs to a room: joining is in `reading`; here are leaving, inviting and what moderators do.

Each of these first changes the store, then what is in memory, then tells who is concerned: all in the turn of the
loop in which the store's answer arrives, so that the order of events is the order of commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.documents import member_document
from hubbub.domain.house import House
from hubbub.domain.moderation.acting import acting
from hubbub.domain.permissions import Action, is_banned
from hubbub.domain.roomservice import RoomService
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, MEMBER_ROLES, Person, Standing

__all__ = ["Membership"]


class Membership:
    """The events `room:leave`, `room:invite`, `room:kick`, `room:ban`, `room:unban`, `room:mute`, `room:role` and
    `room:members`.
    """

    def __init__(self, house: House, rooms: RoomService) -> None:
        self._house = house
        self._rooms = rooms

    async def leave(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`room:leave`. Leaving a room that one is not in is no error."""
        room = await self._house.enter(client, request["room"], Action.LEAVE)
        user = client.user.person.id
        standing = client.user.standings.get(room.uid)
        if standing is None or standing.role is None:
            return {}
        left = await self._house.history.leave(room.uid, user)
        if left.ended is None:
            return {}  # Somebody removed the user meanwhile, and has told everybody of it.
        self._forget(room, user, left.members, standing=left.standing, reason="left")
        self._tell_removed(room, user, {"reason": "left"}, skip=client)
        await self._tell_room(room, user, left.heir, was_member=left.ended in MEMBER_ROLES)
        return {}

    async def invite(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`room:invite`. The user gets `room:added`; inviting a member changes nothing."""
        room = await self._house.enter(client, request["room"], Action.INVITE)
        user = request["user"]
        person = await self._house.person(user)
        self._rooms.check_room_count(await self._house.history.standings_of(user))
        invited = await self._house.history.invite(room.uid, person, at=self._house.clock())
        if invited is not None:
            self._house.roster.update(room.uid, user, invited)
            await self._rooms.announce(user, room)
        return {}

    async def kick(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`room:kick`. `not_found` if the user is no member."""
        async with acting(self._house, client, request, Action.KICK) as room:
            user = request["user"]
            left = await self._house.history.leave(room.uid, user, kicked=True, text=request.get("reason") or "")
            if left.ended is None:
                raise HubbubError("not_found", "There is no such member.")
            self._forget(room, user, left.members, standing=left.standing, reason="kicked")
            self._tell_removed(room, user, {"reason": "kicked"} | self._words(request))
            await self._tell_room(room, user, left.heir, was_member=left.ended in MEMBER_ROLES)
        return {}

    async def ban(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`room:ban`. Members are removed; others are kept out."""
        user, seconds = request["user"], request.get("seconds")
        if seconds == 0:
            await self._house.enter(client, request["room"], Action.BAN)
            raise HubbubError("bad_request", fields={"seconds": ["A ban lasts at least a second; see room:unban."]})
        async with acting(self._house, client, request, Action.BAN) as room:
            standing, was_member, count, heir = await self._house.history.ban(
                room.uid, user, until=self._until(seconds), text=request.get("reason") or ""
            )
            self._forget(room, user, count, standing=standing, reason="banned")
            if standing.knew:
                self._tell_removed(room, user, {"reason": "banned"} | self._words(request))
            await self._tell_room(room, user, heir, was_member=was_member)
        return {}

    async def unban(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`room:unban`. Ending a ban that is not there is no error."""
        async with acting(self._house, client, request, Action.UNBAN) as room:
            standing = await self._house.standing(room.uid, request["user"])
            if standing is not None and is_banned(standing, self._house.clock()):
                now_standing, _, _, _ = await self._house.history.ban(room.uid, request["user"], until=0)
                self._house.roster.update(room.uid, request["user"], now_standing)
        return {}

    async def mute(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`room:mute`. `seconds: 0` ends a mute."""
        seconds = request.get("seconds")
        async with acting(self._house, client, request, Action.MUTE) as room:
            until = 0 if seconds == 0 else self._until(seconds)
            standing = await self._house.history.mute(room.uid, request["user"], until=until)
            self._house.roster.update(room.uid, request["user"], standing)
        return {}

    async def role(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`room:role`. The room gets `member`."""
        async with acting(self._house, client, request, Action.ROLE, reason=request["role"]) as room:
            standing = await self._house.history.set_role(room.uid, request["user"], request["role"])
            self._house.roster.update(room.uid, request["user"], standing)
            await self._house.tell_member(room, standing.user, {"role": standing.role})
        return {}

    async def members(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`room:members`."""
        room = await self._house.enter(client, request["room"], Action.MEMBERS)
        limit = request.get("limit", self._house.limits.page_default)
        page = await self._house.history.members(room.uid, limit=limit, cursor=request.get("cursor"))
        return {"members": self.listed(page.members, admin=client.identity.is_admin), "cursor": page.cursor}

    # -- for the other services --------------------------------------------------------------------------------------

    def listed(self, members: Sequence[tuple[Standing, Person]], *, admin: bool = False) -> list[dict[str, Any]]:
        """The documents of members, as others see them, or administrators."""
        return [member_document(standing, self._house.user(person, admin=admin)) for standing, person in members]

    # -- inside ------------------------------------------------------------------------------------------------------

    def _until(self, seconds: int | None) -> int:
        return FOREVER if seconds is None else self._house.clock() + seconds * 1000

    def _forget(self, room: ActiveRoom, user: str, count: int, *, standing: Standing | None, reason: str) -> None:
        """A membership or an invitation is over in the store: so it is in memory. `standing` is what stays of it."""
        house = self._house
        house.roster.update(room.uid, user, standing)
        room.set_members(count)
        house.end_membership(room, user, reason)

    def _tell_removed(self, room: ActiveRoom, user: str, why: dict[str, Any], *, skip: Client | None = None) -> None:
        """`room:removed`, to all connections of the user."""
        outlets = self._house.outlets(user, room, skip=skip)
        self._house.channel.send_many(outlets, "room:removed", {"room": room.id, **why})

    async def _tell_room(self, room: ActiveRoom, user: str, heir: Standing | None, *, was_member: bool) -> None:
        """`member`, of who left and of who became owner by that."""
        if heir is not None:
            self._house.roster.update(room.uid, heir.user, heir)
        if was_member:
            await self._house.tell_member(room, user, {"left": True})
        if heir is not None:
            await self._house.tell_member(room, heir.user, {"role": heir.role})

    @staticmethod
    def _words(request: dict[str, Any]) -> dict[str, Any]:
        """What the moderator said about it."""
        return {"text": request["reason"]} if request.get("reason") else {}
