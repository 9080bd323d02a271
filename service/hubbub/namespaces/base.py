"""What the namespaces of users have in common: how they are entered, how an event gets to its service, how they are
left.

A connection's `state` is its `Client`. Which events there are is the contract's (`hubbub.events`); what they do is the
domain's.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, cast

import structlog

from hubbub.domain.chat import Chat
from hubbub.domain.documents import user_document
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.events import NOTICE, ClientEvent, ServerEvent
from hubbub.pipeline.answers import error_answer
from hubbub.pipeline.base import CONNECT, Call, Middleware, compose
from hubbub.pipeline.sessions import Session, Sessions, session_of
from hubbub.seldom import Seldom
from hubbub.telemetry import Metrics
from hubbub.transport.base import Connection, Incoming, Order
from hubbub.version import VERSION

__all__ = ["Handle", "UserNamespace"]

_log = structlog.get_logger("hubbub.connection")

_LET_IN_AGAIN_S: Final = (0.5, 1.5)
"""When a connect that waits for the store looks again, at the earliest and at the latest."""

Handle = Callable[[Client, dict[str, Any]], Awaitable[dict[str, Any]]]


class UserNamespace(ABC):
    """See `transport.base.Handler`. `find` has the events of this namespace, `handlers` what serves them, and
    `server_events` what is sent here; `watches` is for the roster.
    """

    def __init__(
        self,
        name: str,
        chat: Chat,
        sessions: Sessions,
        *,
        pipeline: Sequence[Middleware],
        metrics: Metrics,
        node: str,
        find: Callable[[str], ClientEvent | None],
        handlers: dict[str, Handle],
        server_events: Iterable[ServerEvent],
        watches: bool,
    ) -> None:
        self._name = name
        self._refused = Seldom(_log, "outside.refused")
        self._server_events = frozenset(event.name for event in server_events)
        self._chat = chat
        self._sessions = sessions
        self._metrics = metrics
        self._node = node
        self._find = find
        self._handlers = handlers
        self._watches = watches
        self._connect = compose(pipeline, self._enter)
        self._event = compose(pipeline, self._handle)
        sessions.renewed.append(self._on_renewed)

    # -- for each namespace to say -----------------------------------------------------------------------------------

    @abstractmethod
    def left(self, client: Client) -> None:
        """A client is gone: it is in no group any more."""

    @abstractmethod
    def renew(self, client: Client, session: Session) -> None:
        """A new token may bring other roles and rooms, and another name."""

    @abstractmethod
    def audience(self, room: object) -> Iterable[Connection]:
        """Whom an outside process means with a room of this namespace; everybody, if it is None."""

    def serve(self, call: Call) -> Awaitable[Any]:
        """No coroutine of its own either: what is awaited is the service's."""
        if call.name == "auth:refresh":
            return self._refresh(call)
        return self._handlers[call.name](call.connection.state, call.data)

    # -- as transport.base.Handler -----------------------------------------------------------------------------------

    def order(self, event: str) -> Order:
        spec = self._find(event)
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
        self._metrics.connections.labels(self._name).inc()
        self._metrics.users.set(self._chat.house.roster.size)
        return cast(Callable[[], None], greet)

    def event(self, connection: Connection, incoming: Incoming) -> Coroutine[Any, Any, Any]:
        # The pipeline's outermost step is a coroutine, and one around it would only pass on what it says.
        call = Call(connection, incoming.name, incoming.args, self._find(incoming.name), incoming)
        return cast(Coroutine[Any, Any, Any], self._event(call))

    async def disconnected(self, connection: Connection, *, clean: bool) -> None:
        client = connection.state
        if isinstance(client, Client):
            self.left(client)
            self._chat.house.roster.leave(client, clean=clean)
            self._metrics.connections.labels(self._name).dec()
            self._metrics.users.set(self._chat.house.roster.size)
        if not connection.link.connections:
            self._sessions.close(connection.link)
        _log.info("connection.closed", connection=connection.id, namespace=self._name, clean=clean)

    def suspended(self, connection: Connection, group: str) -> None:
        """The client reads too slowly for a group. Only what has to arrive suspends it: this is never called where all
        is worthless when it is late.
        """
        _log.error("connection.suspended", connection=connection.id, namespace=self._name, group=group)

    def outside(self, event: str, data: object, room: object) -> Iterable[Connection]:
        """Events of the contract are the service's own to send: clients rely on the order in which they come, and on
        who gets them. An outside process may send a `notice` as administrators may, and whatever is not of the
        contract.
        """
        if event in self._server_events:
            reason = "the service's own" if event != "notice" else "not {level, text}" if _is_odd(data) else None
            if reason is not None:
                self._refused.warn(namespace=self._name, name=event, reason=reason)
                return ()
        return self.audience(room)

    def refused(self, error: HubbubError) -> dict[str, Any]:
        return error_answer(error)

    # -- the ends of the pipeline ------------------------------------------------------------------------------------

    async def _enter(self, call: Call) -> Callable[[], None]:
        connection = call.connection
        session = session_of(connection)
        client = await self._let_in(connection, session)
        try:
            self._sessions.check(session)
        except HubbubError:
            # An administrator ended the session while it was being let in.
            self._chat.house.roster.leave(client, clean=True)
            raise
        connection.state = client
        hello = {
            "user": self._chat.house.own_user(client),
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
        roster = self._chat.house.roster
        while True:
            try:
                return await roster.enter(
                    connection, session.identity, device=connection.link.id, watches=self._watches
                )
            except HubbubError as error:
                is_gone = connection.link.connections.get(self._name) is not connection
                if error.code != "unavailable" or is_gone:
                    raise
            await asyncio.sleep(random.uniform(*_LET_IN_AGAIN_S))  # noqa: S311 - Jitter, not a secret.

    def _handle(self, call: Call) -> Awaitable[Any]:
        return self.serve(call) if call.connection.is_open else self._serve_late(call)

    async def _serve_late(self, call: Call) -> Any:
        await self._chat.house.roster.refresh(call.connection.state)
        return await self.serve(call)

    async def _refresh(self, call: Call) -> dict[str, Any]:
        """`auth:refresh`."""
        identity = await self._sessions.refresh(session_of(call.connection), call.data["token"])
        face = self._chat.house.presence.face(identity.user, admin=True)
        return {"user": user_document(identity.person, face), "expires_at": identity.expires_at}

    def _on_renewed(self, session: Session) -> None:
        connection = session.link.connections.get(self._name)
        client = connection.state if connection is not None else None
        if isinstance(client, Client):
            self.renew(client, session)


def _is_odd(notice: object) -> bool:
    """Whether clients would not know what to do with it."""
    return not isinstance(notice, dict) or bool(NOTICE.validate(notice))
