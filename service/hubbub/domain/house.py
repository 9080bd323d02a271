"""What the services of the domain share, and the ways in which a room is entered.

Every action on a room begins with `House.enter` (or `find`, where the refusal comes later): it finds the room, hides it
from those who may not know of it, and asks the table of permissions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hubbub.domain.activerooms import ActiveRoom, ActiveRooms
from hubbub.domain.clock import Clock
from hubbub.domain.control.audit import Auditor
from hubbub.domain.documents import user_document
from hubbub.domain.identity import Identity
from hubbub.domain.limits import Limits
from hubbub.domain.permissions import Action, decide
from hubbub.domain.ports import Channel, Outlet, WritePort
from hubbub.domain.presence.service import Presence
from hubbub.domain.presence.watchers import Watchers
from hubbub.domain.roster import Client, Roster, User
from hubbub.domain.whispers import Whispers
from hubbub.errors import Code, HubbubError
from hubbub.history.base import History, Person, Standing

__all__ = ["House", "no_room"]


def no_room() -> HubbubError:
    """The one answer for a room that is not there and for one that the caller may not know of."""
    return HubbubError("not_found", "There is no such room.")


@dataclass(frozen=True, slots=True)
class House:
    """The parts that every service of the domain works with."""

    history: History
    writer: WritePort
    channel: Channel
    roster: Roster
    rooms: ActiveRooms
    clock: Clock
    limits: Limits
    presence: Presence
    watchers: Watchers
    whispers: Whispers
    auditor: Auditor

    def epoch(self, uid: str) -> str:
        """What a room's revisions count in: another for a room that was made anew under the same id, and for a store
        that was put back from a copy, where revisions that clients know are given away again.
        """
        incarnation = self.history.incarnation
        return f"{uid}.{incarnation}" if incarnation else uid

    async def find(self, room_id: str) -> ActiveRoom:
        """The room, or `not_found`. Says nothing of who may know it."""
        room = await self.rooms.get(room_id)
        if room is None:
            raise no_room()
        return room

    async def enter(self, client: Client, room_id: str, action: Action) -> ActiveRoom:
        """The room, if the client may do this in it; else the refusal."""
        room = self.rooms.known(room_id) or await self.find(room_id)
        self.require(client, room, action)
        return room

    def require(self, client: Client, room: ActiveRoom, action: Action) -> None:
        """Raise the refusal if the client may not do this in the room."""
        refusal = self.refusal(client, room, action)
        if refusal == "not_found":
            raise no_room()
        if refusal is not None:
            raise HubbubError(refusal)

    def refusal(self, client: Client, room: ActiveRoom, action: Action) -> Code | None:
        """The code of the refusal, None if the client may do this in the room."""
        return self.refusal_of(client.user, client.identity, room, action)

    def refusal_of(self, user: User, identity: Identity, room: ActiveRoom, action: Action) -> Code | None:
        """The same, for a user with this identity."""
        if not identity.covers(room.id):
            return "not_found"
        return decide(action, room.record.kind, user.standings.get(room.uid), identity, now=self.clock())

    async def standing(self, uid: str, user: str) -> Standing | None:
        """How any user stands to a room, connected or not."""
        known = self.roster.user(user)
        if known is not None and known.loading is None:
            return known.standings.get(uid)
        return await self.history.standing(uid, user)

    async def person(self, user_id: str) -> Person:
        """Any user; one whom nobody has seen has their id for a name."""
        known = self.roster.user(user_id)
        if known is not None:
            return known.person
        seen = (await self.history.people([user_id])).get(user_id)
        return seen[0] if seen is not None else Person(user_id, user_id)

    def user(self, person: Person, *, admin: bool = False) -> dict[str, Any]:
        """`user`, as others see them now, or administrators."""
        return user_document(person, self.presence.face(person.id, admin=admin))

    def own_user(self, client: Client) -> dict[str, Any]:
        """`user`, as they see themselves."""
        face = self.presence.face(client.user.person.id, admin=True)
        return user_document(client.user.person, face)

    def outlets(self, user_id: str, room: ActiveRoom, *, skip: Client | None = None) -> list[Outlet]:
        """The connections of a user whose tokens reach this room."""
        return [
            each.outlet for each in self.roster.clients(user_id) if each is not skip and each.identity.covers(room.id)
        ]

    async def tell_member(self, room: ActiveRoom, user_id: str, news: Mapping[str, Any]) -> None:
        """Tell the room's subscribers of somebody's membership: `member`."""
        if self.channel.size(room.uid):
            user = self.user(await self.person(user_id))
            self.channel.publish(room.uid, "member", {"room": room.id, "user": user, **news})

    def end_membership(self, room: ActiveRoom, user_id: str, reason: str) -> None:
        """A user is not in a room any more: none of their connections is subscribed to it, and none watches it that may
        not read it now.
        """
        for each in self.roster.clients(user_id):
            each.joined.discard(room.uid)
            self.channel.unsubscribe(each.outlet, room.uid)
        for each in self.roster.watchers(user_id):
            if self.refusal(each, room, Action.READ) is not None:
                self.watchers.end(each, room.uid, reason)
        self.presence.leave(user_id, room.uid)

    def close_room(self, room: ActiveRoom) -> None:
        """A room is gone from the store: tell its members, whoever was invited and its subscribers, and forget it."""
        self.close(room.uid, room.id)

    def close(self, uid: str, room_id: str) -> None:
        """The same, of a room that need not be in memory. Nobody is told twice."""
        document = {"room": room_id, "reason": "deleted"}
        elsewhere = [
            each.outlet
            for user in self.roster.with_role(uid)
            for each in user.clients
            if uid not in each.joined and each.identity.covers(room_id)
        ]
        self.channel.publish(uid, "room:removed", document)
        self.channel.send_many(elsewhere, "room:removed", document)
        self.channel.close(uid)
        self.presence.close_room(uid)
        for each in self.roster.watching(uid):
            self.watchers.end(each, uid, "deleted")
        self.rooms.forget(uid)
        self.roster.forget_room(uid)
