"""The rooms that this node is busy with: their records, and their feeds to the local subscribers.

`Delivery` is the one place where a change of a room becomes an event. What the writer reports goes through the room's
feed, so that every subscriber gets every revision once and in order; what the feed misses is read from the store.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import structlog

from hubbub.domain.activity import Activity
from hubbub.domain.documents import message_document
from hubbub.domain.feeds import Feed, Revision
from hubbub.domain.ports import Channel
from hubbub.errors import HubbubError
from hubbub.history.base import History, Room, Written

__all__ = ["ActiveRoom", "ActiveRooms", "Delivery"]

_log = structlog.get_logger("hubbub.rooms")

_FILL_RETRY_S: Final = 0.5


class ActiveRoom:
    """A room in memory. `record.head` lags behind; `now` has the head as it is delivered. `joining` is how many joins
    are under way: for them the feed keeps what goes by, even while nobody listens yet.
    """

    __slots__ = ("_waiters", "feed", "filling", "id", "joining", "last_sent", "record", "uid")

    def __init__(self, record: Room) -> None:
        self.record = record
        self.uid = record.uid
        self.id = record.id
        self.feed = Feed(record.head)
        self.filling = False
        self.joining = 0
        self.last_sent: dict[str, int] = {}
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> Room:
        """The record with the head as it is delivered."""
        return replace(self.record, head=max(self.record.head, self.feed.delivered))

    def set_members(self, count: int) -> None:
        self.record = replace(self.record, members=count)

    async def wait_delivered(self, rev: int) -> None:
        """Return when the feed has delivered `rev`."""
        if self.feed.delivered < rev:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append((rev, waiter))
            await waiter

    def end_join(self) -> None:
        """A join is over, or tries again. What the feed kept for it is dropped with the last one."""
        self.joining -= 1
        if self.joining == 0:
            self.feed.drop_backlog()

    def wake(self) -> None:
        """Let those go on who wait for what is delivered now."""
        if self._waiters:
            for rev, waiter in self._waiters:
                if rev <= self.feed.delivered and not waiter.done():
                    waiter.set_result(None)
            self._waiters = [each for each in self._waiters if not each[1].done()]


class ActiveRooms:
    """A cache of rooms by id and by uid. Rooms with subscribers stay; of the others, the `keep` used last."""

    def __init__(self, history: History, channel: Channel, *, keep: int = 4096) -> None:
        self._history = history
        self._channel = channel
        self._keep = self._look_at = keep
        self._by_id: OrderedDict[str, ActiveRoom] = OrderedDict()
        self._by_uid: dict[str, ActiveRoom] = {}
        self._loading: dict[str, asyncio.Task[ActiveRoom | None]] = {}
        self._gone: set[str] = set()

    def by_uid(self, uid: str) -> ActiveRoom | None:
        return self._by_uid.get(uid)

    def known(self, room_id: str) -> ActiveRoom | None:
        """The room of this id if it is in memory."""
        room = self._by_id.get(room_id)
        if room is not None:
            self._by_id.move_to_end(room_id)
        return room

    async def get(self, room_id: str) -> ActiveRoom | None:
        """The room of this id, None if there is none."""
        room = self.known(room_id)
        if room is not None:
            return room
        task = self._loading.get(room_id)
        if task is None:
            task = self._loading[room_id] = asyncio.ensure_future(self._load(room_id))
        return await asyncio.shield(task)

    def put(self, record: Room) -> ActiveRoom:
        """Take in a record that the store just returned; one that is here already keeps its feed."""
        room = self._by_uid.get(record.uid)
        if room is not None:
            room.record = replace(record, head=max(record.head, room.record.head))
            return room
        room = ActiveRoom(record)
        self._by_id[record.id] = room
        self._by_uid[record.uid] = room
        self._evict()
        return room

    def forget(self, uid: str) -> None:
        if self._loading:
            self._gone.add(uid)
        room = self._by_uid.pop(uid, None)
        if room is not None and self._by_id.get(room.id) is room:
            del self._by_id[room.id]

    async def _load(self, room_id: str) -> ActiveRoom | None:
        try:
            record = await self._history.room(room_id)
            # One that was deleted while it was being read must not come back.
            return self.put(record) if record is not None and record.uid not in self._gone else None
        finally:
            del self._loading[room_id]
            if not self._loading:
                self._gone.clear()

    def _evict(self) -> None:
        if len(self._by_id) <= self._look_at:
            return
        idle = [room for room in self._by_id.values() if self._channel.size(room.uid) == 0]
        for room in idle[: max(len(idle) - self._keep, 0)]:
            self.forget(room.uid)
        # A look costs what there are rooms, so the next one is when some more have come.
        self._look_at = len(self._by_id) + self._keep // 8


class Delivery:
    """From what the writer reports to the events that subscribers get."""

    def __init__(self, history: History, rooms: ActiveRooms, channel: Channel, activity: Activity) -> None:
        self._history = history
        self._rooms = rooms
        self._channel = channel
        self._activity = activity
        self._fills: set[asyncio.Task[None]] = set()

    def written(self, uid: str, written: Written) -> None:
        """A revision was claimed and is durable. Called in commit order."""
        message = written.message
        if written.claimed == message.seq:
            self._activity.touch(uid, message)
        room = self._rooms.by_uid(uid)
        if room is None:
            return
        feed = room.feed
        is_next = written.claimed == feed.delivered + 1
        if self._channel.size(uid) == 0 and not (room.joining > 0 and is_next):
            feed.advance(written.claimed)
        else:
            ready = feed.offer(written.claimed, message)
            if is_next and len(ready) == 1:
                # By far the most: nothing was missing. The sender's ack shows the same document.
                written.shown = document = message_document(room.id, message, rev=written.claimed)
                self._channel.publish(uid, "message", document)
                if room.joining == 0:
                    feed.drop_backlog()
            else:
                self._emit(room, ready)
            if feed.hole is not None:
                self.repair(room)
        room.wake()

    def know(self, room: ActiveRoom, head: int) -> None:
        """The store's head was read: a hole below it is filled, unless its revisions are on their way."""
        if self._channel.size(room.uid) == 0:
            if head > room.feed.delivered:
                room.feed.advance(head)
            room.wake()
        else:
            room.feed.know(head)
            if room.feed.hole is not None:
                self.repair(room)

    def repair(self, room: ActiveRoom) -> None:
        """Fill the feed's hole from the store."""
        if not room.filling:
            room.filling = True
            task = asyncio.ensure_future(self._fill(room))
            self._fills.add(task)
            task.add_done_callback(self._fills.discard)

    def stop(self) -> None:
        for task in self._fills:
            task.cancel()

    async def _fill(self, room: ActiveRoom) -> None:
        try:
            while (hole := room.feed.hole) is not None:
                after, upto = hole
                try:
                    revisions = await self._history.revisions(room.uid, after=after, upto=upto)
                except HubbubError as error:
                    _log.warning("feed.fill_failed", room=room.uid, code=error.code)
                    await asyncio.sleep(_FILL_RETRY_S)
                    continue
                self._emit(room, room.feed.fill(revisions))
                room.wake()
                if not revisions and room.feed.hole == hole:
                    # The room was deleted beneath us: there is nothing to fill it from.
                    return
        finally:
            room.filling = False

    def _emit(self, room: ActiveRoom, revisions: Sequence[Revision]) -> None:
        for rev, message in revisions:
            self._channel.publish(room.uid, "message", message_document(room.id, message, rev=rev))
        if room.joining == 0:
            room.feed.drop_backlog()
