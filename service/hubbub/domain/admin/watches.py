"""Figures that come by themselves: one timer per watcher, which ends with its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Protocol

from hubbub.domain.admin.stats import ServiceStats
from hubbub.domain.ports import Outlet

__all__ = ["StatsChannel", "StatsWatches"]


class StatsChannel(Protocol):
    """The part of `domain.ports.Channel` that is needed here."""

    def send_many(
        self, recipients: Iterable[Any], event: str, data: Any, *, volatile: bool = False, key: Hashable = None
    ) -> int: ...


class StatsWatches:
    """Sends `stats` through `channel`. A slow reader gets the newest figures only."""

    def __init__(self, stats: ServiceStats, channel: StatsChannel) -> None:
        self._stats = stats
        self._channel = channel
        self._timers: dict[Outlet, asyncio.TimerHandle] = {}

    @property
    def size(self) -> int:
        return len(self._timers)

    def watch(self, outlet: Outlet, every_ms: int) -> Callable[[], None]:
        """Send figures every so often from now on, in place of an earlier watch of this outlet. What is returned sends
        the first ones.
        """
        self.end(outlet)
        if not outlet.is_open:
            return lambda: None
        self._wait(outlet, every_ms / 1000)
        return lambda: self._send(outlet)

    def end(self, outlet: Outlet) -> None:
        """Send no more. No error if nothing was sent."""
        timer = self._timers.pop(outlet, None)
        if timer is not None:
            timer.cancel()

    def close(self) -> None:
        """End all."""
        for outlet in list(self._timers):
            self.end(outlet)

    def _wait(self, outlet: Outlet, every_s: float) -> None:
        self._timers[outlet] = asyncio.get_running_loop().call_later(every_s, self._on_time, outlet, every_s)

    def _on_time(self, outlet: Outlet, every_s: float) -> None:
        self._wait(outlet, every_s)
        self._send(outlet)

    def _send(self, outlet: Outlet) -> None:
        if outlet in self._timers:
            self._stats.refresh_soon()
            self._channel.send_many([outlet], "stats", self._stats.stats(), volatile=True, key="stats")
