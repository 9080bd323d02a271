"""Around everything that moderators do: who may not is refused, and what is done is in the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.house import House
from hubbub.domain.moderation.ranks import require_above
from hubbub.domain.permissions import Action
from hubbub.domain.roster import Client

__all__ = ["acting"]

UPON_LOWER: Final = frozenset({Action.KICK, Action.BAN, Action.MUTE, Action.PURGE})
"""What is done only to those of a lower rank."""


@asynccontextmanager
async def acting(
    house: House, client: Client, request: dict[str, Any], action: Action, *, reason: str | None = None
) -> AsyncIterator[ActiveRoom]:
    """The room of a request, to whose `user` or to which itself something is done. Who may not is refused before
    anything is recorded; but since recording takes a moment, what decides is how it stands after that.

    `reason` is recorded where the request has none.
    """
    room = await house.enter(client, request["room"], action)
    await _require_rank(house, client, room, request, action)
    target = {"room": room.id} | ({"user": request["user"]} if "user" in request else {})
    said = request.get("reason") or reason or ""
    async with house.auditor.recording(client.user.person.id, action.value, target, said):
        house.require(client, room, action)
        await _require_rank(house, client, room, request, action)
        yield room


async def _require_rank(
    house: House, client: Client, room: ActiveRoom, request: dict[str, Any], action: Action
) -> None:
    if action in UPON_LOWER:
        await require_above(house, client, room, request["user"])
