"""When users were here last, kept in the store with at most one write for each user in a minute.

What is not written yet is known here (`at`), so that an answer is right all the same. A crowd that leaves at once is
written one after the other, beside all else that the store has to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from hubbub.errors import HubbubError
from hubbub.history.base import History, Person

__all__ = ["LastSeen"]

_log = structlog.get_logger("hubbub.presence")

EVERY_S: Final = 60.0
AGAIN_S: Final = 5.0
"""How long a store that did not answer is left alone."""

CLOSE_S: Final = 2.0
"""How long the end of a process may be put off for this. Who was here when it ended is back by then, as a rule."""

_TOGETHER: Final = 16
"""Writes that are under way at the same time at the end, when nobody else wants the store any more."""


class LastSeen:
    """`timer` is monotonic, in seconds; the loop's if it is None."""

    def __init__(self, history: History, *, timer: Callable[[], float] | None = None) -> None:
        self._history = history
        self._timer = timer
        self._unwritten: dict[str, tuple[Person, int]] = {}
        self._due: list[tuple[float, str]] = []
        self._written: dict[str, float] = {}
        self._order: deque[tuple[float, str]] = deque()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def note(self, person: Person, at: int) -> None:
        """A user was here until `at`, in milliseconds since the Unix epoch."""
        waits = person.id in self._unwritten
        self._unwritten[person.id] = (person, at)
        if not waits:
            self._prune()
            written = self._written.get(person.id)
            heapq.heappush(self._due, (self._now() if written is None else written + EVERY_S, person.id))
            self._news.set()
            if self._task is None:
                self._task = asyncio.ensure_future(self._run())

    def at(self, user: str) -> int | None:
        """When a user was here last, if the store does not know it yet."""
        found = self._unwritten.get(user)
        return found[1] if found is not None else None

    def wrote(self, user: str) -> None:
        """Somebody else wrote of this user just now: a new name."""
        self._prune()
        self._written[user] = self._now()
        self._order.append((self._written[user], user))

    async def close(self) -> None:
        """Write what is left, without waiting for its minute. What the store does not take is lost."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
        slots = asyncio.Semaphore(_TOGETHER)

        async def write(user: str) -> None:
            async with slots:
                with contextlib.suppress(HubbubError):
                    await self._write(user)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(*(write(user) for user in list(self._unwritten)))
        self._due.clear()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return asyncio.get_running_loop().time() if self._timer is None else self._timer()

    def _prune(self) -> None:
        """Forget who was written of more than a minute ago."""
        now = self._now()
        while self._order and self._order[0][0] <= now - EVERY_S:
            at, user = self._order.popleft()
            if self._written.get(user) == at:
                del self._written[user]

    async def _run(self) -> None:
        while self._due:
            due, user = self._due[0]
            if due > self._now():
                self._news.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(due - self._now()):
                        await self._news.wait()
                continue
            heapq.heappop(self._due)
            try:
                await self._write(user)
            except HubbubError:
                heapq.heappush(self._due, (self._now() + AGAIN_S, user))
            except Exception as error:
                # Nothing was promised, and the others have to be written too.
                _log.error("presence.last_seen_lost", exc_info=error)
                self._unwritten.pop(user, None)
        self._task = None

    async def _write(self, user: str) -> None:
        person, at = self._unwritten[user]
        await self._history.remember(person, at=at)
        self.wrote(user)
        if self._unwritten[user] == (person, at):
            del self._unwritten[user]
        else:
            heapq.heappush(self._due, (self._written[user] + EVERY_S, user))
