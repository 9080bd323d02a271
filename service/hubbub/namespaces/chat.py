"""`/chat`: from events of the contract to services of the domain."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, cast

from hubbub.domain.chat import Chat
from hubbub.domain.roster import Client
from hubbub.events import CHAT, SERVER_EVENTS, chat_event
from hubbub.namespaces.base import UserNamespace
from hubbub.pipeline.base import Call, Middleware
from hubbub.pipeline.sessions import Session, Sessions
from hubbub.telemetry import Metrics
from hubbub.transport.base import Connection, Incoming

__all__ = ["ChatNamespace"]


class ChatNamespace(UserNamespace):
    """The handler of `/chat`."""

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
            CHAT,
            chat,
            sessions,
            pipeline=pipeline,
            metrics=metrics,
            node=node,
            find=chat_event,
            handlers={
                "room:create": chat.rooms.create,
                "room:list": chat.rooms.list_rooms,
                "room:leave": chat.membership.leave,
                "room:update": chat.rooms.update,
                "room:delete": chat.rooms.delete,
                "room:invite": chat.membership.invite,
                "room:kick": chat.membership.kick,
                "room:ban": chat.membership.ban,
                "room:unban": chat.membership.unban,
                "room:mute": chat.membership.mute,
                "room:role": chat.membership.role,
                "room:purge": chat.purging.purge,
                "room:members": chat.membership.members,
                "message:edit": chat.posting.edit,
                "message:delete": chat.posting.delete,
                "message:react": chat.posting.react,
                "history:fetch": chat.reading.fetch,
                "history:sync": chat.reading.sync,
                "history:search": chat.reading.search,
                "typing": chat.posting.typing,
                "read:mark": chat.reading.mark,
            },
            server_events=SERVER_EVENTS,
            watches=False,
        )

    def left(self, client: Client) -> None:
        self._chat.house.channel.forget(client.outlet)

    def renew(self, client: Client, session: Session) -> None:
        self._chat.renew(client, session.identity)

    def suspended(self, connection: Connection, group: str) -> None:
        client = connection.state
        if isinstance(client, Client):
            self._metrics.gaps.inc()
            self._chat.suspended(client, group)

    def audience(self, room: object) -> Iterable[Connection]:
        """A room by its id: who is subscribed to it. `user:ID`: all connections of a user."""
        house = self._chat.house
        if room is None:
            return cast(Iterable[Connection], house.roster.outlets())
        if not isinstance(room, str):
            return ()
        active = house.rooms.known(room)
        if active is not None:
            return cast(Iterable[Connection], house.channel.members(active.uid))
        user = room.removeprefix("user:") if room.startswith("user:") else ""
        return cast(Iterable[Connection], [client.outlet for client in house.roster.clients(user)])

    def serve(self, call: Call) -> Awaitable[Any]:
        client: Client = call.connection.state
        incoming = cast(Incoming, call.incoming)
        if call.name == "message:send":
            return self._chat.posting.send(client, call.data, admitted=incoming.admitted)
        if call.name == "room:join":
            return self._chat.reading.join(client, call.data, after_ack=incoming.after_ack.append)
        return super().serve(call)
