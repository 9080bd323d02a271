"""No client may take the time of the others: a bucket of events per connection.

Each connection may send `burst` events at once, and `rate` per second for long. Quotas per user, per address and across
nodes come with a later version; they have their place here.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from hubbub.errors import HubbubError
from hubbub.pipeline.base import Call, Proceed
from hubbub.pipeline.sessions import Session, session_of

__all__ = ["RateLimit"]


class RateLimit:
    """`rate` is in events per second. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        *,
        enabled: bool,
        rate: float = 50.0,
        burst: float = 200.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._enabled = enabled
        self._rate = rate
        self._burst = burst
        self._clock = clock

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[Any]:
        if self._enabled and call.incoming is not None:
            self._take(session_of(call.connection))
        return proceed(call)

    def _take(self, session: Session) -> None:
        now = self._clock()
        if session.refilled_at == 0.0:
            session.allowance = self._burst
        else:
            session.allowance = min(self._burst, session.allowance + (now - session.refilled_at) * self._rate)
        session.refilled_at = now
        if session.allowance < 1.0:
            raise HubbubError("rate_limited", retry_after=(1.0 - session.allowance) / self._rate)
        session.allowance -= 1.0
