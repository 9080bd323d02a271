"""A log line that others can bring about as often as they like, and that is written once a second at most."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog

__all__ = ["Seldom"]

QUIET_S: Final = 1.0
"""After a line, how long the same thing is only counted."""


class Seldom:
    """A warning `event` of `log`. The first time it is written at once; what comes within a second of a line is told
    together when that is over: how many `times`, with the facts of the last of them. To be used on the event loop.
    """

    def __init__(self, log: Any, event: str) -> None:
        self._log: structlog.typing.FilteringBoundLogger = log
        self._event = event
        self._times = 0
        self._facts: dict[str, Any] = {}
        self._timer: asyncio.TimerHandle | None = None

    def warn(self, **facts: Any) -> None:
        """It has happened (again)."""
        self._times += 1
        self._facts = facts
        if self._timer is None:
            self._tell()

    def close(self) -> None:
        """Write what was counted and not told yet. Safe to call twice."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            self._write()

    def _tell(self) -> None:
        """A line, and another in a second unless nothing happens until then."""
        self._timer = asyncio.get_running_loop().call_later(QUIET_S, self._tell) if self._times else None
        self._write()

    def _write(self) -> None:
        times, self._times = self._times, 0
        if times:
            self._log.warning(self._event, times=times, **self._facts)
