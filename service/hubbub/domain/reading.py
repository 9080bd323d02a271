"""Joining a room and reading its history.

A join must lose nothing and repeat nothing between the page it returns and the first event that follows it. The page
was read at some head `h`; when it arrives here the room's feed may have gone on. So: wait until the feed has
delivered `h`, then, in one turn of the loop, subscribe, answer with `h`, and send behind the answer what the feed
delivered after `h`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Literal

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.delivery import Delivery
from hubbub.domain.documents import message_document, room_view_document
from hubbub.domain.feeds import Revision
from hubbub.domain.house import House, no_room
from hubbub.domain.limits import PAGE_BYTES
from hubbub.domain.membership import Membership
from hubbub.domain.permissions import Action, is_banned
from hubbub.domain.phrases import phrases_of
from hubbub.domain.roomservice import RoomService
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.history.base import MEMBER_ROLES, MessagePage, RoomView

__all__ = ["Reading"]

_Outcome = Literal["full", "partial", "reset"]
_JOIN_TRIES: Final = 5
_DELIVERY_TIMEOUT_S: Final = 5.0


class Reading:
    """The events `room:join`, `history:*` and `read:mark`."""

    def __init__(self, house: House, delivery: Delivery, rooms: RoomService, membership: Membership) -> None:
        self._house = house
        self._delivery = delivery
        self._rooms = rooms
        self._membership = membership

    async def join(
        self, client: Client, request: dict[str, Any], *, after_ack: Callable[[Callable[[], None]], None]
    ) -> dict[str, Any]:
        """`room:join`. What is given to `after_ack` must run behind the ack, in the same turn of the loop.

        Whoever is subscribed already is not while this goes on, and stays so if it fails: what went out meanwhile could
        otherwise come twice.
        """
        room = await self._house.enter(client, request["room"], Action.JOIN)
        self._house.channel.unsubscribe(client.outlet, room.uid)
        client.joined.discard(room.uid)
        await self._become_member(client, room)
        for _ in range(_JOIN_TRIES):
            room.joining += 1
            try:
                page, outcome, view, members = await self._read_join(client, room, request)
                self._delivery.know(room, page.head)
                if room.feed.delivered < page.head:
                    async with asyncio.timeout(_DELIVERY_TIMEOUT_S):
                        await room.wait_delivered(page.head)
                backlog = room.feed.backlog(page.head)
            except TimeoutError:
                raise HubbubError("unavailable", retry_after=1) from None
            finally:
                room.end_join()
            # Much may have happened while we waited; what decides is how it stands now.
            if self._house.rooms.by_uid(room.uid) is not room:
                room = await self._house.enter(client, request["room"], Action.JOIN)
                await self._become_member(client, room)
                continue
            self._check_still_member(client, room)
            if backlog is not None:
                break
        else:
            raise HubbubError("unavailable", "The room changes faster than it can be read.", retry_after=1)
        if client.outlet.is_open:
            self._house.channel.subscribe(client.outlet, room.uid)
            client.joined.add(room.uid)
            after_ack(lambda: self._send_backlog(client, room, backlog))
        return {
            "room": {**room_view_document(view), "head": page.head},
            "messages": [message_document(room.id, message) for message in page.messages],
            "outcome": outcome,
            "head": page.head,
            "next": self._next(page, outcome),
            "members": members,
        }

    async def fetch(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`history:fetch`."""
        room = await self._house.enter(client, request["room"], Action.READ)
        page = await self._house.history.page(
            room.uid,
            before=request.get("before"),
            after=request.get("after"),
            around=request.get("around"),
            limit=self._limit(request),
            max_bytes=PAGE_BYTES,
        )
        return {
            "messages": [message_document(room.id, message) for message in page.messages],
            "more_before": page.more_before,
            "more_after": page.more_after,
        }

    async def sync(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`history:sync`. Without `epoch` it is taken to be the room's."""
        room = await self._house.enter(client, request["room"], Action.READ)
        page, outcome = await self._changes(room, request["since"], request.get("epoch"), self._limit(request))
        return {
            "messages": [message_document(room.id, message) for message in page.messages],
            "outcome": outcome,
            "next": self._next(page, outcome),
            "head": page.head,
        }

    async def search(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`history:search`, in one room or in all that the caller may read."""
        phrases = phrases_of(request["query"])
        if not phrases:
            raise HubbubError("bad_request", fields={"query": ["Holds no word."]})
        uids, public = await self._searched(client, request.get("room"))
        page = await self._house.history.search(
            uids=uids, public=public, phrases=phrases, limit=self._limit(request), cursor=request.get("cursor")
        )
        hits = [
            message_document(room_id, message)
            for room_id, message in zip(page.room_ids, page.messages, strict=True)
            if client.identity.covers(room_id) and self._may_see_hit(client, message.uid)
        ]
        return {"messages": hits, "cursor": page.cursor}

    async def mark(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`read:mark`. The room's subscribers and the user's other connections get `read`."""
        room = await self._house.enter(client, request["room"], Action.MARK)
        user = client.user.person.id
        read_seq, unread = await self._house.history.mark_read(room.uid, user, request["seq"])
        document = {"room": room.id, "user": user, "seq": read_seq}
        key = ("read", room.uid, user)
        self._house.channel.publish(room.uid, "read", document, skip=client.outlet, volatile=True, key=key)
        others = [
            each.outlet
            for each in self._house.roster.clients(user)
            if each is not client and room.uid not in each.joined and each.identity.covers(room.id)
        ]
        self._house.channel.send_many(others, "read", document, volatile=True, key=key)
        return {"read_seq": read_seq, "unread": unread}

    # -- inside ------------------------------------------------------------------------------------------------------

    def _limit(self, request: dict[str, Any]) -> int:
        limit: int = request.get("limit", self._house.limits.page_default)
        return limit

    def _check_still_member(self, client: Client, room: ActiveRoom) -> None:
        """Whoever was removed while the page was read has been told so, and must not be subscribed behind it."""
        self._house.require(client, room, Action.READ)
        standing = client.user.standings.get(room.uid)
        if standing is None or standing.role not in MEMBER_ROLES:
            raise HubbubError("conflict", "The membership ended while the room was being joined.")

    async def _become_member(self, client: Client, room: ActiveRoom) -> None:
        standing = client.user.standings.get(room.uid)
        if standing is not None and standing.role in MEMBER_ROLES:
            return
        if standing is None or standing.role is None:
            self._rooms.check_room_count(client.user.standings)
        if client.identity.is_admin and is_banned(standing, self._house.clock()):
            # The table lets administrators in whatever a room's moderators decided; the store must come to agree.
            lifted = await self._house.history.ban(room.uid, client.user.person.id, until=0)
            self._house.roster.update(room.uid, client.user.person.id, lifted[0])
        private = room.record.kind != "public" and not client.identity.is_admin
        standing, new, count = await self._house.history.join(
            room.uid, client.user.person, at=self._house.clock(), need_invite=private
        )
        self._house.roster.update(room.uid, client.user.person.id, standing)
        room.set_members(count)
        if new:
            await self._house.tell_member(room, standing.user, {"role": standing.role})

    async def _read_join(
        self, client: Client, room: ActiveRoom, request: dict[str, Any]
    ) -> tuple[MessagePage, _Outcome, RoomView, list[dict[str, Any]] | None]:
        since = request.get("since")
        if since is not None and request.get("epoch", room.uid) != room.uid:
            since = None
        landing = await self._house.history.landing(
            room.uid,
            client.user.person.id,
            since=since,
            limit=self._limit(request),
            max_bytes=PAGE_BYTES,
            members_most=self._house.limits.members_listed,
        )
        if landing is None:
            raise no_room()
        page = landing.page
        outcome: _Outcome = "full"
        if "since" in request:
            is_reset = since is None or since > page.head
            outcome = "reset" if is_reset else "partial" if page.more_after else "full"
        members = None if landing.members is None else self._membership.listed(landing.members)
        return page, outcome, landing.view, members

    async def _changes(
        self, room: ActiveRoom, since: int, epoch: str | None, limit: int
    ) -> tuple[MessagePage, _Outcome]:
        """What changed after `since`; the newest page if the client's state is not of this room's history."""
        if epoch is None or epoch == room.uid:
            page = await self._house.history.changes(room.uid, since=since, limit=limit, max_bytes=PAGE_BYTES)
            if since <= page.head:
                return page, "partial" if page.more_after else "full"
        return await self._house.history.page(room.uid, limit=limit, max_bytes=PAGE_BYTES), "reset"

    @staticmethod
    def _next(page: MessagePage, outcome: _Outcome) -> int:
        """From which revision on the client must ask again: the head, when there is nothing to ask for."""
        return page.messages[-1].rev if outcome == "partial" else page.head

    def _send_backlog(self, client: Client, room: ActiveRoom, backlog: Any) -> None:
        revisions: list[Revision] = list(backlog)
        for rev, message in revisions:
            client.outlet.emit("message", message_document(room.id, message, rev=rev))

    async def _searched(self, client: Client, room_id: str | None) -> tuple[list[str], bool]:
        """The uids to search in, and whether to search all public rooms as well."""
        if room_id is not None:
            room = await self._house.enter(client, room_id, Action.READ)
            return [room.uid], False
        uids = [uid for uid, standing in client.user.standings.items() if standing.role in MEMBER_ROLES]
        return uids, True

    def _may_see_hit(self, client: Client, uid: str) -> bool:
        """A search of all public rooms must not show one that bans the caller."""
        standing = client.user.standings.get(uid)
        return standing is None or client.identity.is_admin or standing.banned_until <= self._house.clock()
