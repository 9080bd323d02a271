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
from typing import Final

from hubbub.errors import HubbubError
from hubbub.history.base import Change, History, Insert, Outcome, Written

__all__ = ["Writer"]

logger: Final = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 1.0
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


@dataclass(slots=True)
class _Lane:
    waiting: deque[_Waiting] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None


class Writer:
    """Takes writes on the event loop and commits them to the history in batches.

    At most `max_queued` writes of `max_queued_bytes` together wait or are being committed; `max_batch` of a lane go at
    once. `on_written(uid, written)` is called for each write that claimed a revision, in the order of the revisions of
    its room, before any future of the batch is resolved and in the same turn of the loop. `on_batch(size, seconds)` is
    called for each batch that was committed, for the metrics. `clock` answers in seconds and never goes back.
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._history = history
        self._max_queued = max_queued
        self._max_queued_bytes = max_queued_bytes
        self._max_batch = max_batch
        self._on_written = on_written
        self._on_batch = on_batch
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.queued = 0
        """How many writes wait or are being committed."""
        self.queued_bytes = 0

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
        lane.waiting.append(_Waiting(op, size_bytes, future))
        if self.queued == 0:
            self._idle.clear()
        self.queued += 1
        self.queued_bytes += size_bytes
        if lane.task is None:
            lane.task = asyncio.create_task(self._run(name, lane), name=f"history-writer {name}")
        return future

    def _admit(self, size_bytes: int) -> None:
        if self._draining:
            raise HubbubError("draining", retry_after=RETRY_AFTER_S)
        if self.queued >= self._max_queued or self.queued_bytes + size_bytes > self._max_queued_bytes:
            raise HubbubError("unavailable", "Too many writes are waiting.", retry_after=RETRY_AFTER_S)

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
                await self._gather(lane)
                batch = [lane.waiting.popleft() for _ in range(min(len(lane.waiting), self._max_batch))]
                if batch:  # Else all that waited was failed, while it was gathered.
                    await self._commit(batch)
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

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        started = self._clock()
        try:
            outcomes = await self._history.commit([waiting.op for waiting in batch])
        except HubbubError as error:
            self._fail(batch, error)
        except asyncio.CancelledError:
            self._fail(batch, HubbubError("unavailable", "The writer was stopped."))
            raise
        except Exception:
            logger.exception("history: a batch of %d writes failed", len(batch))
            self._fail(batch, HubbubError("unavailable", retry_after=RETRY_AFTER_S))
        else:
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

    def _fail(self, batch: Sequence[_Waiting] | deque[_Waiting], error: HubbubError) -> None:
        for waiting in batch:
            self._release(waiting)
            if not waiting.future.done():
                own = HubbubError(error.code, error.message, fields=error.fields, retry_after=error.retry_after)
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
