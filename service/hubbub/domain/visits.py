"""Callers without a connection: a `Client` for the time of one request.

Everything in the domain is asked by a client, so that who is asking and what they may do is looked at in one place. Of
a user who is connected here the standings are those in memory, kept up to date while the request is served; of anybody
else they are read from the store. The outlet of such a client is never open, and nobody sees it come or go.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.house import House
from hubbub.domain.identity import Identity
from hubbub.domain.permissions import Action
from hubbub.domain.posting import Posting
from hubbub.domain.reading import Reading
from hubbub.domain.roster import Client, User

__all__ = ["Visits"]


class _NoOutlet:
    """A connection that is not there."""

    __slots__ = ("id",)

    def __init__(self) -> None:
        self.id = f"visit-{secrets.token_hex(8)}"

    @property
    def is_open(self) -> bool:
        return False

    def emit(self, event: str, data: Any) -> None:
        """Nobody is there."""

    async def wait_room(self) -> None:
        """Nothing waits for a client that is not there."""


class Visits:
    """Lets in those who come for one request."""

    def __init__(self, house: House, posting: Posting, reading: Reading) -> None:
        self._house = house
        self._posting = posting
        self._reading = reading

    async def enter(self, identity: Identity) -> Client:
        """A client for one request. Raises `unavailable` if its user's standings cannot be read."""
        known = self._house.roster.user(identity.user)
        if known is not None and known.loading is None:
            # The very mapping of the connected user, so that a ban counts while this request is served; but the name
            # that this token gives.
            return Client(_NoOutlet(), User(identity.person, known.standings), identity)
        standings = await self._house.history.standings_of(identity.user)
        return Client(_NoOutlet(), User(identity.person, dict(standings)), identity)

    async def send(self, client: Client, request: dict[str, Any], *, admitted: Callable[[], None]) -> dict[str, Any]:
        """`message:send`, with one difference: a bot that may join the room, and has not, becomes a member first.

        So a back end needs no connection to get into a room. A message that it has sent already is answered without
        that: a bot that was removed does not come back by repeating itself.
        """
        if "bot" in client.identity.roles:
            room = await self._house.find(request["room"])
            if self._may_become_member(client, room):
                first = await self._house.history.message_by_key(room.uid, client.user.person.id, request["key"])
                if first is None:
                    await self._reading.become_member(client, room)
        return await self._posting.send(client, request, admitted=admitted)

    def _may_become_member(self, client: Client, room: ActiveRoom) -> bool:
        """Whether membership is all that is missing."""
        needs = self._house.refusal(client, room, Action.SEND) == "forbidden"
        return needs and self._house.refusal(client, room, Action.JOIN) is None
