"""How those who join see the room: asked for all who wait, in one read.

The first who joins a room asks for everything that a join needs at once (`History.landing`). Whoever comes while the
store answers waits, and all of these are asked for together: how each of them stands to the room, what is unread to
each, and the members once. So a thousand who come back at the same moment are a handful of reads, and one who comes
alone is one, as soon as it can be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.limits import PAGE_BYTES, Limits
from hubbub.domain.pages import Pages
from hubbub.errors import HubbubError
from hubbub.history.base import History, Person, RoomView, Standing

__all__ = ["Seen", "ViewReader"]

TOGETHER: Final = 1024
"""As many are asked for in one read."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A room as somebody who joins sees it, and its members as a JSON array, None if they are too many."""

    view: RoomView
    members: memoryview | None


@dataclass(slots=True)
class _Waiting:
    user: str
    seen: asyncio.Future[Seen | None]


class ViewReader:
    """See above. `listed` makes the documents of members; `on_read` is told of each read of the store."""

    def __init__(
        self,
        history: History,
        pages: Pages,
        limits: Limits,
        *,
        listed: Callable[[Sequence[tuple[Standing, Person]]], list[dict[str, Any]]],
        on_read: Callable[[str], None],
    ) -> None:
        self._history = history
        self._pages = pages
        self._limits = limits
        self._listed = listed
        self._on_read = on_read
        self._waiting: dict[str, list[_Waiting]] = {}
        """By room; there is an entry while a read of it is under way."""

        self._tasks: set[asyncio.Task[None]] = set()

    async def read(self, room: ActiveRoom, user: str, *, since: int | None, limit: int) -> Seen | None:
        """How `user` sees the room, with its head; None if it is gone. The page that follows is in `pages` already if
        nobody else is joining: what changed after `since`, or the newest one if that is None or past the head.
        """
        waiting = self._waiting.get(room.uid)
        if waiting is None:
            self._waiting[room.uid] = []
            try:
                if self._pages.has(room, since=since, limit=limit):
                    return (await self._read_views(room, [user])).get(user)
                return await self._read_landing(room, user, since, limit)
            finally:
                self._go_on(room)
        one = _Waiting(user, asyncio.get_running_loop().create_future())
        waiting.append(one)
        return await one.seen

    def stop(self) -> None:
        """Ask for nothing more."""
        for waiting in self._waiting.values():
            for each in waiting:
                if not each.seen.done():
                    each.seen.set_exception(HubbubError("unavailable", retry_after=1))
            waiting.clear()
        for task in self._tasks:
            task.cancel()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _go_on(self, room: ActiveRoom) -> None:
        """A read is over: the next is for those who came meanwhile."""
        waiting = self._waiting.pop(room.uid)
        if waiting:
            self._waiting[room.uid] = waiting[TOGETHER:]
            task = asyncio.ensure_future(self._read_for(room, waiting[:TOGETHER]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _read_for(self, room: ActiveRoom, waiting: Sequence[_Waiting]) -> None:
        seen: dict[str, Seen] = {}
        error: HubbubError | None = None
        try:
            seen = await self._read_views(room, [each.user for each in waiting if not each.seen.done()])
        except HubbubError as failure:
            error = failure
        except BaseException:
            error = HubbubError("unavailable", retry_after=1)
            raise
        finally:
            for each in waiting:
                if each.seen.done():
                    continue  # Nobody waits any more.
                if error is None:
                    each.seen.set_result(seen.get(each.user))
                else:
                    each.seen.set_exception(error)
            self._go_on(room)

    async def _read_views(self, room: ActiveRoom, users: Sequence[str]) -> dict[str, Seen]:
        self._on_read("views")
        views = await self._history.views(room.uid, users, members_most=self._limits.members_listed)
        if views is None:
            return {}
        members = self._members(views.members)
        return {user: Seen(views.of(user), members) for user in users}

    async def _read_landing(self, room: ActiveRoom, user: str, since: int | None, limit: int) -> Seen | None:
        self._on_read("landing")
        landing = await self._history.landing(
            room.uid,
            user,
            since=since,
            limit=limit,
            max_bytes=PAGE_BYTES,
            members_most=self._limits.members_listed,
        )
        if landing is None:
            return None
        if since is None or since > landing.page.head:
            self._pages.keep_newest(room, landing.page, limit=limit)
        else:
            self._pages.keep_changes(room, landing.page, since=since)
        return Seen(landing.view, self._members(landing.members))

    def _members(self, members: Sequence[tuple[Standing, Person]] | None) -> memoryview | None:
        return None if members is None else memoryview(orjson.dumps(self._listed(members)))
