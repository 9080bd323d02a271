"""`/admin`: from events of the contract to services of the domain, for those whose token has the role `admin`.

An administrator here is no presence in chat: the roster does not know of the connection, and nobody sees it. The
identity is the one of the whole connection, so a token that is refreshed in another namespace counts here at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, cast

import structlog

from hubbub.domain.admin.caller import Administrator, check_admin
from hubbub.domain.admin.service import Admin
from hubbub.domain.documents import user_document
from hubbub.domain.house import House
from hubbub.errors import HubbubError
from hubbub.events import ADMIN, admin_event
from hubbub.pipeline.answers import error_answer
from hubbub.pipeline.base import CONNECT, Call, Middleware, compose
from hubbub.pipeline.sessions import Session, Sessions, session_of
from hubbub.telemetry import Metrics
from hubbub.transport.base import Connection, Incoming, Order
from hubbub.version import VERSION

__all__ = ["AdminNamespace"]

_log = structlog.get_logger("hubbub.connection")

_Handle = Callable[[Administrator, dict[str, Any]], Awaitable[dict[str, Any]]]

_ENDING: Final = frozenset({"connection:disconnect", "user:disconnect", "token:revoke"})
"""Orders that may end the caller's own connection: not before their ack."""


class AdminNamespace:
    """The handler of `/admin`; see `transport.base.Handler`. A connection's `state` is its `Administrator`."""

    def __init__(
        self,
        admin: Admin,
        house: House,
        sessions: Sessions,
        *,
        pipeline: Sequence[Middleware],
        metrics: Metrics,
        node: str,
    ) -> None:
        self._admin = admin
        self._house = house
        self._sessions = sessions
        self._metrics = metrics
        self._node = node
        self._connect = compose(pipeline, self._enter)
        self._event = compose(pipeline, self._handle)
        self._handlers: dict[str, _Handle] = {
            "nodes:list": admin.list_nodes,
            "rooms:list": admin.list_rooms,
            "connections:list": admin.list_connections,
            "connection:disconnect": admin.disconnect_connection,
            "user:disconnect": admin.disconnect_user,
            "user:ban": admin.ban,
            "user:unban": admin.unban,
            "bans:list": admin.list_bans,
            "token:revoke": admin.revoke,
            "room:delete": admin.delete_room,
            "notice:send": admin.send_notice,
            "node:drain": admin.drain,
            "audit:list": admin.list_audit,
        }
        sessions.renewed.append(self._on_renewed)

    # -- as transport.base.Handler -----------------------------------------------------------------------------------

    def order(self, event: str) -> Order:
        """Everything in the order in which it was asked for."""
        return Order.SERIAL

    async def connect(self, connection: Connection, auth: Any) -> Callable[[], None]:
        try:
            greet = await self._connect(Call(connection, CONNECT, auth))
        except HubbubError:
            if list(connection.link.connections.values()) in ([], [connection]):
                self._sessions.close(connection.link)
            raise
        self._metrics.connections.labels(ADMIN).inc()
        return cast(Callable[[], None], greet)

    def event(self, connection: Connection, incoming: Incoming) -> Coroutine[Any, Any, Any]:
        call = Call(connection, incoming.name, incoming.args, admin_event(incoming.name), incoming)
        return cast(Coroutine[Any, Any, Any], self._event(call))

    async def disconnected(self, connection: Connection, *, clean: bool) -> None:
        caller = connection.state
        if isinstance(caller, Administrator):
            self._admin.left(caller)
            self._metrics.connections.labels(ADMIN).dec()
        if not connection.link.connections:
            self._sessions.close(connection.link)
        _log.info("connection.closed", connection=connection.id, namespace=ADMIN, clean=clean)

    def suspended(self, connection: Connection, group: str) -> None:
        """Nothing here is sent to groups that one could fall behind of."""
        _log.error("connection.suspended", connection=connection.id, namespace=ADMIN, group=group)

    def outside(self, event: str, data: object, room: object) -> Iterable[Connection]:
        """Nobody: administrators are told by the service alone."""
        return ()

    def refused(self, error: HubbubError) -> dict[str, Any]:
        return error_answer(error)

    # -- the ends of the pipeline ------------------------------------------------------------------------------------

    async def _enter(self, call: Call) -> Callable[[], None]:
        connection = call.connection
        identity = session_of(connection).identity
        check_admin(identity)
        connection.state = Administrator(connection, identity)
        hello = {
            "user": self._user(connection.state),
            "node": self._node,
            "server_time": self._house.clock(),
            "limits": self._house.limits.document(),
            "version": VERSION,
        }
        return lambda: connection.emit("hello", hello)

    def _handle(self, call: Call) -> Awaitable[Any]:
        caller: Administrator = call.connection.state
        if call.name == "auth:refresh":
            return self._refresh(call)
        if call.name == "stats:watch":
            incoming = cast(Incoming, call.incoming)
            return self._admin.watch_stats(caller, call.data, after_ack=incoming.after_ack.append)
        if call.name in _ENDING:
            cast(Incoming, call.incoming).after_ack.append(self._sessions.hold(session_of(call.connection)))
        return self._handlers[call.name](caller, call.data)

    async def _refresh(self, call: Call) -> dict[str, Any]:
        """`auth:refresh`."""
        identity = await self._sessions.refresh(session_of(call.connection), call.data["token"])
        return {"user": self._user(Administrator(call.connection, identity)), "expires_at": identity.expires_at}

    def _user(self, caller: Administrator) -> dict[str, Any]:
        return user_document(caller.identity.person, self._house.presence.face(caller.identity.user, admin=True))

    def _on_renewed(self, session: Session) -> None:
        """Whoever is no administrator any more has to leave, from here alone. What they sent before and what was not
        begun yet is refused. Whoever is limited to rooms from now on gets no more figures of the whole service.
        """
        connection = session.link.connections.get(ADMIN)
        caller = connection.state if connection is not None else None
        if connection is None or not isinstance(caller, Administrator):
            return
        caller.identity = session.identity
        try:
            check_admin(session.identity)
        except HubbubError as error:
            self._admin.left(caller)
            connection.emit("closing", {"code": error.code, "message": error.message, "reconnect": False})
            connection.disconnect()
        else:
            self._admin.renewed(caller)
