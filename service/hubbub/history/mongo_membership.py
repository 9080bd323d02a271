"""Who is a member of which room, and how users stand to it: the changes, one after the other per room.

Changes of one room that come while another is on its way wait, and are then decided together: a thousand users who
join a room at once take a few commands, not a few thousand. Between nodes the version of the room's document decides
(`mongo_intents`): whoever was slower reads again and tries again, after a moment that grows.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import pymongo
from bson.errors import BSONError
from pymongo.errors import PyMongoError

from hubbub.errors import HubbubError
from hubbub.history.base import Left, Person, Role, Standing
from hubbub.history.mongo_book import Book
from hubbub.history.mongo_errors import RETRY_AFTER_S, as_hubbub_error
from hubbub.history.mongo_intents import carry_out, clear_intent, intent_of, standing_id, standing_of
from hubbub.history.mongo_marks import newest_seq
from hubbub.history.mongo_people import AT_ONCE, read_people, remember_new
from hubbub.history.mongo_server import CALL_TIMEOUT_MS, MongoServer

__all__ = ["Memberships"]

T = TypeVar("T")

BATCH_MOST: Final = 250
"""Changes that are decided together. Each may be a standing of about 1 KB in the room's document, which has 16 MB, and
all of them have to be written within the time for a call, by a server that syncs for each.
"""

WAITING_MOST: Final = 20_000
"""Changes that may wait on a node. Each belongs to a client who waits for it, and those are bounded too."""

TRIES_MOST: Final = 40
FIRST_PAUSE_S: Final = 0.002
LONGEST_PAUSE_S: Final = 0.25

WRITTEN_KEPT: Final = 10_000


@dataclass(slots=True)
class _Change(Generic[T]):
    """One change: what it does to the book, whose standing it is about, and what else the book has to hold for it."""

    user: str
    apply: Callable[[Book], T]
    is_named: bool
    newest: bool
    line: bool
    future: asyncio.Future[T]


@dataclass(slots=True)
class _Lane:
    waiting: deque[_Change[Any]] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class Memberships:
    """The changes of members of all rooms. `clock` answers in integer milliseconds since the Unix epoch.

    The methods are those of `History`, with its errors. A change whose caller goes away before it is begun is not made.
    """

    def __init__(self, server: MongoServer, *, clock: Callable[[], int]) -> None:
        self._server = server
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        self._waiting = 0
        self._closed = False
        self._written: OrderedDict[str, int] = OrderedDict()
        """By room: the version of the last intent whose standings were written here. It need not be written again."""
        self._clearings: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Take no more changes, and wait for those that are on their way; each takes as long as a call at most."""
        self._closed = True
        while tasks := [*self._clearings, *(lane.task for lane in self._lanes.values() if lane.task is not None)]:
            await asyncio.wait(tasks)

    async def join(
        self, uid: str, person: Person, *, at: int, role: Role = "member", need_invite: bool = False
    ) -> tuple[Standing, bool, int]:
        _check_text(person.id, person.name)
        return await self._submit(
            uid,
            person.id,
            lambda book: book.join(person, at=at, role=role, need_invite=need_invite),
            is_named=True,
            newest=True,
        )

    async def leave(self, uid: str, user: str, *, kicked: bool = False, text: str = "") -> Left:
        _check_text(text)
        try:
            return await self._submit(uid, user, lambda book: book.leave(user, kicked=kicked, text=text), line=True)
        except HubbubError as error:
            if error.code != "not_found":
                raise
            return Left(0)

    async def invite(self, uid: str, person: Person, *, at: int) -> Standing | None:
        _check_text(person.id, person.name)
        return await self._submit(uid, person.id, lambda book: book.invite(person, at=at), is_named=True)

    async def set_role(self, uid: str, user: str, role: Role) -> Standing:
        return await self._submit(uid, user, lambda book: book.set_role(user, role), line=True)

    async def mute(self, uid: str, user: str, *, until: int) -> Standing:
        return await self._submit(uid, user, lambda book: book.mute(user, until=until))

    async def ban(
        self, uid: str, user: str, *, until: int, text: str = ""
    ) -> tuple[Standing, bool, int, Standing | None]:
        _check_text(text)
        return await self._submit(uid, user, lambda book: book.ban(user, until=until, text=text), line=True)

    # -- lanes -------------------------------------------------------------------------------------------------------

    async def _submit(
        self,
        uid: str,
        user: str,
        apply: Callable[[Book], T],
        *,
        is_named: bool = False,
        newest: bool = False,
        line: bool = False,
    ) -> T:
        """Hand a change in; its result once it is durable."""
        # Text that cannot be stored must fail its own change, not the batch that it would be in.
        _check_text(uid, user)
        if self._closed:
            raise HubbubError("unavailable", "The store is closed.", retry_after=RETRY_AFTER_S)
        if self._waiting >= WAITING_MOST:
            raise HubbubError("unavailable", "Too many changes of members are waiting.", retry_after=RETRY_AFTER_S)
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        change = _Change(user, apply, is_named, newest, line, future)
        lane = self._lanes.get(uid)
        if lane is None:
            lane = self._lanes[uid] = _Lane()
        lane.waiting.append(change)
        self._waiting += 1
        if lane.task is None:
            lane.task = asyncio.create_task(self._run(uid, lane), name=f"history-members {uid}")
        return await future

    async def _run(self, uid: str, lane: _Lane) -> None:
        """Decide what waits, batch after batch, until nothing waits."""
        try:
            while lane.waiting:
                taken = [lane.waiting.popleft() for _ in range(min(len(lane.waiting), BATCH_MOST))]
                self._waiting -= len(taken)
                batch = [change for change in taken if not change.future.done()]
                try:
                    await self._settle(uid, batch)
                finally:
                    _fail(batch, HubbubError("unavailable", "The store was closed.", retry_after=RETRY_AFTER_S))
        finally:
            self._waiting -= len(lane.waiting)
            _fail(lane.waiting, HubbubError("unavailable", "The store was closed.", retry_after=RETRY_AFTER_S))
            del self._lanes[uid]

    async def _settle(self, uid: str, batch: Sequence[_Change[Any]]) -> None:
        """Decide a batch and tell those who wait for it."""
        try:
            with pymongo.timeout(CALL_TIMEOUT_MS / 1000):
                outcomes = await self._decide(uid, batch)
        except (HubbubError, PyMongoError, BSONError, UnicodeError, OverflowError) as error:
            _fail(batch, as_hubbub_error(error))
            return
        for change, outcome in zip(batch, outcomes, strict=True):
            if change.future.done():
                continue
            if isinstance(outcome, HubbubError):
                _refuse(change, outcome)
            else:
                change.future.set_result(outcome)

    # -- one batch ---------------------------------------------------------------------------------------------------

    async def _decide(self, uid: str, batch: Sequence[_Change[Any]]) -> list[Any]:
        """The outcome of each change, a `HubbubError` for those that were refused."""
        for number in range(TRIES_MOST):
            if number > 1:
                pause = min(FIRST_PAUSE_S * 2 ** (number - 2), LONGEST_PAUSE_S)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - It guards nothing.
            outcomes = await self._try(uid, batch)
            if outcomes is not None:
                return outcomes
        raise HubbubError(
            "unavailable", "The room's members change faster than this node can write.", retry_after=RETRY_AFTER_S
        )

    async def _try(self, uid: str, batch: Sequence[_Change[Any]]) -> list[Any] | None:
        """One try; None if another node was quicker, and nothing was changed here."""
        room = await self._server.rooms.find_one({"uid": uid})
        if room is None:
            return [HubbubError("not_found", "There is no such room.") for _ in batch]
        pending = room.get("pending")
        if pending is not None and pending["v"] != self._written.get(uid):
            await carry_out(self._server, uid, pending)
        book, known = await self._open_book(room, batch)
        outcomes = [_outcome(change, book) for change in batch]
        changed = book.changed()
        if not changed:
            return outcomes
        version = int(room.get("v", 0)) + 1
        intent = intent_of(version, changed, at=self._clock(), told=book.told, origin=self._server.log.origin)
        updated, _ = await asyncio.gather(
            self._server.rooms.update_one(
                {"_id": room["_id"], "uid": uid, "v": room.get("v")},
                {"$set": {"v": intent["v"], "members": book.members, "pending": intent}},
            ),
            # Names are no part of what is decided: who is remembered without having been let in is not harmed.
            remember_new(self._server.people, [*book.people.values()], known=known),
        )
        if updated.matched_count == 0:
            return None
        await carry_out(self._server, uid, intent)
        self._remember_written(uid, intent["v"])
        self._clear_soon(room["_id"], uid, intent["v"])
        return outcomes

    async def _open_book(
        self, room: Mapping[str, Any], batch: Sequence[_Change[Any]]
    ) -> tuple[Book, Mapping[str, tuple[Person, int]]]:
        """The book for a batch, and what is known of the people in it who come with a name."""
        uid: str = room["uid"]
        standings = self._server.standings
        ids = [standing_id(uid, user) for user in dict.fromkeys(change.user for change in batch)]
        reads: list[Awaitable[Sequence[Mapping[str, Any]]]] = [
            standings.find({"_id": {"$in": ids}, "room": uid}, batch_size=AT_ONCE).to_list(None)
        ]
        if any(change.line for change in batch):
            few = len(batch) + 1
            reads.append(standings.find({"room": uid, "role": "owner"}, batch_size=AT_ONCE).limit(few).to_list(None))
            for role in ("moderator", "member"):
                first = standings.find({"room": uid, "role": role}, batch_size=AT_ONCE).limit(2 * few)
                reads.append(first.sort([("joined_at", 1), ("user", 1)]).to_list(None))
        newest, known, (own, *lines) = await asyncio.gather(
            self._newest(uid, asked=any(change.newest for change in batch)),
            read_people(self._server.people, [change.user for change in batch if change.is_named]),
            asyncio.gather(*reads),
        )
        book = Book(
            members=int(room["members"]),
            capacity=int(room["capacity"]),
            standings=[standing_of(document) for document in own],
            line=[standing_of(document) for line in lines for document in line],
            newest=newest,
        )
        return book, known

    async def _newest(self, uid: str, *, asked: bool) -> int:
        return await newest_seq(self._server.messages, uid) if asked else 0

    # -- what is left of an intent -----------------------------------------------------------------------------------

    def _remember_written(self, uid: str, version: int) -> None:
        self._written[uid] = version
        self._written.move_to_end(uid)
        while len(self._written) > WRITTEN_KEPT:
            self._written.popitem(last=False)

    def _clear_soon(self, id: str, uid: str, version: int) -> None:
        """Take the written intent from the room, beside what goes on; unless more is coming, which will replace it."""
        lane = self._lanes.get(uid)
        if lane is None or not lane.waiting:
            task = asyncio.create_task(self._clear(id, uid, version))
            self._clearings.add(task)
            task.add_done_callback(self._clearings.discard)

    async def _clear(self, id: str, uid: str, version: int) -> None:
        try:
            await clear_intent(self._server.rooms, id, uid, version)
        except PyMongoError as error:
            as_hubbub_error(error)  # It is logged there. Whoever reads the room next writes the intent again.


def _outcome(change: _Change[Any], book: Book) -> Any:
    try:
        return change.apply(book)
    except HubbubError as error:
        return error


def _check_text(*texts: str) -> None:
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError as error:
        raise as_hubbub_error(error) from None


def _fail(batch: Sequence[_Change[Any]] | deque[_Change[Any]], error: HubbubError) -> None:
    for change in batch:
        if not change.future.done():
            _refuse(change, HubbubError(error.code, error.message, fields=error.fields, retry_after=error.retry_after))


def _refuse(change: _Change[Any], error: HubbubError) -> None:
    change.future.set_exception(error)
    change.future.exception()  # Seen: a caller that went away is no reason for a warning.
