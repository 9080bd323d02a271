"""The one thread that writes: what waits for it goes into one transaction, and so shares one sync of the disk.

While a commit waits for the disk, the writes that arrive queue up and go together in the next one: a single write
never waits for company, and the first joins of a thousand users share a few syncs.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from hubbub.errors import HubbubError
from hubbub.history.sqlite_errors import RETRY_AFTER_S, as_hubbub_error

__all__ = ["WriterThread"]

logger: Final = logging.getLogger(__name__)

T = TypeVar("T")

UNITS_MOST: Final = 256
"""How many units one transaction takes, so that none waits much longer than the disk needs."""

WAITING_MOST: Final = 20_000
"""How many units may wait; more are refused, since a store that is this far behind is in trouble."""

CHORE_PAUSE_S: Final = 0.01
"""Between two slices of background work, so that it never takes more than a share of the disk."""

CHORE_RETRY_S: Final = 10.0
"""After a slice that failed: nobody waits for it, and a full disk does not get better by asking."""


@dataclass(slots=True)
class _Unit:
    """One piece of work that stands or falls as a whole, and who waits for it."""

    run: Callable[[sqlite3.Connection], Any]
    then: Callable[[Any], None] | None
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class WriterThread:
    """Runs units on the connection, grouped; does chores when nobody waits.

    `after_commit` is called on the thread after each transaction that may have written, `chore` when the queue is
    empty: it does one slice of background work in a transaction of its own and says whether there is more.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        after_commit: Callable[[], None],
        chore: Callable[[sqlite3.Connection], bool],
    ) -> None:
        self._connection = connection
        self._after_commit = after_commit
        self._chore = chore
        self._has_chores = True
        self._chore_pause_s = CHORE_PAUSE_S
        self._queue: SimpleQueue[_Unit | None] = SimpleQueue()
        self._door = threading.Lock()
        self._closing = False
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="history-writer", daemon=True)
        self._thread.start()

    def submit(
        self, run: Callable[[sqlite3.Connection], T], *, then: Callable[[T], None] | None = None
    ) -> asyncio.Future[T]:
        """Queue a unit; the future has what `run` returns once it is on disk, or its `HubbubError`.

        `then` is called on the thread after the commit and before the future is resolved. A unit that raises is undone
        alone. Cancelling the future does not cancel the unit.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        unit = _Unit(run, then, loop, future)
        with self._door:  # Which the thread never takes: it would be woken, and wait for the one who woke it.
            if self._closing or self._queue.qsize() >= WAITING_MOST:
                raise HubbubError("unavailable", "The store takes no more work.", retry_after=RETRY_AFTER_S)
            self._queue.put(unit)
        return future

    def add_chores(self) -> None:
        """Say that there is background work. Called on the thread, by a unit's `then`."""
        self._has_chores = True

    def close(self) -> None:
        """Finish what is queued, then end. Blocks; the connection is free afterwards."""
        with self._door:
            self._closing = True
            self._queue.put(None)
        self._thread.join()

    # -- on the thread -----------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (units := self._take()) is not None:
            try:
                if units:
                    self._transact(units)
                else:
                    self._do_chore()
                self._after_commit()
            except Exception:
                logger.exception("history: the writing thread met a fault and goes on")

    def _take(self) -> list[_Unit] | None:
        """The next units; an empty list if there is time for a chore; None at the end."""
        if self._ended:
            return None
        try:
            unit = self._queue.get(timeout=self._chore_pause_s if self._has_chores else None)
        except Empty:
            return []
        units: list[_Unit] = []
        while unit is not None:
            units.append(unit)
            if len(units) == UNITS_MOST or self._queue.empty():
                return units
            unit = self._queue.get()
        self._ended = True  # Nothing can be behind that.
        return units or None

    def _transact(self, units: list[_Unit]) -> None:
        outcomes: list[tuple[_Unit, Any]] = []
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            outcomes.extend((unit, self._run(unit, alone=len(units) == 1)) for unit in units)
            self._connection.execute("COMMIT")
        except Exception as error:
            self._roll_back()
            failure = as_hubbub_error(error)
            outcomes = [(unit, _copy(failure)) for unit in units]
        try:
            for unit, outcome in outcomes:
                if unit.then is not None and not isinstance(outcome, HubbubError):
                    unit.then(outcome)
        finally:
            _resolve(outcomes)

    def _run(self, unit: _Unit, *, alone: bool) -> Any:
        """What a unit returned, or its error. One that is alone needs no savepoint: undoing it undoes all."""
        if alone:
            return unit.run(self._connection)
        self._connection.execute("SAVEPOINT unit")
        try:
            result = unit.run(self._connection)
        except Exception as error:
            if not self._connection.in_transaction:
                raise  # A full disk, for one, makes SQLite undo the whole transaction.
            self._connection.execute("ROLLBACK TO unit")
            result = as_hubbub_error(error)
        self._connection.execute("RELEASE unit")
        return result

    def _do_chore(self) -> None:
        try:
            self._has_chores = self._chore(self._connection)
            self._chore_pause_s = CHORE_PAUSE_S
        except Exception as error:
            self._roll_back()
            self._chore_pause_s = CHORE_RETRY_S
            as_hubbub_error(error)  # It says in the log what is wrong; nobody else is to be told.

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")


def _copy(error: HubbubError) -> HubbubError:
    """One for each who waits: an exception collects the traces of all who raise it."""
    return HubbubError(error.code, error.message, fields=error.fields, retry_after=error.retry_after)


def _resolve(outcomes: list[tuple[_Unit, Any]]) -> None:
    """Wake each event loop once, whatever number of its futures is done."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = defaultdict(list)
    for unit, outcome in outcomes:
        by_loop[unit.loop].append((unit.future, outcome))
    for loop, futures in by_loop.items():
        with suppress(RuntimeError):  # The loop was closed: nobody is waiting any more.
            loop.call_soon_threadsafe(_set, futures)


def _set(futures: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, outcome in futures:
        if future.done():
            continue
        if isinstance(outcome, HubbubError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
