"""Time, passed in: integer milliseconds since the Unix epoch, UTC."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Clock", "system_clock"]

Clock = Callable[[], int]


def system_clock() -> int:
    """The machine's time."""
    return time.time_ns() // 1_000_000
