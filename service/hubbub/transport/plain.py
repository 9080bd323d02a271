"""Namespaces with plain python-socketio handlers, behind the same seam as all others.

What `@server.on`, `@server.event` and `AsyncNamespace` register is looked up by the library's own methods; this decides
what a failing or cancelled handler means, and which names a client may call.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import structlog
from socketio import AsyncNamespace, exceptions

from hubbub.errors import HubbubError
from hubbub.transport.base import Connection, Handshake, Incoming, Order
from hubbub.transport.packets import connect_message

if TYPE_CHECKING:
    from hubbub.transport.server import Server

__all__ = ["NOT_ACKNOWLEDGED", "RESERVED", "PlainHandler", "RefusedError", "environ_of", "serves"]

_log = structlog.get_logger("hubbub.transport")

RESERVED: Final = frozenset(
    {
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
        "*",
        "__disconnect_final",
    }
)
"""Names that clients must not send: the library would call what they stand for."""

NOT_ACKNOWLEDGED: Final = object()
"""What an event that nobody handles is answered with: nothing."""


class RefusedError(Exception):
    """A connect was refused with data of the application's own choice."""

    def __init__(self, data: Any) -> None:
        self.data = data
        super().__init__()


class PlainHandler:
    """See `base.Handler`. One for each namespace."""

    def __init__(self, server: Server, namespace: str, *, concurrent: bool) -> None:
        self._server = server
        self._namespace = namespace
        self._concurrent = concurrent

    def order(self, event: str) -> Order:
        return Order.FREE if self._concurrent else Order.SERIAL

    async def connect(self, connection: Connection, auth: Any) -> Callable[[], None] | None:
        server, name = self._server, self._namespace
        eio_sid = connection.link.id
        sid = await server.manager.pre_connect(eio_sid, name)
        if sid is None:
            raise RefusedError({"message": "Unable to connect"})
        connection.id = sid
        if server.always_connect:
            server.send_to(eio_sid, connect_message(name, sid))
            await server.manager.connect(sid, name)
        try:
            await self._call_connect(sid, server.environ.get(eio_sid), auth)
        except BaseException:
            await server.manager.disconnect(sid, name, ignore_queue=True)
            raise
        if not server.always_connect:
            await server.manager.connect(sid, name)
        return None

    async def _call_connect(self, sid: str, environ: Any, auth: Any) -> None:
        try:
            try:
                success = await self._call("connect", sid, environ, auth)
            except TypeError as error:
                if auth is not None or not _is_about_arguments(error):
                    raise
                success = await self._call("connect", sid, environ)
        except exceptions.ConnectionRefusedError as error:
            raise RefusedError(error.error_args) from None
        except ConnectionRefusedError:
            raise RefusedError({"message": "Connection refused by server"}) from None
        except Exception as error:
            _log.exception("plain.connect_failed", namespace=self._namespace)
            raise HubbubError("internal") from error
        if success is False:
            raise RefusedError(exceptions.ConnectionRefusedError().error_args)

    async def event(self, connection: Connection, incoming: Incoming) -> Any:
        """The arguments of the ack. One whose handler failed says so, in the same words as everywhere."""
        try:
            result = await self._call(incoming.name, connection.id, *incoming.args)
        except asyncio.CancelledError:
            return [self.refused(HubbubError("unavailable", retry_after=1))]
        except Exception:
            _log.exception("plain.event_failed", namespace=self._namespace, connection=connection.id)
            return [self.refused(HubbubError("internal"))]
        if result == self._server.not_handled:
            return NOT_ACKNOWLEDGED
        if result is None:
            return []
        return list(result) if isinstance(result, tuple) else [result]

    async def _call(self, event: str, *args: Any) -> Any:
        """What the handler returns. The library would take one that was cancelled for one that is done."""
        server = self._server
        handler, given = server._get_event_handler(event, self._namespace, args)
        if handler is None:
            space, given = server._get_namespace_handler(self._namespace, args)
            if space is None:
                return server.not_handled
            if type(space).trigger_event is not AsyncNamespace.trigger_event:
                return await space.trigger_event(event, *given)
            handler = getattr(space, f"on_{event}", None)
            if handler is None:
                return server.not_handled
        result = handler(*given)
        return await result if inspect.iscoroutine(result) else result

    async def disconnected(self, connection: Connection, *, clean: bool) -> None:
        server, name, sid = self._server, self._namespace, connection.id
        reason = server.reason.CLIENT_DISCONNECT if clean else server.reason.TRANSPORT_CLOSE
        if connection.state is not None:
            reason = connection.state  # Ended from this side.
        server.manager.pre_disconnect(sid, namespace=name)
        try:
            await server._trigger_event("disconnect", name, sid, reason)
        finally:
            await server.manager.disconnect(sid, name, ignore_queue=True)

    def suspended(self, connection: Connection, group: str) -> None:
        """Nothing that plain handlers send can be suspended."""

    def outside(self, event: str, data: object, room: object) -> Iterable[Connection]:
        """The manager knows who is in a room of a plain namespace, and does not ask."""
        return ()

    def refused(self, error: HubbubError) -> dict[str, Any]:
        return {"ok": False, "error": error.document()}


def _is_about_arguments(error: TypeError) -> bool:
    """Whether it came from the call of the handler itself: an older handler takes no auth."""
    return "positional argument" in str(error)


def environ_of(handshake: Handshake) -> dict[str, Any]:
    """The environ of a handshake, as WSGI has it: what plain handlers are given."""
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/socket.io/",
        "QUERY_STRING": getattr(handshake, "_raw_query", ""),
        "REMOTE_ADDR": handshake.address,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
    }
    for name, value in handshake.headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return environ


def serves(server: Server, namespace: str, *, named: bool) -> bool:
    """Whether something plain is registered for a namespace. The library takes "/" where no namespaces are named; a
    server with mounted ones means just those, so there its list counts only if it was `named`.
    """
    return (
        namespace in server.handlers
        or namespace in server.namespace_handlers
        or server.namespaces == "*"
        or (named and namespace in server.namespaces)
    )
