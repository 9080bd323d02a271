"""What is to become of the rooms that a target has already, found out before anything is written.

A room may be brought to the source's state only if the target's is an earlier state of the same room: every message
that is there is in the source as well, in the same revision or with that revision among its earlier ones, and nothing
was said in the target alone. Else something would be lost that somebody was told is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hubbub.history.archive import Archive, ArchivedMessage, ArchivedRoom, stub_of
from hubbub.history.base import Message, Standing
from hubbub.transfer.lines import room_line
from hubbub.transfer.pieces import MessagesPiece, Piece, RoomBegins, RoomEnds, StandingsPiece

__all__ = ["Planner", "emptied", "standings_between"]

GONE_ON: Final = "The room {id} has gone on in the target by itself, and is left as it is there."


class Planner:
    """Takes all pieces of a history. `behind` are the uids of rooms that can be brought to its state and are not in it,
    `refusals` has a sentence for each that cannot, by uid.
    """

    def __init__(self, target: Archive) -> None:
        self._target = target
        self._room: _Comparison | None = None
        self.behind: set[str] = set()
        self.refusals: dict[str, str] = {}

    async def take(self, piece: Piece) -> None:
        match piece:
            case RoomBegins(room=room):
                there = await self._target.room(room.room.uid)
                self._room = None if there is None else _Comparison(self._target, room, there)
            case StandingsPiece(standings=standings) if self._room is not None:
                await self._room.take_standings(standings)
            case MessagesPiece(messages=messages) if self._room is not None:
                await self._room.take_messages(messages)
            case RoomEnds(room=room) if self._room is not None:
                await self._room.end()
                if self._room.has_parted:
                    self.refusals[room.room.uid] = GONE_ON.format(id=room.room.id)
                elif self._room.differs:
                    self.behind.add(room.room.uid)


class _Comparison:
    """A room of the source beside the one that is in the target."""

    def __init__(self, target: Archive, room: ArchivedRoom, there: ArchivedRoom) -> None:
        self._target = target
        self._room = room
        self._there = there
        self._user = ""
        self._seq = 0
        self.differs = room_line(room) != room_line(there)
        self.has_parted = (
            there.room.head > room.room.head
            or there.floor > room.floor
            or (there.room.id, there.room.created_at) != (room.room.id, room.room.created_at)
        )

    async def take_standings(self, standings: Sequence[Standing]) -> None:
        last = standings[-1].user
        there = await standings_between(self._target, self._room.room.uid, self._user, last)
        self.differs |= there != {standing.user: standing for standing in standings}
        self._user = last

    async def take_messages(self, messages: Sequence[ArchivedMessage]) -> None:
        if self.has_parted:
            return
        last = messages[-1][0].seq
        there = await self._target.held(self._room.room.uid, first=self._seq + 1, last=last)
        self._seq = last
        floor, head = self._room.floor, self._there.room.head
        for message, revs in messages:
            before = there.get(message.seq)
            if before is None:
                self.has_parted |= message.seq <= head  # The target has its revision, for something else.
                self.differs = True
            elif emptied(before, floor) != message:
                self.has_parted |= not _is_earlier(before, message, revs, floor)
                self.differs = True
        self.has_parted |= bool(there.keys() - {message.seq for message, _ in messages})

    async def end(self) -> None:
        if not self.has_parted:
            uid, head = self._room.room.uid, self._there.room.head
            self.has_parted |= bool(await self._target.held(uid, first=self._seq + 1, last=head))
            self.differs |= bool(await standings_between(self._target, self._room.room.uid, self._user, None))


async def standings_between(target: Archive, uid: str, after: str, last: str | None) -> Mapping[str, Standing]:
    """The standings of the users behind `after`, up to `last` or to the end, by user."""
    found: dict[str, Standing] = {}
    while page := await target.standings(uid, after=after):
        found.update((each.user, each) for each in page if last is None or each.user <= last)
        after = page[-1].user
        if last is not None and after >= last:
            break
    return found


def emptied(message: Message, floor: int) -> Message:
    """As it is to be compared: one that retention reaches is empty."""
    return stub_of(message) if message.seq <= floor else message


def _is_earlier(before: Message, message: Message, revs: tuple[int, ...], floor: int) -> bool:
    """Whether the target may lose a message as it has it: for a later revision of it, or for retention."""
    is_same = (before.key, before.sender.id) == (message.key, message.sender.id)
    return is_same and before.rev in revs and (before.rev < message.rev or message.seq <= floor)
