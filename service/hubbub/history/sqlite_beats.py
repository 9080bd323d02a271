"""Signs of life. One process has the file, so there is one that lives; what went before it stays for an hour."""

from __future__ import annotations

import sqlite3
from typing import Final

from hubbub.history.ledger import Beat
from hubbub.history.sqlite_rows import fetch, json_text

__all__ = ["beat", "read_beats", "stop"]

OLD_MS: Final = 3_600_000

PUT: Final = "INSERT OR REPLACE INTO beats (name, origin, at, about) VALUES (:name, :origin, :at, :about)"

BEATS: Final = "SELECT json_group_array(json_array(name, origin, at, json(about))) FROM beats WHERE at >= :since"


def beat(connection: sqlite3.Connection, sign: Beat) -> None:
    """As `Ledger.beat`; a unit of the writer's transaction."""
    row = {"name": sign.name, "origin": sign.origin, "at": sign.at, "about": json_text({**sign.about})}
    connection.execute(PUT, row)
    connection.execute("DELETE FROM beats WHERE at < ?", (sign.at - OLD_MS,))


def stop(connection: sqlite3.Connection, origin: str) -> None:
    """As `Ledger.stop_beating`; a unit of the writer's transaction."""
    connection.execute("DELETE FROM beats WHERE origin = ?", (origin,))


def read_beats(connection: sqlite3.Connection, *, since: int) -> list[Beat]:
    """As `Ledger.beats`."""
    rows = fetch(connection, BEATS, {"since": since})
    return sorted((Beat(*row) for row in rows), key=lambda sign: (sign.name, sign.origin))
