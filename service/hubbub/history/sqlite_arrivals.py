"""Writing what arrives into an SQLite file. Each function is a part of a transaction.

Rooms that are being brought in are rows of a table of its own, which is there only while there are any: such a room has
a number, under which its messages lie, but nothing leads to it before it is finished. The number is taken from the
counter of the rooms, so that no other room gets it, whatever happens.
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from hubbub.errors import HubbubError
from hubbub.history.archive import ArchivedMessage, ArchivedRoom, KnownPerson
from hubbub.history.base import Room, Standing
from hubbub.history.sqlite_rooms import folded
from hubbub.history.sqlite_rows import MASK, MEMBER, NEWEST, SHIFT, encode_row, fetch, json_text

__all__ = [
    "begin",
    "drop_messages",
    "drop_standings",
    "finish",
    "hide",
    "number_of",
    "prepare",
    "put_messages",
    "put_people",
    "put_standings",
    "tidy",
    "transaction",
]

PUT_MESSAGE: Final = """
    INSERT INTO messages (place, rev, room, sender, key, deleted, created_at, bytes, doc)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (place) DO UPDATE SET rev = excluded.rev, sender = excluded.sender, key = excluded.key,
        deleted = excluded.deleted, created_at = excluded.created_at, bytes = excluded.bytes, doc = excluded.doc"""

FORGET_CHANGES: Final = f"""
    DELETE FROM changes WHERE place BETWEEN :no << {SHIFT} AND (:no << {SHIFT}) + {MASK}
    AND seq IN (SELECT value FROM json_each(:seqs))"""

CLAIMED: Final = """
    SELECT json_group_array(json_array(c.place, c.seq)) FROM json_each(:places) j
    CROSS JOIN changes c ON c.place = j.value"""

PUT_STANDING: Final = """
    INSERT OR REPLACE INTO standings (room, user, role, joined_at, muted_until, banned_until, knew, read_seq)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""

UNIQUE: Final = frozenset({sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY})

ARRIVALS: Final = "CREATE TABLE IF NOT EXISTS arrivals (no INTEGER PRIMARY KEY, uid TEXT NOT NULL UNIQUE)"
NEXT_NO: Final = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'rooms'), 0) + 1"
SHOW: Final = f"""
    INSERT INTO rooms (no, uid, id, kind, title, topic, capacity, slow_mode_s, created_at, members, folded, floor)
    VALUES (:no, :uid, :id, :kind, :title, :topic, :capacity, :slow_mode_s, :created_at,
            (SELECT count(*) FROM standings WHERE room = :no AND role IN {MEMBER}), :folded, :floor)
    ON CONFLICT (uid) DO UPDATE SET id = excluded.id, kind = excluded.kind, title = excluded.title,
        topic = excluded.topic, capacity = excluded.capacity, slow_mode_s = excluded.slow_mode_s,
        created_at = excluded.created_at, members = excluded.members,
        folded = excluded.folded, floor = excluded.floor"""


def prepare(connection: sqlite3.Connection) -> None:
    """Make what is needed to write."""
    connection.execute(ARRIVALS)


def tidy(connection: sqlite3.Connection) -> None:
    """Take it away, if no room is on its way."""
    if connection.execute("SELECT count(*) FROM arrivals").fetchone() == (0,):
        connection.execute("DROP TABLE arrivals")


def number_of(connection: sqlite3.Connection, uid: str) -> int:
    """The number of a room, or of one that is being brought in; 0, which no room has, if there is none."""
    row = connection.execute("SELECT no FROM rooms WHERE uid = ?", (uid,)).fetchone()
    if row is None and _has_arrivals(connection):
        row = connection.execute("SELECT no FROM arrivals WHERE uid = ?", (uid,)).fetchone()
    return 0 if row is None else int(row[0])


def begin(connection: sqlite3.Connection, room: Room) -> int:
    row = connection.execute("SELECT uid FROM rooms WHERE id = ? AND uid <> ?", (room.id, room.uid)).fetchone()
    if row is not None:
        raise HubbubError("conflict", f"There is another room with the id {room.id}.")
    found = connection.execute("SELECT no FROM arrivals WHERE uid = ?", (room.uid,)).fetchone()
    if found is not None:
        arrived = f"SELECT {NEWEST} FROM (SELECT :no AS no) r"
        return int(connection.execute(arrived, {"no": found[0]}).fetchone()[0])
    (no,) = connection.execute(NEXT_NO).fetchone()
    connection.execute("INSERT INTO arrivals (no, uid) VALUES (?, ?)", (no, room.uid))
    if connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'rooms'", (no,)).rowcount == 0:
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('rooms', ?)", (no,))
    return 0


def hide(connection: sqlite3.Connection, uid: str) -> None:
    connection.execute("INSERT INTO arrivals (no, uid) SELECT no, uid FROM rooms WHERE uid = ?", (uid,))
    connection.execute("DELETE FROM rooms WHERE uid = ?", (uid,))


def put_messages(connection: sqlite3.Connection, uid: str, messages: Sequence[ArchivedMessage]) -> None:
    no = number_of(connection, uid)
    try:
        rows = [encode_row(no, message) for message, _ in messages]
    except (TypeError, UnicodeEncodeError):
        raise HubbubError("bad_request", "A message has text that cannot be stored.") from None
    try:
        connection.executemany(PUT_MESSAGE, rows)
    except sqlite3.IntegrityError as error:
        raise _taken(error, f"The room {uid} has another message with the key of one of these.") from None
    claims = {no << SHIFT | rev: message.seq for message, revs in messages for rev in revs if rev != message.seq}
    if claims:
        there = dict(fetch(connection, CLAIMED, {"places": json_text([*claims])}))
        if any(claims[place] != seq for place, seq in there.items()):
            raise HubbubError("conflict", f"The room {uid} has another message with a revision of one of these.")
        connection.executemany(
            "INSERT INTO changes (place, seq) VALUES (?, ?)",
            [claim for claim in claims.items() if claim[0] not in there],
        )


def drop_messages(connection: sqlite3.Connection, uid: str, seqs: Sequence[int]) -> None:
    no = number_of(connection, uid)
    connection.execute(FORGET_CHANGES, {"no": no, "seqs": json_text(seqs)})
    connection.executemany("DELETE FROM messages WHERE place = ?", [(no << SHIFT | seq,) for seq in seqs])


def put_standings(connection: sqlite3.Connection, uid: str, standings: Sequence[Standing]) -> None:
    no = number_of(connection, uid)
    rows = [(no, s.user, s.role, s.joined_at, s.muted_until, s.banned_until, s.knew, s.read_seq) for s in standings]
    connection.executemany(PUT_STANDING, rows)


def drop_standings(connection: sqlite3.Connection, uid: str, users: Sequence[str]) -> None:
    no = number_of(connection, uid)
    connection.executemany("DELETE FROM standings WHERE room = ? AND user = ?", [(no, user) for user in users])


def finish(connection: sqlite3.Connection, archived: ArchivedRoom) -> None:
    room = archived.room
    properties: dict[str, object] = {
        "no": number_of(connection, room.uid),
        "uid": room.uid,
        "id": room.id,
        "kind": room.kind,
        "title": room.title,
        "topic": room.topic,
        "capacity": room.capacity,
        "slow_mode_s": room.slow_mode_s,
        "created_at": room.created_at,
        "folded": folded(room.id, room.title),
        "floor": archived.floor,
    }
    try:
        connection.execute(SHOW, properties)
    except sqlite3.IntegrityError as error:
        raise _taken(error, f"There is another room with the id {room.id}.") from None
    connection.execute("DELETE FROM arrivals WHERE uid = ?", (room.uid,))


def put_people(connection: sqlite3.Connection, people: Sequence[KnownPerson]) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO people (id, name, guest, seen_at) VALUES (?, ?, ?, ?)",
        [(person.id, person.name, person.guest, seen_at) for person, seen_at in people],
    )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def _has_arrivals(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'arrivals'").fetchone() is not None


def _taken(error: sqlite3.IntegrityError, sentence: str) -> Exception:
    """What a unique index refused; any other failure of this kind as it is."""
    return HubbubError("conflict", sentence) if error.sqlite_errorcode in UNIQUE else error
