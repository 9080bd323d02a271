"""History in one SQLite file: the adapter for one node with nothing else installed.

Who does what: one thread writes (`sqlite_thread`), a few read (`sqlite_readers`), one keeps the log short
(`sqlite_keeper`), one brings the search index after (`sqlite_indexer`) and one searches (`sqlite_search`). Each has its
own connections. Nothing here blocks the event loop, and nothing that reads waits for what writes.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from hubbub.errors import HubbubError, StoreError
from hubbub.history import sqlite_landings as landings
from hubbub.history import sqlite_lists as lists
from hubbub.history import sqlite_messages as messages
from hubbub.history import sqlite_rooms as rooms
from hubbub.history import sqlite_standings as standings
from hubbub.history.base import (
    Arrival,
    Change,
    Insert,
    Landing,
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
from hubbub.history.sqlite_batch import write_batch
from hubbub.history.sqlite_errors import RETRY_AFTER_S, sentence
from hubbub.history.sqlite_file import FileLock, open_database
from hubbub.history.sqlite_incarnation import identity, settle
from hubbub.history.sqlite_index import index_path
from hubbub.history.sqlite_indexer import Indexer
from hubbub.history.sqlite_keeper import Keeper
from hubbub.history.sqlite_ledger import SqliteLedger
from hubbub.history.sqlite_log import RoomLog
from hubbub.history.sqlite_readers import Readers
from hubbub.history.sqlite_retention import Finder, Rise, empty_slice
from hubbub.history.sqlite_search import Searcher
from hubbub.history.sqlite_thread import WriterThread

__all__ = ["SqliteHistory"]

T = TypeVar("T")

CHECK_S: Final = 2.0
LANE: Final = "sqlite"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteHistory:
    """`History` in the file at `path`; the search index lies beside it as `<path>-search`, the lock as `<path>-lock`.

    `clock` answers in integer milliseconds since the Unix epoch. `readers` is how many reads run at once: they wait
    for the disk, or run in SQLite outside of the interpreter lock.
    """

    def __init__(self, path: Path, *, clock: Callable[[], int] = _now_ms, readers: int = 3) -> None:
        self._path = path
        self._clock = clock
        self._readers_count = readers
        self._resources = ExitStack()
        self._parts: _Parts | None = None
        self._finder = Finder()
        self._expiring = asyncio.Lock()
        self._incarnation = ""
        self._ledger = SqliteLedger(read=self._read, write=self._write)
        self._log = RoomLog(self._ledger.origin, clock)

    # -- life --------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        self._parts = await asyncio.to_thread(self._open)
        self._incarnation = self._parts.incarnation

    def _open(self) -> _Parts:
        with ExitStack() as stack:
            parts = _Parts(self._path, stack, readers=self._readers_count)
            self._resources = stack.pop_all()
        return parts

    async def close(self) -> None:
        self._parts = None
        resources, self._resources = self._resources, ExitStack()
        await asyncio.to_thread(resources.close)

    async def check(self) -> None:
        async def both() -> None:
            await self._read(lambda connection: connection.execute("SELECT at FROM pulse").fetchone())
            await self._write(partial(_beat, at=self._clock()))

        try:
            await asyncio.wait_for(both(), CHECK_S)
        except TimeoutError:
            raise HubbubError("unavailable", "The store does not answer.", retry_after=RETRY_AFTER_S) from None

    @property
    def incarnation(self) -> str:
        return self._incarnation

    @property
    def ledger(self) -> SqliteLedger:
        return self._ledger

    @property
    def _open_parts(self) -> _Parts:
        if self._parts is None:
            raise HubbubError("unavailable", "The store is closed.", retry_after=RETRY_AFTER_S)
        return self._parts

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        return await self._open_parts.readers.run(read)

    async def _write(self, write: Callable[[sqlite3.Connection], T], *, then: Callable[[T], None] | None = None) -> T:
        return await self._open_parts.writer.submit(write, then=then)

    # -- messages ----------------------------------------------------------------------------------------------------

    def lane(self, uid: str) -> str:
        """One for all rooms: the file has one writer, and a batch of many rooms costs one sync."""
        del uid
        return LANE

    async def commit(self, batch: Sequence[Insert | Change]) -> Sequence[Outcome]:
        parts = self._open_parts
        outcomes, _ = await self._write(
            lambda connection: write_batch(connection, batch), then=lambda result: parts.indexer.notify(result[1])
        )
        return outcomes

    async def message(self, uid: str, seq: int) -> Message | None:
        return await self._read(lambda connection: messages.read_message(connection, uid, seq))

    async def message_by_key(self, uid: str, sender: str, key: str) -> Message | None:
        return await self._read(lambda connection: messages.read_by_key(connection, uid, sender=sender, key=key))

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
        return await self._read(
            lambda connection: messages.read_page(
                connection, uid, before=before, after=after, around=around, limit=limit, max_bytes=max_bytes
            )
        )

    async def changes(self, uid: str, *, since: int, limit: int, max_bytes: int) -> MessagePage:
        return await self._read(
            lambda connection: messages.read_changes(connection, uid, since=since, limit=limit, max_bytes=max_bytes)
        )

    async def revisions(self, uid: str, *, after: int, upto: int) -> Sequence[tuple[int, Message]]:
        return await self._read(lambda connection: messages.read_revisions(connection, uid, after=after, upto=upto))

    async def head(self, uid: str) -> int:
        return await self._read(lambda connection: messages.read_head(connection, uid))

    async def heads(self, uids: Sequence[str]) -> Mapping[str, int]:
        return await self._read(lambda connection: messages.read_heads(connection, uids))

    async def seqs_of(self, uid: str, sender: str, *, below: int, limit: int) -> Sequence[int]:
        return await self._read(
            lambda connection: messages.read_seqs_of(connection, uid, sender=sender, below=below, limit=limit)
        )

    async def search(
        self, *, uids: Sequence[str], public: bool, phrases: Sequence[str], limit: int, cursor: str | None
    ) -> SearchPage:
        return await self._open_parts.searcher.search(
            uids=uids, public=public, phrases=phrases, limit=limit, cursor=cursor
        )

    async def expire(self, *, before: int | None, keep: int | None) -> int:
        if before is None and keep is None:
            return 0  # A slice is one transaction: nothing is ever begun and not finished.
        async with self._expiring:
            whole = False
            while True:
                whole = whole or self._finder.at_start
                rises = await self._read(lambda connection: self._finder.look(connection, before=before, keep=keep))
                if rises:
                    emptied = await self._empty(rises)
                    if emptied:
                        return emptied
                elif whole and self._finder.at_start:
                    return 0

    async def _empty(self, rises: Sequence[Rise]) -> int:
        indexer, numbers = self._open_parts.indexer, [rise.no for rise in rises]
        return await self._write(
            lambda connection: empty_slice(connection, rises), then=lambda _: indexer.notify(numbers)
        )

    # -- rooms -------------------------------------------------------------------------------------------------------

    async def create_room(self, room: Room, members: Sequence[tuple[Standing, Person]]) -> Room:
        return await self._write(lambda connection: rooms.create_room(connection, room, members, log=self._log))

    async def room(self, id: str) -> Room | None:
        return await self._read(lambda connection: lists.read_room(connection, id))

    async def rooms_at(self, uids: Sequence[str]) -> Mapping[str, Room]:
        return await self._read(lambda connection: lists.read_rooms_at(connection, uids))

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
        return await self._write(lambda connection: rooms.update_room(connection, uid, values=values, log=self._log))

    async def delete_room(self, uid: str) -> bool:
        parts = self._open_parts

        def bury(no: int | None) -> None:
            if no is not None:
                parts.writer.add_chores()
                parts.indexer.notify([no])

        gone = await self._write(lambda connection: rooms.delete_room(connection, uid, log=self._log), then=bury)
        return gone is not None

    async def rooms(
        self, *, user: str, query: str | None, mine: bool, everything: bool, limit: int, cursor: str | None
    ) -> RoomPage:
        now = self._clock()
        return await self._read(
            lambda connection: lists.read_rooms(
                connection,
                user=user,
                query=query,
                mine=mine,
                everything=everything,
                limit=limit,
                cursor=cursor,
                now=now,
            )
        )

    async def view(self, uid: str, user: str) -> RoomView | None:
        return await self._read(lambda connection: lists.read_view(connection, uid, user))

    async def views(self, uid: str, users: Sequence[str], *, members_most: int) -> Views | None:
        return await self._read(
            lambda connection: landings.read_views(connection, uid, users, members_most=members_most)
        )

    async def landing(
        self, uid: str, user: str, *, since: int | None, limit: int, max_bytes: int, members_most: int
    ) -> Landing | None:
        return await self._read(
            lambda connection: landings.read_landing(
                connection, uid, user, since=since, limit=limit, max_bytes=max_bytes, members_most=members_most
            )
        )

    # -- standings ---------------------------------------------------------------------------------------------------

    async def standing(self, uid: str, user: str) -> Standing | None:
        return await self._read(lambda connection: lists.read_standing(connection, uid, user))

    async def standings_at(self, pairs: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Standing]:
        return await self._read(lambda connection: lists.read_standings_at(connection, pairs))

    async def standings_of(self, user: str) -> Mapping[str, Standing]:
        return await self._read(lambda connection: lists.read_standings_of(connection, user))

    async def arrival(self, user: str) -> Arrival:
        return await self._read(lambda connection: landings.read_arrival(connection, user))

    async def members(self, uid: str, *, limit: int, cursor: str | None) -> StandingPage:
        return await self._read(lambda connection: lists.read_members(connection, uid, limit=limit, cursor=cursor))

    async def member_ids(self, uid: str, candidates: Sequence[str]) -> frozenset[str]:
        return await self._read(lambda connection: lists.read_member_ids(connection, uid, candidates))

    async def join(
        self, uid: str, person: Person, *, at: int, role: Role = "member", need_invite: bool = False
    ) -> tuple[Standing, bool, int]:
        return await self._write(
            lambda connection: standings.join(
                connection, uid, person, at=at, role=role, need_invite=need_invite, log=self._log
            )
        )

    async def leave(self, uid: str, user: str, *, kicked: bool = False, text: str = "") -> Left:
        return await self._write(
            lambda connection: standings.leave(connection, uid, user, log=self._log, kicked=kicked, text=text)
        )

    async def invite(self, uid: str, person: Person, *, at: int) -> Standing | None:
        return await self._write(lambda connection: standings.invite(connection, uid, person, at=at, log=self._log))

    async def set_role(self, uid: str, user: str, role: Role) -> Standing:
        return await self._write(lambda connection: standings.set_role(connection, uid, user, role, log=self._log))

    async def mute(self, uid: str, user: str, *, until: int) -> Standing:
        return await self._write(lambda connection: standings.mute(connection, uid, user, until=until, log=self._log))

    async def ban(
        self, uid: str, user: str, *, until: int, text: str = ""
    ) -> tuple[Standing, bool, int, Standing | None]:
        return await self._write(
            lambda connection: standings.ban(connection, uid, user, until=until, log=self._log, text=text)
        )

    async def mark_read(self, uid: str, user: str, seq: int) -> tuple[int, int]:
        return await self._write(lambda connection: standings.mark_read(connection, uid, user, seq))

    # -- people ------------------------------------------------------------------------------------------------------

    async def remember(self, person: Person, *, at: int) -> None:
        await self._write(lambda connection: rooms.remember_people(connection, [person], at=at))

    async def people(self, ids: Sequence[str]) -> Mapping[str, tuple[Person, int]]:
        return await self._read(lambda connection: lists.read_people(connection, ids))


class _Parts:
    """Everything that is open, closed by `stack` in the reverse order. Made off the event loop."""

    def __init__(self, path: Path, stack: ExitStack, *, readers: int) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            stack.callback(lock.release)
            lock.acquire()
            found = identity(path)
            connection = open_database(path)
            stack.callback(connection.close)
            self.incarnation = settle(connection, path, found)
            self._open_rest(path, stack, connection, readers)
        except OSError as error:
            raise StoreError(f"The database {path} cannot be opened: {error.strerror or error}.") from error
        except sqlite3.Error as error:
            raise StoreError(f"The database {path} cannot be opened: {sentence(error) or error}") from error

    def _open_rest(self, path: Path, stack: ExitStack, connection: sqlite3.Connection, readers: int) -> None:
        index = index_path(path)
        self.readers = Readers(path, size=readers)
        stack.callback(self.readers.close)
        self.indexer = Indexer(path, index=index)
        stack.callback(self.indexer.close)
        self.searcher = Searcher(path, index=index, indexer=self.indexer)
        stack.callback(self.searcher.close)
        keeper = Keeper(path)
        stack.callback(keeper.close)
        self.writer = WriterThread(connection, after_commit=lambda: keeper.relieve(connection), chore=rooms.bury_slice)
        stack.callback(self.writer.close)


def _beat(connection: sqlite3.Connection, *, at: int) -> None:
    """Write for the sake of writing; the value alone changes."""
    connection.execute("UPDATE pulse SET at = ?", (at,))
