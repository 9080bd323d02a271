"""Keeps the write-ahead log short without making anybody wait.

SQLite moves the log's pages into the database on the thread that commits, by default, and that thread would sync the
database before it takes the next batch. Here a thread with its own connection does it (PASSIVE: it takes what it can
get and blocks nobody). The log starts anew when the next writer finds all of it moved and no reader on it; readers that
overlap without end would put that off for ever. So past a bound the writer asks for it (RESTART), between two batches:
it then waits for the readers of that moment, which are short, while new ones read the database alone and do not count.
One that is not short (an export, a back-up) is not waited for: the log grows until it is done.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path
from typing import Final

from hubbub.history.sqlite_file import BUSY_S, WAL_BYTES, connect

__all__ = ["Keeper"]

logger: Final = logging.getLogger(__name__)

INTERVAL_S: Final = 0.5
"""At most two checkpoints a second, so two syncs: a few percent of what a disk of any kind can do."""

PATIENCE_S: Final = 0.01
"""How long the writer waits for readers, at most twice a second. With the time for a lock, which is a second, every
commit beside an export took a second.
"""


class Keeper:
    """Made and closed off the event loop. `wal_bytes` is the bound past which `relieve` makes the log start anew."""

    def __init__(self, path: Path, *, wal_bytes: int = WAL_BYTES, interval_s: float = INTERVAL_S) -> None:
        self._connection = connect(path)
        self._connection.execute("PRAGMA synchronous = FULL")
        (page_bytes,) = self._connection.execute("PRAGMA page_size").fetchone()
        self._most_pages = max(1, wal_bytes // page_bytes)
        self._interval_s = interval_s
        self._is_over = False
        self._committed = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="history-keeper", daemon=True)
        self._thread.start()

    def relieve(self, connection: sqlite3.Connection) -> None:
        """Called by the writer after each commit, with its connection."""
        if not self._committed.is_set():
            self._committed.set()
        if self._is_over:
            self._is_over = False
            try:
                connection.execute(f"PRAGMA busy_timeout = {round(PATIENCE_S * 1000)}")
                connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            except sqlite3.Error as error:
                logger.warning("history: the log could not start anew: %s", error)
            finally:
                connection.execute(f"PRAGMA busy_timeout = {round(BUSY_S * 1000)}")

    def close(self) -> None:
        """Blocks for as long as a checkpoint takes."""
        self._closing.set()
        self._committed.set()
        self._thread.join()
        self._connection.close()

    def _work(self) -> None:
        while not self._closing.is_set():
            self._committed.wait()
            self._committed.clear()
            try:
                _, pages, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                self._is_over = pages > self._most_pages
            except sqlite3.Error as error:
                logger.warning("history: the log could not be moved: %s", error)
            self._closing.wait(self._interval_s)
