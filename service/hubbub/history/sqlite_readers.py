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


HELP_AFTER_S: Final = 0.005
"""How long a read waits for the first thread before another helps. Threads that take turns at the interpreter lock for
reads of 20 us make them cost twice as much: a connect and its join took 99 us of CPU with one thread, 190 with three.
"""


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

    One thread reads; the others help as long as reads wait longer than a moment, behind one that is slow or because
    there are very many. A loop is woken once for all reads that are done by the time it looks.
    """

    def __init__(self, path: Path, *, size: int) -> None:
        self._reads: queue.SimpleQueue[_Read | None] = queue.SimpleQueue()
        self._connections: list[sqlite3.Connection] = []
        self._waiting = 0
        self._asked = 0
        self._served = 0
        self._watch: asyncio.TimerHandle | None = None
        self._help = threading.Semaphore(0)
        self._helping = 0
        self._closing = False
        self._lock = threading.Lock()
        self._done: dict[asyncio.AbstractEventLoop, list[_Read]] = {}
        try:
            for _ in range(size):
                self._connections.append(connect(path, read_only=True))
        except sqlite3.Error:
            self._close_connections()
            raise
        self._threads = [
            threading.Thread(
                target=self._helper if number else self._work,
                args=(connection,),
                name=f"history-reader-{number}",
                daemon=True,
            )
            for number, connection in enumerate(self._connections)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, read: Callable[[sqlite3.Connection], T]) -> asyncio.Future[T]:
        """What `read` returns. Raises `HubbubError`. Cancelling the future does not cancel the read."""
        if self._waiting >= WAITING_MOST:
            raise HubbubError("unavailable", "Too many reads are waiting.", retry_after=RETRY_AFTER_S)
        self._waiting += 1
        self._asked += 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._reads.put(_Read(read, loop, future))
        if self._watch is None:
            self._watch = loop.call_later(HELP_AFTER_S, self._look, loop, self._asked)
        return future

    def close(self) -> None:
        """Finish what was begun, and what waits. Blocks."""
        self._closing = True
        self._reads.put(None)
        for _ in self._threads[1:]:
            self._help.release()
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

    def _look(self, loop: asyncio.AbstractEventLoop, asked: int) -> None:
        """On the loop, while reads wait: call for help if those that were asked for by the last look are not done."""
        if self._served < asked and self._helping < len(self._threads) - 1:
            with self._lock:
                self._helping += 1
            self._help.release()
        self._watch = None
        if self._served < self._asked:
            self._watch = loop.call_later(HELP_AFTER_S, self._look, loop, self._asked)

    # -- on a thread -------------------------------------------------------------------------------------------------

    def _work(self, connection: sqlite3.Connection) -> None:
        while (read := self._reads.get()) is not None:
            self._run(read, connection)

    def _helper(self, connection: sqlite3.Connection) -> None:
        while not self._closing:
            self._help.acquire()
            with suppress(queue.Empty):
                while (read := self._reads.get_nowait()) is not None:
                    self._run(read, connection)
                self._reads.put(None)  # It was meant for the first thread.
            with self._lock:
                self._helping -= 1

    def _run(self, read: _Read, connection: sqlite3.Connection) -> None:
        try:
            read.result = read.read(connection)
        except Exception as error:
            read.error = as_hubbub_error(error)
            if read.error is not error:
                read.error.__cause__ = error
        self._hand_back(read)

    def _hand_back(self, read: _Read) -> None:
        with self._lock:
            self._served += 1
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
