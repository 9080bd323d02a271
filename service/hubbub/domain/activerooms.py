"""The rooms that this node is busy with: their records, and their feeds to the local subscribers."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from hubbub.domain.feeds import Feed
from hubbub.domain.ports import Channel
from hubbub.history.base import History, Room

__all__ = ["ActiveRoom", "ActiveRooms"]

SENDERS_REMEMBERED: Final = 10_000
"""Of a slow room. The store knows of the others."""


class ActiveRoom:
    """A room in memory. `record.head` lags behind; `now` has the head as it is delivered. `joining` is how many joins
    are under way: for them the feed keeps what goes by, even while nobody listens yet. `last_sent` is for slow mode:
    when users sent something last, as far as this node has seen it.
    """

    __slots__ = ("_waiters", "feed", "id", "joining", "last_sent", "record", "uid")

    def __init__(self, record: Room) -> None:
        self.record = record
        self.uid = record.uid
        self.id = record.id
        self.feed = Feed(record.head)
        self.joining = 0
        self.last_sent: dict[str, int] = {}
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    def now(self) -> Room:
        """The record with the head as it is delivered."""
        return replace(self.record, head=max(self.record.head, self.feed.delivered))

    def note_sent(self, user: str, at: int) -> None:
        """A user sent something at `at`, as far as slow mode is concerned."""
        last = self.last_sent.pop(user, 0)
        self.last_sent[user] = max(last, at)
        if len(self.last_sent) > SENDERS_REMEMBERED:
            del self.last_sent[next(iter(self.last_sent))]

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
    """A cache of rooms by id and by uid. Rooms with subscribers or watchers stay; of others, the `keep` used last."""

    def __init__(
        self,
        history: History,
        channel: Channel,
        *,
        keep: int = 4096,
        is_watched: Callable[[str], bool] = lambda uid: False,
    ) -> None:
        self._history = history
        self._channel = channel
        self._is_watched = is_watched
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

    @property
    def is_loading(self) -> bool:
        """Whether a room is being read, of which nobody knows the uid yet."""
        return bool(self._loading)

    def all(self) -> Sequence[ActiveRoom]:
        """All rooms in memory."""
        return list(self._by_uid.values())

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

    def _is_in_use(self, uid: str) -> bool:
        return self._channel.size(uid) > 0 or self._is_watched(uid)

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
        idle = [room for room in self._by_id.values() if not self._is_in_use(room.uid)]
        for room in idle[: max(len(idle) - self._keep, 0)]:
            self.forget(room.uid)
        # A look costs what there are rooms, so the next one is when some more have come.
        self._look_at = len(self._by_id) + self._keep // 8
