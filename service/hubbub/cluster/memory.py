"""The cluster in memory: `LoneRegistry` and `LoneBus` for a service that runs alone, which keep nothing because nobody
asks, and `MemoryRegistry` and `MemoryBus` for several nodes of one process, which share an `Exchange` and a list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hubbub.cluster.base import HANDOVER_MS, LEASE_MS, PARTING_MS, Announcement, News, Node, Renewal, RoomReading, Share
from hubbub.cluster.bus import Offer, Take, Whisper
from hubbub.errors import HubbubError

__all__ = ["Exchange", "LoneBus", "LoneRegistry", "MemoryBus", "MemoryRegistry"]


@dataclass(slots=True)
class _Seat:
    """What is known of one node. `until` is the end of its lease, `number` that of its last announcement, `parted_at`
    when it said that it ends.
    """

    until: int
    number: int = 0
    said: dict[str, Announcement] = field(default_factory=dict)
    rooms: dict[str, dict[str, None]] = field(default_factory=dict)
    watched: set[str] = field(default_factory=set)
    on_news: Callable[[News], None] | None = None
    parted_at: int | None = None


class Exchange:
    """What the nodes of a process share. `clock` is monotonic, in milliseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self._seats: dict[Node, _Seat] = {}

    def seat(self, node: Node) -> _Seat | None:
        """What is known of a node, None if it has no lease."""
        self._expire()
        return self._seats.get(node)

    def take(self, node: Node) -> _Seat:
        """A seat with a new lease. It is that of all who had the name before."""
        for other in [each for each in self._seats if each.name == node.name]:
            del self._seats[other]
        seat = self._seats[node] = _Seat(self.clock() + LEASE_MS)
        return seat

    def remove(self, node: Node) -> None:
        self._seats.pop(node, None)

    def others(self, node: Node) -> Iterable[tuple[Node, _Seat]]:
        """The other nodes with a lease."""
        self._expire()
        return [(each, seat) for each, seat in self._seats.items() if each != node]

    def holder(self, name: str) -> Node | None:
        """Whose name it is, None if it may be taken."""
        self._expire()
        late = self.clock() - HANDOVER_MS
        for node, seat in self._seats.items():
            if node.name == name and (seat.parted_at is None or seat.parted_at > late):
                return node
        return None

    def _expire(self) -> None:
        now = self.clock()
        for node in [node for node, seat in self._seats.items() if seat.until <= now]:
            del self._seats[node]


class LoneRegistry:
    """See `base.Registry`. There is no other node."""

    is_lone = True

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def node(self) -> Node:
        return self._node

    async def open(self, on_news: Callable[[News], None]) -> None:
        """There will be no news."""

    async def close(self) -> None:
        """Nothing is open."""

    async def withdraw(self) -> None:
        """Nothing was said."""

    async def renew(self) -> Renewal:
        return Renewal(lapsed=False, living={})

    async def announce(self, announcements: Sequence[Announcement]) -> None:
        """Nobody listens."""

    async def watch(self, uid: str) -> None:
        """Nobody else is in any room."""

    async def unwatch(self, uid: str) -> None:
        """Nor was."""

    async def room(self, uid: str) -> RoomReading:
        return RoomReading([], {})

    async def users(self, ids: Sequence[str]) -> Mapping[str, Sequence[Share]]:
        return {}


class MemoryRegistry:
    """See `base.Registry`."""

    is_lone = False

    def __init__(self, exchange: Exchange, node: Node) -> None:
        self._exchange = exchange
        self._node = node
        self._on_news: Callable[[News], None] | None = None
        self._watched: set[str] = set()

    @property
    def node(self) -> Node:
        return self._node

    async def open(self, on_news: Callable[[News], None]) -> None:
        holder = self._exchange.holder(self._node.name)
        if holder is not None and holder != self._node:
            raise HubbubError("conflict", f"Another process is the node {self._node.name}, or was until a moment ago.")
        self._on_news = on_news
        self._sit()

    async def close(self) -> None:
        self._on_news = None
        seat = self._exchange.seat(self._node)
        if seat is not None:
            seat.on_news = None
            if seat.parted_at is None:
                seat.parted_at = self._exchange.clock()
                seat.until = seat.parted_at + PARTING_MS

    async def withdraw(self) -> None:
        seat = self._exchange.seat(self._node)
        if seat is not None:
            self._exchange.remove(self._node)
        await self.close()

    async def renew(self) -> Renewal:
        seat = self._exchange.seat(self._node)
        lapsed = seat is None
        if seat is None:
            seat = self._sit()
        now = self._exchange.clock()
        seat.until = now + LEASE_MS
        living = {node: other.until - now for node, other in self._exchange.others(self._node)}
        return Renewal(lapsed, living)

    async def announce(self, announcements: Sequence[Announcement]) -> None:
        seat = self._exchange.seat(self._node)
        if seat is None:
            return
        others = list(self._exchange.others(self._node))
        for each in announcements:
            if each.number <= seat.number:
                continue
            seat.number = each.number
            was = _rooms(seat.said.get(each.user))
            now = _rooms(each)
            _put(seat, each, was, now)
            news = News(self._node, each)
            for _, other in others:
                if other.on_news is not None and not other.watched.isdisjoint(was | now):
                    other.on_news(news)

    async def watch(self, uid: str) -> None:
        self._watched.add(uid)

    async def unwatch(self, uid: str) -> None:
        self._watched.discard(uid)

    async def room(self, uid: str) -> RoomReading:
        others = self._exchange.others(self._node)
        found = [(node, seat.said[user]) for node, seat in others for user in seat.rooms.get(uid, ())]
        return RoomReading(found, {node: seat.number for node, seat in others})

    async def users(self, ids: Sequence[str]) -> Mapping[str, Sequence[Share]]:
        found: dict[str, list[Share]] = {}
        for _, seat in self._exchange.others(self._node):
            for user in ids:
                said = seat.said.get(user)
                if said is not None and said.share is not None:
                    found.setdefault(user, []).append(said.share)
        return found

    # -- inside ------------------------------------------------------------------------------------------------------

    def _sit(self) -> _Seat:
        seat = self._exchange.take(self._node)
        seat.on_news = self._on_news
        seat.watched = self._watched
        return seat


def _put(seat: _Seat, announcement: Announcement, was: frozenset[str], now: frozenset[str]) -> None:
    user = announcement.user
    if announcement.share is None:
        seat.said.pop(user, None)
    else:
        seat.said[user] = announcement
    for uid in was - now:
        users = seat.rooms[uid]
        del users[user]
        if not users:
            del seat.rooms[uid]
    for uid in now - was:
        seat.rooms.setdefault(uid, {})[user] = None


def _rooms(announcement: Announcement | None) -> frozenset[str]:
    return announcement.share.rooms if announcement is not None and announcement.share is not None else frozenset()


class LoneBus:
    """See `bus.Bus`. There is nobody to tell anything."""

    is_lone = True
    hears = True

    async def open(self, take: Take, *, on_lost: Callable[[], None], on_hurry: Callable[[], None]) -> None:
        """Nothing will come."""

    async def close(self) -> None:
        """Nothing is open."""

    def listen(self, uid: str) -> None:
        """Nobody says anything."""

    def leave(self, uid: str) -> None:
        """Nor did."""

    def offer(self, uid: str, offer: Offer) -> None:
        """Nobody listens."""

    def whisper(self, uid: str, whisper: Whisper) -> None:
        """Nobody listens."""

    def hurry(self) -> None:
        """Nobody is late."""


class MemoryBus:
    """See `bus.Bus`. `exchange` is the list of the buses of one process; word arrives in a later turn of the loop."""

    is_lone = False
    hears = True

    def __init__(self, exchange: list[MemoryBus]) -> None:
        self._exchange = exchange
        self._take: Take | None = None
        self._on_hurry: Callable[[], None] = lambda: None
        self._listening: set[str] = set()

    async def open(self, take: Take, *, on_lost: Callable[[], None], on_hurry: Callable[[], None]) -> None:
        self._take, self._on_hurry = take, on_hurry
        self._exchange.append(self)
        asyncio.get_running_loop().call_soon(on_lost)

    async def close(self) -> None:
        self._take = None
        if self in self._exchange:
            self._exchange.remove(self)

    def listen(self, uid: str) -> None:
        self._listening.add(uid)

    def leave(self, uid: str) -> None:
        self._listening.discard(uid)

    def offer(self, uid: str, offer: Offer) -> None:
        self._say(uid, [offer], [])

    def whisper(self, uid: str, whisper: Whisper) -> None:
        self._say(uid, [], [whisper])

    def hurry(self) -> None:
        for other in self._others():
            asyncio.get_running_loop().call_soon(other._on_hurry)

    def _say(self, uid: str, offers: Sequence[Offer], whispers: Sequence[Whisper]) -> None:
        for other in self._others():
            asyncio.get_running_loop().call_soon(other._hear, uid, offers, whispers)

    def _hear(self, uid: str, offers: Sequence[Offer], whispers: Sequence[Whisper]) -> None:
        if self._take is not None and uid in self._listening:
            self._take(uid, offers, whispers)

    def _others(self) -> list[MemoryBus]:
        """Those whom this one can tell something: nobody, if it is closed."""
        return [each for each in self._exchange if each is not self] if self in self._exchange else []
