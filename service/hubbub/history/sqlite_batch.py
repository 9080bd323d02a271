"""A batch of messages, written in a constant number of statements however long it is.

A statement per message would hand over the interpreter lock per message: 64 rows by `executemany` beside a busy loop
took 379 ms (p50), one `INSERT … SELECT FROM json_each(?)` 4.5 ms. So three queries read all that the batch touches
(heads, messages under a repeated key, messages to be changed), Python numbers and edits in the batch's order, and two
statements write the messages, new and changed alike, and the revisions that were claimed.
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hubbub.errors import HubbubError
from hubbub.history.base import Change, Insert, Message, Outcome, Written
from hubbub.history.sqlite_errors import as_hubbub_error
from hubbub.history.sqlite_rows import (
    HEAD,
    MASK,
    MESSAGE,
    encode_row,
    fetch,
    json_text,
    message_from,
    place_of,
    room_no_of,
)

__all__ = ["write_batch"]

HEADS: Final = f"""
    SELECT json_group_array(json_array(r.uid, r.no, {HEAD}))
    FROM json_each(:uids) j CROSS JOIN rooms r ON r.uid = j.value"""

BY_KEY: Final = f"""
    SELECT json_group_array({MESSAGE}) FROM json_each(:keys) j
    CROSS JOIN messages m ON m.room = j.value ->> 0 AND m.sender = j.value ->> 1 AND m.key = j.value ->> 2"""

BY_PLACE: Final = f"""
    SELECT json_group_array({MESSAGE}) FROM json_each(:places) j CROSS JOIN messages m ON m.place = j.value"""

WRITE: Final = """
    INSERT INTO messages (place, rev, room, sender, key, deleted, created_at, bytes, doc)
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
           value ->> 8
    FROM json_each(:rows) WHERE true
    ON CONFLICT (place) DO UPDATE
    SET rev = excluded.rev, deleted = excluded.deleted, bytes = excluded.bytes, doc = excluded.doc"""

CLAIM: Final = "INSERT INTO changes (place, seq) SELECT value ->> 0, value ->> 1 FROM json_each(:claims)"


def write_batch(connection: sqlite3.Connection, batch: Sequence[Insert | Change]) -> tuple[list[Outcome], set[int]]:
    """Write a batch within the caller's transaction. One outcome per write, and the numbers of the changed rooms."""
    work = _Batch(connection)
    sound = [_is_sound(op) for op in batch]
    work.read([op for op, is_sound in zip(batch, sound, strict=True) if is_sound])
    outcomes = [work.apply(op) if is_sound else _unstorable() for op, is_sound in zip(batch, sound, strict=True)]
    work.write()
    return outcomes, work.changed


@dataclass(slots=True)
class _Room:
    no: int
    head: int


class _Batch:
    """What a batch has read, and what it is going to write."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rooms: dict[str, _Room] = {}
        self._messages: dict[int, Message] = {}
        self._by_key: dict[tuple[int, str, str], int] = {}
        self._rows: dict[int, str] = {}
        self._claims: list[tuple[int, int]] = []
        self.changed: set[int] = set()

    def read(self, batch: Sequence[Insert | Change]) -> None:
        """Everything that the batch may touch, before any of it is touched."""
        uids = {_uid(op) for op in batch}
        for uid, no, head in fetch(self._connection, HEADS, {"uids": json_text([*uids])}):
            self._rooms[uid] = _Room(no, head)
        self._read_keys([op.message for op in batch if isinstance(op, Insert)])
        self._read_places([op for op in batch if isinstance(op, Change)])

    def _read_keys(self, messages: Sequence[Message]) -> None:
        keys = {
            (self._rooms[message.uid].no, message.sender.id, message.key)
            for message in messages
            if message.uid in self._rooms
        }
        if keys:
            self._take(BY_KEY, {"keys": json_text([*keys])})

    def _read_places(self, changes: Sequence[Change]) -> None:
        places = {
            place_of(self._rooms[change.uid].no, change.seq)
            for change in changes
            if change.uid in self._rooms and 0 < change.seq <= MASK
        }
        if places:
            self._take(BY_PLACE, {"places": json_text([*places])})

    def _take(self, query: str, parameters: dict[str, str]) -> None:
        uids = {room.no: uid for uid, room in self._rooms.items()}
        for row in fetch(self._connection, query, parameters):
            no = room_no_of(row[0])
            message = message_from(uids[no], row)
            self._messages[row[0]] = message
            self._by_key[no, message.sender.id, message.key] = row[0]

    def apply(self, op: Insert | Change) -> Outcome:
        """Number and apply one write; it sees those before it. Its failure is its own."""
        try:
            room = self._rooms.get(_uid(op))
            if room is None:
                raise HubbubError("not_found", "There is no such room.")
            return self._insert(room, op.message) if isinstance(op, Insert) else self._change(room, op)
        except Exception as error:  # An edit is not ours; whatever it raises must not take the batch with it.
            return as_hubbub_error(error)

    def _insert(self, room: _Room, message: Message) -> Written:
        key = (room.no, message.sender.id, message.key)
        first = self._by_key.get(key)
        if first is not None:
            return Written(self._messages[first], 0, duplicate=True)
        rev = room.head + 1
        written = self._claim(room, replace(message, seq=rev, rev=rev))
        self._by_key[key] = place_of(room.no, written.message.seq)
        return written

    def _change(self, room: _Room, change: Change) -> Written:
        now = self._messages.get(place_of(room.no, change.seq)) if 0 < change.seq <= MASK else None
        if now is None:
            raise HubbubError("not_found", "There is no such message.")
        then = change.edit(now)
        if then is None:
            return Written(now, 0)
        rev = room.head + 1
        return self._claim(room, replace(then, uid=now.uid, seq=now.seq, rev=rev, key=now.key, sender=now.sender))

    def _claim(self, room: _Room, message: Message) -> Written:
        """Take a message that has the room's next revision."""
        place = place_of(room.no, message.seq)
        try:
            self._rows[place] = encode_row(room.no, message)
        except (TypeError, UnicodeEncodeError):
            raise _unstorable() from None
        room.head = message.rev
        self._messages[place] = message
        self._claims.append((place_of(room.no, message.rev), message.seq))
        self.changed.add(room.no)
        return Written(message, message.rev)

    def write(self) -> None:
        if not self._claims:
            return
        self._connection.execute(WRITE, {"rows": f"[{','.join(self._rows.values())}]"})
        self._connection.execute(CLAIM, {"claims": json_text(self._claims)})


def _unstorable() -> HubbubError:
    return HubbubError("bad_request", "The message has text that cannot be stored.")


def _uid(op: Insert | Change) -> str:
    return op.message.uid if isinstance(op, Insert) else op.uid


def _is_sound(op: Insert | Change) -> bool:
    """Whether what the queries ask for can be written as JSON, and comes back from it whole.

    SQLite ends a text from JSON at NUL, so that two keys which differ only behind it would be the same.
    """
    names = (op.message.uid, op.message.sender.id, op.message.key) if isinstance(op, Insert) else (op.uid,)
    try:
        return not any("\0" in name for name in names) and all(name.isascii() or name.encode() for name in names)
    except UnicodeEncodeError:
        return False
