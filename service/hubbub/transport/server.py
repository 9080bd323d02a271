"""The face: python-socketio's `AsyncServer`, with everything beneath it our own.

Namespaces that are mounted with a `Handler` and those with plain handlers take the same way: a packet is read, and goes
to the connection's lane as an event, or becomes a connect or a disconnect. What is overridden here of the library is
private to the pinned version; `tests/transport/test_private_names.py` fails loudly when an upgrade changes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping
from typing import Any, Final

import socketio
import structlog
from engineio import packet as eio_packet

from hubbub.errors import HubbubError
from hubbub.transport import packets
from hubbub.transport.addresses import Addresses
from hubbub.transport.admission import Lane
from hubbub.transport.base import Handler, Link, Order
from hubbub.transport.bounds import Bounds
from hubbub.transport.connection import NamespaceConnection
from hubbub.transport.drain import let_go
from hubbub.transport.ends import Ends
from hubbub.transport.engine import Engine
from hubbub.transport.fanout import Batch, Fanout
from hubbub.transport.lanes import Lanes
from hubbub.transport.manager import Manager
from hubbub.transport.message import Message
from hubbub.transport.packets import Attachments, LibraryPacket, Packet, read_packet
from hubbub.transport.plain import NOT_ACKNOWLEDGED, RESERVED, PlainHandler, RefusedError, environ_of, serves
from hubbub.transport.session import Closing, Session
from hubbub.transport.states import ViolationError

__all__ = ["Server"]

_log = structlog.get_logger("hubbub.transport")

_library_log = logging.getLogger("hubbub.transport.library")
"""Given to the library, which would otherwise write to standard error past our format."""

RESTART: Final = Closing("draining", 1012, "this node is being shut down")
DROPPED: Final = Closing("dropped", 1001, "closed by the server")
LATER: Final = Closing("unavailable", 1013, "nobody can be let in at the moment; try again")

_UNREMARKABLE: Final = ("client_closed", "transport_lost", "draining")
"""Ends of connections of which only their namespaces' own lines are written."""

_PASSING: Final = ("draining", "unavailable")
"""Codes of refusals that are over soon, here or at another node."""

_DROPPED_AT_ONCE: Final = 64  # Connections that are ended in one turn of the loop while the server closes.


class Server(socketio.AsyncServer):  # type: ignore[misc]  # python-socketio has no annotations.
    """An `AsyncServer` on which namespaces can also be mounted with a `Handler`.

    `allow_origin` is asked with the origin of a page and the host that it connects to; by default only pages of the
    same host may connect. `node` begins every session id. Events of one client are handled in order of admission; with
    `async_handlers=True` those of plain handlers overlap, as in python-socketio. `on_closed(code)` is told of every
    connection that ends, for the metrics.
    """

    def __init__(
        self,
        client_manager: Any = None,
        *,
        bounds: Bounds | None = None,
        allow_origin: Callable[[str, str], bool] | None = None,
        node: str = "n",
        addresses: Addresses | None = None,
        max_per_address: int = 0,
        async_handlers: bool = False,
        namespaces: Any = None,
        always_connect: bool = False,
        on_closed: Callable[[str], None] | None = None,
    ) -> None:
        self.bounds = bounds if bounds is not None else Bounds()
        self.batch = Batch()
        self._mounted: dict[str, Handler] = {}
        self._plain: dict[str, PlainHandler] = {}
        self._spawned: set[asyncio.Task[Any]] = set()
        self._lanes = Lanes(self.bounds)
        self._empty: asyncio.Event | None = None
        self._on_closed = on_closed
        self._concurrent = async_handlers
        self._manager_begun = False
        self._namespaces_given = namespaces is not None
        super().__init__(
            client_manager=client_manager if client_manager is not None else Manager(),
            serializer=LibraryPacket,
            logger=_library_log,
            async_handlers=True,  # Asked by `call()` alone, and an ACK waits for no event here.
            namespaces=namespaces,
            always_connect=always_connect,
            owner=self,
            bounds=self.bounds,
            node=node,
            allow_origin=allow_origin or (lambda origin, host: origin.partition("://")[2] == host),
            addresses=addresses or Addresses(),
            max_per_address=max_per_address,
        )
        self._ends = Ends(self.eio, connect_s=self.bounds.connect_s, spawn=self.spawn, forget=self._forget)

    def _engineio_server_class(self) -> type[Engine]:
        return Engine

    # -- for the layers above ----------------------------------------------------------------------------------------

    def mount(self, namespace: str, handler: Handler) -> None:
        """Let `handler` serve a namespace."""
        self._mounted[namespace] = handler

    @property
    def mounted(self) -> Mapping[str, Handler]:
        """The handlers of mounted namespaces."""
        return self._mounted

    def fanout(self, namespace: str, *, on_sent: Callable[[int], None] | None = None) -> Fanout:
        """The groups of a mounted namespace."""

        def on_gap(connection: NamespaceConnection, group: str) -> None:
            connection.handler.suspended(connection, group)

        return Fanout(namespace, batch=self.batch, on_sent=on_sent, on_gap=on_gap)

    @property
    def links(self) -> Mapping[str, Link]:
        """The Engine.IO connections, by id."""
        return {sid: session.link for sid, session in self.eio.sessions.items()}

    def refuse_newcomers(self, why: str = "This node is being shut down.") -> None:
        """From now on handshakes get 503 with this sentence, and namespace connects are refused with `draining`."""
        self.eio.accepting = False
        self.eio.refusal = why

    def take_newcomers(self) -> None:
        """Take them again."""
        self.eio.accepting = True

    @property
    def is_idle(self) -> bool:
        """Whether no admitted event is unanswered."""
        return self._lanes.are_idle

    async def wait_idle(self) -> None:
        """Return when no admitted event is unanswered."""
        await self._lanes.wait_idle()

    async def let_go(self, *, within_s: float, tell: Callable[[Link, int], None], say: Callable[[Link], None]) -> None:
        """End every connection, spread over a time. `tell` is given each link and in how many milliseconds it ends,
        `say` each link that is ended now.
        """

        def end(session: Session) -> None:
            say(session.link)
            self.drop_nowait(session, restart=True)

        sessions = list(self.eio.sessions.values())
        await let_go(sessions, within_s=within_s, tell=lambda session, ms: tell(session.link, ms), end=end)

    async def close(self, *, within_s: float | None = None) -> None:
        """End every connection that is left, WebSockets with 1012, and wait for what that sets off: for the peers no
        longer than `within_s`, by default the bounds' `close_s`.
        """
        self.batch.flush()
        for number, session in enumerate(list(self.eio.sessions.values()), 1):
            self.drop_nowait(session, restart=True)
            if number % _DROPPED_AT_ONCE == 0:
                await asyncio.sleep(0)
        self._empty = asyncio.Event()
        if self.eio.sessions:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.bounds.close_s if within_s is None else within_s):
                    await self._empty.wait()
        await self.eio.shutdown()
        while not self._ends.are_told or self._spawned:
            if self._spawned:
                await asyncio.wait(list(self._spawned))
            else:
                await asyncio.sleep(0)
        self._lanes.close()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run a coroutine beside, kept alive until it is done."""
        task = asyncio.ensure_future(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)

    # -- python-socketio's own, mended -------------------------------------------------------------------------------

    async def emit(
        self,
        event: str,
        data: Any = None,
        to: Any = None,
        room: Any = None,
        skip_sid: Any = None,
        namespace: str | None = None,
        callback: Any = None,
        ignore_queue: bool = False,
        *,
        volatile: bool = False,
        except_rooms: Iterable[Hashable] = (),
    ) -> None:
        """As python-socketio documents, but an empty `to` is nobody and not everybody. `volatile` may be lost on the
        way to slow readers; `except_rooms` get nothing.
        """
        target = to if to is not None else room
        if target is not None and not isinstance(target, int) and len(target) == 0:
            return
        more: dict[str, Any] = {}
        if volatile:
            more["volatile"] = True
        if except_rooms:
            more["except_rooms"] = list(except_rooms)
        await self.manager.emit(
            event,
            data,
            namespace or "/",
            room=target,
            skip_sid=skip_sid,
            callback=callback,
            ignore_queue=ignore_queue,
            **more,
        )

    async def disconnect(
        self, sid: str, namespace: str | None = None, ignore_queue: bool = False, *, close: bool = False
    ) -> None:
        """As python-socketio documents; with `close` the whole transport ends, and stock clients come back."""
        name = namespace or "/"
        connection = self._connection_of(sid, name)
        if connection is not None:
            if close:
                connection.drop()
            else:
                connection.state = self.reason.SERVER_DISCONNECT
                self.disconnect_nowait(connection)
            await asyncio.sleep(0)
        elif not ignore_queue:
            await self.manager.can_disconnect(sid, name)

    def transport(self, sid: str, namespace: str | None = None) -> str:
        name: str = self.eio.transport(self.manager.eio_sid_from_sid(sid, namespace or "/"))
        return name

    async def shutdown(self) -> None:
        await self.close()

    def send_to(self, eio_sid: str, message: Message) -> None:
        """Send to an Engine.IO connection; nothing happens if it is gone."""
        session = self.eio.sessions.get(eio_sid)
        if session is not None:
            self.batch.send(session, message)

    async def _send_packet(self, eio_sid: str, pkt: Any) -> None:
        encoded = pkt.encode()
        parts = encoded if isinstance(encoded, list) else [encoded]
        self.send_to(eio_sid, Message(b"4" + parts[0].encode(), parts[1:]))

    async def _send_eio_packet(self, eio_sid: str, eio_pkt: eio_packet.Packet) -> None:
        session = self.eio.sessions.get(eio_sid)
        if session is None:
            return
        if eio_pkt.binary:
            self.batch.send(session, Message(b"", [eio_pkt.data]))
        else:
            self.batch.send(session, Message(b"4" + eio_pkt.data.encode()))

    def _connection_of(self, sid: str, namespace: str) -> NamespaceConnection | None:
        eio_sid = self.manager.eio_sid_from_sid(sid, namespace)
        session = self.eio.sessions.get(eio_sid)
        connection = session.link.connections.get(namespace) if session is not None else None
        return connection if isinstance(connection, NamespaceConnection) and connection.id == sid else None

    def _handler_of(self, namespace: str) -> Handler | None:
        handler = self._mounted.get(namespace)
        if handler is not None:
            return handler
        plain = self._plain.get(namespace)
        if plain is None and serves(self, namespace, named=self._namespaces_given or not self._mounted):
            plain = self._plain[namespace] = PlainHandler(self, namespace, concurrent=self._concurrent)
        return plain

    # -- as session.Owner --------------------------------------------------------------------------------------------

    def on_text(self, session: Session, text: bytes) -> None:
        if session.attachments is not None:
            raise ViolationError("a text where an attachment is due")
        packet = read_packet(text, self.bounds)
        kind = packet.kind
        if not session.greeted:
            if kind != packets.CONNECT:
                raise ViolationError("a packet before the first CONNECT")
            session.greeted = True
        if kind == packets.EVENT:
            self._on_event(session, packet, len(text))
        elif packet.attachments:
            if packet.namespace not in session.link.connections:
                raise ViolationError("attachments for a namespace that is not connected")
            session.attachments = Attachments(packet, len(text), self.bounds)
        elif kind == packets.CONNECT:
            self._on_connect(session, packet)
        elif kind == packets.DISCONNECT:
            connection = session.link.connections.get(packet.namespace)
            if isinstance(connection, NamespaceConnection):
                self._ends.end(connection, clean=True)
        elif kind == packets.BINARY_EVENT:
            self._on_event(session, packet, len(text))
        else:
            self._on_ack(session, packet)

    def on_binary(self, session: Session, data: bytes) -> None:
        waiting: Attachments | None = session.attachments
        if waiting is None:
            raise ViolationError("an attachment of nothing")
        if waiting.add(data):
            session.attachments = None
            if waiting.packet.kind == packets.BINARY_EVENT:
                self._on_event(session, waiting.packet, waiting.size)
            else:
                self._on_ack(session, waiting.packet)

    def on_closing(self, session: Session, closing: Closing) -> None:
        if closing.code in _UNREMARKABLE:
            level = _log.debug
        else:
            level = _log.warning if closing.code == "slow_consumer" else _log.info
        level("link.closing", link=session.id, code=closing.code, reason=closing.reason)
        if self._on_closed is not None:
            self._on_closed(closing.code)
        session.attachments = None

    def on_closed(self, session: Session) -> None:
        self.eio.gone(session)
        if self._empty is not None and not self.eio.sessions:
            self._empty.set()
        for connection in list(session.link.connections.values()):
            if isinstance(connection, NamespaceConnection):
                self._ends.end(connection, clean=False)
        if session.id not in self.eio.leaving:
            self._forget(session.id)

    # -- connects ----------------------------------------------------------------------------------------------------

    def _on_connect(self, session: Session, packet: Packet) -> None:
        name = packet.namespace
        if name in session.link.connections:
            return  # A second CONNECT for a namespace that is connected changes nothing.
        handler = self._handler_of(name)
        if handler is None:
            self._refuse(session, name, HubbubError("not_found", "There is no such namespace."))
        elif not self.eio.accepting:
            self._refuse(session, name, HubbubError("draining"))
        else:
            self._initialize_manager()
            session.connected()  # Its handler has a deadline of its own; a refusal sets this one anew.
            connection = NamespaceConnection(self, session, name, "", handler)
            session.link.connections[name] = connection
            self.spawn(self._connect(connection, packet.data))

    def _initialize_manager(self) -> None:
        """A manager begins its own work with the first client, when there is a loop."""
        if not self._manager_begun:
            self._manager_begun = self.manager_initialized = True
            self.manager.initialize()

    async def _connect(self, connection: NamespaceConnection, auth: Any) -> None:
        session, name, handler = connection.session, connection.namespace, connection.handler
        links = session.link.connections
        if isinstance(handler, PlainHandler):
            self._keep_environ(session)
        else:
            connection.id = self.eio.generate_id()
        try:
            async with asyncio.timeout(self.bounds.event_s):
                greet = await handler.connect(connection, auth)
        except TimeoutError:
            self._refuse_connect(connection, HubbubError("unavailable", retry_after=1))
            return
        except (HubbubError, RefusedError) as error:
            self._refuse_connect(connection, error)
            return
        except Exception:
            _log.exception("connection.connect_failed", namespace=name)
            self._refuse_connect(connection, HubbubError("internal"))
            return
        if links.get(name) is not connection:
            # The peer vanished while the handler was at work: nobody else will tell the handler.
            await self._ends.tell(connection, clean=False)
            return
        connection.is_open = connection.entered = True
        session.connected()
        if not (isinstance(handler, PlainHandler) and self.always_connect):
            connection.send(packets.connect_message(name, connection.id))
        if greet is not None:
            greet()
        if connection.unwanted:
            self.disconnect_nowait(connection)

    def _refuse_connect(self, connection: NamespaceConnection, error: HubbubError | RefusedError) -> None:
        links = connection.session.link.connections
        if links.get(connection.namespace) is connection:
            del links[connection.namespace]
            if not links:
                connection.session.left(self.bounds.connect_s)
        self._refuse(connection.session, connection.namespace, error)

    def _refuse(self, session: Session, namespace: str, error: HubbubError | RefusedError) -> None:
        if isinstance(error, HubbubError) and error.code in _PASSING and not session.link.connections:
            # Stock clients take a refusal for final, and stay away. From a transport that is closed they come back.
            session.close(RESTART if error.code == "draining" else LATER)
            return
        document = error.data if isinstance(error, RefusedError) else {"message": error.code, "data": error.document()}
        self.batch.send(session, packets.connect_error_message(namespace, document))
        session.refusals += 1
        if session.refusals >= self.bounds.refusals:
            session.violate(ViolationError("too many connects were refused"))

    def _keep_environ(self, session: Session) -> None:
        if session.id not in self.environ:
            self.environ[session.id] = environ_of(session.link.handshake)

    # -- events ------------------------------------------------------------------------------------------------------

    def _on_event(self, session: Session, packet: Packet, size: int) -> None:
        connection = session.link.connections.get(packet.namespace)
        if not isinstance(connection, NamespaceConnection) or not connection.is_open:
            return
        handler, data, id = connection.handler, packet.data, packet.id
        if data is packets.UNREADABLE or data is packets.NESTED:
            if id is None:
                raise ViolationError(data.text)
            refusal = handler.refused(HubbubError("bad_request", fields={"": [data.text]}))
            connection.send(packets.ack_message(packet.namespace, id, refusal))
            return
        name = data[0]
        plain = isinstance(handler, PlainHandler)
        if plain and name in RESERVED:
            raise ViolationError("an event with a reserved name")
        lane: Lane | None = session.lane
        if lane is None:
            lane = self._lanes.open(session)
        order = handler.order(name)
        lane.admit(
            name,
            tuple(data[1:]),
            order=order,
            work=lambda incoming: handler.event(connection, incoming),
            reply=(lambda result: self._reply_plain(connection, id, result))
            if plain
            else (lambda result: self._reply(connection, id, result)),
            size=size,
            eager=not plain and order is not Order.SERIAL,
        )
        if lane.is_full:
            session.pause()

    def _reply(self, connection: NamespaceConnection, id: int | None, result: Any) -> None:
        if id is not None and connection.is_open:
            connection.send(packets.ack_message(connection.namespace, id, result))

    def _reply_plain(self, connection: NamespaceConnection, id: int | None, result: Any) -> None:
        if id is None or not connection.is_open or result is NOT_ACKNOWLEDGED:
            return
        try:
            message = packets.data_message(packets.ACK, connection.namespace, result, id=id)
        except (TypeError, ValueError):
            _log.exception("plain.answer_failed", namespace=connection.namespace, connection=connection.id)
            refusal = connection.handler.refused(HubbubError("internal"))
            message = packets.ack_message(connection.namespace, id, refusal)
        connection.send(message)

    def _on_ack(self, session: Session, packet: Packet) -> None:
        connection = session.link.connections.get(packet.namespace)
        if not isinstance(connection, NamespaceConnection) or not connection.is_open or packet.id is None:
            return
        # Anybody can send any number of ACKs: what nobody waits for costs a look.
        if packet.id > 0 and packet.id in self.manager.callbacks.get(connection.id, ()):
            self.spawn(self.manager.trigger_callback(connection.id, packet.id, packet.data))

    # -- ends --------------------------------------------------------------------------------------------------------

    def disconnect_nowait(self, connection: NamespaceConnection) -> None:
        """End one namespace from this side, behind what was sent before."""
        self._ends.disconnect(connection)

    def drop_nowait(self, session: Session, *, restart: bool = False) -> None:
        """End an Engine.IO connection."""
        self.batch.flush()
        session.close(RESTART if restart else DROPPED)

    def _forget(self, session_id: str) -> None:
        self.eio.forget(session_id)
        self.environ.pop(session_id, None)
