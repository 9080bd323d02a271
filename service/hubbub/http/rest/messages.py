"""`GET` and `POST /api/rooms/{id}/messages`."""

from __future__ import annotations

from hubbub.domain.chat import Chat
from hubbub.domain.visits import Visits
from hubbub.http.rest.operations import KEY
from hubbub.http.rest.surface import Answer, Asked

__all__ = ["MessageRoutes"]


class MessageRoutes:
    """The messages of a room."""

    def __init__(self, chat: Chat, visits: Visits) -> None:
        self._chat = chat
        self._visits = visits

    async def list(self, asked: Asked) -> Answer:
        """As `history:fetch`."""
        client = await self._visits.enter(asked.identity)
        return Answer(await self._chat.reading.fetch(client, {"room": asked.path["id"], **asked.query}))

    async def send(self, asked: Asked) -> Answer:
        """As `message:send`: 201 with a new message, 200 with the one that was sent under this key before."""
        client = await self._visits.enter(asked.identity)
        request = {"room": asked.path["id"], "key": asked.header[KEY], **asked.body}
        document = await self._visits.send(client, request, admitted=lambda: None)
        return Answer(document, 200 if document["duplicate"] else 201)
