"""`/presence`: from events of the contract to services of the domain."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hubbub.domain.chat import Chat
from hubbub.domain.roster import Client
from hubbub.events import PRESENCE, PRESENCE_SERVER_EVENTS, presence_event
from hubbub.namespaces.base import UserNamespace
from hubbub.pipeline.base import Middleware
from hubbub.pipeline.sessions import Session, Sessions
from hubbub.telemetry import Metrics
from hubbub.transport.base import Connection

__all__ = ["PresenceNamespace"]


class PresenceNamespace(UserNamespace):
    """The handler of `/presence`."""

    def __init__(
        self,
        chat: Chat,
        sessions: Sessions,
        *,
        pipeline: Sequence[Middleware],
        metrics: Metrics,
        node: str,
    ) -> None:
        super().__init__(
            PRESENCE,
            chat,
            sessions,
            pipeline=pipeline,
            metrics=metrics,
            node=node,
            find=presence_event,
            handlers={
                "presence:watch": chat.watching.watch,
                "presence:unwatch": chat.watching.unwatch,
                "presence:set": chat.watching.set_status,
                "presence:get": chat.watching.users,
                "presence:list": chat.watching.list_users,
            },
            server_events=PRESENCE_SERVER_EVENTS,
            watches=True,
        )

    def left(self, client: Client) -> None:
        self._chat.watching.left(client)

    def renew(self, client: Client, session: Session) -> None:
        self._chat.watching.renew(client, session.identity)

    def audience(self, room: object) -> Iterable[Connection]:
        """Nobody: what is seen here is the service's own to say."""
        return ()
