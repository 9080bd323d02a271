"""The part of a client of chaos that is the same whatever it does: its connection, its rooms, and waiting for answers.

What has no answer is asked again, on as many connections as that takes. After each connect and after each `gap` the
rooms are resumed, and each is compared with a fresh fetch (`chaos_replica`).
"""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from tests.support.chaos_ledger import Ledger
from tests.support.chaos_links import LeanLink, Link, LostError, StockLink
from tests.support.chaos_replica import Comparison, Document, Replica, Violation, check_page

__all__ = ["ACK_TIMEOUT_S", "DELIVERY_TIMEOUT_S", "ChaosSession", "Surroundings"]

ACK_TIMEOUT_S: Final = 45.0
"""The service answers within 30 seconds whatever hangs, or ends the connection; and it may be frozen meanwhile."""

DELIVERY_TIMEOUT_S: Final = 30.0
"""For events up to a head that was read: the service looks for what it missed 5 seconds after the store is back."""

PATIENCE_S: Final = 0.25
"""What a client waits at most before it repeats something, though it is asked for a second: runs would take longer."""

_RETRYABLE: Final = frozenset({"unavailable", "draining"})


class Surroundings(Protocol):
    """What a client needs of the run."""

    ledger: Ledger
    compared: list[Comparison]
    gaps: int
    resumes: int
    store_kills: int
    """How often the store was killed apart from the service. A driver repeats a write whose reply it has lost, and the
    server may have forgotten with whom it talked: then a message that was sent once is called a duplicate.
    """

    async def url(self) -> str:
        """Where the service is; waits while there is none."""

    def token(self, user: str) -> str: ...

    def note(self, text: str) -> None:
        """A line for the trace."""

    @property
    def is_over(self) -> bool:
        """Whether clients shall begin nothing new."""

    async def heads(self) -> Mapping[str, int]:
        """Each room's head when all clients have ended what they did; waits for that."""


class ChaosSession:
    """`user` in these `rooms`. `chance` decides how it resumes. `is_stock`: over python-socketio's own client."""

    def __init__(
        self, user: str, rooms: list[str], run: Surroundings, chance: random.Random, *, is_stock: bool
    ) -> None:
        self.user = user
        self.is_stock = is_stock
        self.link: Link | None = None
        self._run = run
        self._chance = chance
        self._replicas = {room: Replica(user, room) for room in rooms}
        self._failure: BaseException | None = None
        self._news: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    @property
    def events(self) -> int:
        return sum(replica.events for replica in self._replicas.values())

    # -- requests ----------------------------------------------------------------------------------------------------

    def _ok(self, request: Mapping[str, Any], ack: Any) -> dict[str, Any]:
        if not ack["ok"]:
            raise Violation(f"{self.user}: {request} was refused: {ack}")
        data: dict[str, Any] = ack["data"]
        return data

    async def _outcome(self, event: str, request: dict[str, Any]) -> tuple[Any, int]:
        """The ack that says what became of a request, repeated until there is one, and how often it was made."""
        tried = 0
        while True:
            try:
                link = await self._ready()
                tried += 1
                ack = await self._call(link, event, request)
            except LostError:
                continue
            if ack["ok"] or ack["error"]["code"] not in _RETRYABLE:
                return ack, tried
            await self._pause(ack["error"])

    async def _pause(self, error: Mapping[str, Any]) -> None:
        if not error["retryable"] or not error.get("retry_after", 0) > 0:
            raise Violation(f"{self.user}: a refusal does not say when to ask again: {error}")
        self._run.ledger.refusals += 1
        await asyncio.sleep(PATIENCE_S * self._chance.uniform(0.2, 1.0))

    async def _call(
        self, link: Link, event: str, request: dict[str, Any], then: Callable[[Any], None] | None = None
    ) -> Any:
        """The ack of one request on this connection. `then` is called with it at once, before any later packet.

        Raises `LostError`, and `Violation` if the connection lives and no ack comes.
        """
        got: list[Any] = []

        def take(ack: Any) -> None:
            got.append(ack)
            if ack["ok"] and then is not None:
                self._guard(then, ack["data"])
            self._nudge()

        link.send(event, request, take)
        await self._wait(lambda: bool(got) or link.lost.done(), ACK_TIMEOUT_S, f"ack of {event}")
        if not got:
            raise LostError("before the ack")
        return got[0]

    async def _asked(
        self, link: Link, event: str, request: dict[str, Any], then: Callable[[Any], None] | None = None
    ) -> dict[str, Any]:
        """As `_call`, repeated on the same connection while the service asks for that; returns `data`."""
        while True:
            ack = await self._call(link, event, request, then)
            if ack["ok"]:
                data: dict[str, Any] = ack["data"]
                return data
            if ack["error"]["code"] not in _RETRYABLE:
                raise Violation(f"{self.user}: {event} {request} was refused: {ack}")
            await self._pause(ack["error"])

    # -- the connection and its rooms --------------------------------------------------------------------------------

    async def _ready(self) -> Link:
        """A connection on which every room is joined and nothing is missing, the one there is or a new one."""
        while True:
            try:
                link = self.link
                if link is None or link.lost.done():
                    link = await self._connect()
                for replica in self._replicas.values():
                    while replica.expected is None or replica.is_paging:
                        await self._resume(link, replica)
                return link
            except LostError:
                continue

    async def _connect(self) -> Link:
        if self.link is not None:
            await self.link.close()
        for replica in self._replicas.values():
            replica.lost()
        url = await self._run.url()
        link: Link = StockLink(self._event) if self.is_stock else LeanLink(self._event)
        try:
            await link.open(url, self._run.token(self.user))
        except LostError:
            await link.close()
            await asyncio.sleep(PATIENCE_S * self._chance.uniform(0.2, 1.0))
            raise
        self.link = link
        link.lost.add_done_callback(lambda _: self._nudge())
        return link

    async def _resume(self, link: Link, replica: Replica) -> None:
        """Join, page until nothing is missing, and compare."""
        since, limit = replica.synced, self._chance.choice((3, 50, 500))
        request: dict[str, Any] = {"room": replica.room, "since": since, "limit": limit}
        if since:
            request["epoch"] = replica.epoch
        data = await self._asked(link, "room:join", request, functools.partial(replica.joined, since=since))
        pages = 1
        self._facts(data)
        while replica.is_paging:
            since, pages = replica.synced, pages + 1
            request = {"room": replica.room, "since": since, "epoch": replica.epoch, "limit": max(limit, pages * 10)}
            data = await self._asked(link, "history:sync", request, functools.partial(replica.paged, since=since))
            self._facts(data)
        self._run.resumes += 1
        if replica.expected is not None:
            await self._compare(link, replica)

    async def _compare(self, link: Link, replica: Replica) -> None:
        """This cut against a fresh fetch; nothing is compared if the room is suspended meanwhile."""
        replica.begin_cut()
        fresh: dict[str, Document] = {}
        since, head = 0, -1
        while since != head:
            request = {"room": replica.room, "since": since, "limit": 500}
            data = await self._asked(link, "history:sync", request)
            check_page(data, since, Violation)
            self._facts(data)
            for document in data["messages"]:
                fresh[document["id"]] = document
            since, head = data["next"], data["head"]
        if await self._delivered(link, replica, head):
            comparison = replica.end_cut(fresh, head)
            self._run.ledger.owed.extend((replica.room, message_id, head) for message_id in comparison.owed)
            self._run.compared.append(comparison)

    async def _delivered(self, link: Link, replica: Replica, head: int) -> bool:
        """Wait for the events up to `head`; False if the room was suspended. Raises `LostError`."""
        what = f"revision {head} of {replica.room}, which is at {replica.synced},"
        await self._wait(
            lambda: replica.synced >= head or replica.expected is None or link.lost.done(), DELIVERY_TIMEOUT_S, what
        )
        if link.lost.done():
            raise LostError("before the events")
        return replica.expected is not None

    def _facts(self, data: Mapping[str, Any]) -> None:
        for document in data["messages"]:
            self._run.ledger.fact(document)

    def _event(self, name: str, document: Any) -> None:
        if name == "message":
            self._guard(self._replicas[document["room"]].event, document)
        elif name == "gap":
            self._run.gaps += 1
            self._run.note(f"{self.user} is told of a gap in {document['room']}")
            self._guard(lambda gap: self._replicas[gap["room"]].gap(gap["head"]), document)
        if self._news:
            self._nudge()

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _guard(self, work: Callable[[Any], object], document: Any) -> None:
        """A violation in a callback is the client's own."""
        try:
            work(document)
        except Exception as error:
            self._failure = self._failure or error
            self._nudge()

    def _nudge(self) -> None:
        for condition, future in self._news:
            if not future.done() and (self._failure is not None or condition()):
                future.set_result(None)

    async def _wait(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        if self._failure is None and not condition():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            entry = (condition, future)
            self._news.append(entry)
            try:
                await self._wait_within(future, timeout_s, what)
            finally:
                self._news.remove(entry)
        if self._failure is not None:
            raise self._failure

    async def _wait_within(self, future: asyncio.Future[None], timeout_s: float, what: str) -> None:
        """As `_wait`. While the client does not read, its time stands still."""
        while not future.done():
            await asyncio.wait([future], timeout=timeout_s)
            is_stalled = isinstance(self.link, LeanLink) and self.link.is_paused
            if not future.done() and not is_stalled:
                raise Violation(f"{self.user}: no {what} within {timeout_s:.0f} s")
