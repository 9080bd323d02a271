"""Filling a store.

A room that the store does not have is brought in out of sight and shown when it is whole. Whoever is interrupted does
it again: rooms that are there already are passed over, and of the room that was on its way only that is written which
has not arrived. So the result is the same, however often that happens.

A room that the store has is left as it is, unless it is to be brought to the source's state (`update`). Even then
nothing that was said in it since is lost: a message gives way only to a later revision of itself, and a room that has
gone on by itself is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Final

from hubbub.errors import HubbubError
from hubbub.history.archive import SEQ_MOST, Archive, ArchivedMessage, ArchivedRoom
from hubbub.history.base import Message, Standing
from hubbub.history.mongo_documents import stub_of
from hubbub.transfer.pieces import Claims, MessagesPiece, PeoplePiece, Piece, RoomBegins, RoomEnds, StandingsPiece
from hubbub.transfer.progress import Progress
from hubbub.transfer.tally import Tally

__all__ = ["Loader"]

GONE_ON: Final = "The room {id} has gone on in the target by itself, and is left as it is there."


class Loader:
    """Takes all pieces of a history in their order.

    `tally` is of what it was given, `people` of those among the people whom the target shall know so: whoever was seen
    there later is left as they are. `refusals` has a sentence for each room, by uid, that could not be brought in.
    `written` counts messages.
    """

    def __init__(self, target: Archive, *, update: bool, progress: Progress) -> None:
        self._target = target
        self._update = update
        self._progress = progress
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
            case MessagesPiece(messages=messages):
                if self._room is not None:
                    await self._guarded(self._room.room, self._room.take_messages(messages))
                self._progress.advance(len(messages))
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
        there = await self._target.room(room.room.uid)
        if there is None:
            arrived = await self._target.begin(room)
            self._room = _Arrival(self._target, room, held_upto=arrived, is_new=True)
        elif self._update:
            if there.room.head > room.room.head or there.floor > room.floor:
                raise HubbubError("conflict", GONE_ON.format(id=room.room.id))
            self._room = _Arrival(self._target, room, held_upto=there.room.head, is_new=False)
        return 0


class _Arrival:
    """A room that is written. `held_upto` says above which seq the target has nothing of it."""

    def __init__(self, target: Archive, room: ArchivedRoom, *, held_upto: int, is_new: bool) -> None:
        self.room = room
        self._uid = room.room.uid
        self._target = target
        self._held_upto = held_upto
        self._is_new = is_new
        self._claims = Claims(room.room.head)
        self._user: str | None = ""
        self._seq = 0

    async def take_standings(self, standings: Sequence[Standing]) -> int:
        """Put what differs, and drop whoever is between these and is not one of them."""
        there = await self._standings_upto(standings[-1].user)
        wanted = {standing.user: standing for standing in standings}
        await self._drop_standings([user for user in there if user not in wanted])
        new = [standing for standing in standings if there.get(standing.user) != standing]
        if new:
            await self._target.put_standings(self._uid, new)
        self._user = standings[-1].user
        return 0

    async def _end_standings(self) -> None:
        if self._user is not None:
            await self._drop_standings([*await self._standings_upto(None)])
            self._user = None

    async def _standings_upto(self, last: str | None) -> Mapping[str, Standing]:
        """Of the target: those behind the last one that was taken, up to this one, or all."""
        found: dict[str, Standing] = {}
        after = self._user or ""
        while page := await self._target.standings(self._uid, after=after):
            found.update((each.user, each) for each in page if last is None or each.user <= last)
            after = page[-1].user
            if last is not None and after >= last:
                break
        return found

    async def _drop_standings(self, users: list[str]) -> None:
        if users:
            await self._target.drop_standings(self._uid, users)

    async def take_messages(self, messages: Sequence[ArchivedMessage]) -> int:
        """Put what the target does not have, or has in an earlier revision; returns how many that are."""
        await self._end_standings()
        for _, revs in messages:
            self._claims.add(revs)
        last = messages[-1][0].seq
        there = await self._held(last)
        floor = self.room.floor
        new = [each for each in messages if _shown(there.get(each[0].seq), floor) != each[0]]
        strangers = there.keys() - {message.seq for message, _ in messages}
        if self._is_new:
            strangers |= {message.seq for message, _ in new if message.seq in there}
            if strangers:
                await self._target.drop_messages(self._uid, sorted(strangers))
        elif strangers or not all(_may_replace(there.get(each[0].seq), each, floor) for each in new):
            raise HubbubError("conflict", GONE_ON.format(id=self.room.room.id))
        if new:
            await self._target.put_messages(self.room, new)
        self._seq = last
        return len(new)

    async def _held(self, last: int) -> Mapping[int, Message]:
        if self._seq >= self._held_upto:
            return {}
        return await self._target.held(self._uid, first=self._seq + 1, last=min(last, self._held_upto))

    async def finish(self) -> int:
        await self._end_standings()
        self._claims.check()
        strangers = await self._held(SEQ_MOST)
        if strangers and not self._is_new:
            raise HubbubError("conflict", GONE_ON.format(id=self.room.room.id))
        if strangers:
            await self._target.drop_messages(self._uid, sorted(strangers))
        await self._target.finish(self.room)
        return 0


def _shown(message: Message | None, floor: int) -> Message | None:
    """As it is to be compared: one that retention reaches is empty."""
    return stub_of(message) if message is not None and message.seq <= floor else message


def _may_replace(there: Message | None, archived: ArchivedMessage, floor: int) -> bool:
    """Whether the target may lose the message as it has it: for a later revision of it, or for retention."""
    message, revs = archived
    if there is None:
        return True
    is_same = (there.seq, there.key, there.sender.id) == (message.seq, message.key, message.sender.id)
    return is_same and there.rev in revs and (there.rev < message.rev or message.seq <= floor)
