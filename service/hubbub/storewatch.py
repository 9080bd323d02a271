"""Whether the store answers: at the start, and ever after.

A store that is merely not there yet is no reason to end: whatever starts the service starts the store as well, in no
order. The service begins to listen, says `starting`, and tries again until the store could be opened once. What no
waiting heals (a wrong password, a file of another program, data of a newer version) is a `StoreError`, and ends the
process with its sentence.

Once the store was open it is asked every few seconds. Each change is logged once, however long it lasts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from hubbub.errors import HubbubError
from hubbub.history.base import History

__all__ = ["StoreState", "StoreWatch"]

_log = structlog.get_logger("hubbub.store")

FIRST_S: Final = 10.0
"""How long the start waits for the first attempt to open the store. Mostly it takes a few milliseconds, and nobody
meets a service that is not ready; a long migration goes on while the service listens and says that it is starting.
"""

_OPENING: Final = "the store is being opened"

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 5.0
"""Between two attempts to open the store, doubled each time and jittered."""

CHECK_EVERY_S: Final = 2.0
"""How often the open store is asked whether it answers."""

CHECK_S: Final = 3.0
"""A store that has not said by then whether it answers does not."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """`opening` until the store was opened once, then `up` or `away`; and why it is not `up`, as a clause."""

    status: Literal["opening", "up", "away"]
    reason: str = ""


class StoreWatch:
    """Opens the store, has `prepare` read from it what has to be known before work can begin, and looks after it. What
    `prepare` raises is treated as if the store could not be opened. `on_change` is told of each change of state in the
    turn of the loop in which it is noticed; the first `up` is the moment at which work can begin.
    """

    def __init__(
        self,
        history: History,
        *,
        on_change: Callable[[StoreState], None],
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._history = history
        self._prepare = prepare
        self._on_change = on_change
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.state = StoreState("opening", _OPENING)

    async def open(self) -> None:
        """Open the store, or go on trying. Raises `StoreError` if the first attempt shows that trying is in vain."""
        self._task = asyncio.ensure_future(self._run())
        tried = asyncio.ensure_future(self._tried.wait())
        try:
            await asyncio.wait({self._task, tried}, timeout=FIRST_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tried.cancel()
        if self._task.done():
            self._task.result()

    async def wait_failed(self) -> None:
        """Raise the `StoreError` with which a later attempt ends, if one does. Otherwise this never returns."""
        assert self._task is not None
        await asyncio.shield(self._task)

    async def close(self) -> None:
        """Look no more. The store itself is left to whoever made it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            if not self._task.cancelled():
                self._task.exception()  # Seen: whoever wanted to know of it has waited for it.

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        await self._open()
        while True:
            await asyncio.sleep(CHECK_EVERY_S)
            self._become(await self._look())

    async def _open(self) -> None:
        pause_s = FIRST_PAUSE_S
        is_open = False
        while True:
            try:
                if not is_open:
                    await self._history.open()
                    is_open = True
                if self._prepare is not None:
                    await self._prepare()
            except HubbubError as error:
                self._become(StoreState("opening", f"the store cannot be reached yet: {error.message}"))
                self._tried.set()
            else:
                self._become(StoreState("up"))
                self._tried.set()
                return
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - Jitter, not a secret.
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _look(self) -> StoreState:
        try:
            async with asyncio.timeout(CHECK_S):
                await self._history.check()
        except HubbubError as error:
            return StoreState("away", f"the store is away: {error.message}")
        except TimeoutError:
            return StoreState("away", "the store is away: It takes too long to answer.")
        except Exception as error:
            _log.error("store.check_broken", exc_info=error)
            return StoreState("away", "the store cannot be looked at.")
        return StoreState("up")

    def _become(self, state: StoreState) -> None:
        """Another reason is no other state: the readiness tells of it, the log does not."""
        before, self.state = self.state, state
        if before == state:
            return
        if state.status == "up":
            _log.info("store.up")
        elif before.status != state.status or before.reason == _OPENING:
            _log.error("store.away", reason=state.reason)
        self._on_change(state)
