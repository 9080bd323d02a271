"""Reading messages: one, a page by seq, what changed by revision.

A page is measured first (places and sizes, which lie before the documents in each row), then cut, then read: so it
costs what is in it, wherever in the room it is and however large the messages beyond its end are.
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from hubbub.errors import HubbubError
from hubbub.history.base import Message, MessagePage
from hubbub.history.sizes import cut
from hubbub.history.sqlite_readers import snapshot
from hubbub.history.sqlite_rows import (
    CHANGED,
    HEAD,
    MASK,
    MESSAGE,
    SHIFT,
    UNCHANGED,
    clamp,
    fetch,
    fetch_number,
    json_text,
    message_from,
)

__all__ = [
    "cut",
    "read_by_key",
    "read_changes",
    "read_head",
    "read_heads",
    "read_message",
    "read_page",
    "read_revisions",
    "read_seqs_of",
]

BY_SEQ: Final = f"""
    SELECT {MESSAGE} FROM rooms r CROSS JOIN messages m ON m.place = (r.no << {SHIFT}) + :seq
    WHERE r.uid = :uid AND :seq > r.floor"""

BY_KEY: Final = f"""
    SELECT {MESSAGE} FROM rooms r CROSS JOIN messages m ON m.room = r.no AND m.sender = :sender AND m.key = :key
    WHERE r.uid = :uid"""

AROUND: Final = f"""
    SELECT json_array(r.no, {HEAD},
        (SELECT json_group_array(json_array(place, bytes)) FROM (
            SELECT place, bytes FROM messages
            WHERE place > (r.no << {SHIFT}) + r.floor AND place < (r.no << {SHIFT}) + :split
            ORDER BY place DESC LIMIT :older)),
        (SELECT json_group_array(json_array(place, bytes)) FROM (
            SELECT place, bytes FROM messages
            WHERE place >= (r.no << {SHIFT}) + max(:split, r.floor + 1) AND place <= (r.no << {SHIFT}) + {MASK}
            ORDER BY place LIMIT :newer)))
    FROM rooms r WHERE r.uid = :uid"""

BETWEEN: Final = f"SELECT json_group_array({MESSAGE}) FROM messages m WHERE m.place BETWEEN :low AND :high"

NEWS: Final = f"(m.place & {MASK} > r.floor OR m.place & {MASK} <= :since)"
"""A message that was emptied is news only for those who may have it as it was before."""

CHANGES: Final = f"""
    SELECT json_array({HEAD}, r.floor,
        (SELECT json_group_array(json_array(seq, bytes, place)) FROM (
            SELECT m.place & {MASK} AS seq, m.bytes, m.place FROM messages m
            WHERE m.place > (r.no << {SHIFT}) + max(:since, r.floor) AND m.place <= (r.no << {SHIFT}) + {MASK}
              AND {UNCHANGED}
            ORDER BY m.place LIMIT :most)),
        (SELECT json_group_array(json_array(rev, bytes, place)) FROM (
            SELECT m.rev, m.bytes, m.place FROM messages m INDEXED BY messages_by_rev
            WHERE m.room = r.no AND m.rev > :since AND {CHANGED} AND {NEWS} ORDER BY m.rev LIMIT :most)))
    FROM rooms r WHERE r.uid = :uid"""
"""Messages as they were sent, whose revision is their seq, and messages that were changed: each side in its order."""

AT: Final = f"SELECT json_group_array({MESSAGE}) FROM json_each(:places) j CROSS JOIN messages m ON m.place = j.value"

REVISIONS: Final = f"""
    WITH claimed AS (
        SELECT n.place & {MASK} AS rev, n.place & {MASK} AS seq, r.no FROM rooms r CROSS JOIN messages n
        ON n.place > (r.no << {SHIFT}) + :after AND n.place <= (r.no << {SHIFT}) + :upto WHERE r.uid = :uid
        UNION ALL
        SELECT c.place & {MASK} AS rev, c.seq, r.no FROM rooms r CROSS JOIN changes c
        ON c.place > (r.no << {SHIFT}) + :after AND c.place <= (r.no << {SHIFT}) + :upto WHERE r.uid = :uid)
    SELECT json_array(
        (SELECT json_group_array(json_array(rev, seq)) FROM claimed),
        (SELECT json_group_array({MESSAGE}) FROM (SELECT DISTINCT no, seq FROM claimed) d
         CROSS JOIN messages m ON m.place = (d.no << {SHIFT}) + d.seq))"""

SEQS_OF: Final = f"""
    WITH sent AS MATERIALIZED (
        SELECT k.place FROM rooms r CROSS JOIN messages k INDEXED BY messages_by_key
        ON k.room = r.no AND k.sender = :sender AND k.place & {MASK} < :below
        WHERE r.uid = :uid ORDER BY k.place DESC LIMIT -1)
    SELECT json_group_array(seq) FROM (
        SELECT sent.place & {MASK} AS seq FROM sent CROSS JOIN messages m ON m.place = sent.place
        WHERE m.deleted = 0 LIMIT :most)"""
"""The index tells what the sender has sent and where; only as many rows are looked up as are wanted. An order without a
limit is nothing that SQLite keeps to in a part of a query.
"""

HEAD_OF: Final = f"SELECT {HEAD} FROM rooms r WHERE r.uid = :uid"

HEADS_OF: Final = f"""
    SELECT json_group_object(r.uid, {HEAD}) FROM json_each(:uids) j CROSS JOIN rooms r ON r.uid = j.value"""


def read_message(connection: sqlite3.Connection, uid: str, seq: int) -> Message | None:
    row = fetch(connection, BY_SEQ, {"uid": uid, "seq": seq}) if 0 < seq <= MASK else None
    return None if row is None else message_from(uid, row)


def read_by_key(connection: sqlite3.Connection, uid: str, *, sender: str, key: str) -> Message | None:
    row = fetch(connection, BY_KEY, {"uid": uid, "sender": sender, "key": key})
    return None if row is None else message_from(uid, row)


def read_head(connection: sqlite3.Connection, uid: str) -> int:
    head: int = _known(fetch_number(connection, HEAD_OF, {"uid": uid}))
    return head


def read_heads(connection: sqlite3.Connection, uids: Sequence[str]) -> dict[str, int]:
    """As `History.heads`."""
    heads: dict[str, int] = fetch(connection, HEADS_OF, {"uids": json_text(uids)})
    return heads


def read_page(
    connection: sqlite3.Connection,
    uid: str,
    *,
    before: int | None,
    after: int | None,
    around: int | None,
    limit: int,
    max_bytes: int,
) -> MessagePage:
    """As `History.page`. The split is where the older side ends and the newer begins; one more is measured on each."""
    older, newer = (limit, 0) if after is None else (0, limit)
    split = before if before is not None else after + 1 if after is not None else MASK + 1
    if around is not None:
        split, older, newer = around, limit // 2, limit - limit // 2
    parameters = {"uid": uid, "split": min(max(split, 0), MASK + 1), "older": older + 1, "newer": newer + 1}
    with snapshot(connection):
        _, head, below, above = _known(fetch(connection, AROUND, parameters))
        fewer, more = cut(below[:older], above[:newer], max_bytes)
        picked = [place for place, _ in (*below[:fewer], *above[:more])]
        messages = _between(connection, uid, picked)
    return MessagePage(messages, head, more_before=len(below) > fewer, more_after=len(above) > more)


def _between(connection: sqlite3.Connection, uid: str, places: Sequence[int]) -> list[Message]:
    if not places:
        return []
    rows = fetch(connection, BETWEEN, {"low": min(places), "high": max(places)})
    return [message_from(uid, row) for row in sorted(rows, key=_place)]


def _place(row: list[Any]) -> int:
    place: int = row[0]
    return place


def read_changes(connection: sqlite3.Connection, uid: str, *, since: int, limit: int, max_bytes: int) -> MessagePage:
    """As `History.changes`."""
    with snapshot(connection):
        parameters = {"uid": uid, "since": clamp(since), "most": limit + 1}
        head, floor, sent, changed = _known(fetch(connection, CHANGES, parameters))
        above = sorted(sent + changed)[: limit + 1] if changed else sent
        _, count = cut((), above[:limit], max_bytes)
        messages: list[Message] = []
        if count:
            rows = fetch(connection, AT, {"places": json_text([place for _, _, place in above[:count]])})
            messages = sorted((message_from(uid, row) for row in rows), key=lambda message: message.rev)
    return MessagePage(messages, head, more_after=len(above) > count, floor=floor)


def read_revisions(connection: sqlite3.Connection, uid: str, *, after: int, upto: int) -> list[tuple[int, Message]]:
    """As `History.revisions`; a message with several of the revisions is read once."""
    claims, rows = fetch(connection, REVISIONS, {"uid": uid, "after": clamp(after), "upto": clamp(upto)})
    messages = {message.seq: message for message in (message_from(uid, row) for row in rows)}
    return [(rev, messages[seq]) for rev, seq in sorted(claims) if seq in messages]


def read_seqs_of(connection: sqlite3.Connection, uid: str, *, sender: str, below: int, limit: int) -> list[int]:
    """As `History.seqs_of`."""
    parameters = {"uid": uid, "sender": sender, "below": min(below, MASK + 1), "most": limit}
    return sorted(fetch(connection, SEQS_OF, parameters), reverse=True)


def _known(found: Any) -> Any:
    if found is None:
        raise HubbubError("not_found", "There is no such room.")
    return found
