"""A history on its way, in pieces that are small enough to hold.

Their order is the order of the lines of a file: the people, then each room with its standings and its messages, all by
the order of their keys. Whatever produces pieces (a store, a file) keeps to it; whatever takes them may rely on it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final

from hubbub.errors import HubbubError
from hubbub.history.archive import Archive, ArchivedMessage, ArchivedRoom, KnownPerson, stub_of
from hubbub.history.base import Standing

__all__ = ["Claims", "MessagesPiece", "PeoplePiece", "Piece", "RoomBegins", "RoomEnds", "StandingsPiece", "walk"]


@dataclass(frozen=True, slots=True)
class PeoplePiece:
    people: list[KnownPerson]


@dataclass(frozen=True, slots=True)
class RoomBegins:
    room: ArchivedRoom


@dataclass(frozen=True, slots=True)
class StandingsPiece:
    uid: str
    standings: list[Standing]


@dataclass(frozen=True, slots=True)
class MessagesPiece:
    uid: str
    messages: list[ArchivedMessage]


@dataclass(frozen=True, slots=True)
class RoomEnds:
    room: ArchivedRoom


Piece = PeoplePiece | RoomBegins | StandingsPiece | MessagesPiece | RoomEnds


async def walk(
    archive: Archive, *, only: Collection[str] | None = None, people: bool = True, messages: bool = True
) -> AsyncIterator[Piece]:
    """All of a store, or of its rooms those with these uids; without messages it is what a later walk is compared by.

    A service may go on writing beside it. Then each room is as of the moment when its head was read: what was sent
    later is left out, and of a message that was changed later the revisions up to that head are named. Its text may be
    newer than those, as an event's may be newer than its revision; so no revision is missing, and none is there twice.
    """
    if people:
        async for piece in _people(archive):
            yield piece
    after = ""
    while uids := await archive.uids(after=after):
        for uid in uids:
            if only is None or uid in only:
                async for piece in _room(archive, uid, messages=messages):
                    yield piece
        after = uids[-1]


async def _people(archive: Archive) -> AsyncIterator[Piece]:
    after = ""
    while page := await archive.people(after=after):
        yield PeoplePiece(list(page))
        after = page[-1][0].id


async def _room(archive: Archive, uid: str, *, messages: bool) -> AsyncIterator[Piece]:
    room = await archive.room(uid)
    if room is None:
        return  # It was deleted a moment ago.
    yield RoomBegins(room)
    user = ""
    while standings := await archive.standings(uid, after=user):
        yield StandingsPiece(uid, list(standings))
        user = standings[-1].user
    head, after = room.room.head, 0
    while messages and (page := await archive.messages(uid, after=after, upto=head)):
        yield MessagesPiece(uid, [_as_of(message, head=head, floor=room.floor) for message in page])
        after = page[-1][0].seq
    yield RoomEnds(room)


def _as_of(archived: ArchivedMessage, *, head: int, floor: int) -> ArchivedMessage:
    message, revs = archived
    if message.rev > head:
        revs = tuple(rev for rev in revs if rev <= head)
        message = replace(message, rev=revs[-1])
    if message.seq <= floor:
        message = stub_of(message)
    return message, revs


CHANGES_KEPT: Final = 10_000
"""A message that was changed more often than this may have lost the oldest of its revisions (see `mongo_batch`)."""


class Claims:
    """Which revisions of a room were claimed: each by one message, and none by no message. One bit for each."""

    def __init__(self, head: int) -> None:
        self._head = head
        self._bits = bytearray((head >> 3) + 1)
        self._count = 0
        self._may_have_holes = False

    def add(self, revs: tuple[int, ...]) -> None:
        """`bad_request` for a revision that is another message's too, or above the head."""
        bits = self._bits
        for rev in revs:
            if rev > self._head:
                raise HubbubError("bad_request", f"The revision {rev} is above the room's head, {self._head}.")
            bit = 1 << (rev & 7)
            if bits[rev >> 3] & bit:
                raise HubbubError("bad_request", f"The revision {rev} was claimed by two messages.")
            bits[rev >> 3] |= bit
        self._count += len(revs)
        self._may_have_holes |= len(revs) >= CHANGES_KEPT

    def check(self) -> None:
        """`bad_request` if a revision up to the head is missing."""
        if self._count < self._head and not self._may_have_holes:
            raise HubbubError("bad_request", f"The revision {next(self._missing())} was claimed by no message.")

    def _missing(self) -> Iterator[int]:
        return (rev for rev in range(1, self._head + 1) if not self._bits[rev >> 3] >> (rev & 7) & 1)
