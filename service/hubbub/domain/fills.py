"""Filling the holes of feeds from the store.

A hole is mostly nothing: its revisions are on their way, and come a moment later by themselves. So one that an early
offer shows is filled only when it is still there after `GRACE_S`; one that a reading of the store shows is filled at
once.

What a fill costs is bounded in every direction: few rooms are filled at once, each in reads of bounded size with a
pause between them, and what a read brings goes out in slices, a turn of the loop each. A store that fails is asked less
and less, by all rooms together, and nothing is given up: a room whose hole cannot be filled waits its turn again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final, cast

import structlog

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.feeds import Revision
from hubbub.domain.ports import Channel
from hubbub.errors import HubbubError
from hubbub.history.base import History

__all__ = ["Fills"]

_log = structlog.get_logger("hubbub.feeds")

GRACE_S: Final = 0.075
"""How long a revision may be on its way from another node, or from a batch that was committed before: a few times what
a hop through Redis takes on a busy network.
"""

AT_ONCE: Final = 8
"""How many rooms are filled at once. A store that was away left thousands of them behind."""

READ_MOST: Final = 128
"""Revisions per read: at the largest bodies about two megabytes."""

PAUSE_S: Final = 0.02
"""Between two reads of the same room. A client that reads as fast as one does over a good line keeps up with 6,000
events a second; more at once would only fill its outbox, and suspend it for nothing.
"""

SLICE: Final = 32
"""Revisions that one fill lets out in a turn of the loop."""

READ_S: Final = 10.0
"""A read that takes longer counts as failed."""

FIRST_BACKOFF_S: Final = 0.25
LONGEST_BACKOFF_S: Final = 2.0
"""After a read that failed, jittered. The longest is short enough for feeds to catch up within 5 s of a return."""


class Fills:
    """Reads what feeds miss, and hands it to `emit(room, revisions)`, in order and in the turn in which the feed has
    delivered it. `on_filled` is told how many revisions a read brought, for the metrics.
    """

    def __init__(
        self,
        history: History,
        channel: Channel,
        *,
        emit: Callable[[ActiveRoom, Sequence[Revision]], None],
        on_filled: Callable[[int], None] | None = None,
    ) -> None:
        self._history = history
        self._channel = channel
        self._emit = emit
        self._on_filled = on_filled
        self._stuck: dict[ActiveRoom, tuple[int, int]] = {}
        self._graces: dict[ActiveRoom, asyncio.TimerHandle] = {}
        self._waiting: dict[ActiveRoom, None] = {}
        self._filling: set[ActiveRoom] = set()
        self._workers: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._is_stopped = False

    @property
    def is_idle(self) -> bool:
        return not (self._graces or self._waiting or self._filling)

    def soon(self, room: ActiveRoom) -> None:
        """An early offer shows a hole: fill it if it outlives the moment."""
        if self._is_stopped:
            return
        if room not in self._graces and room not in self._waiting and room not in self._filling:
            loop = asyncio.get_running_loop()
            self._graces[room] = loop.call_later(GRACE_S, self._look_again, room, room.feed.delivered)

    def now(self, room: ActiveRoom) -> None:
        """The store is known to have what is missing: fill the hole."""
        if self._is_stopped:
            return
        grace = self._graces.pop(room, None)
        if grace is not None:
            grace.cancel()
        if room not in self._filling:  # The fill under way looks for a hole again when it is done.
            self._waiting[room] = None
            if len(self._workers) < AT_ONCE:
                self._workers.add(asyncio.ensure_future(self._work()))

    def is_stuck(self, room: ActiveRoom) -> bool:
        """Whether the store was asked for the room's hole more than once, and did not have what comes next."""
        delivered, times = self._stuck.get(room, (0, 0))
        return times > 1 and delivered == room.feed.delivered

    def stop(self) -> None:
        """Read nothing more. The last writes may still be told of after this."""
        self._is_stopped = True
        for grace in self._graces.values():
            grace.cancel()
        self._graces.clear()
        self._waiting.clear()
        for worker in self._workers:
            worker.cancel()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _look_again(self, room: ActiveRoom, delivered: int) -> None:
        del self._graces[room]
        if room.feed.hole is None:
            return
        if room.feed.delivered == delivered:
            self.now(room)
        else:
            self.soon(room)  # That one closed by itself, and another has opened behind it.

    async def _work(self) -> None:
        try:
            while self._waiting:
                room = next(iter(self._waiting))
                del self._waiting[room]
                error = await self._try(room)
                if error is not None:
                    self._waiting[room] = None  # Behind the others.
                    await self._back_off(error)
        finally:
            # In the same turn as the look above, so that no room is left to a worker that is about to end.
            self._workers.discard(cast(asyncio.Task[None], asyncio.current_task()))

    async def _try(self, room: ActiveRoom) -> HubbubError | None:
        """Fill one room; returns the store's failure, if that is what ended it."""
        self._filling.add(room)
        try:
            await self._fill(room)
        except HubbubError as error:
            return error
        except Exception as error:
            # The next check of the heads comes back to it.
            _log.error("feed.fill_broken", room=room.uid, exc_info=error)
        finally:
            self._filling.discard(room)
        if self._failures:
            self._failures = 0
            _log.info("feed.fills_again")
        return None

    async def _fill(self, room: ActiveRoom) -> None:
        feed = room.feed
        while (hole := feed.hole) is not None:
            after, head = hole
            if self._channel.size(room.uid) == 0:
                feed.advance(head)
                room.wake()
                return
            upto = min(head, after + READ_MOST)
            revisions = await self._read(room, after=after, upto=upto)
            if room.feed is not feed:
                return  # It was started over.
            if self._on_filled is not None:
                self._on_filled(len(revisions))
            feed.drop_held(head)
            for begin in range(0, len(revisions), SLICE):
                if begin:
                    await asyncio.sleep(0)
                    if room.feed is not feed:
                        return
                self._emit(room, feed.fill(revisions[begin : begin + SLICE]))
                room.wake()
            if feed.delivered < upto:
                # The room was deleted beneath us, or the store knows less than we were told. The next check of the
                # heads closes the one, and has the other tried again.
                self._note_stuck(room)
                _log.warning("feed.hole_stays", room=room.uid, after=feed.delivered, head=head)
                return
            self._stuck.pop(room, None)
            if feed.hole is not None:
                await asyncio.sleep(PAUSE_S)

    def _note_stuck(self, room: ActiveRoom) -> None:
        delivered, times = self._stuck.get(room, (0, 0))
        if not times:
            self._stuck = {each: at for each, at in self._stuck.items() if self._channel.size(each.uid)}
        self._stuck[room] = (room.feed.delivered, times + 1 if delivered == room.feed.delivered else 1)

    async def _read(self, room: ActiveRoom, *, after: int, upto: int) -> Sequence[Revision]:
        """The revisions in `(after, upto]`, as far as they come without a hole of their own."""
        try:
            async with asyncio.timeout(READ_S):
                found = await self._history.revisions(room.uid, after=after, upto=upto)
        except TimeoutError:
            raise HubbubError("unavailable", "The store took too long.") from None
        count = 0
        while count < len(found) and found[count][0] == after + 1 + count:
            count += 1
        return found[:count]

    async def _back_off(self, error: HubbubError) -> None:
        if self._failures == 0:
            _log.warning("feed.fills_fail", code=error.code, reason=error.message, rooms=len(self._waiting))
        self._failures += 1
        pause_s = min(FIRST_BACKOFF_S * 2 ** min(self._failures - 1, 8), LONGEST_BACKOFF_S)
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - Jitter, not a secret.
