"""Keeps the write-ahead log short without making anybody wait.

SQLite moves the log's pages into the database on the thread that commits, by default, and that thread would sync the
database before it takes the next batch. Here a thread with its own connection does it (PASSIVE: it takes what it can
get and blocks nobody). The log starts anew when the next writer finds all of it moved and no reader on it; readers that
overlap without end would put that off for ever. So past a bound the writer asks for it (RESTART), between two batches:
it then waits for the readers of that moment, which are short, while new ones read the database alone and do not count.

One that is not short (an export, a back-up) is not waited for: the log grows until it is done. It is told by what is
moved, which comes no further than where the oldest reader began: while readers come and go it goes on from look to
look, and while one of them stays it does not.
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

PATIENCE_S: Final = 0.25
"""How long the writer waits for readers, who take milliseconds. It is known before that none of them stays, but for one
that came since the last look: then this is how long a commit takes longer, once.
"""

TRY_S: Final = 0.01
"""How long one checkpoint of those waits. SQLite waits until nobody reads at the mark where an old reader was, and does
not see that a new one has moved the mark and reads there now: under readers that overlap it would wait for ever. The
next checkpoint looks anew, and nothing is lost between them, since nobody writes.
"""

RESTS: Final = 10
"""After how many looks it is asked again, when all of that was not enough although readers come and go: with two looks
a second the writer waits for a twentieth of its time at most.
"""


class Keeper:
    """Made and closed off the event loop. `wal_bytes` is the bound past which `relieve` makes the log start anew."""

    def __init__(
        self,
        path: Path,
        *,
        wal_bytes: int = WAL_BYTES,
        interval_s: float = INTERVAL_S,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._connection = connect(path)
        self._connection.execute("PRAGMA synchronous = FULL")
        (page_bytes,) = self._connection.execute("PRAGMA page_size").fetchone()
        self._most_pages = max(1, wal_bytes // page_bytes)
        self._interval_s = interval_s
        self._tries = max(1, round(patience_s / TRY_S))
        self._is_due = False
        self._was_refused = False
        self._moved = 0
        self._rests = 0
        self._one_checkpoint = threading.Lock()
        self._committed = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="history-keeper", daemon=True)
        self._thread.start()

    def relieve(self, connection: sqlite3.Connection) -> None:
        """Called by the writer after each commit, with its connection."""
        if not self._committed.is_set():
            self._committed.set()
        # SQLite refuses a second checkpoint at once. Beside one of the keeper's it is left to the next commit.
        if self._is_due and self._one_checkpoint.acquire(blocking=False):
            try:
                self._is_due = False
                self._was_refused = not self._start_anew(connection)
            except sqlite3.Error as error:
                logger.warning("history: the log could not start anew: %s", error)
            finally:
                connection.execute(f"PRAGMA busy_timeout = {round(BUSY_S * 1000)}")
                self._one_checkpoint.release()

    def _start_anew(self, connection: sqlite3.Connection) -> bool:
        connection.execute(f"PRAGMA busy_timeout = {round(TRY_S * 1000)}")
        for _ in range(self._tries):
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
            if not busy:
                return True
        return False

    def look(self) -> None:
        """Move what can be moved, and see whether the log is to start anew. The keeper's thread does it by itself."""
        with self._one_checkpoint:
            try:
                busy, pages, moved = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            except sqlite3.Error as error:
                logger.warning("history: the log could not be moved: %s", error)
                return
            if busy:  # Another program moves it just now.
                return
            nobody_stays = moved == pages or moved != self._moved
            self._moved = moved
            if self._was_refused:
                self._was_refused = False
                self._rests = RESTS
            self._rests = max(0, self._rests - 1)
            self._is_due = pages > self._most_pages and nobody_stays and not self._rests

    def close(self) -> None:
        """Blocks for as long as a checkpoint takes."""
        self._closing.set()
        self._committed.set()
        self._thread.join()
        self._connection.close()

    def _work(self) -> None:
        while not self._closing.is_set():
            self._committed.wait()
            self._closing.wait(self._interval_s)  # For what is committed soon after it, too.
            self._committed.clear()
            self.look()
