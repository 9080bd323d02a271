"""The thread that brings the search index after the database."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from hubbub.history.sqlite_errors import is_damage
from hubbub.history.sqlite_fresh import Fresh, attach_store, copy_fresh, read_heads
from hubbub.history.sqlite_index import forget_slice, open_index, read_progress, remove_index, trim_slice, write_slice

__all__ = ["Indexer"]

logger: Final = logging.getLogger(__name__)

SLICE_ROWS: Final = 4000
"""How many messages one transaction indexes: some tens of milliseconds, so that closing does not wait long. The larger,
the fewer pieces of the index have to be put together later.
"""

PAUSE_S: Final = 0.4
"""Between a commit and its indexing, so that the messages of many commits are indexed together; the lag is to stay
within a second."""

RETRY_S: Final = 5.0
"""After a failure that is not the file's: a full disk does not get better by asking."""


class Indexer:
    """Made and closed off the event loop; `notify` may be called on any thread."""

    def __init__(self, database: Path, *, index: Path) -> None:
        self._index_path = index
        self._database_path = database
        self._index = self._open()
        self.generation = 1
        """Rises when the file is made anew, and connections to the old one have to be."""
        self._progress: dict[int, tuple[str, int]] = {}
        self._floors: dict[int, int] = {}
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
        """Say in which rooms something changed or was emptied, or that they were deleted."""
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
            rows = read_heads(self._index)
        except sqlite3.Error as error:
            raise RuntimeError("the database cannot be read") from error  # No fault of the index.
        heads = {no: (uid, head) for no, uid, head, _ in rows}
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
        self._floors = {}
        self._trim({no: floor for no, _, _, floor in rows})
        self._compare = False

    def _index_some(self, numbers: set[int]) -> None:
        """Index up to one slice, of as many rooms as it takes; takes the rooms that are done out of `numbers`."""
        fresh = self._read({no: self._progress.get(no, ("", 0))[1] for no in numbers})
        for no in fresh.gone:
            self._forget(no)
        if fresh.progress:
            write_slice(self._index, progress=fresh.progress)
            self._progress |= fresh.progress
        self._trim(fresh.floors)
        numbers.difference_update(fresh.done, fresh.gone)

    def _read(self, rooms: dict[int, int]) -> Fresh:
        """As `copy_fresh`. If it fails, half of the rooms are tried, so that one damaged page does not keep the others
        waiting; a room that cannot be read is left as it is.
        """
        try:
            return copy_fresh(self._index, rooms, most=SLICE_ROWS)
        except sqlite3.Error as error:
            if len(rooms) > 1:
                return self._read(dict([*rooms.items()][: len(rooms) // 2]))
            logger.warning("history: room %d cannot be indexed: %s", *rooms, error)
            return Fresh({}, {}, [*rooms], [])

    def _trim(self, floors: Mapping[int, int]) -> None:
        """Take out what retention has emptied. What was emptied before it was indexed never comes in."""
        for no, floor in floors.items():
            if floor <= self._floors.get(no, 0):
                continue
            while trim_slice(self._index, no, floor=floor, most=SLICE_ROWS):
                if self._closing.is_set():
                    return
            self._floors[no] = floor

    def _forget(self, no: int) -> None:
        while forget_slice(self._index, no, most=SLICE_ROWS) and not self._closing.is_set():
            pass
        self._progress.pop(no, None)
        self._floors.pop(no, None)

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
        self._index = self._open()
        self.generation += 1
        self._rebuild = False
        self._compare = True

    def _open(self) -> sqlite3.Connection:
        index = open_index(self._index_path)
        try:
            attach_store(index, self._database_path)
        except sqlite3.Error:
            index.close()
            raise
        return index
