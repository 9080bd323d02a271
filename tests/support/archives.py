"""Whole histories for the tests of archives and transfers."""

from __future__ import annotations

import io
import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, TypeVar, get_args

import hypothesis.strategies as st

from hubbub.history.archive import Archive, ArchivedMessage, ArchivedRoom, KnownPerson, Size, stub_of
from hubbub.history.base import Message, Person, Room, RoomKind, Sender, Standing
from hubbub.transfer.loader import Loader
from hubbub.transfer.pieces import MessagesPiece, PeoplePiece, Piece, RoomBegins, RoomEnds, StandingsPiece, walk
from hubbub.transfer.planner import Planner
from hubbub.transfer.progress import NoProgress
from hubbub.transfer.stores import archive_of
from hubbub.transfer.writer import write_export

__all__ = [
    "Whole",
    "WholeRoom",
    "counted_room",
    "exported",
    "fill",
    "histories",
    "lines_of",
    "opened",
    "sqlite_store",
    "written",
]

T = TypeVar("T")

NOTHING: Final = Size(0, 0, 0)


@dataclass
class WholeRoom:
    room: ArchivedRoom
    standings: list[Standing] = field(default_factory=list)
    messages: list[ArchivedMessage] = field(default_factory=list)

    @property
    def uid(self) -> str:
        return self.room.room.uid


@dataclass
class Whole:
    """A history that is small enough to be one object."""

    people: list[KnownPerson] = field(default_factory=list)
    rooms: list[WholeRoom] = field(default_factory=list)

    def pieces(self, *, page: int = 3) -> list[Piece]:
        """In their order, in small pages."""
        found: list[Piece] = [PeoplePiece(part) for part in _pages(self.people, page)]
        for room in self.rooms:
            found.append(RoomBegins(room.room))
            found += [StandingsPiece(room.uid, part) for part in _pages(room.standings, page)]
            found += [MessagesPiece(room.uid, part) for part in _pages(room.messages, page)]
            found.append(RoomEnds(room.room))
        return found


def _pages(items: Sequence[T], size: int) -> Iterable[list[T]]:
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def sqlite_store(path: Path) -> str:
    """The address of the store in this file."""
    return f"sqlite:///{path}"


@asynccontextmanager
async def opened(store: str, *, writable: bool = False) -> AsyncIterator[Archive]:
    archive = archive_of(store)
    try:
        await archive.open(writable=writable)
        yield archive
    finally:
        await archive.close()


async def fill(store: str, whole: Whole, *, update: bool = False, page: int = 3) -> Loader:
    """Bring a history into a store."""
    async with opened(store, writable=True) as target:
        planner = Planner(target)
        if update:
            for piece in whole.pieces(page=page):
                await planner.take(piece)
        loader = Loader(target, behind=planner.behind)
        for piece in whole.pieces(page=page):
            await loader.take(piece)
        loader.refusals.update(planner.refusals)
        return loader


async def exported(store: str) -> bytes:
    """What a store exports, with a header that is always the same."""
    async with opened(store) as source:
        return await written(walk(source))


async def lines_of(whole: Whole) -> list[bytes]:
    """The lines of a history's export, each with its end."""

    async def pieces() -> AsyncIterator[Piece]:
        for piece in whole.pieces():
            yield piece

    return (await written(pieces())).splitlines(keepends=True)


async def written(pieces: AsyncIterator[Piece]) -> bytes:
    """The export of these pieces, with a header that is always the same."""
    stream = io.BytesIO()
    await write_export(pieces, stream, size=NOTHING, at=1, progress=NoProgress())
    return stream.getvalue()


def counted_room(uid: str, count: int, *, id: str | None = None, seed: int = 0, floor: int = 0) -> WholeRoom:
    """A room with so many revisions, of which a few are changes of messages, and three members."""
    chance = random.Random(f"{uid} {seed}")
    texts = [f"text {number}" for number in range(7)]
    messages: list[ArchivedMessage] = []
    for rev in range(1, count + 1):
        if messages and chance.random() < 0.2:
            number = chance.randrange(len(messages))
            message, revs = messages[number]
            messages[number] = (replace(message, rev=rev, body=f"edited at {rev}", edited_at=rev), (*revs, rev))
        else:
            sender = Sender(f"user{rev % 3}", f"User {rev % 3}")
            messages.append((Message(uid, rev, rev, f"key{rev}", sender, texts[rev % 7], None, (), 1000 + rev), (rev,)))
    messages = [(stub_of(message), revs) if message.seq <= floor else (message, revs) for message, revs in messages]
    room = Room(uid, id or f"room-{uid}", "public", f"Room {uid}", "", 1000, 0, 1000, count)
    standings = [Standing(f"user{number}", "owner" if number == 0 else "member", number) for number in range(3)]
    return WholeRoom(ArchivedRoom(room, floor), standings, messages)


# -- random ones ---------------------------------------------------------------------------------------------------

_texts: Final = st.text(st.characters(codec="utf-8"), max_size=12)
_names: Final = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6)
_uids: Final = st.text("abcdefghij0123456789", min_size=1, max_size=4)
_times: Final = st.integers(0, 2**53 - 1)
_kinds: Final = st.sampled_from(get_args(RoomKind))
_senders: Final = st.builds(Sender, _names, _texts, st.booleans())
_reactions: Final = st.dictionaries(_names, st.lists(_names, min_size=1, max_size=3).map(tuple), max_size=3)


@st.composite
def _messages(draw: st.DrawFn, uid: str) -> list[ArchivedMessage]:
    found: list[ArchivedMessage] = []
    for rev in range(1, draw(st.integers(0, 12)) + 1):
        is_change = draw(st.booleans())
        if found and is_change:
            number = draw(st.integers(0, len(found) - 1))
            message, revs = found[number]
            changed = replace(message, rev=rev, body=draw(_texts), reactions=draw(_reactions), edited_at=draw(_times))
            found[number] = (changed, (*revs, rev))
        else:
            message = Message(
                uid,
                rev,
                rev,
                f"{rev}{draw(_names)}",
                draw(_senders),
                draw(_texts),
                draw(st.none() | _names),
                tuple(draw(st.lists(_names, max_size=2))),
                draw(_times),
                None,
                draw(st.booleans()),
                draw(_reactions),
            )
            found.append((message, (rev,)))
    return found


@st.composite
def _rooms(draw: st.DrawFn, uid: str) -> WholeRoom:
    messages = draw(_messages(uid))
    head = max((revs[-1] for _, revs in messages), default=0)
    floor = draw(st.just(0) | st.integers(0, messages[-1][0].seq - 1)) if messages else 0
    messages = [(stub_of(message), revs) if message.seq <= floor else (message, revs) for message, revs in messages]
    room = Room(
        uid,
        f"{uid}{draw(_names)}",
        draw(_kinds),
        draw(_texts),
        draw(_texts),
        draw(st.integers(1, 9)),
        0,
        draw(_times),
        head,
    )
    users = sorted(draw(st.sets(_names, max_size=4)))
    standings = [
        Standing(
            user,
            draw(st.sampled_from(["owner", "moderator", "member", "invited", None])),
            draw(_times),
            draw(_times),
            draw(_times),
            draw(st.booleans()),
            draw(st.integers(0, head)),
        )
        for user in users
    ]
    return WholeRoom(ArchivedRoom(room, floor), standings, messages)


@st.composite
def histories(draw: st.DrawFn) -> Whole:
    """Any history that a store may hold, of a few rooms."""
    ids = sorted(draw(st.sets(_names, max_size=5)))
    people = [(Person(id, draw(_texts), draw(st.booleans())), draw(_times)) for id in ids]
    return Whole(people, [draw(_rooms(uid)) for uid in sorted(draw(st.sets(_uids, max_size=3)))])
