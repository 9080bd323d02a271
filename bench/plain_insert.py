"""What one durable insert takes without anything around it: a row, a commit that is synced, and the next.

A process of its own, on the core of the servers; `one_sender` reads what it prints: milliseconds, as a JSON array.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from pathlib import Path
from typing import Final

__all__ = ["insert_for"]


WARM_UP: Final = 1100
"""By then SQLite's log has started anew. Before, each sync makes its file longer, which takes some times as long; the
log of a service that runs is written over."""


def insert_for(path: Path, *, duration_s: float, body: str) -> list[float]:
    """The milliseconds of each insert into a new database at this path, one after the other for so long."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY, body TEXT NOT NULL)")
    for _ in range(WARM_UP):
        connection.execute("INSERT INTO messages (body) VALUES (?)", (body,))
    latencies_ms: list[float] = []
    end = time.perf_counter() + duration_s
    while (begun := time.perf_counter()) < end:
        connection.execute("INSERT INTO messages (body) VALUES (?)", (body,))
        latencies_ms.append((time.perf_counter() - begun) * 1000)
    connection.close()
    return latencies_ms


if __name__ == "__main__":
    where, seconds, text = sys.argv[1:]
    print(json.dumps(insert_for(Path(where), duration_s=float(seconds), body=text)))
