"""What a node does for the control log now and then: it says that it lives, sees to it that no change lacks its record,
and removes what is old.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from hubbub.domain.clock import Clock
from hubbub.errors import HubbubError
from hubbub.history.base import Beat, Ledger

__all__ = ["Keeping"]

_log = structlog.get_logger("hubbub.control")

BEAT_S: Final = (2.7, 3.3)
MEND_S: Final = (4.0, 6.0)
PRUNE_S: Final = (40.0, 80.0)
"""From one time to the next, at least and at most, so that nodes do not do it together."""

CALL_S: Final = 5.0
"""A store that has not answered by then is asked anew."""

KEEP_MS: Final = 24 * 3_600_000
KEEP: Final = 10_000
"""Records stay for this long, and as many of the newest whatever their age. A node that was away for longer looks at
everything anew.
"""

PRUNES: Final = 20
"""Slices at once; what is left is for the next time."""

CLOSE_S: Final = 1.0


class Keeping:
    """See above. `beat` makes the sign of life; `on_tidy` is called with each prune."""

    def __init__(self, ledger: Ledger, clock: Clock, *, beat: Callable[[], Beat], on_tidy: Callable[[], None]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._beat = beat
        self._on_tidy = on_tidy
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """From now on, until `close`. Starting twice is starting once."""
        if not self._tasks:
            works = ((self.beat, BEAT_S, True), (self._ledger.mend, MEND_S, False), (self.prune, PRUNE_S, False))
            self._tasks = [
                asyncio.ensure_future(self._repeat(work, every, at_once=first)) for work, every, first in works
            ]

    async def close(self) -> None:
        """Stop, and say that this process ends, if the store listens."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
            with contextlib.suppress(HubbubError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._ledger.stop_beating()

    async def beat(self) -> None:
        """Say that this node lives."""
        await self._ledger.beat(self._beat())

    async def prune(self) -> None:
        """Remove what is old."""
        self._on_tidy()
        for _ in range(PRUNES):
            if not await self._ledger.prune(before=self._clock() - KEEP_MS, keep=KEEP):
                return

    @staticmethod
    async def _repeat(work: Callable[[], Awaitable[None]], every: tuple[float, float], *, at_once: bool) -> None:
        if not at_once:
            await asyncio.sleep(random.uniform(0, every[1]))  # noqa: S311 - Jitter, not a secret.
        while True:
            try:
                async with asyncio.timeout(CALL_S):
                    await work()
            except (HubbubError, TimeoutError):
                pass  # The follower says whether the store answers; here is nothing to add.
            except Exception as error:
                _log.error("control.keeping_broken", exc_info=error)
            await asyncio.sleep(random.uniform(*every))  # noqa: S311
