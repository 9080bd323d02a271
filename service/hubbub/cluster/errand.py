"""Work that goes on beside all else until it is ended: keeping a connection, watching a master, singing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Errand"]


class Errand:
    """`work` makes the coroutine that never returns by itself. It may be started again after its end."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._work = work
        self._task: asyncio.Task[None] | None = None

    @property
    def is_begun(self) -> bool:
        return self._task is not None

    def begin(self) -> None:
        """Safe to call twice."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._work())

    async def end(self) -> None:
        """Returns when nothing of it runs any more. Safe to call twice, and before `begin`."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})
