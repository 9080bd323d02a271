"""A store of revisions whose answers take as long, and fail as often, as a test says.

A model of what feeds read of a `History`: it is what the order of events is held against, so it is as simple as can be.
The real stores are held against the same contract by `tests/contract`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hubbub.errors import HubbubError
from hubbub.history.base import (
    Arrival,
    Landing,
    Message,
    MessagePage,
    Person,
    Room,
    RoomView,
    Standing,
    Views,
    Written,
)
from tests.support.controllog import MemoryLedger
from tests.support.domain import message_of, room_of

__all__ = ["FeedStore"]


class FeedStore:
    """Rooms by uid, each a list of the messages that its revisions changed. `is_down` makes every reading fail, and
    `latency_s` is what each takes, `slow_s` what each room adds to a question for heads. `calls` counts readings.
    """

    incarnation = ""

    def __init__(self, uids: Sequence[str]) -> None:
        self.ledger = MemoryLedger()
        self.rooms: dict[str, list[int]] = {uid: [] for uid in uids}
        self.messages: dict[tuple[str, int], Message] = {}
        self.is_down = False
        self.latency_s = 0.0
        self.slow_s = 0.0
        self.calls: dict[str, int] = {}
        self.reading = 0
        self.reading_most = 0
        self.read_most = 0

    # -- what a test does --------------------------------------------------------------------------------------------

    def send(self, uid: str) -> Written:
        seq = self._claim(uid)
        self.rooms[uid][-1] = seq
        self.messages[uid, seq] = message_of(uid, seq)
        return Written(self.messages[uid, seq], claimed=seq)

    def change(self, uid: str, seq: int, *, deleted: bool = False) -> Written:
        """Edit or delete the message of that place, or the first one if there is none there."""
        rev = self._claim(uid)
        seqs = [known for room, known in self.messages if room == uid]
        target = seq if seq in seqs else seqs[0]
        self.rooms[uid][-1] = target
        before = self.messages[uid, target]
        after = replace(before, rev=rev, body="" if deleted else f"edited at {rev}", deleted=deleted or before.deleted)
        self.messages[uid, target] = after
        return Written(after, claimed=rev)

    def _claim(self, uid: str) -> int:
        self.rooms[uid].append(0)
        return len(self.rooms[uid])

    # -- as `History` ------------------------------------------------------------------------------------------------

    async def _read(self, name: str) -> None:
        self.calls[name] = self.calls.get(name, 0) + 1
        self.reading += 1
        self.reading_most = max(self.reading_most, self.reading)
        try:
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
        finally:
            self.reading -= 1
        if self.is_down:
            raise HubbubError("unavailable", "The store is down.", retry_after=1)

    async def _answered(self) -> None:
        if self.latency_s:
            await asyncio.sleep(self.latency_s)

    async def heads(self, uids: Sequence[str]) -> Mapping[str, int]:
        await self._read("heads")
        await asyncio.sleep(self.slow_s * len(uids))
        heads = {uid: len(self.rooms[uid]) for uid in uids if uid in self.rooms}
        await self._answered()
        return heads

    async def revisions(self, uid: str, *, after: int, upto: int) -> Sequence[tuple[int, Message]]:
        await self._read("revisions")
        self.read_most = max(self.read_most, upto - after)
        changed = self.rooms.get(uid, [])[after:upto]
        found = [
            (rev, self.messages[uid, seq]) for rev, seq in enumerate(changed, after + 1) if (uid, seq) in self.messages
        ]
        await self._answered()
        return found

    async def room(self, id: str) -> Room | None:
        await self._read("room")
        uid = id.removeprefix("room-")
        return self._record(uid) if uid in self.rooms else None

    async def landing(
        self, uid: str, user: str, *, since: int | None, limit: int, max_bytes: int, members_most: int
    ) -> Landing | None:
        await self._read("landing")
        if uid not in self.rooms:
            return None
        record = self._record(uid)
        landing = Landing(MessagePage([], record.head), RoomView(record, Standing(user, "member"), 0), [])
        await self._answered()
        return landing

    async def views(self, uid: str, users: Sequence[str], *, members_most: int) -> Views | None:
        await self._read("views")
        if uid not in self.rooms:
            return None
        views = Views(self._record(uid), {user: Standing(user, "member") for user in users}, {}, [])
        await self._answered()
        return views

    async def page(self, uid: str, **asked: int | None) -> MessagePage:
        await self._read("page")
        page = MessagePage([], len(self.rooms.get(uid, ())))
        await self._answered()
        return page

    async def arrival(self, user: str) -> Arrival:
        await self._read("arrival")
        return Arrival({uid: Standing(user, "member") for uid in self.rooms}, None)

    async def remember(self, person: Person, *, at: int) -> None:
        return None

    def _record(self, uid: str) -> Room:
        return replace(room_of(uid), head=len(self.rooms[uid]))
