"""History in MongoDB: the adapter for any number of nodes.

Who does what: `mongo_server` has the client, the collections and their concerns; `mongo_batch` writes messages,
`mongo_messages` reads them; `mongo_rooms` and `mongo_membership` write rooms and how users stand to them, and
`mongo_lists` and `mongo_landings` read both; `mongo_search` finds words. There is no transaction: what has to be
decided in one step is one document, or a unique index.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from pymongo.monitoring import CommandListener

from hubbub.errors import HubbubError
from hubbub.history import mongo_landings as landings
from hubbub.history import mongo_lists as lists
from hubbub.history import mongo_people as people
from hubbub.history import mongo_rooms as rooms
from hubbub.history.base import (
    Arrival,
    Change,
    Insert,
    Landing,
    Ledger,
    Left,
    Message,
    MessagePage,
    Outcome,
    Person,
    Role,
    Room,
    RoomPage,
    RoomView,
    SearchPage,
    Standing,
    StandingPage,
    Views,
)
from hubbub.history.mongo_batch import TOO_FAST, Committer
from hubbub.history.mongo_errors import RETRY_AFTER_S, translated
from hubbub.history.mongo_incarnation import read_incarnation
from hubbub.history.mongo_ledger import MongoLedger
from hubbub.history.mongo_marks import mark_read
from hubbub.history.mongo_membership import Memberships
from hubbub.history.mongo_messages import MessageReader
from hubbub.history.mongo_retention import Retention
from hubbub.history.mongo_search import Searcher
from hubbub.history.mongo_server import CALL_TIMEOUT_MS, MongoServer

__all__ = ["MongoHistory"]

logger: Final = logging.getLogger(__name__)

CHECK_S: Final = 2.0

CALL_S: Final = CALL_TIMEOUT_MS / 1000
"""How long one method may take, whatever number of calls to the server it makes. Not for what is worked off in a task
that others wait for as well: it would inherit the time of the first.
"""

BURIAL_S: Final = 300.0
"""How often deleted rooms are looked for whose node went before it had cleared them away."""

BURIAL_PAUSE_S: Final = 0.05


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class MongoHistory:
    """`History` in the database that the address names (`mongodb://HOSTS/DATABASE`, by default `hubbub`).

    `clock` answers in integer milliseconds since the Unix epoch. `listeners` are told of every command.
    """

    def __init__(
        self, uri: str, *, clock: Callable[[], int] = _now_ms, listeners: Sequence[CommandListener] = ()
    ) -> None:
        self._uri = uri
        self._clock = clock
        self._listeners = listeners
        self._parts: _Parts | None = None
        self._incarnation = ""
        self._origin = secrets.token_hex(8)
        self._ledger = MongoLedger(lambda: self._open_parts.server, origin=self._origin, clock=clock)

    # -- life --------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        server = MongoServer(self._uri, listeners=self._listeners, origin=self._origin)
        try:
            await server.connect()
            async with translated():
                self._incarnation = await read_incarnation(server)
        except BaseException:
            await server.close()
            raise
        server.log.on_logged = lambda: self._ledger.on_logged()
        self._parts = _Parts(server, self._clock)

    async def close(self) -> None:
        parts, self._parts = self._parts, None
        if parts is not None:
            await parts.close()

    async def check(self) -> None:
        async with translated(CHECK_S):
            await self._open_parts.server.meta.update_one({"_id": "pulse"}, {"$set": {"at": self._clock()}})

    @property
    def incarnation(self) -> str:
        return self._incarnation

    @property
    def ledger(self) -> Ledger:
        return self._ledger

    @property
    def _open_parts(self) -> _Parts:
        if self._parts is None:
            raise HubbubError("unavailable", "The store is closed.", retry_after=RETRY_AFTER_S)
        return self._parts

    # -- messages ----------------------------------------------------------------------------------------------------

    def lane(self, uid: str) -> str:
        """One for each room: what two rooms write has nothing to do with each other."""
        return uid

    async def commit(self, batch: Sequence[Insert | Change]) -> Sequence[Outcome]:
        outcomes = await self._open_parts.commit(batch)
        first = outcomes[0] if outcomes else None
        if isinstance(first, HubbubError) and all(_is_unavailable(outcome) for outcome in outcomes):
            raise first  # The store is away, which is no matter of single writes.
        return outcomes

    async def message(self, uid: str, seq: int) -> Message | None:
        async with translated(CALL_S):
            return await self._open_parts.reader.message(uid, seq)

    async def message_by_key(self, uid: str, sender: str, key: str) -> Message | None:
        async with translated(CALL_S):
            return await self._open_parts.reader.by_key(uid, sender, key)

    async def page(
        self,
        uid: str,
        *,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        limit: int,
        max_bytes: int,
    ) -> MessagePage:
        async with translated(CALL_S):
            return await self._open_parts.reader.page(
                uid, before=before, after=after, around=around, limit=limit, max_bytes=max_bytes
            )

    async def changes(self, uid: str, *, since: int, limit: int, max_bytes: int) -> MessagePage:
        async with translated(CALL_S):
            return await self._open_parts.reader.changes(uid, since=since, limit=limit, max_bytes=max_bytes)

    async def revisions(self, uid: str, *, after: int, upto: int) -> Sequence[tuple[int, Message]]:
        async with translated(CALL_S):
            return await self._open_parts.reader.revisions(uid, after=after, upto=upto)

    async def head(self, uid: str) -> int:
        async with translated(CALL_S):
            return await self._open_parts.reader.head(uid)

    async def heads(self, uids: Sequence[str]) -> Mapping[str, int]:
        async with translated(CALL_S):
            return await self._open_parts.reader.heads(uids)

    async def seqs_of(self, uid: str, sender: str, *, below: int, limit: int) -> Sequence[int]:
        async with translated(CALL_S):
            return await self._open_parts.reader.seqs_of(uid, sender, below=below, limit=limit)

    async def search(
        self, *, uids: Sequence[str], public: bool, phrases: Sequence[str], limit: int, cursor: str | None
    ) -> SearchPage:
        async with translated(CALL_S):
            return await self._open_parts.searcher.search(
                uids=uids, public=public, phrases=phrases, limit=limit, cursor=cursor
            )

    async def expire(self, *, before: int | None, keep: int | None) -> int:
        async with translated():
            return await self._open_parts.retention.expire(before=before, keep=keep)

    # -- rooms -------------------------------------------------------------------------------------------------------

    async def create_room(self, room: Room, members: Sequence[tuple[Standing, Person]]) -> Room:
        async with translated(CALL_S):
            return await rooms.create_room(self._open_parts.server, room, members, at=self._clock())

    async def room(self, id: str) -> Room | None:
        async with translated(CALL_S):
            return await lists.read_room(self._open_parts.server, id, now=self._clock())

    async def rooms_at(self, uids: Sequence[str]) -> Mapping[str, Room]:
        async with translated(CALL_S):
            return await lists.read_rooms_at(self._open_parts.server, uids)

    async def update_room(
        self,
        uid: str,
        *,
        title: str | None = None,
        topic: str | None = None,
        capacity: int | None = None,
        slow_mode_s: int | None = None,
    ) -> Room:
        values = {"title": title, "topic": topic, "capacity": capacity, "slow_mode_s": slow_mode_s}
        async with translated(CALL_S):
            return await rooms.update_room(self._open_parts.server, uid, values=values, at=self._clock())

    async def delete_room(self, uid: str) -> bool:
        parts = self._open_parts
        async with translated(CALL_S):
            deleted = await rooms.delete_room(parts.server, uid, at=self._clock())
        parts.committer.forget(uid)
        parts.graves.set()
        return deleted

    async def rooms(
        self, *, user: str, query: str | None, mine: bool, everything: bool, limit: int, cursor: str | None
    ) -> RoomPage:
        async with translated(CALL_S):
            return await lists.read_rooms(
                self._open_parts.server,
                user=user,
                query=query,
                mine=mine,
                everything=everything,
                limit=limit,
                cursor=cursor,
                now=self._clock(),
            )

    async def view(self, uid: str, user: str) -> RoomView | None:
        async with translated(CALL_S):
            return await lists.read_view(self._open_parts.server, uid, user, now=self._clock())

    async def views(self, uid: str, users: Sequence[str], *, members_most: int) -> Views | None:
        async with translated(CALL_S):
            return await landings.read_views(
                self._open_parts.server, uid, users, members_most=members_most, now=self._clock()
            )

    async def landing(
        self, uid: str, user: str, *, since: int | None, limit: int, max_bytes: int, members_most: int
    ) -> Landing | None:
        parts = self._open_parts
        async with translated(CALL_S):
            return await landings.read_landing(
                parts.server,
                parts.reader,
                uid,
                user,
                since=since,
                limit=limit,
                max_bytes=max_bytes,
                members_most=members_most,
                now=self._clock(),
            )

    # -- standings ---------------------------------------------------------------------------------------------------

    async def standing(self, uid: str, user: str) -> Standing | None:
        async with translated(CALL_S):
            return await lists.read_standing(self._open_parts.server, uid, user, now=self._clock())

    async def standings_at(self, pairs: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Standing]:
        async with translated(CALL_S):
            return await lists.read_standings_at(self._open_parts.server, pairs, now=self._clock())

    async def standings_of(self, user: str) -> Mapping[str, Standing]:
        async with translated(CALL_S):
            return await lists.read_standings_of(self._open_parts.server, user, now=self._clock())

    async def arrival(self, user: str) -> Arrival:
        async with translated(CALL_S):
            return await lists.read_arrival(self._open_parts.server, user, now=self._clock())

    async def members(self, uid: str, *, limit: int, cursor: str | None) -> StandingPage:
        async with translated(CALL_S):
            return await lists.read_members(self._open_parts.server, uid, limit=limit, cursor=cursor, now=self._clock())

    async def member_ids(self, uid: str, candidates: Sequence[str]) -> frozenset[str]:
        async with translated(CALL_S):
            return await lists.read_member_ids(self._open_parts.server, uid, candidates, now=self._clock())

    async def join(
        self, uid: str, person: Person, *, at: int, role: Role = "member", need_invite: bool = False
    ) -> tuple[Standing, bool, int]:
        async with translated():
            return await self._open_parts.memberships.join(uid, person, at=at, role=role, need_invite=need_invite)

    async def leave(self, uid: str, user: str, *, kicked: bool = False, text: str = "") -> Left:
        async with translated():
            return await self._open_parts.memberships.leave(uid, user, kicked=kicked, text=text)

    async def invite(self, uid: str, person: Person, *, at: int) -> Standing | None:
        async with translated():
            return await self._open_parts.memberships.invite(uid, person, at=at)

    async def set_role(self, uid: str, user: str, role: Role) -> Standing:
        async with translated():
            return await self._open_parts.memberships.set_role(uid, user, role)

    async def mute(self, uid: str, user: str, *, until: int) -> Standing:
        async with translated():
            return await self._open_parts.memberships.mute(uid, user, until=until)

    async def ban(
        self, uid: str, user: str, *, until: int, text: str = ""
    ) -> tuple[Standing, bool, int, Standing | None]:
        async with translated():
            return await self._open_parts.memberships.ban(uid, user, until=until, text=text)

    async def mark_read(self, uid: str, user: str, seq: int) -> tuple[int, int]:
        async with translated(CALL_S):
            return await mark_read(self._open_parts.server, uid, user, seq, now=self._clock())

    # -- people ------------------------------------------------------------------------------------------------------

    async def remember(self, person: Person, *, at: int) -> None:
        async with translated(CALL_S):
            await people.remember(self._open_parts.server.people, person, at=at)

    async def people(self, ids: Sequence[str]) -> Mapping[str, tuple[Person, int]]:
        async with translated(CALL_S):
            return await people.read_people(self._open_parts.server.people, ids)


def _is_unavailable(outcome: Outcome) -> bool:
    return isinstance(outcome, HubbubError) and outcome.code == "unavailable" and outcome.message != TOO_FAST


class _Parts:
    """Everything that is open."""

    def __init__(self, server: MongoServer, clock: Callable[[], int]) -> None:
        self.server = server
        self.reader = MessageReader(server)
        self.committer = Committer(server)
        self.searcher = Searcher(server)
        self.retention = Retention(server)
        self.memberships = Memberships(server, clock=clock)
        self.graves = asyncio.Event()
        """Set when a room was deleted here, and at the start: somebody may have died before the burial."""
        self.graves.set()
        self._clock = clock
        self._is_closing = False
        self._commits: set[asyncio.Task[Sequence[Outcome]]] = set()
        self._burials = asyncio.create_task(self._bury(), name="history-burials")

    async def commit(self, batch: Sequence[Insert | Change]) -> Sequence[Outcome]:
        """A caller that goes away does not stop its batch in the middle, where nobody knows what stands."""
        task = asyncio.create_task(self.committer.commit(batch), name="history-commit")
        self._commits.add(task)
        task.add_done_callback(self._commits.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        while self._commits:
            await asyncio.wait(self._commits)
        self._is_closing = True
        self._burials.cancel()
        await asyncio.wait([self._burials])
        await self.memberships.close()
        await self.server.close()

    async def _bury(self) -> None:
        """Give back the space of deleted rooms, slice by slice, with pauses in which others are served."""
        while not self._is_closing:  # The driver makes an error of its own of a cancellation while it connects.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BURIAL_S):
                    await self.graves.wait()
            self.graves.clear()
            try:
                async with translated():
                    await self._bury_all()
            except HubbubError as error:
                logger.warning("history: deleted rooms could not be cleared away: %s", error.message)

    async def _bury_all(self) -> None:
        is_more = True
        while is_more:
            is_more = await rooms.bury_slice(self.server, now=self._clock())
            await asyncio.sleep(BURIAL_PAUSE_S)
