"""The regular look at the heads of all rooms that somebody here listens to.

Whatever went wrong on the way of a change (a lost announcement, a node that was deaf, a write whose outcome was unknown
and which was committed after all), its revision is in the store. So each node compares its feeds with the store's heads
about every 5 s, in one query for all its rooms, and fills what is missing. Nothing else is needed for every subscriber
to get every revision in the end; everything else only hurries.

A room that is missing in the answer was deleted, and nobody said so: it is closed as deleted.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Final

import structlog

from hubbub.domain.activerooms import ActiveRoom, ActiveRooms
from hubbub.domain.fills import GRACE_S
from hubbub.domain.ports import Channel
from hubbub.errors import HubbubError
from hubbub.history.base import History

__all__ = ["HeadCheck"]

_log = structlog.get_logger("hubbub.feeds")

EVERY_S: Final = (3.5, 4.5)
"""From one check to the next, at least and at most: nodes that started together do not ask together, and a revision is
found and read within 5 s.
"""

RETRY_S: Final = (0.7, 1.3)
"""The same after a check that failed, so that feeds catch up soon after a store's return."""

HURRY_S: Final = 0.25
"""Within this time a hurried check begins: whatever makes one node hurry makes the others hurry too."""

ANSWER_S: Final = 3.0
"""A store that has not answered by then is asked again: the question may have been lost with a connection."""

PIECE_LEAST: Final = 250
"""One query asks for all rooms. A store that is too slow for that is asked in pieces, halved down to this each time
it takes too long, and doubled with each success: a late answer is better than one that never comes in time.
"""

SLICE: Final = 500
"""Rooms that are looked at in one turn of the loop: about half a millisecond."""


class HeadCheck:
    """Compares feeds with the store. `know(room, head)` is told of a room that is behind, `on_gone` of one that is no
    more, `on_ahead(room, head)` of one that has delivered more than the store has.
    """

    def __init__(
        self,
        history: History,
        rooms: ActiveRooms,
        channel: Channel,
        *,
        know: Callable[[ActiveRoom, int], None],
        on_gone: Callable[[ActiveRoom], None],
        on_ahead: Callable[[ActiveRoom, int], None],
    ) -> None:
        self._history = history
        self._rooms = rooms
        self._channel = channel
        self._know = know
        self._on_gone = on_gone
        self._on_ahead = on_ahead
        self._ahead: set[ActiveRoom] = set()
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_failing = False
        self._piece: int | None = None

    def start(self) -> None:
        """Check from now on, until `stop`."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def hurry(self) -> None:
        """Check soon: something was lost, or may have been. Costs nothing when it is called again meanwhile."""
        self._hurry.set()

    async def check(self) -> None:
        """One check. Raises `unavailable` if the store does not answer; what it said before counts."""
        rooms = await self._listened_to()
        if self._ahead:
            self._ahead.intersection_update(room for room, _ in rooms)
        size = self._piece or len(rooms)
        for begin in range(0, len(rooms), size or 1):
            await self._compare(rooms[begin : begin + size])
        self._piece = None if size >= len(rooms) else 2 * size

    # -- inside ------------------------------------------------------------------------------------------------------

    async def _compare(self, asked: list[tuple[ActiveRoom, int]]) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                heads = await self._history.heads([room.uid for room, _ in asked])
        except TimeoutError:
            self._piece = max(len(asked) // 2, PIECE_LEAST)
            raise HubbubError("unavailable", "The store took too long.") from None
        behind: list[tuple[ActiveRoom, int]] = []
        for number, (room, delivered) in enumerate(asked, 1):
            if number % SLICE == 0:
                await asyncio.sleep(0)
            head = heads.get(room.uid)
            was_ahead = room in self._ahead
            self._ahead.discard(room)
            if self._rooms.by_uid(room.uid) is not room:
                continue  # It was closed while the store was asked.
            if head is None:
                _log.info("room.gone", room=room.uid)
                self._on_gone(room)
            elif head > room.feed.delivered:
                behind.append((room, head))
            elif head < delivered:
                # A server that has just lost its place may answer from the past. Twice in a row it is not that.
                if was_ahead:
                    self._on_ahead(room, head)
                else:
                    self._ahead.add(room)
        if behind:
            await self._after_a_moment(behind)

    async def _listened_to(self) -> list[tuple[ActiveRoom, int]]:
        """The rooms with local subscribers, each with what its feed has delivered by now."""
        found: list[tuple[ActiveRoom, int]] = []
        rooms = self._rooms.all()
        for begin in range(0, len(rooms), SLICE):
            if begin:
                await asyncio.sleep(0)
            found.extend(
                (room, room.feed.delivered) for room in rooms[begin : begin + SLICE] if self._channel.size(room.uid)
            )
        return found

    async def _after_a_moment(self, behind: list[tuple[ActiveRoom, int]]) -> None:
        """In a busy room there is always a revision that is in the store and on its way to the feed. What has come by
        itself is no hole, and reading it would cost all busy rooms a read at each check.
        """
        await asyncio.sleep(GRACE_S)
        for room, head in behind:
            if head > room.feed.delivered and self._rooms.by_uid(room.uid) is room:
                self._know(room, head)

    async def _run(self) -> None:
        while True:
            least, most = RETRY_S if self._is_failing else EVERY_S
            await self._wait(random.uniform(least, most))  # noqa: S311 - Jitter, not a secret.
            try:
                await self.check()
            except HubbubError as error:
                if not self._is_failing:
                    _log.warning("feed.check_fails", code=error.code, reason=error.message)
                self._is_failing = True
            except Exception as error:
                _log.error("feed.check_broken", exc_info=error)
            else:
                if self._is_failing:
                    _log.info("feed.checks_again")
                self._is_failing = False

    async def _wait(self, pause_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._hurry.wait()
                await asyncio.sleep(random.uniform(0, HURRY_S))  # noqa: S311 - Jitter, not a secret.
        self._hurry.clear()
