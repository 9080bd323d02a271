"""Emptying what somebody has said in a room, after a flood of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from hubbub.domain import messages
from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.house import House
from hubbub.domain.moderation.acting import acting
from hubbub.domain.permissions import Action
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.history.base import Change

__all__ = ["Purging"]

MOST: Final = 500
"""How many messages one request empties: as many as a page of history has at most."""

AT_ONCE: Final = 50
"""How many of them wait for the store together: enough to share its commits, and few beside what people send."""

LONGEST_S: Final = 10.0
"""After this time the rest is left to the next request, where the store is slow: who asks has to get an answer."""

_EVERYTHING: Final = 2**53 - 1


class Purging:
    """The event `room:purge`."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def purge(self, client: Client, request: dict[str, Any]) -> dict[str, Any]:
        """Delete a user's messages in a room, the newest first: each a deletion like any other, with its own revision.

        The user need not be a member any more. `more` says that there are messages left.

        If this fails on the way, what was deleted until then is deleted; to ask again goes on.
        """
        async with acting(self._house, client, request, Action.PURGE) as room:
            return await self._purge(client, room, request["user"])

    async def _purge(self, client: Client, room: ActiveRoom, user: str) -> dict[str, Any]:
        seqs = await self._house.history.seqs_of(room.uid, user, below=_EVERYTHING, limit=MOST + 1)
        loop = asyncio.get_running_loop()
        end = loop.time() + LONGEST_S
        purged = done = 0
        while done < min(len(seqs), MOST) and (done == 0 or loop.time() < end):
            # Whoever was a moderator when this began may be none by now.
            self._house.require(client, room, Action.PURGE)
            some = seqs[done : min(done + AT_ONCE, MOST)]
            purged += await self._delete(client, room, some)
            done += len(some)
        return {"purged": purged, "more": len(seqs) > done}

    async def _delete(self, client: Client, room: ActiveRoom, seqs: Sequence[int]) -> int:
        """How many of these were still there. What somebody else deleted meanwhile, or retention, is no error."""
        edit = messages.deleting(user=client.user.person.id, own=None, others=None)
        writes = [self._house.writer.submit(Change(room.uid, seq, edit)) for seq in seqs]
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        failures = [each for each in outcomes if isinstance(each, BaseException)]
        for failure in failures:
            if not isinstance(failure, HubbubError) or failure.code != "not_found":
                raise failure
        return sum(not isinstance(each, BaseException) and each.claimed > 0 for each in outcomes)
