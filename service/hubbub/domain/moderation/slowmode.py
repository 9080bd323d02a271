"""Slow mode: in such a room a member sends once in so many seconds, whichever node takes it.

What says when a sender's last turn was is the store: it is asked before a turn is given, so nobody gets a second one by
going to another node, or because this one was started anew. What the node has seen itself (its own sends, and what came
in through the room's feed) refuses at once, without a question, and also counts a message that its sender has deleted.
Two nodes that take a message of one sender in the same moment, before either is stored, both take it.

A time is the one at which a node took the message, so the wait is off by as much as the nodes' clocks are.
"""

from __future__ import annotations

from dataclasses import dataclass

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.house import House
from hubbub.domain.permissions import RANK, Relation, rank
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError

__all__ = ["SlowMode", "Turn"]


@dataclass(frozen=True, slots=True)
class Turn:
    """A sender's turn, taken at `at`; `before` is when the last one was that this node knew of."""

    room: ActiveRoom
    user: str
    at: int
    before: int | None

    def give_back(self) -> None:
        """Nothing new was stored: it was no turn."""
        if self.room.last_sent.get(self.user) == self.at:
            del self.room.last_sent[self.user]
            if self.before is not None:
                self.room.note_sent(self.user, self.before)


class SlowMode:
    """Gives turns. To be asked only where the room is slow, since it reads the store."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def take(self, client: Client, room: ActiveRoom) -> Turn | None:
        """This sender's turn, None for those who need none, or `slow_mode`. `unavailable` if the store is."""
        now = self._house.clock()
        user = client.user.person.id
        if rank(room.record.kind, client.user.standings.get(room.uid), client.identity, now) > RANK[Relation.MEMBER]:
            return None
        before = room.last_sent.get(user)
        self._check(room, before, now)
        # Taken before the store is asked, so that another connection of the sender does not take it meanwhile.
        turn = Turn(room, user, now, before)
        room.note_sent(user, now)
        try:
            stored = await self._newest(room.uid, user)
            self._check(room, stored, now)
        except BaseException:
            turn.give_back()
            raise
        return turn

    async def _newest(self, uid: str, user: str) -> int | None:
        """When the sender's newest message was sent that is not deleted."""
        seqs = await self._house.history.seqs_of(uid, user, below=2**53 - 1, limit=1)
        message = await self._house.history.message(uid, seqs[0]) if seqs else None
        return message.created_at if message is not None else None

    @staticmethod
    def _check(room: ActiveRoom, last: int | None, now: int) -> None:
        interval_ms = room.record.slow_mode_s * 1000
        if last is not None and (age_ms := max(now - last, 0)) < interval_ms:
            raise HubbubError("slow_mode", retry_after=(interval_ms - age_ms) / 1000)
