"""The list of rooms, for everybody and for tokens that are limited to some rooms.

The store knows nothing of such limits. Its pages hold rooms that the token does not reach, and its cursors name them.
So for a limited token the list is read on until a page is full of rooms that it reaches, and it ends at one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.history.base import History, RoomPage

__all__ = ["RoomList"]

_STRIDE: Final = 500
"""Rooms that are read at once for a limited token: those that it reaches may be few among many."""

_TRIES: Final = 5
"""The list may change between the two reads that find where a page ends."""


@dataclass(frozen=True, slots=True)
class RoomList:
    """What is asked for: rooms of which `query` is a part, and only those that the bearer belongs to if `mine`."""

    history: History
    identity: Identity
    query: str | None = None
    mine: bool = False

    async def page(self, *, limit: int, cursor: str | None) -> RoomPage:
        """The next rooms by id. A cursor names no room that the token does not reach."""
        if self.identity.rooms is None:
            return await self._read(limit=limit, cursor=cursor)
        for _ in range(_TRIES):
            page = await self._covered(limit=limit, cursor=cursor)
            if page is not None:
                return page
        raise HubbubError("unavailable", "The list of rooms changes faster than it can be read.", retry_after=1)

    async def _covered(self, *, limit: int, cursor: str | None) -> RoomPage | None:
        """A page of rooms that the token reaches; None if the list changed meanwhile."""
        found = []
        while True:
            page = await self._read(limit=_STRIDE, cursor=cursor)
            for place, view in enumerate(page.rooms, start=1):
                if not self.identity.covers(view.room.id):
                    continue
                found.append(view)
                if len(found) == limit:
                    # The same rooms once more, to get the cursor that stands behind the last one of them.
                    upto = await self._read(limit=place, cursor=cursor)
                    same = len(upto.rooms) == place and upto.rooms[-1].room.id == view.room.id
                    return RoomPage(found, upto.cursor) if same else None
            if page.cursor is None:
                return RoomPage(found, None)
            cursor = page.cursor

    async def _read(self, *, limit: int, cursor: str | None) -> RoomPage:
        return await self.history.rooms(
            user=self.identity.user,
            query=self.query,
            mine=self.mine,
            everything=self.identity.is_admin,
            limit=limit,
            cursor=cursor,
        )
