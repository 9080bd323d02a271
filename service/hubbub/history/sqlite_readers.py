"""Reads, on a few threads with a read-only connection each, so that they wait neither for writes nor for the loop."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from hubbub.errors import HubbubError
from hubbub.history.sqlite_errors import RETRY_AFTER_S, as_hubbub_error
from hubbub.history.sqlite_file import connect

__all__ = ["Readers", "snapshot"]

T = TypeVar("T")

WAITING_MOST: Final = 5000
"""How many reads may wait; more are refused, so that a slow disk does not fill the memory."""


class _Read:
    """A read, who waits for it, and what came of it."""

    __slots__ = ("error", "future", "loop", "read", "result")

    def __init__(
        self,
        read: Callable[[sqlite3.Connection], Any],
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Any],
    ) -> None:
        self.read = read
        self.loop = loop
        self.future = future
        self.result: Any = None
        self.error: HubbubError | None = None


class Readers:
    """A pool of connections and threads, as many of one as of the other. Open and closed off the event loop.

    A loop is woken once for all reads that are done by the time it looks, and a thread pool's own futures are left out:
    together they took longer than a small read itself.
    """

    def __init__(self, path: Path, *, size: int) -> None:
        self._reads: queue.SimpleQueue[_Read | None] = queue.SimpleQueue()
        self._connections: list[sqlite3.Connection] = []
        self._waiting = 0
        self._lock = threading.Lock()
        self._done: dict[asyncio.AbstractEventLoop, list[_Read]] = {}
        try:
            for _ in range(size):
                self._connections.append(connect(path, read_only=True))
        except sqlite3.Error:
            self._close_connections()
            raise
        self._threads = [
            threading.Thread(target=self._work, args=(connection,), name=f"history-reader-{number}", daemon=True)
            for number, connection in enumerate(self._connections)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, read: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """What `read` returns. Raises `HubbubError`. Cancelling the future does not cancel the read."""
        if self._waiting >= WAITING_MOST:
            raise HubbubError("unavailable", "Too many reads are waiting.", retry_after=RETRY_AFTER_S)
        self._waiting += 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._reads.put(_Read(read, loop, future))
        return future

    def close(self) -> None:
        """Finish what was begun, and what waits. Blocks."""
        for _ in self._threads:
            self._reads.put(None)
        for thread in self._threads:
            thread.join()
        self._close_connections()

    def _close_connections(self) -> None:
        for connection in self._connections:
            connection.close()

    def _settle(self, loop: asyncio.AbstractEventLoop) -> None:
        """On the loop: wake those whose reads are done."""
        with self._lock:
            done = self._done.pop(loop)
        self._waiting -= len(done)
        for read in done:
            if read.future.done():
                continue
            if read.error is not None:
                read.future.set_exception(read.error)
                read.future.exception()  # Seen: a caller that went away is no reason for a warning.
            else:
                read.future.set_result(read.result)

    # -- on a thread -------------------------------------------------------------------------------------------------

    def _work(self, connection: sqlite3.Connection) -> None:
        while (read := self._reads.get()) is not None:
            try:
                read.result = read.read(connection)
            except Exception as error:
                read.error = as_hubbub_error(error)
                read.error.__cause__ = error if error is not read.error else None
            self._hand_back(read)

    def _hand_back(self, read: _Read) -> None:
        with self._lock:
            done = self._done.get(read.loop)
            if done is not None:
                done.append(read)  # The loop was called already, and has not looked yet.
                return
            self._done[read.loop] = [read]
        with suppress(RuntimeError):  # The loop was closed: nobody is waiting any more.
            read.loop.call_soon_threadsafe(self._settle, read.loop)


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Several queries in one state of the store. Short: the log cannot start anew while one is open. One within another
    is part of it.
    """
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
