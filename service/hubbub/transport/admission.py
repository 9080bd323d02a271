"""In which order the events of one connection are handled.

The rule is order of admission. An event begins when every event before it is done; with two exceptions that the
namespace names: *pipelined* events (sends) need only wait until those before them have taken their place in the
writer's queue, and are acknowledged in order; *free* events (typing) wait for nothing.

Those that wait or run stand in one line. Because a pipelined event begins only behind others that are taken, what runs
is always the front of the line, and what is answered leaves at its head. How many those may be, and how many bytes, is
bounded: the wire stops reading while the lane is full.

No event costs a task that does not need one. An *eager* event is stepped in the turn of the loop in which it is
admitted: most of what is free ends there, and a pipelined one that is admitted to the writer has nothing left but to
wait for its commit, which needs no task either. What suspends earlier is taken over by a task. Whoever drives it, all
its steps are in one context: what it sets in a context variable (as PyMongo does with the time for a call) is there
after it was suspended, and can be taken back.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from types import coroutine
from typing import Any, Final

import structlog

from hubbub.transport.base import Incoming, Order

__all__ = ["Lane", "Reply", "Work"]

_log = structlog.get_logger("hubbub.transport")

Work = Callable[[Incoming], Coroutine[Any, Any, Any]]
Reply = Callable[[Any], None]

_WAITING: Final = 0
_RUNNING: Final = 1
_FINISHED: Final = 2
_FAILED: Final = 3


class _Job:
    """An admitted event."""

    __slots__ = (
        "context",
        "coroutine",
        "eager",
        "incoming",
        "lane",
        "order",
        "reply",
        "result",
        "seen_at",
        "size",
        "state",
        "task",
        "work",
    )

    def __init__(
        self, lane: Lane, incoming: Incoming, order: Order, work: Work, reply: Reply, size: int, eager: bool
    ) -> None:
        self.lane = lane
        self.incoming = incoming
        self.order = order
        self.work = work
        self.reply = reply
        self.size = size
        self.eager = eager
        self.state = _WAITING
        self.result: Any = None
        self.seen_at: float | None = None
        self.coroutine: Coroutine[Any, Any, Any] | None = None
        self.context: Context | None = None
        self.task: asyncio.Task[None] | None = None

    def go_on(self, future: asyncio.Future[Any]) -> None:
        """What was waited for is done."""
        if self.state == _RUNNING:
            self.lane._step(self, None)


class Lane:
    """The events of one Engine.IO connection, in all its namespaces.

    It is full with `limit` events or `limit_bytes` bytes. `on_room` is called when it is full no more, and `on_idle`
    when nothing is left in it.
    """

    __slots__ = (
        "_advancing",
        "_bytes",
        "_count",
        "_free",
        "_limit",
        "_limit_bytes",
        "_line",
        "_started",
        "_was_full",
        "on_idle",
        "on_room",
    )

    def __init__(
        self,
        *,
        limit: int = 256,
        limit_bytes: int = 524_288,
        on_room: Callable[[], None] | None = None,
        on_idle: Callable[[], None] | None = None,
    ) -> None:
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._line: deque[_Job] = deque()
        self._started = 0
        self._free: set[_Job] = set()
        self._count = 0
        self._bytes = 0
        self._was_full = False
        self._advancing = False
        self.on_room = on_room
        self.on_idle = on_idle

    def admit(
        self,
        name: str,
        args: tuple[Any, ...],
        *,
        order: Order,
        work: Work,
        reply: Reply,
        size: int = 0,
        eager: bool = False,
    ) -> None:
        """Take an event in. `work` is awaited in its turn; what it returns goes to `reply`, then `after_ack` runs.

        If `work` raises, there is no answer, and the event counts as done.
        """
        incoming = Incoming(name, args, self._taken)
        job = _Job(self, incoming, order, work, reply, size, eager)
        self._count += 1
        self._bytes += size
        if order is Order.FREE:
            self._free.add(job)
            self._start(job)
        else:
            self._line.append(job)
            self._advance()
        if self.is_full:
            self._was_full = True

    @property
    def is_full(self) -> bool:
        return self._count >= self._limit or self._bytes >= self._limit_bytes

    @property
    def is_idle(self) -> bool:
        return self._count == 0

    def expire(self, now: float, event_s: float) -> None:
        """Cancel what was seen running for longer than `event_s`: it is answered as its handler answers that.

        To be called now and then, with the loop's clock: looking at it for each event would cost more than the rest.
        """
        for job in [*self._free, *self._line]:
            if job.state == _RUNNING:
                if job.seen_at is None:
                    job.seen_at = now
                elif now - job.seen_at >= event_s:
                    self._cancel(job)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _taken(self) -> None:
        """The last that was started has its place in line."""
        if self._started < len(self._line) and not self._advancing:
            asyncio.get_running_loop().call_soon(self._advance)

    def _advance(self) -> None:
        """Answer what is done at the head, start what may start behind it."""
        if self._advancing:
            return  # What just ended or was taken is seen by the loop below, which is on the stack.
        self._advancing = True
        line = self._line
        try:
            while True:
                while line and line[0].state >= _FINISHED:
                    self._started -= 1
                    self._answer(line.popleft())
                if self._started >= len(line) or not self._may_start(line[self._started]):
                    return
                job = line[self._started]
                self._started += 1
                self._start(job)
        finally:
            self._advancing = False

    def _may_start(self, job: _Job) -> bool:
        if self._started == 0:
            return True
        before = self._line[self._started - 1]
        if job.order is not Order.PIPELINED or before.order is not Order.PIPELINED:
            return False
        return before.incoming.is_admitted or before.state >= _FINISHED

    def _start(self, job: _Job) -> None:
        job.state = _RUNNING
        running = job.work(job.incoming)
        if job.eager:
            job.coroutine = running
            job.context = copy_context()
            job.context.run(self._step, job, None)
        else:
            self._hand_over(job, running)

    def _step(self, job: _Job, error: BaseException | None) -> None:
        """Drive an event by hand: to its end, to a future, or into a task."""
        assert job.coroutine is not None
        try:
            waits_for = job.coroutine.send(None) if error is None else job.coroutine.throw(error)
        except StopIteration as done:
            self._finish(job, _FINISHED, done.value)
        except BaseException as failure:  # Also a cancellation: there is no task that it could end.
            self._fail(job, failure)
        else:
            if job.incoming.is_admitted and isinstance(waits_for, asyncio.Future):
                waits_for._asyncio_future_blocking = False
                waits_for.add_done_callback(job.go_on, context=job.context)
            else:
                started, job.coroutine = job.coroutine, None
                self._hand_over(job, _go_on(started, waits_for))

    def _hand_over(self, job: _Job, running: Coroutine[Any, Any, Any]) -> None:
        job.task = asyncio.get_running_loop().create_task(self._run(job, running), context=job.context)

    async def _run(self, job: _Job, running: Coroutine[Any, Any, Any]) -> None:
        """The answer goes out in the turn in which the handler returns: what it subscribed to comes behind."""
        try:
            result = await running
        except BaseException as failure:  # Also a cancellation: whoever cancelled wants an end, and gets one.
            self._fail(job, failure)
        else:
            self._finish(job, _FINISHED, result)

    def _fail(self, job: _Job, error: BaseException) -> None:
        _log.error("lane.failed", kind=type(error).__name__, exc_info=error)
        self._finish(job, _FAILED, None)

    def _finish(self, job: _Job, state: int, result: Any) -> None:
        job.state = state
        job.result = result
        job.coroutine = job.task = job.context = None
        if job.order is Order.FREE:
            self._free.discard(job)
            self._answer(job)
        elif self._line and (self._line[0] is job or not job.incoming.is_admitted):
            self._advance()  # Of those behind the head, only one that never had a place held anybody up.

    def _answer(self, job: _Job) -> None:
        self._count -= 1
        self._bytes -= job.size
        try:
            if job.state == _FINISHED:
                # There is no await here: nothing can come between the ack and what follows it.
                job.reply(job.result)
                for callback in job.incoming.after_ack:
                    callback()
        except Exception as error:
            _log.error("lane.failed", kind=type(error).__name__, exc_info=error)
        finally:
            if self._was_full and not self.is_full:
                self._was_full = False
                if self.on_room is not None:
                    self.on_room()
            if self._count == 0 and self.on_idle is not None:
                self.on_idle()

    def _cancel(self, job: _Job) -> None:
        if job.task is not None:
            job.task.cancel()
        elif job.coroutine is not None and job.context is not None:
            job.context.run(self._step, job, asyncio.CancelledError())


@coroutine
def _go_on(started: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    """The rest of a coroutine that has run up to its first suspension, for a task to run."""
    while True:
        thrown: BaseException | None = None
        try:
            yield waits_for
        except BaseException as error:
            thrown = error
        try:
            waits_for = started.send(None) if thrown is None else started.throw(thrown)
        except StopIteration as done:
            return done.value
