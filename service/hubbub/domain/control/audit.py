"""Who did what to whom, when and why: recorded before it is done, and what came of it after.

An action that cannot be recorded is not done. If the process dies in between, the entry stays `unknown`, which is the
truth: the action may have been done.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import structlog

from hubbub.domain.clock import Clock
from hubbub.errors import HubbubError
from hubbub.history.base import Ledger

__all__ = ["Auditor"]

_log = structlog.get_logger("hubbub.audit")

TRIES: Final = 10
PAUSE_S: Final = (1.0, 3.0)
"""How often, and after which pauses, an outcome is written again that the store did not take. After that it stays
`unknown`: the entry itself is safe.
"""


class Auditor:
    """Writes the audit log of `ledger`. `clock` is in milliseconds."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._late: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def recording(self, actor: str, action: str, target: Mapping[str, str], reason: str) -> AsyncIterator[None]:
        """Around an action: raises before it is begun if it cannot be recorded, and records `ok`, or the code of the
        error that it raises. Whoever is cancelled leaves it `unknown`.
        """
        entry = await self._ledger.audit_begin(
            at=self._clock(), actor=actor, action=action, target=target, reason=reason
        )
        try:
            yield
        except HubbubError as error:
            await self._end(entry, error.code)
            raise
        except Exception:
            await self._end(entry, "internal")
            raise
        await self._end(entry, "ok")
        _log.info("audit.done", actor=actor, action=action, target=dict(target))

    async def refused(
        self, actor: str, action: str, target: Mapping[str, str], reason: str, error: HubbubError
    ) -> None:
        """Record an attempt that was refused. It is refused whether or not that can be recorded."""
        try:
            entry = await self._ledger.audit_begin(
                at=self._clock(), actor=actor, action=action, target=target, reason=reason
            )
        except HubbubError as failure:
            _log.error("audit.refusal_lost", actor=actor, action=action, code=failure.code)
        else:
            await self._end(entry, error.code)

    async def close(self) -> None:
        """Give up on outcomes that the store has not taken."""
        for task in list(self._late):
            task.cancel()
        if self._late:
            await asyncio.wait(self._late)

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _end(self, entry: str, outcome: str) -> None:
        """What was done is done, whatever becomes of its record: this raises nothing."""
        try:
            await self._ledger.audit_end(entry, outcome)
        except HubbubError as error:
            _log.warning("audit.outcome_waits", entry=entry, outcome=outcome, code=error.code)
            task = asyncio.ensure_future(self._end_late(entry, outcome))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _end_late(self, entry: str, outcome: str) -> None:
        for _ in range(TRIES):
            await asyncio.sleep(random.uniform(*PAUSE_S))  # noqa: S311 - Jitter, not a secret.
            try:
                await self._ledger.audit_end(entry, outcome)
            except HubbubError:
                continue
            return
        _log.error("audit.outcome_lost", entry=entry, outcome=outcome)
