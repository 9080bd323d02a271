"""Whether word arrives is tried and not believed: each second a node tells itself something by way of Redis.

If that does not come back, the connections that it went over are made anew, whatever they look like. If it does after
something may have been lost, whoever has to know of that is told: from now on everything arrives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from hubbub.cluster.errand import Errand

__all__ = ["Canary"]

_log = structlog.get_logger("hubbub.cluster")

CANARY_S: Final = 1.0
DEAF_S: Final = 3.0
"""When the canary has been away for so long, the node is deaf."""

_LONGEST: Final = 16
"""Digits of a song. One a second is sung; this is to keep whatever else comes from being read at length."""


class Canary:
    """One pair of connections that is tried. `sing` says its argument, so that it comes to `hear`, and may fail to;
    `start_over` makes the connections anew. `on_back` is called when it is heard after `lose`. `facts` are for the log.
    """

    def __init__(
        self,
        sing: Callable[[bytes], object],
        start_over: Callable[[], None],
        *,
        on_back: Callable[[], None],
        facts: dict[str, str] | None = None,
    ) -> None:
        self._say = sing
        self._start_over = start_over
        self._on_back = on_back
        self._facts = facts or {}
        self._errand = Errand(self._run)
        self._sung = 0
        self._heard = 0
        self._hears = False
        self._heard_at = 0.0
        self._was_deaf = True
        self._is_lost = False

    @property
    def hears(self) -> bool:
        return self._hears and asyncio.get_running_loop().time() - self._heard_at < DEAF_S

    def start(self) -> None:
        """Sing until `close`."""
        self._errand.begin()

    async def close(self) -> None:
        """Safe to call twice."""
        await self._errand.end()

    def lose(self) -> None:
        """The ears have a new connection, or new channels: what was said before may be lost."""
        if not self._is_lost:
            self._is_lost = True
            self.sing()

    def sing(self) -> None:
        """Sing once more, now: something has changed that makes it worth trying."""
        if self._errand.is_begun:
            self._sung += 1
            self._say(b"%d" % self._sung)

    def hear(self, body: bytes) -> None:
        """What came from Redis on the canary's channel. All but a song that was sung and not heard yet is passed over:
        others can say something there too, and would make a node that is deaf believe that it hears.
        """
        song = _song(body)
        if song is None or not self._heard < song <= self._sung:
            return
        self._heard_at = asyncio.get_running_loop().time()
        self._heard = song
        self._hears = True
        if self._was_deaf:
            self._was_deaf = False
            _log.info("cluster.hears", **self._facts)
        if self._is_lost:
            self._is_lost = False
            self._on_back()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        while True:
            self.sing()
            await asyncio.sleep(CANARY_S)
            if loop.time() - self._heard_at >= DEAF_S:
                if not self._was_deaf:
                    _log.warning("cluster.deaf", **self._facts)
                    self._was_deaf = True
                self._heard_at = loop.time()  # The new connections have as long again.
                self._hears = False
                self._start_over()


def _song(body: bytes) -> int | None:
    """The number of a song, None if it is none: exactly as `sing` writes it, and no longer than any that is sung."""
    if len(body) > _LONGEST or not body.isdigit() or body.startswith(b"0"):
        return None
    return int(body)
