"""One timer for everything that may take too long: heartbeats, connects, upgrades, stalls and closings.

A timer of the loop per connection costs memory, and a heap of ten thousand costs time. Here each owner has one place in
a wheel of ticks; when its tick comes it is asked what time it is for it, and answers when to ask again. Deadlines are
late by up to one tick, never early.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Final, Protocol

__all__ = ["TICK_S", "Timed", "Wheel"]

TICK_S: Final = 0.05
"""How late a deadline may be: no one notices, and it keeps the ticks few."""

_AT_ONCE: Final = 128
"""Owners that are asked in one turn of the loop: each may write to a socket, and others wait meanwhile."""


class Timed(Protocol):
    """Who has a place in the wheel. `tick` belongs to the wheel; 0 is no place."""

    tick: int

    def on_time(self, now: float) -> float | None:
        """It is `now`, in seconds of the loop's clock. Returns when to be asked again, None for never."""


class Wheel:
    """The places, by tick. Runs a timer of the loop only while anybody has one."""

    def __init__(self) -> None:
        self._buckets: dict[int, list[Timed]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_tick = 0
        self._due: deque[tuple[int, Timed]] = deque()
        self._slice: asyncio.Handle | None = None
        self._reached = 0

    def set(self, owner: Timed, at: float) -> None:
        """Ask `owner` at this time, or when it was to be asked already if that is earlier."""
        tick = max(math.ceil(at / TICK_S), self._reached + 1, 1)
        if owner.tick and owner.tick <= tick:
            return
        owner.tick = tick
        bucket = self._buckets.get(tick)
        if bucket is None:
            self._buckets[tick] = [owner]
            if self._timer is None or tick < self._timer_tick:
                self._arm(tick)
        else:
            bucket.append(owner)

    def now(self) -> float:
        """The loop's clock."""
        return asyncio.get_running_loop().time()

    def remove(self, owner: Timed) -> None:
        """Forget an owner; its place in the bucket is passed over when its tick comes."""
        bucket = self._buckets.get(owner.tick)
        if bucket is not None and len(bucket) == 1:
            del self._buckets[owner.tick]
        owner.tick = 0

    def close(self) -> None:
        for handle in (self._timer, self._slice):
            if handle is not None:
                handle.cancel()
        self._timer = self._slice = None
        self._buckets.clear()
        self._due.clear()

    def _arm(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_tick = tick
        self._timer = asyncio.get_running_loop().call_at(tick * TICK_S, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        self._reached = math.floor(now / TICK_S)
        for tick in sorted(tick for tick in self._buckets if tick <= self._reached):
            self._due.extend((tick, owner) for owner in self._buckets.pop(tick))
        if self._buckets:
            self._arm(min(self._buckets))
        if self._slice is None:
            self._run_slice()

    def _run_slice(self) -> None:
        self._slice = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for _ in range(min(_AT_ONCE, len(self._due))):
            tick, owner = self._due.popleft()
            if owner.tick == tick:  # Else it was removed, or is to be asked earlier or anew.
                owner.tick = 0
                again = owner.on_time(now)
                if again is not None:
                    self.set(owner, again)
        if self._due:
            self._slice = loop.call_soon(self._run_slice)
