"""A batch of messages, written in a constant number of statements however long it is.

A statement per message would hand over the interpreter lock per message: 64 rows by `executemany` beside a busy loop
took 379 ms (p50), one statement 4.5 ms. So three queries read all that the batch touches (heads, messages under a
repeated key, messages to be changed), Python numbers and edits in the batch's order, and three statements write: new
messages, changed ones, and the revisions that the changes claimed (a new message's own revision is its seq).

New messages are bound value by value: from JSON, SQLite parses each row once per column (6 of 8 us). And they are
inserted `OR ROLLBACK`: a statement of many rows that could be undone by itself keeps the old state of every page that
it touches (10 of 12 us where each message is of another room). None of them can fail, since what is taken was read
before; if one did, the transaction would be undone as a whole, which `WriterThread` expects.
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from hubbub.errors import HubbubError
from hubbub.history.base import Change, Insert, Message, Outcome, Written
from hubbub.history.sqlite_errors import as_hubbub_error
from hubbub.history.sqlite_rows import (
    HEAD,
    MASK,
    MESSAGE,
    SHIFT,
    Row,
    encode_row,
    fetch,
    json_text,
    message_from,
    place_of,
    room_no_of,
)

__all__ = ["by_key", "insert", "write_batch"]

ROWS_MOST: Final = 512
"""How many rows one statement takes: as many as a batch of the writer has, so that there is one."""

HEADS: Final = f"""
    SELECT json_group_array(json_array(r.uid, r.no, {HEAD}, r.floor))
    FROM json_each(:uids) j CROSS JOIN rooms r ON r.uid = j.value"""

BY_PLACE: Final = f"""
    SELECT json_group_array({MESSAGE}) FROM json_each(:places) j CROSS JOIN messages m ON m.place = j.value"""

REWRITE: Final = """
    UPDATE messages SET rev = j.value ->> 1, deleted = j.value ->> 2, bytes = j.value ->> 3, doc = j.value ->> 4
    FROM json_each(:rows) j WHERE messages.place = j.value ->> 0"""

CLAIM: Final = "INSERT INTO changes (place, seq) SELECT value ->> 0, value ->> 1 FROM json_each(:claims)"


@cache
def by_key(rows: int) -> str:
    """The query for the messages under this many keys, each a room's number, a sender and a key, or three NULL."""
    keys = ",".join(["(?,?,?)"] * rows)
    return f"""
        SELECT json_group_array({MESSAGE}) FROM (VALUES {keys}) j
        CROSS JOIN messages m ON m.room = j.column1 AND m.sender = j.column2 AND m.key = j.column3"""


@cache
def insert(rows: int) -> str:
    """The statement that inserts this many messages; rows that begin with NULL are none."""
    values = ",".join(["(?,?,?,?,?,?,?,?,?)"] * rows)
    return f"""
        INSERT OR ROLLBACK INTO messages (place, rev, room, sender, key, deleted, created_at, bytes, doc)
        SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL"""


def write_batch(connection: sqlite3.Connection, batch: Sequence[Insert | Change]) -> tuple[list[Outcome], set[int]]:
    """Write a batch within the caller's transaction. One outcome per write, and the numbers of the changed rooms."""
    work = _Batch(connection)
    sound = [_is_sound(op) for op in batch]
    work.read(batch if all(sound) else [op for op, is_sound in zip(batch, sound, strict=True) if is_sound])
    outcomes = [work.apply(op) if is_sound else _unstorable() for op, is_sound in zip(batch, sound, strict=True)]
    work.write()
    return outcomes, work.changed


class _Room:
    __slots__ = ("floor", "head", "no")

    def __init__(self, no: int, head: int, floor: int) -> None:
        self.no = no
        self.head = head
        self.floor = floor


class _Batch:
    """What a batch has read, and what it is going to write."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rooms: dict[str, _Room] = {}
        self._messages: dict[int, Message] = {}
        self._by_key: dict[tuple[int, str, str], int] = {}
        self._new: dict[int, Row] = {}
        self._rewritten: dict[int, Row] = {}
        self._claims: list[tuple[int, int]] = []
        self.changed: set[int] = set()

    def read(self, batch: Sequence[Insert | Change]) -> None:
        """Everything that the batch may touch, before any of it is touched."""
        uids = {_uid(op) for op in batch}
        for uid, no, head, floor in fetch(self._connection, HEADS, {"uids": json_text([*uids])}):
            self._rooms[uid] = _Room(no, head, floor)
        self._read_keys([op.message for op in batch if isinstance(op, Insert)])
        self._read_places([op for op in batch if isinstance(op, Change)])

    def _read_keys(self, messages: Sequence[Message]) -> None:
        rooms = self._rooms
        keys = {
            (room.no, message.sender.id, message.key)
            for message in messages
            if (room := rooms.get(message.uid)) is not None
        }
        for query, values in _statements(by_key, [*keys], width=3):
            self._take(fetch(self._connection, query, values))

    def _read_places(self, changes: Sequence[Change]) -> None:
        places = {
            place_of(self._rooms[change.uid].no, change.seq)
            for change in changes
            if change.uid in self._rooms and 0 < change.seq <= MASK
        }
        if places:
            self._take(fetch(self._connection, BY_PLACE, {"places": json_text([*places])}))

    def _take(self, rows: list[list[Any]]) -> None:
        if not rows:
            return
        uids = {room.no: uid for uid, room in self._rooms.items()}
        for row in rows:
            no = room_no_of(row[0])
            message = message_from(uids[no], row)
            self._messages[row[0]] = message
            self._by_key[no, message.sender.id, message.key] = row[0]

    def apply(self, op: Insert | Change) -> Outcome:
        """Number and apply one write; it sees those before it. Its failure is its own."""
        try:
            if isinstance(op, Insert):
                message = op.message
                room = self._rooms.get(message.uid)
                if room is None:
                    raise _no_room()
                return self._insert(room, message)
            room = self._rooms.get(op.uid)
            if room is None:
                raise _no_room()
            return self._change(room, op)
        except Exception as error:  # An edit is not ours; whatever it raises must not take the batch with it.
            return as_hubbub_error(error)

    def _insert(self, room: _Room, message: Message) -> Written:
        no = room.no
        key = (no, message.sender.id, message.key)
        first = self._by_key.get(key)
        if first is not None:
            return Written(self._messages[first], 0, duplicate=True)
        rev = room.head + 1
        message = message.placed(rev)
        place = no << SHIFT | rev
        self._new[place] = _row(no, message)
        self._take_in(room, place, message)
        self._by_key[key] = place
        return Written(message, rev)

    def _change(self, room: _Room, change: Change) -> Written:
        place = place_of(room.no, change.seq)
        now = self._messages.get(place) if room.floor < change.seq <= MASK else None
        if now is None:
            raise HubbubError("not_found", "There is no such message.")
        then = change.edit(now)
        if then is None:
            return Written(now, 0)
        rev = room.head + 1
        message = replace(then, uid=now.uid, seq=now.seq, rev=rev, key=now.key, sender=now.sender)
        row = _row(room.no, message)
        if place in self._new:
            self._new[place] = row
        else:
            self._rewritten[place] = row
        self._take_in(room, place, message)
        self._claims.append((place_of(room.no, rev), message.seq))
        return Written(message, rev)

    def _take_in(self, room: _Room, place: int, message: Message) -> None:
        """Remember a message that has the room's next revision."""
        room.head = message.rev
        self._messages[place] = message
        self.changed.add(room.no)

    def write(self) -> None:
        execute = self._connection.execute
        for statement, values in _statements(insert, [*self._new.values()], width=9):
            execute(statement, values)
        if self._rewritten:
            rows = [
                (place, rev, gone, size, doc) for place, rev, _, _, _, gone, _, size, doc in self._rewritten.values()
            ]
            execute(REWRITE, {"rows": json_text(rows)})
        if self._claims:
            execute(CLAIM, {"claims": json_text(self._claims)})


def _statements(text: Any, rows: Sequence[tuple[Any, ...]], *, width: int) -> list[tuple[str, list[Any]]]:
    """The statements for these rows, with their values. There is one for each power of two, so that few are kept ready;
    what is missing to it is NULL.
    """
    found: list[tuple[str, list[Any]]] = []
    for start in range(0, len(rows), ROWS_MOST):
        part = rows[start : start + ROWS_MOST]
        values = [value for row in part for value in row]
        size = 1 << (len(part) - 1).bit_length()
        values += [None] * ((size - len(part)) * width)
        found.append((text(size), values))
    return found


def _row(no: int, message: Message) -> Row:
    try:
        return encode_row(no, message)
    except (TypeError, UnicodeEncodeError):
        raise _unstorable() from None


def _unstorable() -> HubbubError:
    return HubbubError("bad_request", "The message has text that cannot be stored.")


def _no_room() -> HubbubError:
    return HubbubError("not_found", "There is no such room.")


def _uid(op: Insert | Change) -> str:
    return op.message.uid if isinstance(op, Insert) else op.uid


def _is_sound(op: Insert | Change) -> bool:
    """Whether what the queries ask for is Unicode without NUL: at that SQLite ends a text from JSON, so that two uids
    which differ only behind it would be the same.
    """
    if isinstance(op, Insert):
        message = op.message
        names = f"{message.uid} {message.sender.id} {message.key}"
    else:
        names = op.uid
    if "\0" in names:
        return False
    try:
        return names.isascii() or bool(names.encode())
    except UnicodeEncodeError:
        return False
