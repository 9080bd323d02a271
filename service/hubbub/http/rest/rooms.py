"""`GET /api/rooms` and `GET /api/rooms/{id}`."""

from __future__ import annotations

from hubbub.domain.chat import Chat
from hubbub.domain.permissions import Action
from hubbub.domain.visits import Visits
from hubbub.http.rest.surface import Answer, Asked

__all__ = ["RoomRoutes"]


class RoomRoutes:
    """The rooms that a caller may know of."""

    def __init__(self, chat: Chat, visits: Visits) -> None:
        self._chat = chat
        self._visits = visits

    async def list(self, asked: Asked) -> Answer:
        """As `room:list`."""
        client = await self._visits.enter(asked.identity)
        return Answer(await self._chat.rooms.list_rooms(client, asked.query))

    async def get(self, asked: Asked) -> Answer:
        """One room, for those who may join it, or have."""
        client = await self._visits.enter(asked.identity)
        room = await self._chat.house.enter(client, asked.path["id"], Action.JOIN)
        return Answer({"room": await self._chat.rooms.view(client, room)})
