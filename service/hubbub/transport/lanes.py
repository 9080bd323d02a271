"""Which connections have events that are not answered yet: each has a lane for as long as that is so."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from hubbub.transport.admission import Lane
from hubbub.transport.bounds import Bounds
from hubbub.transport.session import Session

__all__ = ["Lanes"]

_SWEEP_S: Final = 1.0

_LANES_KEPT: Final = 256
"""Empty lanes that are kept: making one costs a tenth of an event."""


class Lanes:
    """The lanes of all sessions. Events that take longer than `bounds.event_s` are ended, so that they are answered."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._kept: list[Lane] = []
        self._busy: set[Session] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    def open(self, session: Session) -> Lane:
        """A lane for a session that has none. It has it while there is something in it."""
        if self._kept:
            lane = self._kept.pop()
        else:
            lane = Lane(limit=self._bounds.pending_events, limit_bytes=self._bounds.pending_bytes)
        lane.on_room = session.resume
        lane.on_idle = partial(self._on_idle, session)
        session.lane = lane
        if not self._busy:
            self._idle.clear()
        self._busy.add(session)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_SWEEP_S, self._expire)
        return lane

    @property
    def are_idle(self) -> bool:
        """Whether no session has a lane."""
        return not self._busy

    async def wait_idle(self) -> None:
        """Return when no session has a lane."""
        await self._idle.wait()

    def close(self) -> None:
        """Look after nothing any more."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    # -- inside ------------------------------------------------------------------------------------------------------

    def _on_idle(self, session: Session) -> None:
        lane, session.lane = session.lane, None
        if len(self._kept) < _LANES_KEPT:
            lane.on_room = lane.on_idle = None
            self._kept.append(lane)
        self._busy.discard(session)
        if not self._busy:
            self._idle.set()

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = None
        for session in list(self._busy):
            if session.lane is not None:
                session.lane.expire(loop.time(), self._bounds.event_s)
        if self._busy:
            self._sweep = loop.call_later(_SWEEP_S, self._expire)
