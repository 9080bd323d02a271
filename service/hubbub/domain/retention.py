"""Retention: on every node, a loop that asks the store to empty what is too old or too much (`History.expire`).

The store does the work in slices, each bounded and safe beside those of other nodes, so the nodes need not agree on who
does it. Nobody waits for it either: between two slices there is a pause that grows with what the slice took, and so
there is between two rounds.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from hubbub.domain.clock import Clock
from hubbub.errors import HubbubError
from hubbub.history.base import History

__all__ = ["Retention"]

_log = structlog.get_logger("hubbub.retention")

FIRST_S: Final = 5.0
"""Within this time after the start the first round begins: nodes that start together do not go round together."""

ROUND_S: Final = 60.0
"""From the end of a round to the next one, at most, while nothing is to be done: a message outlives its time by no more
than that. Jittered down to the half.
"""

SLICE_PAUSE: Final = 4.0
"""After a slice, this many times what it took: the store has at least four fifths of its time for others."""

ROUND_PAUSE: Final = 19.0
"""After a round, the same, if that is longer than `ROUND_S`: a round over very many rooms takes a twentieth."""


class Retention:
    """`age_ms` is how old a message may become, in milliseconds, `keep` how many of them a room keeps; None asks for
    nothing. `on_emptied` is told how many messages a slice emptied. Without rules it finishes what was begun, once.
    """

    def __init__(
        self,
        history: History,
        clock: Clock,
        *,
        age_ms: int | None,
        keep: int | None,
        on_emptied: Callable[[int], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._history = history
        self._clock = clock
        self._age_ms = age_ms
        self._keep = keep
        self._on_emptied = on_emptied
        self._sleep = sleep
        self._timer = timer
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin. More calls change nothing."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        """Stop. A slice that was begun is finished, or taken up by the next round of any node."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        pause_s = FIRST_S * random.random()  # noqa: S311 - Jitter, not a secret.
        while True:
            await self._sleep(pause_s)
            began = self._timer()
            is_through = await self._round()
            if is_through and self._age_ms is None and self._keep is None:
                return
            pause_s = max(ROUND_S * random.uniform(0.5, 1.0), ROUND_PAUSE * (self._timer() - began))  # noqa: S311

    async def _round(self) -> bool:
        """Until nothing is left to do; False if the store did not answer, or failed."""
        total = 0
        try:
            while True:
                before = None if self._age_ms is None else self._clock() - self._age_ms
                began = self._timer()
                emptied = await self._history.expire(before=before, keep=self._keep)
                if not emptied:
                    return True
                total += emptied
                self._on_emptied(emptied)
                await self._sleep(SLICE_PAUSE * (self._timer() - began))
        except HubbubError as error:
            _log.warning("retention.interrupted", code=error.code)
        except Exception as error:
            _log.error("retention.broken", exc_info=error)
        finally:
            if total:
                _log.info("retention.emptied", messages=total)
        return False
