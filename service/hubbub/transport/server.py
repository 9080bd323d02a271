"""python-socketio's server with our own way of handling connects, events and disconnects.

Namespaces that are mounted with a `Handler` take the way described in `transport.base`; all others behave as
python-socketio documents. The names overridden here (`_handle_connect`, `_handle_event`, `_handle_disconnect`,
`_handle_eio_message`, `_handle_eio_disconnect`) and those used (`eio.sockets`, `eio._async`, `environ`, `queue`) are
private to the pinned versions; `tests/transport/test_private_names.py` fails loudly when an upgrade changes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import socketio
import structlog
from aiohttp import web
from engineio import packet as eio_packet
from engineio.payload import Payload
from socketio import packet as sio_packet

from hubbub.errors import HubbubError
from hubbub.transport.admission import Lane
from hubbub.transport.base import Handler, Handshake, Incoming, Link
from hubbub.transport.packets import UNREADABLE, Packet, ack_packet, event_packet
from hubbub.transport.polling import read_request
from hubbub.transport.websocket import WebSocket

__all__ = ["Server"]

MAX_QUEUED_PACKETS: Final = 4096
"""A connection that lets more packets than this pile up is dropped, so that it cannot eat the memory of the others."""

_log = structlog.get_logger("hubbub.transport")

_library_log = logging.getLogger("hubbub.transport.library")
"""Given to the libraries beneath, which would otherwise write to standard error past our format."""


class _Connection:
    """One client in one mounted namespace (see `transport.base.Connection`)."""

    __slots__ = ("_server", "entered", "id", "is_open", "link", "namespace", "state")

    def __init__(self, server: Server, link: Link, namespace: str, sid: str) -> None:
        self._server = server
        self.link = link
        self.namespace = namespace
        self.id = sid
        self.state: Any = None
        self.is_open = False
        self.entered = False
        """The handler let this connection in, and has not been told of its end."""

    def send(self, packet: eio_packet.Packet) -> None:
        if self.is_open:
            self._server.send_nowait(self.link.id, packet)

    def emit(self, event: str, data: Any) -> None:
        self.send(event_packet(self.namespace, event, data))

    def disconnect(self) -> None:
        if self.is_open:
            self.send(eio_packet.Packet(eio_packet.MESSAGE, f"1{self.namespace},"))
            # Nothing may come behind the farewell, though the handler is told of it only in the next turn.
            self.is_open = False
            self._server.spawn(self._server.end(self.link.id, self.namespace, clean=True))

    def drop(self) -> None:
        self._server.drop_nowait(self.link.id)


class Server(socketio.AsyncServer):  # type: ignore[misc]  # python-socketio has no annotations.
    """An `AsyncServer` on which namespaces can be mounted with a `Handler`.

    `allow_origin` is asked with the origin of a page and the host that it connects to.
    """

    def __init__(
        self,
        *,
        ping_interval_s: float,
        ping_timeout_s: float,
        max_packet_bytes: int,
        allow_origin: Callable[[str, str], bool],
    ) -> None:
        super().__init__(
            async_mode="aiohttp",
            serializer=Packet,
            logger=_library_log,
            engineio_logger=_library_log,
            cors_allowed_origins=_origin_check(allow_origin),
            ping_interval=ping_interval_s,
            ping_timeout=ping_timeout_s,
            max_http_buffer_size=max_packet_bytes,
            http_compression=False,
        )
        self.eio._async = {**self.eio._async, "websocket": WebSocket, "translate_request": read_request}
        # A POST is bounded in bytes. By default engineio drops all of one that has more than 16 packets, without a
        # word, and stock clients send as many as they have waiting.
        Payload.max_decode_packets = max(Payload.max_decode_packets, max_packet_bytes)
        self._handlers_mounted: dict[str, Handler] = {}
        self._links: dict[str, Link] = {}
        self._lanes: dict[str, Lane] = {}
        self._spawned: set[asyncio.Task[Any]] = set()
        self._accepting = True

    # -- for the layers above ----------------------------------------------------------------------------------------

    def mount(self, namespace: str, handler: Handler) -> None:
        """Let `handler` serve a namespace."""
        self._handlers_mounted[namespace] = handler

    def attach(self, app: web.Application, socketio_path: str = "socket.io") -> None:
        """Serve an application's `/socket.io/`; while newcomers are refused, handshakes get 503."""
        app.middlewares.append(self._refuse_handshakes(f"/{socketio_path}/"))
        super().attach(app, socketio_path)

    def _refuse_handshakes(self, path: str) -> Any:
        @web.middleware
        async def refuse(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            if not self._accepting and request.path == path and "sid" not in request.query:
                return web.Response(status=503, text="This node is being shut down.", headers={"Retry-After": "1"})
            return await handler(request)

        return refuse

    @property
    def links(self) -> Mapping[str, Link]:
        """The Engine.IO connections, by id."""
        return self._links

    def refuse_newcomers(self) -> None:
        """From now on handshakes get 503, and namespace connects are refused with `draining`."""
        self._accepting = False

    async def wait_idle(self) -> None:
        """Return when no admitted event is unanswered."""
        for lane in list(self._lanes.values()):
            await lane.wait_idle()

    async def close(self) -> None:
        """Drop every connection and wait for what that sets off."""
        for eio_sid in list(self.eio.sockets):
            self.drop_nowait(eio_sid)
        while self._spawned:
            await asyncio.wait(list(self._spawned))
        await self.shutdown()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine beside, kept alive until it is done."""
        task = asyncio.ensure_future(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)

    def send_nowait(self, eio_sid: str, packet: eio_packet.Packet) -> None:
        """Queue a packet; nothing happens if the connection is gone. A queue that is too long ends its connection."""
        socket = self.eio.sockets.get(eio_sid)
        if socket is None or socket.closed or socket.closing:
            return
        if socket.queue.qsize() >= MAX_QUEUED_PACKETS:
            _log.warning("connection.slow", link=eio_sid, queued=socket.queue.qsize())
            self.drop_nowait(eio_sid)
            return
        socket.queue.put_nowait(packet)

    def drop_nowait(self, eio_sid: str) -> None:
        """End an Engine.IO connection."""
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and not socket.closed and not socket.closing:
            self.spawn(self._drop(socket))

    async def _drop(self, socket: Any) -> None:
        # Without an Engine.IO CLOSE packet: stock Python clients take one for a farewell and stay away, whereas a
        # transport that closes, or a poll that finds no session, brings every stock client back.
        await socket.close(wait=False, abort=True, reason=self.reason.SERVER_DISCONNECT)
        # The writer of a WebSocket ends, and closes the socket, when it finds this marker behind what was queued.
        await socket.queue.put(None)

    # -- connects ----------------------------------------------------------------------------------------------------

    async def _handle_connect(self, eio_sid: str, namespace: str | None, data: Any) -> None:
        name = namespace or "/"
        handler = self._handlers_mounted.get(name)
        if handler is None:
            if name in self.handlers or name in self.namespace_handlers:
                await super()._handle_connect(eio_sid, namespace, data)
            else:
                error = HubbubError("not_found", "There is no such namespace.")
                self._refuse(eio_sid, name, error)
            return
        link = self._links[eio_sid]
        if name in link.connections:
            return  # A second CONNECT for a namespace that is connected changes nothing.
        if not self._accepting:
            self._refuse(eio_sid, name, HubbubError("draining"))
            return
        connection = _Connection(self, link, name, self.eio.generate_id())
        link.connections[name] = connection
        try:
            greet = await handler.connect(connection, data)
        except HubbubError as error:
            link.connections.pop(name, None)
            self._refuse(eio_sid, name, error)
            return
        if link.connections.get(name) is not connection:
            # The peer vanished while the handler was at work: nobody else will tell the handler.
            await handler.disconnected(connection, clean=False)
            return
        connection.is_open = connection.entered = True
        connection.send(self._message(Packet(sio_packet.CONNECT, {"sid": connection.id}, namespace=name)))
        if greet is not None:
            greet()

    async def _handle_eio_connect(self, eio_sid: str, environ: Mapping[str, Any]) -> None:
        await super()._handle_eio_connect(eio_sid, environ)
        # Now, while its request is alive: a poll that is answered knows its peer's address no more.
        self._links[eio_sid] = Link(eio_sid, _handshake(environ))

    def _refuse(self, eio_sid: str, namespace: str, error: HubbubError) -> None:
        document = {"message": error.code, "data": error.document()}
        packet = Packet(sio_packet.CONNECT_ERROR, data=document, namespace=namespace)
        self.send_nowait(eio_sid, self._message(packet))

    @staticmethod
    def _message(packet: Packet) -> eio_packet.Packet:
        return eio_packet.Packet(eio_packet.MESSAGE, packet.encode())

    # -- events ------------------------------------------------------------------------------------------------------

    async def _handle_eio_message(self, eio_sid: str, data: Any) -> None:
        try:
            await super()._handle_eio_message(eio_sid, data)
        except (ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
            # The peer does not speak Socket.IO. There is nothing to answer to, so the connection ends.
            _log.info("connection.protocol_violation", link=eio_sid, kind=type(error).__name__)
            self.drop_nowait(eio_sid)

    async def _handle_event(self, eio_sid: str, namespace: str | None, id: int | None, data: Any) -> None:
        name = namespace or "/"
        handler = self._handlers_mounted.get(name)
        if handler is None:
            await super()._handle_event(eio_sid, namespace, id, data)
            return
        link = self._links.get(eio_sid)
        connection = link.connections.get(name) if link is not None else None
        if not isinstance(connection, _Connection) or not connection.is_open:
            return
        if data is UNREADABLE:
            if id is not None:
                refusal = handler.refused(HubbubError("bad_request", fields={"": ["Not valid JSON."]}))
                self.send_nowait(eio_sid, ack_packet(name, id, refusal))
            return
        if not isinstance(data, list) or not data or not isinstance(data[0], str):
            raise ValueError("an EVENT is an array that begins with a name")
        await self._admit(connection, handler, id, data)

    async def _admit(self, connection: _Connection, handler: Handler, id: int | None, data: list[Any]) -> None:
        eio_sid, name = connection.link.id, connection.namespace
        lane = self._lanes.get(eio_sid)
        if lane is None:
            lane = self._lanes[eio_sid] = Lane()

        async def work(incoming: Incoming) -> Any:
            return await handler.event(connection, incoming)

        def reply(result: Any) -> None:
            if id is not None:
                connection.send(ack_packet(name, id, result))

        lane.admit(data[0], tuple(data[1:]), order=handler.order(data[0]), work=work, reply=reply)
        if lane.is_full:
            # Waiting here stops the reading of this connection, and of no other.
            await lane.wait_for_room()

    # -- disconnects -------------------------------------------------------------------------------------------------

    async def _handle_disconnect(self, eio_sid: str, namespace: str | None, reason: str | None = None) -> None:
        name = namespace or "/"
        if name in self._handlers_mounted:
            await self.end(eio_sid, name, clean=reason == self.reason.CLIENT_DISCONNECT)
        else:
            await super()._handle_disconnect(eio_sid, namespace, reason)

    async def end(self, eio_sid: str, namespace: str, *, clean: bool) -> None:
        """End one mounted namespace of a connection, once."""
        link = self._links.get(eio_sid)
        connection = link.connections.pop(namespace, None) if link is not None else None
        if not isinstance(connection, _Connection) or not connection.entered:
            return
        connection.is_open = connection.entered = False
        try:
            await self._handlers_mounted[namespace].disconnected(connection, clean=clean)
        except Exception:
            _log.exception("connection.disconnect_failed", link=eio_sid)

    async def _handle_eio_disconnect(self, eio_sid: str, reason: str) -> None:
        link = self._links.get(eio_sid)
        if link is not None:
            for namespace in list(link.connections):
                await self.end(eio_sid, namespace, clean=False)
        self._links.pop(eio_sid, None)
        self._lanes.pop(eio_sid, None)
        await super()._handle_eio_disconnect(eio_sid, reason)
        socket = self.eio.sockets.get(eio_sid)
        if socket is not None and reason == self.reason.CLIENT_DISCONNECT:
            # A poll that the client left open would be held until a heartbeat is missed, and stock clients wait for it.
            await socket.queue.put(None)


def _origin_check(allow_origin: Callable[[str, str], bool]) -> Callable[[str | None, Mapping[str, Any]], bool]:
    """As engineio asks it: for every request, also where there is no page and so no origin."""

    def is_allowed(origin: str | None, environ: Mapping[str, Any]) -> bool:
        return origin is None or allow_origin(origin, environ.get("HTTP_HOST", ""))

    return is_allowed


def _handshake(environ: Mapping[str, Any]) -> Handshake:
    """From the environ that engineio makes. The address is the real peer's; forwarded headers are not believed."""
    request = environ["aiohttp.request"]
    headers = {name.lower(): value for name, value in request.headers.items()}
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    address = str(peer[0]) if isinstance(peer, tuple) else ""
    return Handshake(
        headers=headers,
        cookies=dict(request.cookies),
        query=dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)),
        address=address,
    )
