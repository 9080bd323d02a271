"""`/chat`: from events of the contract to services of the domain."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, cast

import structlog

from hubbub.domain.chat import Chat
from hubbub.domain.documents import user_document
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.events import CHAT, chat_event
from hubbub.pipeline.answers import error_answer
from hubbub.pipeline.base import CONNECT, Call, Middleware, compose
from hubbub.pipeline.sessions import Session, Sessions, session_of
from hubbub.telemetry import Metrics
from hubbub.transport.base import Connection, Incoming, Order
from hubbub.version import VERSION

__all__ = ["ChatNamespace"]

_log = structlog.get_logger("hubbub.connection")

_LET_IN_AGAIN_S: Final = (0.5, 1.5)
"""When a connect that waits for the store looks again, at the earliest and at the latest."""

_Handle = Callable[[Client, dict[str, Any]], Awaitable[dict[str, Any]]]


class ChatNamespace:
    """The handler of `/chat` (see `transport.base.Handler`). A connection's `state` is its `Client`."""

    def __init__(
        self,
        chat: Chat,
        sessions: Sessions,
        *,
        pipeline: Sequence[Middleware],
        metrics: Metrics,
        node: str,
    ) -> None:
        self._chat = chat
        self._sessions = sessions
        self._metrics = metrics
        self._node = node
        self._connect = compose(pipeline, self._enter)
        self._event = compose(pipeline, self._handle)
        self._handlers: dict[str, _Handle] = {
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
            "room:members": chat.membership.members,
            "message:edit": chat.posting.edit,
            "message:delete": chat.posting.delete,
            "message:react": chat.posting.react,
            "history:fetch": chat.reading.fetch,
            "history:sync": chat.reading.sync,
            "history:search": chat.reading.search,
            "typing": chat.posting.typing,
            "read:mark": chat.reading.mark,
        }
        sessions.renewed.append(self._renewed)

    # -- as transport.base.Handler -----------------------------------------------------------------------------------

    def order(self, event: str) -> Order:
        spec = chat_event(event)
        if spec is None:
            return Order.SERIAL
        return Order.PIPELINED if spec.pipelined else Order.FREE if spec.free else Order.SERIAL

    async def connect(self, connection: Connection, auth: Any) -> Callable[[], None]:
        try:
            greet = await self._connect(Call(connection, CONNECT, auth))
        except HubbubError:
            if list(connection.link.connections.values()) in ([], [connection]):
                self._sessions.close(connection.link)
            raise
        self._metrics.connections.labels(CHAT).inc()
        self._metrics.users.set(self._chat.house.roster.size)
        return cast(Callable[[], None], greet)

    def event(self, connection: Connection, incoming: Incoming) -> Coroutine[Any, Any, Any]:
        # The pipeline's outermost step is a coroutine, and one around it would only pass on what it says.
        call = Call(connection, incoming.name, incoming.args, chat_event(incoming.name), incoming)
        return cast(Coroutine[Any, Any, Any], self._event(call))

    async def disconnected(self, connection: Connection, *, clean: bool) -> None:
        client = connection.state
        if isinstance(client, Client):
            self._chat.house.channel.forget(connection)
            self._chat.house.roster.leave(client)
            self._metrics.connections.labels(CHAT).dec()
            self._metrics.users.set(self._chat.house.roster.size)
        if not connection.link.connections:
            self._sessions.close(connection.link)
        _log.info("connection.closed", connection=connection.id, namespace=CHAT, clean=clean)

    def suspended(self, connection: Connection, group: str) -> None:
        client = connection.state
        if isinstance(client, Client):
            self._metrics.gaps.inc()
            self._chat.suspended(client, group)

    def refused(self, error: HubbubError) -> dict[str, Any]:
        return error_answer(error)

    # -- the ends of the pipeline ------------------------------------------------------------------------------------

    async def _enter(self, call: Call) -> Callable[[], None]:
        connection = call.connection
        session = session_of(connection)
        client = await self._let_in(connection, session)
        connection.state = client
        hello = {
            "user": user_document(client.user.person, online=True),
            "node": self._node,
            "server_time": self._chat.house.clock(),
            "limits": self._chat.house.limits.document(),
            "version": VERSION,
        }
        return lambda: connection.emit("hello", hello)

    async def _let_in(self, connection: Connection, session: Session) -> Client:
        """Whoever comes while the store is away waits for it, as long as the connect's deadline allows: they would
        have to come again, and all of them in the same second.
        """
        while True:
            try:
                return await self._chat.house.roster.enter(connection, session.identity)
            except HubbubError as error:
                is_gone = connection.link.connections.get(CHAT) is not connection
                if error.code != "unavailable" or is_gone:
                    raise
            await asyncio.sleep(random.uniform(*_LET_IN_AGAIN_S))  # noqa: S311 - Jitter, not a secret.

    def _handle(self, call: Call) -> Awaitable[Any]:
        return self._serve(call) if call.connection.is_open else self._serve_late(call)

    async def _serve_late(self, call: Call) -> Any:
        await self._chat.house.roster.refresh(call.connection.state)
        return await self._serve(call)

    def _serve(self, call: Call) -> Awaitable[Any]:
        """No coroutine of its own either: what is awaited is the service's."""
        client: Client = call.connection.state
        incoming = cast(Incoming, call.incoming)
        if call.name == "message:send":
            return self._chat.posting.send(client, call.data, admitted=incoming.admitted)
        if call.name == "room:join":
            return self._chat.reading.join(client, call.data, after_ack=incoming.after_ack.append)
        if call.name == "auth:refresh":
            return self._refresh(call)
        return self._handlers[call.name](client, call.data)

    async def _refresh(self, call: Call) -> dict[str, Any]:
        """`auth:refresh`."""
        identity = await self._sessions.refresh(session_of(call.connection), call.data["token"])
        return {"user": user_document(identity.person, online=True), "expires_at": identity.expires_at}

    def _renewed(self, session: Session) -> None:
        """A new token may bring other roles and rooms, and another name."""
        connection = session.link.connections.get(CHAT)
        client = connection.state if connection is not None else None
        if isinstance(client, Client):
            self._chat.renew(client, session.identity)
