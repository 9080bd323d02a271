"""The thread that brings the search index after the database."""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hubbub.history.sqlite_errors import is_damage
from hubbub.history.sqlite_file import connect
from hubbub.history.sqlite_index import forget_slice, open_index, read_progress, remove_index, write_slice
from hubbub.history.sqlite_rows import CHANGED, HEAD, MASK, SHIFT, UNCHANGED, fetch

__all__ = ["Indexer"]

logger: Final = logging.getLogger(__name__)

SLICE_ROWS: Final = 2000
"""How many messages one transaction indexes: some tens of milliseconds, so that closing does not wait long. The larger,
the fewer pieces of the index have to be put together later.
"""

PAUSE_S: Final = 0.2
"""Between a commit and its indexing, so that the messages of many commits are indexed together; the lag is to stay
within a second."""

RETRY_S: Final = 5.0
"""After a failure that is not the file's: a full disk does not get better by asking."""

HEADS: Final = f"SELECT json_group_array(json_array(r.no, r.uid, {HEAD})) FROM rooms r"

TEXT: Final = "m.rev, m.place, m.created_at, iif(m.deleted, '', m.doc ->> '$.body') AS body"

ROW: Final = "n.place, n.created_at, 'r' || r.no || CASE r.kind WHEN 'public' THEN ' pub' ELSE '' END, n.body"

SENT: Final = f"""
    SELECT {TEXT} FROM messages m
    WHERE m.place > (:no << {SHIFT}) + :rev AND m.place <= (:no << {SHIFT}) + {MASK} AND {UNCHANGED}
    ORDER BY m.place LIMIT :most"""

REWORKED: Final = f"""
    SELECT {TEXT} FROM messages m INDEXED BY messages_by_rev
    WHERE m.room = :no AND m.rev > :rev AND {CHANGED} ORDER BY m.rev LIMIT :most"""

NEW: Final = f"""
    SELECT r.uid, EXISTS ({REWORKED}), count(n.rev), max(n.rev), json_group_array(json_array({ROW}))
    FROM rooms r LEFT JOIN ({SENT}) n WHERE r.no = :no"""
"""What was sent to a room, and whether there is more than that: messages that were changed since."""

NEWS: Final = f"""
    WITH sent AS ({SENT}), reworked AS ({REWORKED})
    SELECT count(n.rev), max(n.rev), json_group_array(json_array({ROW}))
    FROM rooms r LEFT JOIN (SELECT * FROM (
        SELECT * FROM sent UNION ALL SELECT * FROM reworked) ORDER BY rev LIMIT :most) n
    WHERE r.no = :no"""


class Indexer:
    """Made and closed off the event loop; `notify` may be called on any thread."""

    def __init__(self, database: Path, *, index: Path) -> None:
        self._index_path = index
        self._database = connect(database, read_only=True)
        try:
            self._index = open_index(index)
        except (sqlite3.Error, OSError):
            self._database.close()
            raise
        self.generation = 1
        """Rises when the file is made anew, and connections to the old one have to be."""
        self._progress: dict[int, tuple[str, int]] = {}
        self._lock = threading.Lock()
        self._changed: set[int] = set()
        self._compare = True
        self._rebuild = False
        self._wake = threading.Event()
        self._wake.set()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="history-indexer", daemon=True)
        self._thread.start()

    def notify(self, numbers: Iterable[int]) -> None:
        """Say in which rooms something changed, or that they were deleted."""
        with self._lock:
            self._changed.update(numbers)
        self._wake.set()

    def rebuild(self) -> None:
        """Say that a reader found the index damaged."""
        self._rebuild = True
        self._wake.set()

    def close(self) -> None:
        """Finish the slice that was begun. Blocks."""
        self._closing.set()
        self._wake.set()
        self._thread.join()
        self._database.close()
        self._index.close()

    # -- on the thread -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            try:
                self._catch_up()
                self._closing.wait(PAUSE_S)
            except Exception as error:
                self._recover(error)

    def _catch_up(self) -> None:
        if self._rebuild:
            self._make_anew()
        if self._compare:
            self._compare_all()
        with self._lock:
            numbers, self._changed = self._changed, set()
        try:
            while numbers and not self._closing.is_set():
                self._index_some(numbers)
        finally:
            with self._lock:
                self._changed |= numbers

    def _compare_all(self) -> None:
        """At the start: whatever of the database is not in the index, or in the index and not in the database."""
        self._progress = read_progress(self._index)
        try:
            heads = {no: (uid, head) for no, uid, head in fetch(self._database, HEADS, {})}
        except sqlite3.Error as error:
            raise RuntimeError("the database cannot be read") from error  # No fault of the index.
        strangers = [
            no
            for no, (uid, rev) in self._progress.items()
            if no not in heads or heads[no][0] != uid or heads[no][1] < rev
        ]
        for no in strangers:
            self._forget(no)
        behind = {no for no, (_, head) in heads.items() if head > self._progress.get(no, ("", 0))[1]}
        with self._lock:
            self._changed |= behind
        self._compare = False

    def _index_some(self, numbers: set[int]) -> None:
        """Index up to one slice, of as many rooms as it takes; takes the rooms that are done out of `numbers`."""
        new: list[str] = []
        reworked: list[str] = []
        progress: dict[int, tuple[str, int]] = {}
        done: list[int] = []
        room_left = SLICE_ROWS
        for no in numbers:
            uid, is_new, count, newest, rows = self._read(no, room_left)
            if uid is None:
                self._forget(no)
            elif count:
                (new if is_new else reworked).append(rows[1:-1])
                progress[no] = (uid, newest)
            if count < room_left:
                done.append(no)
            room_left -= count
            if room_left == 0:
                break
        if progress:
            write_slice(self._index, new=_joined(new), reworked=_joined(reworked), progress=progress)
            self._progress |= progress
        numbers.difference_update(done)

    def _read(self, no: int, most: int) -> tuple[str | None, bool, int, int, str]:
        """A room's uid, None if it is gone; whether all that changed is new, how many messages that are, up to which
        revision, and what they say.

        A room that cannot be read is left as it is, so that one damaged page does not keep the others waiting.
        """
        parameters = {"no": no, "rev": self._progress.get(no, ("", 0))[1], "most": most}
        try:
            row = self._database.execute(NEW, parameters).fetchone()
            uid, has_more, count, newest, rows = row
            if has_more:
                count, newest, rows = self._database.execute(NEWS, parameters).fetchone()
        except sqlite3.Error as error:
            logger.warning("history: room %d cannot be indexed: %s", no, error)
            return "", True, 0, 0, "[]"
        return uid, not has_more, count, newest, rows

    def _forget(self, no: int) -> None:
        while forget_slice(self._index, no, most=SLICE_ROWS) and not self._closing.is_set():
            pass
        self._progress.pop(no, None)

    def _recover(self, error: Exception) -> None:
        if is_damage(error):
            logger.warning("history: the search index is damaged and is made anew: %s", error)
            self._rebuild = True
        else:
            logger.warning("history: the search index falls behind: %s", error)
            self._closing.wait(RETRY_S)
        self._wake.set()

    def _make_anew(self) -> None:
        self._index.close()
        remove_index(self._index_path)
        self._index = open_index(self._index_path)
        self.generation += 1
        self._rebuild = False
        self._compare = True


def _joined(texts: Iterable[str]) -> str:
    return f"[{','.join(texts)}]"
