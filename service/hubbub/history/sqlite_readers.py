"""Reads, on a few threads with a read-only connection each, so that they wait neither for writes nor for the loop."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

from hubbub.errors import HubbubError
from hubbub.history.sqlite_errors import RETRY_AFTER_S, as_hubbub_error
from hubbub.history.sqlite_file import connect

__all__ = ["Readers", "snapshot"]

T = TypeVar("T")

WAITING_MOST: Final = 5000
"""How many reads may wait; more are refused, so that a slow disk does not fill the memory."""


class Readers:
    """A pool of connections and threads, as many of one as of the other. Open and closed off the event loop."""

    def __init__(self, path: Path, *, size: int) -> None:
        self._connections: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        self._all: list[sqlite3.Connection] = []
        self._waiting = 0
        try:
            for _ in range(size):
                self._all.append(connect(path, read_only=True))
        except sqlite3.Error:
            self._close_connections()
            raise
        for connection in self._all:
            self._connections.put(connection)
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="history-reader")

    async def run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What `read` returns. Raises `HubbubError`."""
        if self._waiting >= WAITING_MOST:
            raise HubbubError("unavailable", "Too many reads are waiting.", retry_after=RETRY_AFTER_S)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, read)
        finally:
            self._waiting -= 1

    def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connections.get()
        try:
            return read(connection)
        except Exception as error:
            raise as_hubbub_error(error) from error
        finally:
            self._connections.put(connection)

    def close(self) -> None:
        """Finish what was begun. Blocks."""
        self._threads.shutdown(wait=True)
        self._close_connections()

    def _close_connections(self) -> None:
        for connection in self._all:
            connection.close()


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Several queries in one state of the store. Short: the log cannot start anew while one is open."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
