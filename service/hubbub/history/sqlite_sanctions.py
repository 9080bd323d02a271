"""Bans and revocations, as the records of the control log left them."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict
from typing import Final

from hubbub.history.ledger import Ban, Revocation, Sanctions
from hubbub.history.sqlite_rows import fetch

__all__ = ["put_ban", "put_revocation", "read_sanctions"]

SANCTIONS: Final = """
    SELECT json_array(
        (SELECT json_group_array(json_array(user, until, reason, by, at, n)) FROM bans WHERE until > :now),
        (SELECT json_group_array(json_array(user, jti, before, reason, by, at, n)) FROM revocations))"""

PUT_BAN: Final = """
    INSERT INTO bans (user, until, reason, by, at, n) VALUES (:user, :until, :reason, :by, :at, :n)
    ON CONFLICT (user) DO UPDATE SET until = excluded.until, reason = excluded.reason, by = excluded.by,
        at = excluded.at, n = excluded.n WHERE excluded.n > n"""

PUT_REVOCATION: Final = """
    INSERT INTO revocations (user, jti, before, reason, by, at, n)
    VALUES (:user, :jti, :before, :reason, :by, :at, :n)
    ON CONFLICT DO UPDATE SET before = excluded.before, reason = excluded.reason, by = excluded.by,
        at = excluded.at, n = excluded.n WHERE excluded.n > n"""


def read_sanctions(connection: sqlite3.Connection, *, now: int) -> Sanctions:
    """As `Ledger.sanctions`: bans by user, revocations by number."""
    bans, revocations = fetch(connection, SANCTIONS, {"now": now})
    return Sanctions(
        sorted((Ban(*row) for row in bans), key=lambda ban: ban.user),
        sorted((Revocation(*row) for row in revocations), key=lambda revocation: revocation.n),
    )


def put_ban(connection: sqlite3.Connection, ban: Ban) -> None:
    """As `Ledger.put_ban`; a unit of the writer's transaction."""
    connection.execute(PUT_BAN, asdict(ban))


def put_revocation(connection: sqlite3.Connection, revocation: Revocation) -> None:
    """As `Ledger.put_revocation`; a unit of the writer's transaction."""
    connection.execute(PUT_REVOCATION, asdict(revocation))
