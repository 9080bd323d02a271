"""One client of chaos: it sends, edits, deletes, reacts and repeats, and has its connection cut, until the run is over.

It does one thing at a time, and repeats it until the outcome is known.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from typing import Any, Final

from tests.support.chaos_links import LostError
from tests.support.chaos_replica import Violation
from tests.support.chaos_sessions import ACK_TIMEOUT_S, ChaosSession, Surroundings

__all__ = ["ChaosClient"]

EMOJI: Final = ("👍", "🎉", "🙈")
LONG_BODY: Final = 6000
"""In code points, each of four bytes: a client that reads nothing has to miss much before it is told of a gap."""


class ChaosClient(ChaosSession):
    """`number` decides its rooms and, with the seed, what it does."""

    def __init__(self, number: int, seed: int, rooms: list[str], run: Surroundings, *, is_stock: bool) -> None:
        super().__init__(f"user-{number}", rooms, run, random.Random(f"{seed} {number}"), is_stock=is_stock)
        self._own: dict[str, list[str]] = {room: [] for room in rooms}
        self._keys: list[tuple[str, str]] = []
        self._count = 0

    async def run(self) -> None:
        """Until the run is over and the last comparison is made. Raises `Violation`."""
        try:
            while not self._run.is_over:
                await self._do_something()
            heads = await self._run.heads()
            await self._finish(heads)
        finally:
            if self.link is not None:
                await self.link.close()

    # -- what it does ------------------------------------------------------------------------------------------------

    async def _do_something(self) -> None:
        room = self._chance.choice(list(self._replicas))
        own, drawn = self._own[room], self._chance.random()
        if drawn < 0.40:
            await self._send(room)
        elif drawn < 0.48:
            await self._burst(room)
        elif drawn < 0.53 and self._keys:
            await self._repeat()
        elif drawn < 0.70 and own:
            await self._edit(room, self._chance.choice(own))
        elif drawn < 0.75 and own:
            await self._delete(room, own.pop(self._chance.randrange(len(own))))
        elif drawn < 0.97:
            await self._react(room)
        elif drawn < 0.99:
            await self._rejoin(room)
        elif self.link is not None:
            self._run.note(f"{self.user} cuts its connection")
            self.link.cut()

    def _message(self, room: str) -> dict[str, Any]:
        self._count += 1
        key = f"k{self._count}-{self._chance.getrandbits(48):x}"
        body = f"{self.user} says {self._count}"
        if self._chance.random() < 0.08:
            body = body.ljust(LONG_BODY, "🙂")
        self._run.ledger.sending(room, self.user, key, body)
        return {"room": room, "key": key, "body": body}

    async def _send(self, room: str) -> None:
        await self._send_until_known(self._message(room), tries=0)

    async def _send_until_known(self, request: dict[str, Any], *, tries: int) -> None:
        kills = self._run.store_kills
        ack, tried = await self._outcome("message:send", request)
        is_first = tries + tried == 1 and kills == self._run.store_kills
        self._sent(request, self._ok(request, ack), first_try=is_first)

    def _sent(self, request: Mapping[str, Any], data: dict[str, Any], *, first_try: bool) -> None:
        room, key, document = request["room"], request["key"], data["message"]
        self._run.ledger.sent(room, self.user, key, document, duplicate=data["duplicate"], first_try=first_try)
        if (room, key) not in self._keys:
            self._keys.append((room, key))
            self._own[room].append(document["id"])

    async def _burst(self, room: str) -> None:
        """Several sends without waiting in between: acks come in their order, and so do their places in the room."""
        link = await self._ready()
        requests = [self._message(room) for _ in range(self._chance.randint(2, 8))]
        acks: list[tuple[int, Any]] = []
        kills = self._run.store_kills
        for number, request in enumerate(requests):
            link.send("message:send", request, functools.partial(self._take, acks, number))
        await self._wait(lambda: len(acks) == len(requests) or link.lost.done(), ACK_TIMEOUT_S, "acks of a burst")
        if [number for number, _ in acks] != list(range(len(acks))):
            raise Violation(f"{self.user}: acks of a burst came in the order {[number for number, _ in acks]}")
        last = 0
        for number, ack in acks:
            if ack["ok"]:
                data = ack["data"]
                if data["message"]["seq"] <= last:
                    raise Violation(f"{self.user}: a burst in {room} has got the places {last} and {data['message']}")
                last = data["message"]["seq"]
                self._sent(requests[number], data, first_try=kills == self._run.store_kills)
        known = {number for number, ack in acks if ack["ok"]}
        for number, request in enumerate(requests):
            if number not in known:
                await self._send_until_known(request, tries=1)

    def _take(self, acks: list[tuple[int, Any]], number: int, ack: Any) -> None:
        acks.append((number, ack))
        self._nudge()

    async def _repeat(self) -> None:
        """A key that has had its ack, with another body: the first message is the answer."""
        room, key = self._chance.choice(self._keys)
        request = {"room": room, "key": key, "body": "something else"}
        await self._send_until_known(request, tries=1)

    async def _edit(self, room: str, message_id: str) -> None:
        self._count += 1
        request = {"room": room, "id": message_id, "body": f"{self.user} edits {self._count}"}
        ack, _ = await self._outcome("message:edit", request)
        self._run.ledger.edited(self._ok(request, ack)["message"], request["body"])

    async def _delete(self, room: str, message_id: str) -> None:
        request = {"room": room, "id": message_id}
        ack, _ = await self._outcome("message:delete", request)
        self._run.ledger.deleted(self._ok(request, ack)["message"])

    async def _react(self, room: str) -> None:
        documents = self._replicas[room].documents
        if not documents:
            return
        # Of the newest, mostly: that is where many meet, and whom deletions hit in between.
        newest = list(documents)[-30:]
        target, emoji = self._chance.choice(newest), self._chance.choice(EMOJI)
        on = self._chance.random() < 0.7
        request = {"room": room, "id": target, "emoji": emoji, "on": on}
        ack, _ = await self._outcome("message:react", request)
        if not ack["ok"] and ack["error"]["code"] == "conflict":
            self._run.ledger.gone(target)
            return
        self._run.ledger.reacted(self._ok(request, ack)["message"], self.user, emoji, on=on)

    async def _rejoin(self, room: str) -> None:
        """As a client does that is not sure: join again in the middle of everything."""
        try:
            await self._resume(await self._ready(), self._replicas[room])
        except LostError:
            return

    async def _finish(self, heads: Mapping[str, int]) -> None:
        """Everything is quiet: each room must come to its head by itself, and be the same as a fresh fetch."""
        while True:
            try:
                link = await self._ready()
                for replica in self._replicas.values():
                    head = heads[replica.room]
                    await self._delivered(link, replica, head)
                    if replica.synced != head:
                        raise Violation(f"{self.user} in {replica.room} is at {replica.synced}, beyond the head {head}")
                    await self._compare(link, replica)
                return
            except LostError:
                continue
