"""Typing and read marks: told at once, and then no more than once in a window for each user and room; the newest wins.

Of such word everybody in the room gets a copy from everybody else, so a room of a thousand would be busy with nothing
else: above a size it is silent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import orjson

from hubbub.cluster.bus import Bus, Whisper
from hubbub.domain.ports import Channel, Outlet

__all__ = ["OWN", "Whispers"]

OWN: Final = "own"
"""The key of a whisper that is for the user's own connections alone."""

WINDOW_S: Final = 0.5
"""Who types says so again every few seconds. A client that says it at each key is heard twice a second."""

_Key = tuple[str, str, str]


class Whispers:
    """`most` is how many subscribers a room may have on a node, so that typing and read marks are told in it there.
    Other nodes are told by way of `bus`; None if there are none.
    """

    def __init__(self, channel: Channel, bus: Bus | None = None, *, most: int) -> None:
        self._channel = channel
        self._bus = bus
        self._most = most
        self._newest: dict[_Key, tuple[Mapping[str, Any], Outlet] | None] = {}
        """What waits for the end of the window of each key; None if nothing does."""

        self._windows: deque[tuple[float, _Key]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def say(self, uid: str, event: str, user: str, document: Mapping[str, Any], *, skip: Outlet) -> bool:
        """Tell a room's subscribers, but not `skip`, what a user does; False if the room is too large for that."""
        if self._channel.size(uid) > self._most:
            return False
        key = (event, uid, user)
        if key in self._newest:
            self._newest[key] = (document, skip)
        else:
            self._tell(key, document, skip)
        return True

    def say_elsewhere(self, uid: str, event: str, user: str, document: Mapping[str, Any]) -> None:
        """Tell a user's own connections on other nodes, and nobody else."""
        if self._bus is not None:
            self._bus.whisper(uid, Whisper(event, OWN, user, memoryview(orjson.dumps(document))))

    def hear(self, uid: str, whisper: Whisper) -> None:
        """Another node says this: a room's subscribers here are told, unless they are too many."""
        if 0 < self._channel.size(uid) <= self._most:
            key = (whisper.event, uid, whisper.user)
            self._channel.publish(uid, whisper.event, whisper.document, volatile=True, key=key)

    def hush(self, user: str) -> None:
        """What waits of this user is not to be told: they are invisible now."""
        for key, waiting in self._newest.items():
            if waiting is not None and key[2] == user:
                self._newest[key] = None

    def flush(self) -> None:
        """End all windows now, and tell what waits for it."""
        windows, self._windows = self._windows, deque()
        self._stop_timer()
        for _, key in windows:
            self._end(key)

    def stop(self) -> None:
        """Forget what waits."""
        self._stop_timer()
        self._windows.clear()
        self._newest.clear()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _tell(self, key: _Key, document: Mapping[str, Any], skip: Outlet) -> None:
        event, uid, _ = key
        self._newest[key] = None
        loop = asyncio.get_running_loop()
        self._windows.append((loop.time() + WINDOW_S, key))
        if self._timer is None:
            self._timer = loop.call_at(self._windows[0][0], self._on_time)
        self._channel.publish(uid, event, document, skip=skip, volatile=True, key=key)
        if self._bus is not None:
            self._bus.whisper(uid, Whisper(event, "", key[2], memoryview(orjson.dumps(document))))

    def _end(self, key: _Key) -> None:
        waiting = self._newest.pop(key)
        if waiting is not None and self._channel.size(key[1]) <= self._most:
            self._tell(key, *waiting)

    def _on_time(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        ended: list[_Key] = []
        while self._windows and self._windows[0][0] <= loop.time():
            ended.append(self._windows.popleft()[1])
        for key in ended:
            self._end(key)
        if self._windows and self._timer is None:
            self._timer = loop.call_at(self._windows[0][0], self._on_time)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
