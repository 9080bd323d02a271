"""The connections of this node, in pages, the oldest first.

A connection in this list is a whole transport with all its namespaces. Nothing is kept for the list: it is made from
what is there anyway, and what is looked at for a page is looked at a few thousand at a time, so that everybody else
goes on meanwhile. A page begins behind a time of opening, of which there are no two alike on a node: so pages stay what
they are while connections come and go.

The id of a connection is that of its place in `/chat`, else of its first namespace: the one that the logs have, and the
client's own `socket.id`. It begins with the node's name, and opens nothing; the id of the transport is a secret of its
bearer, and is shown to nobody.
"""

from __future__ import annotations

import asyncio
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter
from typing import Any, Final

import orjson

from hubbub.domain.activerooms import ActiveRooms
from hubbub.domain.admin.ports import Line, Lines, Place
from hubbub.domain.identity import Identity
from hubbub.events import CHAT

__all__ = ["PAGE_BYTES", "ConnectionPage", "Connections", "Wanted", "size_of"]

LOOKED_AT: Final = 4096
"""Lines that are looked at in one turn of the loop: some two milliseconds."""

CROWDED: Final = 20
"""A room in which every so many-th line is: its page is looked for among all lines first, by age. In others it would be
looked for in vain for long.
"""

DESCRIBED: Final = 50
"""Lines of which documents are made in one turn of the loop."""

ROOMS_SHOWN: Final = 50

PAGE_BYTES: Final = 256_000
"""Of JSON. A page ends before there are more, but has at least one document."""

_opened_at: Callable[[Line], int] = attrgetter("opened_at")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which connections are asked for: those opened behind a time (ms), of a user and in a room (by its uid) where
    these are given; at most `limit`, and fewer if they are large.
    """

    after: int = 0
    user: str | None = None
    room: str | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class ConnectionPage:
    """Documents of connections, without their node; `more` if others follow."""

    connections: list[dict[str, Any]]
    more: bool


class Connections:
    """See above. `node` is this node's name."""

    def __init__(self, lines: Lines, rooms: ActiveRooms, *, node: str) -> None:
        self._lines = lines
        self._rooms = rooms
        self._node = node

    async def page(self, wanted: Wanted) -> ConnectionPage:
        """The connections that are wanted, by age."""
        found = await self._oldest(wanted)
        documents: list[dict[str, Any]] = []
        room_left = PAGE_BYTES
        for number, line in enumerate(found[: wanted.limit], 1):
            # Whoever left while the page was put together is shown no more.
            document = self._document(line, wanted.room)
            if document is not None:
                room_left -= size_of(document)
                if room_left < 0 and documents:
                    return ConnectionPage(documents, True)
                documents.append(document)
            if number % DESCRIBED == 0:
                await asyncio.sleep(0)
        return ConnectionPage(documents, len(found) > wanted.limit)

    def may_have(self, id: str) -> bool:
        """Whether an id can be of this node: one of another begins with another name."""
        return id.rpartition(".")[0] == self._node

    async def has(self, id: str) -> bool:
        """Whether a connection with this id, of any of its namespaces, is here."""
        if not self.may_have(id):
            return False
        async for lines in _Portions(self._lines.by_age()):
            if any(place.id == id for line in lines for place in line.connections.values() if place.is_open):
                return True
        return False

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _oldest(self, wanted: Wanted) -> list[Line]:
        """One more than is wanted, if there are so many."""
        most = wanted.limit + 1
        if wanted.user is None and (wanted.room is None or self._is_crowded(wanted.room)):
            found = await self._by_age(wanted, most)
            if wanted.room is None or len(found) == most:
                return found
        kept: list[Line] = []
        upto = math.inf
        async for portion in _Portions(self._candidates(wanted)):
            fitting = [line for line in portion if wanted.after < line.opened_at < upto]
            if wanted.user is not None:
                fitting = [line for line in fitting if _fits(line, wanted)]
            if fitting:
                kept = sorted([*kept, *fitting], key=_opened_at)[:most]
                if len(kept) == most:
                    upto = kept[-1].opened_at
        return kept

    def _is_crowded(self, room: str) -> bool:
        """Whether so many are in a room that a page of it is full after a look at few of all lines."""
        return self._lines.in_room(room) * CROWDED > self._lines.count()

    async def _by_age(self, wanted: Wanted, most: int) -> list[Line]:
        """The next of all lines that fit; where a room is asked for, of the first few."""
        lines = self._lines.by_age()
        start = bisect_right(lines, wanted.after, key=_opened_at)
        stop = None if wanted.room is None else start + 2 * LOOKED_AT
        found: list[Line] = []
        async for portion in _Portions(islice(lines, start, stop)):
            found += islice((line for line in portion if _fits(line, wanted)), most - len(found))
            if len(found) == most:
                break
        return found

    def _candidates(self, wanted: Wanted) -> Iterable[Line]:
        """Those of a user, of whom most have few connections; else all in a room, where everybody fits."""
        if wanted.user is not None:
            return self._lines.of_user(wanted.user)
        return self._lines.of_room(wanted.room or "")

    def _document(self, line: Line, room: str | None) -> dict[str, Any] | None:
        places = _places(line)
        if not places:
            return None
        chat = line.connections.get(CHAT)
        first = chat if chat is not None and chat.is_open else places[0]
        person = _identity(line).person
        return {
            "id": first.id,
            "user": {"id": person.id, "name": person.name, "guest": person.guest},
            "namespaces": [name for name, place in line.connections.items() if place.is_open],
            "transport": first.transport,
            "address": line.handshake.address,
            "since": line.opened_at,
            "rooms": sorted(islice(self._room_ids(chat, room), ROOMS_SHOWN)),
        }

    def _room_ids(self, chat: Place | None, first: str | None) -> Iterator[str]:
        """The ids of the rooms that a connection is subscribed to, the one that was asked for among the first. Direct
        rooms stay closed to administrators, who do not learn of them here either.
        """
        joined = _joined(chat)
        uids = joined if first not in joined else [first, *(uid for uid in joined if uid != first)]
        for uid in uids:
            room = self._rooms.by_uid(uid)
            if room is not None and room.record.kind != "direct":
                yield room.id


def size_of(document: dict[str, Any]) -> int:
    """In bytes of JSON."""
    return len(orjson.dumps(document))


def _joined(chat: Place | None) -> list[str]:
    return list(getattr(chat.state, "joined", ())) if chat is not None and chat.is_open else []


def _identity(line: Line) -> Identity:
    """Of a line that is in."""
    identity: Identity = line.state.identity
    return identity


def _places(line: Line) -> list[Place]:
    return [place for place in line.connections.values() if place.is_open]


def _is_in(line: Line) -> bool:
    """Whether any namespace has let the client in, and it is not gone."""
    return any(place.is_open for place in line.connections.values())


def _fits(line: Line, wanted: Wanted) -> bool:
    if not _is_in(line):
        return False
    if wanted.user is not None and _identity(line).user != wanted.user:
        return False
    if wanted.room is not None:
        chat = line.connections.get(CHAT)
        if chat is None or not chat.is_open or wanted.room not in getattr(chat.state, "joined", ()):
            return False
    return True


class _Portions:
    """The lines a portion at a time, each in a turn of the loop of its own."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self._begun = False

    def __aiter__(self) -> _Portions:
        return self

    async def __anext__(self) -> list[Line]:
        if self._begun:
            await asyncio.sleep(0)
        self._begun = True
        portion = list(islice(self._lines, LOOKED_AT))
        if not portion:
            raise StopAsyncIteration
        return portion
