"""A whole history in an SQLite file, to read in one state or to fill.

Reading needs no lock: it is one transaction on a read-only connection, beside a service that writes. Meanwhile the
file's log cannot start anew, so it grows by what the service writes.

Writing takes the lock that the service takes; how it is done is in `sqlite_arrivals`.

Work is done on threads, and a thread goes on when whoever waits for it is cancelled, as everybody is by Ctrl-C. So each
piece of work holds a lock, and the connection is closed under the same lock: SQLite does not survive a connection that
is closed while it is in use.
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from hubbub.errors import HubbubError, StoreError
from hubbub.history import sqlite_arrivals as arrivals
from hubbub.history.archive import PAGE_BYTES, PAGE_ROWS, SEQ_MOST, ArchivedMessage, ArchivedRoom, KnownPerson, Size
from hubbub.history.base import Message, Person, Room, Standing
from hubbub.history.sqlite_arrivals import number_of
from hubbub.history.sqlite_errors import as_hubbub_error, sentence
from hubbub.history.sqlite_file import FileLock, check_to_read, connect, open_database
from hubbub.history.sqlite_index import index_path, remove_index
from hubbub.history.sqlite_rooms import delete_room
from hubbub.history.sqlite_rows import (
    HEAD,
    MASK,
    MESSAGE,
    SHIFT,
    STANDING,
    fetch,
    json_text,
    message_from,
    standing_from,
)

__all__ = ["SqliteArchive"]

P = ParamSpec("P")
T = TypeVar("T")

INTERRUPT_AFTER_S: Final = 0.1
"""How long closing lets a piece of work go on, for which nobody waits any more, before it is told to stop. A page is
done by then; the deletion of a long room is not, and is undone.
"""

LOG_PAGES: Final = 4000
"""After this many pages the log is moved into the database: 16 MB. The service leaves that to a thread of its own."""

COLUMNS: Final = "r.uid, r.id, r.kind, r.title, r.topic, r.capacity, r.slow_mode_s, r.created_at"
ROOM: Final = f"SELECT json_array({COLUMNS}, {HEAD}, r.members, %s) FROM rooms r WHERE r.uid = :uid"

UIDS: Final = """
    SELECT json_group_array(uid) FROM (SELECT uid FROM rooms WHERE uid > :after ORDER BY uid LIMIT :most)"""

STANDINGS: Final = f"""
    SELECT json_group_array(json_array({STANDING})) FROM (
        SELECT * FROM standings WHERE room = :no AND user > :after ORDER BY user LIMIT :most) s"""

PEOPLE: Final = """
    SELECT json_group_array(json_array(id, name, guest, seen_at)) FROM (
        SELECT * FROM people WHERE id > :after ORDER BY id LIMIT :most)"""

PEOPLE_OF: Final = """
    SELECT json_group_array(json_array(p.id, p.name, p.guest, p.seen_at))
    FROM json_each(:ids) j CROSS JOIN people p ON p.id = j.value"""

MESSAGES: Final = f"""
    WITH page AS (
        SELECT place, sum(length(CAST(doc AS BLOB))) OVER (ORDER BY place ROWS UNBOUNDED PRECEDING) AS bytes,
               row_number() OVER (ORDER BY place) AS n
        FROM (SELECT place, doc FROM messages
              WHERE place > (:no << {SHIFT}) + :after AND place <= (:no << {SHIFT}) + :upto ORDER BY place LIMIT :most))
    SELECT json_group_array({MESSAGE}) FROM page CROSS JOIN messages m ON m.place = page.place
    WHERE page.n = 1 OR page.bytes <= :max_bytes"""

# Sorted by SQLite, which puts what is too much for its memory into a file.
CHANGES: Final = f"""
    SELECT seq, place & {MASK} FROM changes
    WHERE place BETWEEN :no << {SHIFT} AND (:no << {SHIFT}) + {MASK} AND seq > :after AND place & {MASK} <> seq
    ORDER BY seq, place"""


class SqliteArchive:
    """`Archive` in the file at `path`."""

    def __init__(self, path: Path) -> None:
        self.where = f"sqlite:///{path}"
        self._path = path
        self._stack = ExitStack()
        self._busy = threading.Lock()
        self._is_wanted = False
        self._connection: sqlite3.Connection | None = None
        self._changes: _Changes | None = None
        self._floor = "r.floor"
        self._index_is_there = True

    # -- life --------------------------------------------------------------------------------------------------------

    async def open(self, *, writable: bool) -> None:
        self._is_wanted = True
        await asyncio.to_thread(self._open, writable)

    def _open(self, writable: bool) -> None:
        with self._busy, ExitStack() as stack:
            if not self._is_wanted:
                return  # It was closed before this thread began; what is opened now would never be closed.
            try:
                self._connection = self._opened_to_write(stack) if writable else self._opened_to_read(stack)
            except OSError as error:
                raise StoreError(f"The database {self._path} cannot be opened: {error.strerror or error}.") from error
            except sqlite3.Error as error:
                reason = (sentence(error) or str(error)).removesuffix(".")
                raise StoreError(f"The database {self._path} cannot be opened: {reason}.") from error
            self._stack = stack.pop_all()

    def _opened_to_read(self, stack: ExitStack) -> sqlite3.Connection:
        if not self._path.exists():
            raise StoreError(f"There is no database {self._path}.")
        connection = connect(self._path, read_only=True)
        stack.callback(connection.close)
        check_to_read(connection, self._path)
        columns = {row[1] for row in connection.execute("PRAGMA table_info(rooms)")}
        self._floor = "r.floor" if "floor" in columns else "0"
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM rooms LIMIT 1").fetchone()  # The state is that of the first reading.
        return connection

    def _opened_to_write(self, stack: ExitStack) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._path)
        stack.callback(lock.release)
        lock.acquire()
        connection = open_database(self._path)
        stack.callback(connection.close)
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        connection.execute("PRAGMA secure_delete = on")  # What retention empties is not to be found in the file.
        arrivals.prepare(connection)
        return connection

    async def close(self) -> None:
        self._is_wanted = False
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        while not self._busy.acquire(timeout=INTERRUPT_AFTER_S):
            if (connection := self._connection) is not None:
                connection.interrupt()
        try:
            self._close_connection()
        finally:
            self._busy.release()

    def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        self._changes = None
        with self._stack:
            if connection is None or connection.in_transaction:
                return
            with suppress(sqlite3.Error):  # A disk that is full: the table may stay.
                arrivals.tidy(connection)
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    async def _do(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a piece of work on a thread; there is one at a time. It goes on when its caller is cancelled."""

        def locked() -> T:
            with self._busy:
                if self._connection is None:
                    raise HubbubError("unavailable", "The store is closed.")
                return work(self._connection, *args, **kwargs)

        try:
            return await asyncio.to_thread(locked)
        except (sqlite3.Error, UnicodeEncodeError) as error:
            raise as_hubbub_error(error) from error

    # -- reading -----------------------------------------------------------------------------------------------------

    async def size(self) -> Size:
        return await self._do(_size)

    async def uids(self, *, after: str) -> Sequence[str]:
        found: list[str] = await self._do(fetch, UIDS, {"after": after, "most": PAGE_ROWS})
        return found

    async def room(self, uid: str) -> ArchivedRoom | None:
        row: list[Any] | None = await self._do(fetch, ROOM % self._floor, {"uid": uid})
        return None if row is None else ArchivedRoom(Room(*row[:-1]), row[-1])

    async def standings(self, uid: str, *, after: str) -> Sequence[Standing]:
        return await self._do(self._standings, uid, after)

    def _standings(self, connection: sqlite3.Connection, uid: str, after: str) -> Sequence[Standing]:
        no = number_of(connection, uid)
        rows = fetch(connection, STANDINGS, {"no": no, "after": after, "most": PAGE_ROWS})
        return [standing for row in rows if (standing := standing_from(row)) is not None]

    async def messages(self, uid: str, *, after: int, upto: int) -> Sequence[ArchivedMessage]:
        return await self._do(self._messages, uid, after, upto)

    def _messages(self, connection: sqlite3.Connection, uid: str, after: int, upto: int) -> Sequence[ArchivedMessage]:
        no = number_of(connection, uid)
        page = _page(connection, uid, no=no, after=after, upto=upto)
        if not page:
            return []
        changes = self._changes
        if changes is None or (changes.no, changes.after) != (no, after):
            changes = self._changes = _Changes(connection, no, after)
        later = changes.take(page[-1].seq)
        return [(message, (message.seq, *later.get(message.seq, ()))) for message in page]

    async def people(self, *, after: str) -> Sequence[KnownPerson]:
        return _known(await self._do(fetch, PEOPLE, {"after": after, "most": PAGE_ROWS}))

    async def people_of(self, ids: Sequence[str]) -> Mapping[str, KnownPerson]:
        return {known[0].id: known for known in _known(await self._do(fetch, PEOPLE_OF, {"ids": json_text(ids)}))}

    async def held(self, uid: str, *, first: int, last: int) -> Mapping[int, Message]:
        return await self._do(self._held, uid, first, last)

    def _held(self, connection: sqlite3.Connection, uid: str, first: int, last: int) -> Mapping[int, Message]:
        no = number_of(connection, uid)
        found: dict[int, Message] = {}
        while page := _page(connection, uid, no=no, after=first - 1, upto=last):
            found.update((message.seq, message) for message in page)
            first = page[-1].seq + 1
        return found

    # -- writing -----------------------------------------------------------------------------------------------------

    async def _change(
        self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a piece of work in one transaction, which is on the disk when this returns."""

        def transact(connection: sqlite3.Connection) -> T:
            self._drop_index()
            with arrivals.transaction(connection):
                return work(connection, *args, **kwargs)

        return await self._do(transact)

    def _drop_index(self) -> None:
        """The search index knows a room by its head. What arrives below it would never be found, so it is made anew."""
        if self._index_is_there:
            remove_index(index_path(self._path))
            self._index_is_there = False

    async def begin(self, room: ArchivedRoom) -> int:
        return await self._change(arrivals.begin, room.room)

    async def hide(self, uid: str) -> None:
        await self._change(arrivals.hide, uid)

    async def put_messages(self, room: ArchivedRoom, messages: Sequence[ArchivedMessage]) -> None:
        await self._change(arrivals.put_messages, room.room.uid, messages)

    async def drop_messages(self, uid: str, seqs: Sequence[int]) -> None:
        await self._change(arrivals.drop_messages, uid, seqs)

    async def put_standings(self, uid: str, standings: Sequence[Standing]) -> None:
        await self._change(arrivals.put_standings, uid, standings)

    async def drop_standings(self, uid: str, users: Sequence[str]) -> None:
        await self._change(arrivals.drop_standings, uid, users)

    async def finish(self, room: ArchivedRoom) -> None:
        await self._change(arrivals.finish, room)

    async def put_people(self, people: Sequence[KnownPerson]) -> None:
        await self._change(arrivals.put_people, people)

    async def delete(self, uid: str) -> None:
        await self._change(delete_room, uid)


class _Changes:
    """The revisions that changes of messages claimed, by message, read as far as they are asked for."""

    def __init__(self, connection: sqlite3.Connection, no: int, after: int) -> None:
        self.no = no
        self.after = after
        self._rows: Iterator[tuple[int, int]] = connection.execute(CHANGES, {"no": no, "after": after})
        self._next = next(self._rows, None)

    def take(self, upto: int) -> Mapping[int, Sequence[int]]:
        """By seq, the revisions of the messages up to this one."""
        self.after = upto
        found: dict[int, list[int]] = {}
        while self._next is not None and self._next[0] <= upto:
            seq, rev = self._next
            found.setdefault(seq, []).append(rev)
            self._next = next(self._rows, None)
        return found


def _size(connection: sqlite3.Connection) -> Size:
    return Size(
        *connection.execute(
            "SELECT (SELECT count(*) FROM rooms), (SELECT count(*) FROM people), (SELECT count(*) FROM messages)"
        ).fetchone()
    )


def _page(connection: sqlite3.Connection, uid: str, *, no: int, after: int, upto: int) -> list[Message]:
    limits = {"no": no, "after": after, "upto": min(upto, SEQ_MOST), "most": PAGE_ROWS, "max_bytes": PAGE_BYTES}
    return [message_from(uid, row) for row in fetch(connection, MESSAGES, limits)]


def _known(rows: list[list[Any]]) -> list[KnownPerson]:
    return [(Person(id, name, bool(guest)), seen_at) for id, name, guest, seen_at in rows]
