"""The audit log: who did what. Entries are added and get an outcome; nothing else ever happens to them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Final

from hubbub.history.cursors import GREATEST, decode_cursor, encode_cursor
from hubbub.history.ledger import Audited, AuditPage
from hubbub.history.sqlite_rows import fetch, json_text

__all__ = ["begin", "end", "read_audit"]

BEGIN: Final = """
    INSERT INTO audit (at, actor, action, target, reason) VALUES (:at, :actor, :action, :target, :reason)"""

END: Final = "UPDATE audit SET outcome = :outcome WHERE no = :id AND outcome = 'unknown'"

PAGE: Final = """
    SELECT json_group_array(json_array(no, at, actor, action, json(target), reason, outcome)) FROM (
        SELECT * FROM audit WHERE (at, no) < (:at, :no) ORDER BY at DESC, no DESC LIMIT :most)"""


def begin(
    connection: sqlite3.Connection, *, at: int, actor: str, action: str, target: Mapping[str, str], reason: str
) -> str:
    """As `Ledger.audit_begin`; a unit of the writer's transaction."""
    row = {"at": at, "actor": actor, "action": action, "target": json_text({**target}), "reason": reason}
    return str(connection.execute(BEGIN, row).lastrowid)


def end(connection: sqlite3.Connection, id: str, outcome: str) -> None:
    """As `Ledger.audit_end`; a unit of the writer's transaction."""
    connection.execute(END, {"id": id, "outcome": outcome})


def read_audit(connection: sqlite3.Connection, *, limit: int, cursor: str | None) -> AuditPage:
    """As `Ledger.audit`."""
    at, no = (GREATEST, GREATEST) if cursor is None else decode_cursor(cursor, "audit", int, int)
    rows = fetch(connection, PAGE, {"at": at, "no": no, "most": limit + 1})
    rows.sort(key=lambda row: (row[1], row[0]), reverse=True)
    more = len(rows) > limit
    entries = [Audited(str(no), *rest) for no, *rest in rows[:limit]]
    return AuditPage(entries, encode_cursor("audit", rows[limit - 1][1], rows[limit - 1][0]) if more else None)
