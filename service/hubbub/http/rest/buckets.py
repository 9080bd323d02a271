"""How many requests a user may make: a bucket for each, as each connection has one for its events."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from hubbub.errors import HubbubError

__all__ = ["Buckets"]

MOST: Final = 100_000
"""Buckets that are kept. Each is full again, and may be forgotten, after a few seconds; so only a crowd of that many
users within these seconds gets a little more than it should.
"""


class Buckets:
    """Each user may make `burst` requests at once, and `rate` per second for long, on this node. `clock` is monotonic,
    in seconds.
    """

    def __init__(
        self,
        *,
        enabled: bool,
        rate: float = 50.0,
        burst: float = 200.0,
        most: int = MOST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._enabled = enabled
        self._rate = rate
        self._burst = burst
        self._most = most
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """What is left, and when that was so; whoever asked last stands last."""

    def take(self, user: str) -> None:
        """Raise `rate_limited` if this user asks too often."""
        if not self._enabled:
            return
        now = self._clock()
        left, at = self._buckets.pop(user, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        refused = left < 1.0
        self._buckets[user] = (left if refused else left - 1.0, now)
        self._forget(now)
        if refused:
            raise HubbubError("rate_limited", retry_after=(1.0 - left) / self._rate)

    def _forget(self, now: float) -> None:
        """Those that are full by now; at most two, so that no request pays for many."""
        for _ in range(2):
            user, (_, at) = next(iter(self._buckets.items()))
            if (now - at) * self._rate < self._burst and len(self._buckets) <= self._most:
                return
            del self._buckets[user]
            if not self._buckets:
                return
