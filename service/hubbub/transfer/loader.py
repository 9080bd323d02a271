"""Filling a store.

A room that the store does not have is brought in out of sight and shown when it is whole. Whoever is interrupted does
it again: rooms that are there already are passed over, and of the room that was on its way only that is written which
has not arrived. So the result is the same, however often that happens.

A room that is there is left as it is, unless a plan says that it is behind (see `hubbub.transfer.planner`). Then it
goes out of sight as well until it is whole again: nobody numbers messages in a room of which revisions are missing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Final

from hubbub.errors import HubbubError
from hubbub.history.archive import Archive, ArchivedMessage, ArchivedRoom
from hubbub.history.base import Message, Standing
from hubbub.transfer.pieces import Claims, MessagesPiece, PeoplePiece, Piece, RoomBegins, RoomEnds, StandingsPiece
from hubbub.transfer.planner import emptied, standings_between
from hubbub.transfer.tally import Tally

__all__ = ["Loader"]

DROPPED_AT_ONCE: Final = 5000
"""Places, so at most as many messages."""


class Loader:
    """Takes all pieces of a history in their order. `behind` are the uids of rooms that are there, and to be brought to
    the source's state.

    `tally` is of what it was given, `people` of those among the people whom the target shall know so: whoever was seen
    there later is left as they are. `refusals` has a sentence for each room, by uid, that could not be brought in.
    `written` counts messages.
    """

    def __init__(self, target: Archive, *, behind: Collection[str] = ()) -> None:
        self._target = target
        self._behind = behind
        self._room: _Arrival | None = None
        self.tally = Tally()
        self.people = Tally()
        self.refusals: dict[str, str] = {}
        self.written = 0

    async def take(self, piece: Piece) -> None:
        self.tally.add(piece)
        match piece:
            case PeoplePiece():
                await self._take_people(piece)
            case RoomBegins(room=room):
                self._room = None
                await self._guarded(room, self._begin(room))
            case StandingsPiece(standings=standings) if self._room is not None:
                await self._guarded(self._room.room, self._room.take_standings(standings))
            case MessagesPiece(messages=messages) if self._room is not None:
                await self._guarded(self._room.room, self._room.take_messages(messages))
            case RoomEnds(room=room) if self._room is not None:
                await self._guarded(room, self._room.finish())
                self._room = None

    async def _guarded(self, room: ArchivedRoom, work: Awaitable[int]) -> None:
        """Do a room's work. What is wrong with this room is remembered, and the others go on."""
        try:
            self.written += await work
        except HubbubError as error:
            if error.kind.fault == "server":
                raise
            self.refusals[room.room.uid] = error.message
            self._room = None

    async def _take_people(self, piece: PeoplePiece) -> None:
        known = await self._target.people_of([person.id for person, _ in piece.people])
        expected = [each for each in piece.people if each[0].id not in known or known[each[0].id][1] <= each[1]]
        new = [each for each in expected if known.get(each[0].id) != each]
        self.people.add(PeoplePiece(expected))
        if new:
            await self._target.put_people(new)

    async def _begin(self, room: ArchivedRoom) -> int:
        uid = room.room.uid
        if await self._target.room(uid) is not None:
            if uid not in self._behind:
                return 0
            await self._target.hide(uid)
        self._room = _Arrival(self._target, room, held_upto=await self._target.begin(room))
        return 0


class _Arrival:
    """A room that is written. `held_upto` says above which seq the target has nothing of it."""

    def __init__(self, target: Archive, room: ArchivedRoom, *, held_upto: int) -> None:
        self.room = room
        self._uid = room.room.uid
        self._target = target
        self._held_upto = held_upto
        self._claims = Claims(room.room.head)
        self._user = ""
        self._has_all_standings = False
        self._seq = 0

    async def take_standings(self, standings: Sequence[Standing]) -> int:
        """Put what differs, and drop whoever is between these and is not one of them."""
        last = standings[-1].user
        there = await standings_between(self._target, self._uid, self._user, last)
        wanted = {standing.user: standing for standing in standings}
        await self._drop_standings([user for user in there if user not in wanted])
        new = [standing for standing in standings if there.get(standing.user) != standing]
        if new:
            await self._target.put_standings(self._uid, new)
        self._user = last
        return 0

    async def _end_standings(self) -> None:
        if not self._has_all_standings:
            await self._drop_standings([*await standings_between(self._target, self._uid, self._user, None)])
            self._has_all_standings = True

    async def _drop_standings(self, users: list[str]) -> None:
        if users:
            await self._target.drop_standings(self._uid, users)

    async def take_messages(self, messages: Sequence[ArchivedMessage]) -> int:
        """Put what has not arrived, and drop what does not belong here; returns how many were put."""
        await self._end_standings()
        for _, revs in messages:
            self._claims.add(revs)
        last = messages[-1][0].seq
        there = await self._held(last)
        new = [each for each in messages if not self._has(there, each[0])]
        wrong = there.keys() - {message.seq for message, _ in messages} | {
            message.seq for message, _ in new if message.seq in there
        }
        if wrong:
            await self._target.drop_messages(self._uid, sorted(wrong))
        if new:
            await self._put(new, messages)
        self._seq = last
        return len(new)

    def _has(self, there: Mapping[int, Message], message: Message) -> bool:
        before = there.get(message.seq)
        return before is not None and emptied(before, self.room.floor) == message

    async def _held(self, last: int) -> Mapping[int, Message]:
        if self._seq >= self._held_upto:
            return {}
        return await self._target.held(self._uid, first=self._seq + 1, last=min(last, self._held_upto))

    async def _put(self, new: Sequence[ArchivedMessage], page: Sequence[ArchivedMessage]) -> None:
        try:
            await self._target.put_messages(self.room, new)
        except HubbubError as error:
            if error.code != "conflict" or self._seq >= self._held_upto:
                raise
            # What another attempt left further on may have the keys or revisions of these, if the source was another
            # then. It is not needed: what belongs to it comes yet.
            last = page[-1][0].seq
            await self._drop_upto(max(last, self._held_upto))
            self._held_upto = last
            await self._target.put_messages(self.room, page)

    async def _drop_upto(self, last: int) -> None:
        """Drop what is behind the messages that were taken."""
        for first in range(self._seq + 1, last + 1, DROPPED_AT_ONCE):
            there = await self._target.held(self._uid, first=first, last=min(first + DROPPED_AT_ONCE - 1, last))
            if there:
                await self._target.drop_messages(self._uid, sorted(there))

    async def finish(self) -> int:
        await self._end_standings()
        self._claims.check()
        await self._drop_upto(self._held_upto)
        await self._target.finish(self.room)
        return 0
