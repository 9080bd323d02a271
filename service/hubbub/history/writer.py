"""Group commit: writes queue up while the previous batch is being committed, and go together in the next.

A write on an idle service is committed at once and alone, and the busier the service, the fuller the batches: one
leaves when a turn of the loop has brought it nothing more. There is one batch per lane in flight (`History.lane`), so
that the order of admission is the order of revisions, and callers need not wait for one write before they hand in the
next.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from hubbub.errors import HubbubError
from hubbub.history.base import Change, History, Insert, Outcome, Written

__all__ = ["Writer"]

logger: Final = logging.getLogger(__name__)

RETRY_AFTER_S: Final = (1.0, 30.0)
"""The shortest and the longest time after which a refused client is asked to come again."""

PATIENCE_S: Final = 20.0
"""How long a write waits for its turn, and how long a commit may take. Well within the time in which an event must be
answered, so that who waited in vain is told that nothing was written, and not left with an unknown outcome.
"""

LOOK_S: Final = 1.0
"""How often commits are looked at that take long. A timer of its own for each would cost more than its writes."""

FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0
"""After commits that failed, doubled each time: a store that fails at once is not asked in a circle."""

GATHER_S: Final = 0.002
"""How long a batch may grow before it leaves: about as long as a disk takes to sync it. One or four milliseconds make
no difference to the CPU of an ack."""

OVERHEAD_BYTES: Final = 1024
"""What a waiting write takes beside its text, and what a change is counted as: its text is inside of its edit."""


@dataclass(slots=True)
class _Waiting:
    op: Insert | Change
    size_bytes: int
    future: asyncio.Future[Written]
    at: float


@dataclass(slots=True)
class _Lane:
    waiting: deque[_Waiting] = field(default_factory=deque)
    batch: Sequence[_Waiting] = ()
    began: float = 0.0
    is_late: bool = False
    task: asyncio.Task[None] | None = None


class Writer:
    """Takes writes on the event loop and commits them to the history in batches.

    At most `max_queued` writes of `max_queued_bytes` together wait or are being committed; `max_batch` of a lane go at
    once. `on_written(uid, written)` is called for each write that claimed a revision, in the order of the revisions of
    its room, before any future of the batch is resolved and in the same turn of the loop. `on_batch(size, seconds)` is
    called for each batch that was committed, for the metrics. `clock` answers in seconds and never goes back.

    When the store slows down, writes are acknowledged late, and refused once too many wait. None waits for ever: one
    that has not been begun for `patience_s` fails without having been written, and of a commit that takes longer nobody
    knows the outcome. It is cancelled, its writes fail as `unavailable`, and the lane goes on; if it was made after
    all, its revisions are found in the store by whoever looks there for what is missing.
    """

    def __init__(
        self,
        history: History,
        *,
        max_queued: int,
        max_queued_bytes: int,
        max_batch: int,
        on_written: Callable[[str, Written], None],
        on_batch: Callable[[int, float], None] | None = None,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._history = history
        self._max_queued = max_queued
        self._max_queued_bytes = max_queued_bytes
        self._max_batch = max_batch
        self._on_written = on_written
        self._on_batch = on_batch
        self._patience_s = patience_s
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.queued = 0
        """How many writes wait or are being committed."""
        self.queued_bytes = 0
        self.refused = 0
        """How many writes were refused because too many waited, or had waited for too long."""
        self.failed = 0
        """How many commits failed or took too long."""
        self._failing_since: float | None = None
        self._pause_s = 0.0
        self._next_try = 0.0
        self._oldest = (0.0, 0.0)
        self._look: asyncio.TimerHandle | None = None

    @property
    def oldest_s(self) -> float:
        """How long the oldest write has waited that waits or is being committed; 0 if there is none."""
        firsts = [(lane.batch or lane.waiting)[0].at for lane in self._lanes.values() if lane.batch or lane.waiting]
        return max(0.0, self._clock() - min(firsts)) if firsts else 0.0

    def submit(self, op: Insert | Change) -> asyncio.Future[Written]:
        """Take a write into its lane at once. The future has its outcome, or its `HubbubError`.

        Raises `unavailable` if too much is waiting, and `draining` once `drain` was called; nothing was written then.
        Cancelling the future does not cancel the write.
        """
        size_bytes = _size_bytes(op)
        self._admit(size_bytes)
        if self._loop is None:
            self._loop = asyncio.get_running_loop()  # A system call in Python 3.11: too much for each write.
        future: asyncio.Future[Written] = self._loop.create_future()
        name = self._history.lane(op.message.uid if isinstance(op, Insert) else op.uid)
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane()
        lane.waiting.append(_Waiting(op, size_bytes, future, self._clock()))
        if self.queued == 0:
            self._idle.clear()
        self.queued += 1
        self.queued_bytes += size_bytes
        if lane.task is None:
            lane.task = asyncio.create_task(self._run(name, lane), name=f"history-writer {name}")
            if self._look is None:
                self._look = self._loop.call_later(LOOK_S, self._end_late, self._loop)
        return future

    def _admit(self, size_bytes: int) -> None:
        if self._draining:
            raise HubbubError("draining", retry_after=RETRY_AFTER_S[0])
        if self.queued >= self._max_queued or self.queued_bytes + size_bytes > self._max_queued_bytes:
            self.refused += 1
            raise HubbubError("unavailable", "Too many writes are waiting.", retry_after=self._retry_after())

    def _retry_after(self) -> float:
        """As long as the oldest write has waited: that is how long the way to the store is, or has been closed.

        Looking through all lanes takes its time, and whoever is refused is one of many: so ten times a second.
        """
        now = self._clock()
        looked_at, oldest_s = self._oldest
        if now - looked_at >= 0.1 or looked_at == 0.0:
            oldest_s = self.oldest_s
            self._oldest = (now, oldest_s)
        failing_s = 0.0 if self._failing_since is None else now - self._failing_since
        least, most = RETRY_AFTER_S
        return round(min(max(oldest_s, failing_s, least), most), 1)

    async def drain(self, timeout_s: float) -> bool:
        """Take no more writes, and wait until those taken are committed; whether they all were within the time.

        What is still waiting then fails as `unavailable`; a batch that is being committed is left to the store.
        """
        self._draining = True
        try:
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        except TimeoutError:
            for lane in self._lanes.values():
                self._fail(lane.waiting, HubbubError("unavailable", "The node was shut down before the write."))
                lane.waiting.clear()
            return False
        return True

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _run(self, name: str, lane: _Lane) -> None:
        """Commit the lane's batches, one after the other, until nothing waits."""
        try:
            while lane.waiting:
                if self._pause_s:
                    await self._wait_to_try()
                await self._gather(lane)
                self._fail_stale(lane)
                batch = [lane.waiting.popleft() for _ in range(min(len(lane.waiting), self._max_batch))]
                if batch:  # Else all that waited was failed, while it was gathered.
                    lane.batch = batch
                    await self._commit(lane, batch)
                    lane.batch = ()
        finally:
            self._fail(lane.waiting, HubbubError("unavailable", "The writer was stopped."))
            del self._lanes[name]

    async def _gather(self, lane: _Lane) -> None:
        """Let the batch grow for as long as each turn of the loop brings it company, and no longer than `GATHER_S`.

        Those who wait for acks send again when they come, and not all in one turn: what left with the first of them
        would be the first of two batches where one is enough. Of 64 who have one send in flight each it was half of
        them, and an ack took a tenth more. On an idle service the next turn comes at once and brings nobody.
        """
        until = self._clock() + GATHER_S
        count = 0
        while count < len(lane.waiting) < self._max_batch and self._clock() < until:
            count = len(lane.waiting)
            await asyncio.sleep(0)

    def _fail_stale(self, lane: _Lane) -> None:
        """Those who have waited for too long get an answer that is sure, and may send again: nothing was written.

        Their clients are about to send again anyway, and a queue of writes that nobody waits for stays full for ever.
        """
        before = self._clock() - self._patience_s
        stale: list[_Waiting] = []
        while lane.waiting and lane.waiting[0].at < before:
            stale.append(lane.waiting.popleft())
        if stale:
            self.refused += len(stale)
            error = HubbubError("unavailable", "The write waited for too long.", retry_after=self._retry_after())
            self._fail(stale, error)

    async def _wait_to_try(self) -> None:
        """The last commit failed: one lane tries for all when the pause is over, and the others wait on."""
        while self._pause_s and (left_s := self._next_try - self._clock()) > 0:  # noqa: ASYNC110 - It waits for a time.
            await asyncio.sleep(left_s)
        self._next_try = self._clock() + self._pause_s

    def _note_failure(self) -> None:
        now = self._clock()
        self.failed += 1
        if self._failing_since is None:
            self._failing_since = now
        self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self._next_try = now + self._pause_s

    def _end_late(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel the commits that take too long, and look again as long as there are lanes."""
        before = self._clock() - self._patience_s
        for lane in self._lanes.values():
            if lane.batch and lane.began <= before and lane.task is not None and not lane.is_late:
                lane.is_late = True
                lane.task.cancel()
        self._look = loop.call_later(LOOK_S, self._end_late, loop) if self._lanes else None

    async def _commit(self, lane: _Lane, batch: Sequence[_Waiting]) -> None:
        started = lane.began = self._clock()
        lane.is_late = False
        try:
            outcomes = await self._history.commit([waiting.op for waiting in batch])
        except HubbubError as error:
            self._note_failure()
            self._fail(batch, error, retry_after=max(error.retry_after or 0.0, self._retry_after()))
        except asyncio.CancelledError:
            if not lane.is_late:
                self._fail(batch, HubbubError("unavailable", "The writer was stopped."))
                raise
            lane.is_late = False
            cast(asyncio.Task[None], lane.task).uncancel()
            self._note_failure()
            logger.warning("history: a batch of %d writes took too long, its outcome is unknown", len(batch))
            self._fail(batch, HubbubError("unavailable"), retry_after=self._retry_after())
        except Exception:
            self._note_failure()
            logger.exception("history: a batch of %d writes failed", len(batch))
            self._fail(batch, HubbubError("unavailable"), retry_after=self._retry_after())
        else:
            if self._pause_s:
                self._pause_s = self._next_try = 0.0
                self._failing_since = None
            self._settle(batch, outcomes)
            if self._on_batch is not None:
                self._on_batch(len(batch), self._clock() - started)

    def _settle(self, batch: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> None:
        """In one turn of the loop: tell what was written, in its order, then those who wait."""
        for outcome in outcomes:
            if isinstance(outcome, Written) and outcome.claimed:
                try:
                    self._on_written(outcome.message.uid, outcome)
                except Exception:  # It is on disk: whoever sent it is told so, whatever becomes of the event.
                    logger.exception("history: a committed write could not be announced")
        for waiting, outcome in zip(batch, outcomes, strict=True):
            self._release(waiting)
            if waiting.future.done():
                continue
            if isinstance(outcome, HubbubError):
                waiting.future.set_exception(outcome)
                waiting.future.exception()  # Seen: a caller that went away is no reason for a warning.
            else:
                waiting.future.set_result(outcome)

    def _fail(
        self, batch: Sequence[_Waiting] | deque[_Waiting], error: HubbubError, *, retry_after: float | None = None
    ) -> None:
        for waiting in batch:
            self._release(waiting)
            if not waiting.future.done():
                seconds = retry_after if retry_after is not None and error.kind.retryable else error.retry_after
                own = HubbubError(error.code, error.message, fields=error.fields, retry_after=seconds)
                waiting.future.set_exception(own)
                waiting.future.exception()

    def _release(self, waiting: _Waiting) -> None:
        self.queued -= 1
        self.queued_bytes -= waiting.size_bytes
        if self.queued == 0:
            self._idle.set()


def _size_bytes(op: Insert | Change) -> int:
    """What a write takes while it waits. A character takes at most four bytes, and is counted as that."""
    return OVERHEAD_BYTES + (4 * len(op.message.body) if isinstance(op, Insert) else 0)
