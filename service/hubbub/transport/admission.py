"""In which order the events of one connection are handled.

The rule is order of admission. An event begins when every event before it is done; with two exceptions that the
namespace names: *pipelined* events (sends) need only wait until those before them have taken their place in the
writer's queue, and are acknowledged in order; *free* events (typing) wait for nothing.

Each event knows only the one before it. Since an event is done only after the one before it is, that is enough. A lane
holds nothing while nothing happens, and a task for each event that waits or runs. How many those may be is bounded: the
transport stops reading while the lane is full.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from hubbub.transport.base import Incoming, Order

__all__ = ["Lane", "Work"]

_log = structlog.get_logger("hubbub.transport")

Work = Callable[[Incoming], Awaitable[Any]]


class _Moment:
    """Something that happens once. Costs a future only if somebody waits for it."""

    __slots__ = ("_future", "has_come")

    def __init__(self) -> None:
        self.has_come = False
        self._future: asyncio.Future[None] | None = None

    def come(self) -> None:
        self.has_come = True
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def wait(self) -> None:
        if not self.has_come:
            await asyncio.shield(self._awaited())

    def then(self, callback: Callable[[], None]) -> None:
        """Call back when it has come."""
        self._awaited().add_done_callback(lambda _: callback())

    def _awaited(self) -> asyncio.Future[None]:
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
        return self._future


class _Job:
    """An admitted event: `taken` when it has its place in line, `done` when it is acknowledged."""

    __slots__ = ("done", "incoming", "order", "taken")

    def __init__(self, name: str, args: tuple[Any, ...], order: Order) -> None:
        self.order = order
        self.taken = _Moment()
        self.done = _Moment()
        self.incoming = Incoming(name, args, self.taken.come)

    def finish(self) -> None:
        self.taken.come()
        self.done.come()


class Lane:
    """The events of one Engine.IO connection, in all its namespaces.

    `limit` is how many admitted events may wait or run at once before the lane is full.
    """

    def __init__(self, *, limit: int = 256) -> None:
        self._limit = limit
        self._last: _Job | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed: asyncio.Future[None] | None = None

    def admit(
        self, name: str, args: tuple[Any, ...], *, order: Order, work: Work, reply: Callable[[Any], None]
    ) -> None:
        """Take an event in. `work` is awaited in its turn; what it returns goes to `reply`, then `after_ack` runs."""
        job = _Job(name, args, order)
        before = None
        if order is not Order.FREE:
            before, self._last = self._last, job
        task = asyncio.ensure_future(self._perform(job, before, work, reply))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    @property
    def is_full(self) -> bool:
        return len(self._tasks) >= self._limit

    async def wait_for_room(self) -> None:
        """Return when the lane is not full any more."""
        while self.is_full:
            await self._wait_change()

    async def wait_idle(self) -> None:
        """Return when nothing waits or runs."""
        while self._tasks:
            await self._wait_change()

    async def _wait_change(self) -> None:
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._changed)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("lane.failed", kind=type(error).__name__, exc_info=error)
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None
        if not self._tasks:
            self._last = None

    async def _perform(self, job: _Job, before: _Job | None, work: Work, reply: Callable[[Any], None]) -> None:
        try:
            if before is not None:
                both_pipelined = job.order is Order.PIPELINED and before.order is Order.PIPELINED
                await (before.taken if both_pipelined else before.done).wait()
            result = await work(job.incoming)
            if before is not None and not before.done.has_come:
                await before.done.wait()
            # From here to the last after_ack there is no await: nothing can come between the ack and what follows it.
            reply(result)
            for callback in job.incoming.after_ack:
                callback()
        finally:
            if before is None or before.done.has_come:
                job.finish()
            else:
                # It failed before its turn came. Those behind it wait for those before it all the same.
                before.done.then(job.finish)
