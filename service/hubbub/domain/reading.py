"""Joining a room and reading its history.

A join must lose nothing and repeat nothing between the page it returns and the first event that follows it. How the
user sees the room was read at some head `h`, for all who joined at that moment (`views`); the page is cut for the same
`h` from what was read for everybody (`pages`). When both are here the room's feed may have gone on. So: wait until the
feed has delivered `h`, then, in one turn of the loop, subscribe, answer with `h`, and send behind the answer what the
feed delivered after `h`.

What is shared is what was read. Whether a client may read it is asked for each of them, before and after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.delivery import Delivery
from hubbub.domain.documents import message_document, room_view_document
from hubbub.domain.house import House, no_room
from hubbub.domain.limits import PAGE_BYTES
from hubbub.domain.membership import Membership
from hubbub.domain.pages import Pages
from hubbub.domain.permissions import Action, is_banned
from hubbub.domain.phrases import phrases_of
from hubbub.domain.roomservice import RoomService
from hubbub.domain.roster import Client
from hubbub.domain.stretch import Cut
from hubbub.domain.views import Seen, ViewReader
from hubbub.errors import HubbubError
from hubbub.history.base import MEMBER_ROLES

__all__ = ["Reading"]

_Outcome = Literal["full", "partial", "reset"]
_JOIN_TRIES: Final = 5
_DELIVERY_TIMEOUT_S: Final = 5.0


class Reading:
    """The events `room:join`, `history:*` and `read:mark`. `on_read` is told of each read of the store for joins and
    syncs by its kind: `landing`, `views`, `changes` or `newest`.
    """

    def __init__(
        self,
        house: House,
        delivery: Delivery,
        rooms: RoomService,
        membership: Membership,
        *,
        on_read: Callable[[str], None] | None = None,
    ) -> None:
        self._house = house
        self._delivery = delivery
        self._rooms = rooms
        on_read = on_read or (lambda kind: None)
        self._pages = Pages(house.history, house.clock, on_read=on_read)
        self._views = ViewReader(house.history, self._pages, house.limits, listed=membership.listed, on_read=on_read)

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
        try:
            return await self._land(client, room, request, after_ack)
        except BaseException:
            if client.held is not None:
                self._house.presence.lapse(client.held, room.uid)
            raise

    async def _land(
        self,
        client: Client,
        room: ActiveRoom,
        request: dict[str, Any],
        after_ack: Callable[[Callable[[], None]], None],
    ) -> dict[str, Any]:
        """The rest of a join."""
        await client.outlet.wait_room()
        await self.become_member(client, room)
        for _ in range(_JOIN_TRIES):
            room.joining += 1
            try:
                seen, cut, outcome = await self._read_join(client, room, request)
                head = seen.view.room.head
                if room.feed.delivered < head:
                    self._delivery.expect(room, head)
                    async with asyncio.timeout(_DELIVERY_TIMEOUT_S):
                        await room.wait_delivered(head)
                backlog = room.feed.backlog(head)
            except TimeoutError:
                raise HubbubError("unavailable", retry_after=1) from None
            finally:
                room.end_join()
            # Much may have happened while we waited; what decides is how it stands now.
            if self._house.rooms.by_uid(room.uid) is not room:
                room = await self._house.enter(client, request["room"], Action.JOIN)
                await self.become_member(client, room)
                continue
            self._check_still_member(client, room)
            if backlog is not None:
                break
        else:
            raise HubbubError("unavailable", "The room changes faster than it can be read.", retry_after=1)
        if client.outlet.is_open:
            self._house.channel.subscribe(client.outlet, room.uid)
            client.joined.add(room.uid)
            if client.held is not None:
                self._house.presence.join(client.held, room.uid)
            if backlog:
                events = [self._pages.event(room, rev, message) for rev, message in backlog]
                after_ack(lambda: self._send(client, events))
        return {
            "room": room_view_document(seen.view, epoch=self._house.epoch(room.uid)),
            "messages": cut.messages,
            "outcome": outcome,
            "head": head,
            "next": cut.end,
            "members": seen.members,
        }

    def stop(self) -> None:
        """Read nothing more for those who wait."""
        self._views.stop()
        self._pages.stop()

    async def fetch(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """`history:fetch`."""
        room = await self._house.enter(client, request["room"], Action.READ)
        await client.outlet.wait_room()
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
        await client.outlet.wait_room()
        room.joining += 1
        try:
            cut, outcome, head = await self._read_sync(room, request)
        finally:
            room.end_join()
        self._house.require(client, room, Action.READ)
        return {"messages": cut.messages, "outcome": outcome, "next": cut.end, "head": head}

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
        """`read:mark`. The user's other connections get `read`, and so do the room's subscribers, unless there are many
        or the user is invisible.
        """
        room = await self._house.enter(client, request["room"], Action.MARK)
        user = client.user.person.id
        read_seq, unread = await self._house.history.mark_read(room.uid, user, request["seq"])
        document = {"room": room.id, "user": user, "seq": read_seq}
        key = ("read", room.uid, user)
        hidden = self._house.presence.is_hidden(user)
        quiet = hidden or not self._house.whispers.say(room.uid, "read", user, document, skip=client.outlet)
        if quiet:
            self._house.whispers.say_elsewhere(room.uid, "read", user, document)
        others = [
            each.outlet
            for each in self._house.roster.clients(user)
            if each is not client and (quiet or room.uid not in each.joined) and each.identity.covers(room.id)
        ]
        self._house.channel.send_many(others, "read", document, volatile=True, key=key)
        return {"read_seq": read_seq, "unread": unread}

    async def become_member(self, client: Client, room: ActiveRoom) -> None:
        """Make the client's user a member, unless they are one. Whether they may was asked before."""
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
        client.user.standings[room.uid] = standing  # Whoever has no connection is not in the roster.
        room.set_members(count)
        if new:
            await self._house.tell_member(room, standing.user, {"role": standing.role})

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

    async def _read_join(self, client: Client, room: ActiveRoom, request: dict[str, Any]) -> tuple[Seen, Cut, _Outcome]:
        limit, since = self._limit(request), request.get("since")
        if since is not None and not self._is_of(room, request):
            since = None
        seen = await self._views.read(room, client.user.person.id, since=since, limit=limit)
        if seen is None:
            raise no_room()
        head = seen.view.room.head
        if since is None or since > head:
            newest = await self._pages.newest(room, limit=limit, head=head)
            return seen, newest.cut(head), "reset" if "since" in request else "full"
        stretch = await self._pages.stretch(room, since=since, limit=limit, head=head)
        cut = stretch.cut(since, upto=head, limit=limit, max_bytes=PAGE_BYTES)
        return seen, cut, "partial" if cut.is_partial else "full"

    async def _read_sync(self, room: ActiveRoom, request: dict[str, Any]) -> tuple[Cut, _Outcome, int]:
        """What changed after `since`, and the head; the newest page if the client's state is not of this room's
        history.
        """
        limit, since, head = self._limit(request), request["since"], room.feed.known
        if self._is_of(room, request):
            stretch = await self._pages.stretch(room, since=since, limit=limit, head=head)
            if since <= stretch.head:
                cut = stretch.cut(since, upto=stretch.head, limit=limit, max_bytes=PAGE_BYTES)
                return cut, "partial" if cut.is_partial else "full", stretch.head
        newest = await self._pages.newest(room, limit=limit, head=head)
        return newest.cut(newest.head), "reset", newest.head

    def _is_of(self, room: ActiveRoom, request: dict[str, Any]) -> bool:
        """Whether `since` counts in what the room's revisions count in."""
        return request.get("epoch") in (None, self._house.epoch(room.uid))

    @staticmethod
    def _send(client: Client, events: Sequence[memoryview]) -> None:
        for event in events:
            client.outlet.emit("message", event)

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
