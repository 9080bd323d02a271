"""Waiting for what is bound to come: a condition is looked at again and again, and time is only the end of patience."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["until"]

LOOK_S = 0.005


async def until(what: Callable[[], object], within_s: float = 20) -> None:
    """Return when `what` is true; `TimeoutError` if it does not become so."""
    async with asyncio.timeout(within_s):
        while not what():
            await asyncio.sleep(LOOK_S)
