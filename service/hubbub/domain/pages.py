"""What joins and syncs read of rooms' histories: read once, for all who want it at about the same time.

After a restart a thousand clients come back to the same room, each a little behind the others. The first asks the
store; who comes while it is read waits for the same read, and who comes soon after takes what it brought, brought up to
date with what the room's feed has delivered since (`stretch`). The texts are shared down to the socket.

What is kept is never older than what this node knows: the head that a reader must see at least is part of the question.
It is kept for a moment only, and within a bound for all rooms together.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from hubbub.cluster.bus import Offer
from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.clock import Clock
from hubbub.domain.feeds import Feed, Shown
from hubbub.domain.limits import PAGE_BYTES
from hubbub.domain.stretch import Newest, Stretch, encoded
from hubbub.errors import HubbubError
from hubbub.history.base import History, MessagePage

__all__ = ["Pages"]

KEPT_MS: Final = 1000
"""How long after it was read. Those who come back after a restart do within a few seconds, and whoever is the first
after such a second asks the store again: a thousandth of the work.
"""

KEPT_BYTES: Final = 16 * 1024 * 1024
"""Of documents, in all rooms together; joined texts are as much again."""

STRETCH_BYTES: Final = 4 * PAGE_BYTES
"""A stretch that has grown beyond this, while its room was busy, is not kept."""

FULL_BYTES: Final = PAGE_BYTES * 15 // 16
"""A page that is so large is large enough: the next message might not fit."""

STRETCHES: Final = 64
"""Of one room. Who looks for one looks at all."""

EVENTS: Final = 1024
"""Encoded events of one room: as many as a feed keeps for those who join."""

SLACK: Final = 32
"""Revisions. Whoever comes behind others, but a little further back, is mostly not the last who does."""

TRIES: Final = 6
"""How often somebody looks at what others have read before reading alone."""


class _Flight:
    """A read of the store that is under way."""

    __slots__ = ("done", "error", "limit", "since")

    def __init__(self, since: int | None, limit: int) -> None:
        self.since = since
        self.limit = limit
        self.error: HubbubError | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def will_serve(self, since: int | None, limit: int) -> bool:
        """Whether it is worth waiting for."""
        if since is None or self.since is None:
            return self.since is since and self.limit == limit
        return self.since <= since < self.since + self.limit and self.limit * 2 >= limit


class _Shelf:
    """What is kept of one room, each with the time when it was read. `bytes` is what it took when it was weighed."""

    __slots__ = ("_feed", "bytes", "events", "flights", "looked_at", "newest", "stretches")

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self.stretches: list[tuple[int, Stretch]] = []
        self.newest: dict[int, tuple[int, Newest]] = {}
        self.events: dict[int, memoryview] = {}
        self.flights: list[_Flight] = []
        self.bytes = 0
        self.looked_at = 0

    def weigh(self) -> int:
        """Bytes that were added since it was last weighed."""
        before = self.bytes
        self.bytes = sum(each.size for _, each in self.stretches) + sum(each.size for _, each in self.newest.values())
        return self.bytes - before

    def follow(self, feed: Feed) -> None:
        """A room whose feed starts over has lost revisions: what was read before belongs to another history."""
        if self._feed is not feed:
            self._feed = feed
            self.stretches.clear()
            self.newest.clear()
            self.events.clear()

    def expire(self, now: int) -> None:
        """Let go of what has been kept for long enough, and of everything if the clock was set back."""
        if now == self.looked_at:
            return
        self.looked_at = now
        self.stretches = [each for each in self.stretches if 0 <= now - each[0] < KEPT_MS]
        self.newest = {limit: each for limit, each in self.newest.items() if 0 <= now - each[0] < KEPT_MS}
        if not self.stretches and not self.newest:
            self.events.clear()

    @property
    def is_empty(self) -> bool:
        return not self.stretches and not self.newest and not self.flights


class Pages:
    """The changes and the newest pages of rooms. `on_read` is told of each read of the store, for the metrics.

    While somebody is here the room must be counted as being read (`ActiveRoom.joining`), or its feed keeps nothing by
    which a page could be brought up to date.
    """

    def __init__(self, history: History, clock: Clock, *, on_read: Callable[[str], None]) -> None:
        self._history = history
        self._clock = clock
        self._on_read = on_read
        self._shelves: OrderedDict[str, _Shelf] = OrderedDict()
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    async def stretch(self, room: ActiveRoom, *, since: int, limit: int, head: int) -> Stretch:
        """One that covers `since`, with `limit` messages behind it if there are so many and they are not too large, as
        the room stood at `head` or later. If the room's head is below `since`, one that says so by its own.
        """
        for _ in range(TRIES):
            found, near = self._find(room, since, limit, head)
            if found is not None:
                return found
            if await self._wait(room, since, limit):
                continue
            if near is None or not await self._lengthen(room, near, since, limit):
                break
        async with self._flight(room, since, limit):
            return self.keep_changes(room, await self._read(room, since, limit), since=since)

    async def newest(self, room: ActiveRoom, *, limit: int, head: int) -> Newest:
        """The newest page, as the room stood at `head` or later."""
        for _ in range(TRIES):
            found = self._find_newest(room, limit, head)
            if found is not None:
                return found
            if not await self._wait(room, None, limit):
                break
        async with self._flight(room, None, limit):
            self._on_read("newest")
            page = await self._history.page(room.uid, limit=limit, max_bytes=PAGE_BYTES)
            return self.keep_newest(room, page, limit=limit)

    def has(self, room: ActiveRoom, *, since: int | None, limit: int) -> bool:
        """Whether the store need not be asked for it, as far as this node knows the room's head."""
        head = room.feed.delivered
        if since is None:
            return self._find_newest(room, limit, head) is not None
        return self._find(room, since, limit, head)[0] is not None

    def event(self, room: ActiveRoom, rev: int, message: Shown) -> memoryview:
        """The document of an event that many who join are sent behind their acks."""
        if isinstance(message, Offer):
            return message.document
        shelf = self._fresh(room)
        if shelf is None:
            return memoryview(encoded(room.id, message, rev=rev))
        known = shelf.events.get(rev)
        if known is None:
            if len(shelf.events) >= EVENTS:
                shelf.events.clear()
            known = shelf.events[rev] = memoryview(encoded(room.id, message, rev=rev))
        return known

    def keep_changes(self, room: ActiveRoom, page: MessagePage, *, since: int) -> Stretch:
        """Take in what `History.changes` answered, just now."""
        stretch = Stretch(room.id, page, low=since)
        if since <= stretch.head:
            shelf = self._shelf(room)
            # What covers less, and as early a head, is worth nothing beside it.
            kept = [each for each in shelf.stretches[-STRETCHES + 1 :] if not stretch.outdoes(each[1])]
            shelf.stretches = [*kept, (self._clock(), stretch)]
            self._bound(shelf)
        return stretch

    def keep_newest(self, room: ActiveRoom, page: MessagePage, *, limit: int) -> Newest:
        """Take in what `History.page` answered, just now."""
        newest = Newest(room.id, page)
        shelf = self._shelf(room)
        if len(shelf.newest) >= STRETCHES:
            shelf.newest.clear()
        shelf.newest[limit] = (self._clock(), newest)
        self._bound(shelf)
        return newest

    def sweep(self) -> None:
        """Let go of what has been kept for long enough."""
        now = self._clock()
        for uid, shelf in list(self._shelves.items()):
            shelf.expire(now)
            self._bytes += shelf.weigh()
            if shelf.is_empty:
                del self._shelves[uid]

    def stop(self) -> None:
        """Keep nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._shelves.clear()
        self._bytes = 0

    @property
    def size(self) -> int:
        """Bytes of documents that are kept, about."""
        return self._bytes

    # -- looking -----------------------------------------------------------------------------------------------------

    def _find(self, room: ActiveRoom, since: int, limit: int, head: int) -> tuple[Stretch | None, Stretch | None]:
        """A stretch that will do; else one that would if it were a little longer, at one end or at the other."""
        shelf = self._fresh(room)
        near: Stretch | None = None
        for each in list(shelf.stretches) if shelf is not None else ():
            stretch = each[1]
            missed = room.feed.backlog(stretch.head)
            if missed is not None:
                stretch.advance(missed)
            if missed is None or stretch.size > STRETCH_BYTES:
                shelf.stretches.remove(each)  # type: ignore[union-attr]  # There is one to iterate over.
                continue
            if stretch.head < max(head, since):
                continue
            may_grow = stretch.size <= STRETCH_BYTES - PAGE_BYTES
            if stretch.covers(since):
                if stretch.is_complete:
                    return stretch, None
                count, size = stretch.behind(since)
                if count >= limit or size >= FULL_BYTES:
                    return stretch, None
                near = stretch if may_grow else near
            elif near is None and may_grow and 0 < stretch.low - since <= limit:
                near = stretch
        return None, near

    def _find_newest(self, room: ActiveRoom, limit: int, head: int) -> Newest | None:
        shelf = self._fresh(room)
        kept = shelf.newest.get(limit) if shelf is not None else None
        return kept[1] if kept is not None and kept[1].head >= max(head, room.feed.delivered) else None

    def _fresh(self, room: ActiveRoom) -> _Shelf | None:
        shelf = self._shelves.get(room.uid)
        if shelf is not None:
            shelf.follow(room.feed)
            shelf.expire(self._clock())
        return shelf

    # -- reading -----------------------------------------------------------------------------------------------------

    async def _read(self, room: ActiveRoom, since: int, limit: int, max_bytes: int = PAGE_BYTES) -> MessagePage:
        self._on_read("changes")
        return await self._history.changes(room.uid, since=since, limit=limit, max_bytes=max_bytes)

    async def _lengthen(self, room: ActiveRoom, near: Stretch, since: int, limit: int) -> bool:
        """Read what a stretch has too little of; whether it has it now."""
        if since >= near.low:
            high = near.high
            count, size = near.behind(since)
            async with self._flight(room, near.low, high - near.low + limit):
                # Some more than this one needs: others are a little ahead.
                most, max_bytes = max(limit - count, limit // 4, 1), max(PAGE_BYTES - size, PAGE_BYTES // 4)
                page = await self._read(room, high, most, max_bytes)
                return near.high != high or near.append(page)  # Another may have done it meanwhile.
        low = max(since - SLACK, 0)
        async with self._flight(room, low, near.low - low + limit):
            return near.prepend(await self._read(room, low, near.low - low), low=low)

    async def _wait(self, room: ActiveRoom, since: int | None, limit: int) -> bool:
        """Wait for a read that may serve as well; whether there was one. Raises what it failed with: asking a store
        that fails once more for each who waits would not mend it.
        """
        shelf = self._shelves.get(room.uid)
        for flight in shelf.flights if shelf is not None else ():
            if flight.will_serve(since, limit):
                await asyncio.shield(flight.done)
                if flight.error is not None:
                    raise flight.error
                return True
        return False

    @asynccontextmanager
    async def _flight(self, room: ActiveRoom, since: int | None, limit: int) -> AsyncIterator[None]:
        """Let others wait for what is read in here. If whoever reads is cancelled, one of them reads anew."""
        flight = _Flight(since, limit)
        shelf = self._shelf(room)
        shelf.flights.append(flight)
        try:
            yield
        except HubbubError as error:
            flight.error = error
            raise
        finally:
            shelf.flights.remove(flight)
            flight.done.set_result(None)

    def _shelf(self, room: ActiveRoom) -> _Shelf:
        shelf = self._shelves.get(room.uid)
        if shelf is None:
            shelf = self._shelves[room.uid] = _Shelf(room.feed)
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(KEPT_MS / 1000, self._on_timer)
        else:
            self._shelves.move_to_end(room.uid)
            shelf.follow(room.feed)
        return shelf

    def _bound(self, shelf: _Shelf) -> None:
        """Something was added to a shelf. The rooms that were asked for longest ago make room."""
        self._bytes += shelf.weigh()
        while self._bytes > KEPT_BYTES and len(self._shelves) > 1:
            uid, oldest = next(iter(self._shelves.items()))
            if oldest is shelf:
                return
            # Whoever reads for it now goes on by what is in their hands.
            del self._shelves[uid]
            self._bytes -= oldest.bytes

    def _on_timer(self) -> None:
        self._timer = None
        self.sweep()
        if self._shelves:
            self._timer = asyncio.get_running_loop().call_later(KEPT_MS / 1000, self._on_timer)
