"""The composition root: settings in, a running service out. The only importer of concrete adapters.

What is made here is passed to whoever needs it; nothing is global. The order of starting is the order of dependence
(store, tokens, chat, wire, HTTP), and the order of stopping is its reverse.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Final

from aiohttp import web

from hubbub.clustering import join
from hubbub.domain.admin.administration import administration
from hubbub.domain.chat import Chat
from hubbub.domain.clock import Clock, system_clock
from hubbub.domain.limits import Limits
from hubbub.domain.retention import Retention
from hubbub.errors import StoreError
from hubbub.events import ADMIN, CHAT, PRESENCE
from hubbub.filters.base import Filter
from hubbub.filters.gate import Gate
from hubbub.filters.loading import load_filters, open_rules
from hubbub.history.base import History, Written
from hubbub.history.sqlite import SqliteHistory
from hubbub.history.writer import Writer
from hubbub.http.cors import is_same_origin
from hubbub.http.health import STATUSES, Readiness
from hubbub.http.rest.wiring import Rest
from hubbub.http.routes import add_routes
from hubbub.namespaces.admin import AdminNamespace
from hubbub.namespaces.chat import ChatNamespace
from hubbub.namespaces.presence import PresenceNamespace
from hubbub.pipeline.answers import DEADLINE_S, Answers
from hubbub.pipeline.auth import Authenticate
from hubbub.pipeline.base import Middleware
from hubbub.pipeline.observe import Observe
from hubbub.pipeline.ratelimit import RateLimit
from hubbub.pipeline.sessions import Sessions
from hubbub.pipeline.tokens import TokenVerifier
from hubbub.pipeline.validation import Validate
from hubbub.settings import Settings
from hubbub.storewatch import StoreState, StoreWatch
from hubbub.telemetry import Metrics
from hubbub.transport.addresses import Addresses
from hubbub.transport.base import Link
from hubbub.transport.bounds import Bounds
from hubbub.transport.fanout import Fanout
from hubbub.transport.server import Server
from hubbub.transport.tcp import BACKLOG, listening_sockets
from hubbub.version import VERSION

__all__ = ["Service"]

KEEPALIVE_S: Final = 75.0
"""How long a connection that asks for nothing may stay: as long as proxies keep theirs, and longer than a long poll."""

MAX_BATCH: Final = 512
"""How many writes one commit takes: enough to spread the price of a sync, few enough that none waits long."""

MAX_BATCH_MONGODB: Final = 128
"""The same for MongoDB, whose driver works on the event loop: this keeps it for some two milliseconds."""

LET_GO_SHARE: Final = 0.75
"""Of the time for a shutdown, how much clients are let go in. The rest is for what is under way then."""

REQUESTS_S: Final = 0.4
"""How long plain requests may still take once the clients are gone. What they write was waited for; the rest is pages
that are half sent, and bodies that do not come. The process ends a second after the time for the shutdown.
"""

FINISH_S: Final = 1.0
"""What is on its way to the store has this long to get there, also when the time for the shutdown is over."""

CLOSE_S: Final = 5.0
"""How long the store may take to close. What was acknowledged is safe by then, and a store that hangs keeps no process
that was asked to end.
"""

_CLOSING: Final = {"code": "draining", "message": "This node is being shut down; connect again.", "reconnect": True}


class Service:
    """One node: everything that `hubbub serve` runs. `async with Service(settings) as service` starts and stops it."""

    def __init__(self, settings: Settings, *, clock: Clock = system_clock) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self._status = Readiness("starting")
        self._stack = contextlib.AsyncExitStack()
        self.history: History = _history(settings)
        self.tokens = TokenVerifier(settings)
        self.sessions = Sessions(self.tokens, clock=clock, expiring_s=settings.token_expiring_s)
        self.cluster = join(settings, on_dropped=self.metrics.parcels_dropped.inc)
        self.wire = Server(
            self.cluster.manager,
            bounds=_bounds(settings),
            allow_origin=_origin_rule(settings),
            node=settings.node,
            addresses=Addresses(settings.trusted_proxies),
            max_per_address=settings.connections_per_address if settings.limits else 0,
            on_closed=lambda code: self.metrics.closed.labels(code).inc(),
        )
        self.fanout = self.wire.fanout(CHAT, on_sent=self.metrics.deliveries.inc)
        self.watch_fanout = self.wire.fanout(PRESENCE, on_sent=self.metrics.deliveries.inc)
        self.writer = Writer(
            self.history,
            max_queued=settings.max_queued,
            max_queued_bytes=settings.max_queued_bytes,
            max_batch=MAX_BATCH_MONGODB if settings.on_mongodb else MAX_BATCH,
            on_written=self._on_written,
            on_batch=self.metrics.committed,
        )
        self.metrics.watch_writer(self.writer)
        bus = self.cluster.bus
        self.metrics.watch_readiness(
            lambda: self.readiness().status,
            statuses=STATUSES,
            hears=None if bus is None else lambda: bus.hears,
        )
        self.rules = open_rules(settings.filter_rules)
        filters: list[tuple[str, Filter]] = [] if self.rules is None else [("filter_rules", self.rules)]
        filters += load_filters(settings.filters)
        self.watch = StoreWatch(self.history, on_change=self._on_store, prepare=lambda: self.chat.load())
        self.chat: Chat = Chat(
            history=self.history,
            writer=self.writer,
            channel=self.fanout,
            clock=clock,
            limits=_limits(settings),
            registry=self.cluster.registry,
            bus=self.cluster.bus,
            watch_channel=self.watch_fanout,
            quiet_above=settings.quiet_above,
            doors=_Doors(self.sessions, drain=lambda: self.on_drain()),
            on_filled=self.metrics.filled.inc,
            on_read=lambda kind: self.metrics.reads.labels(kind).inc(),
            on_applied=lambda kind: self.metrics.control_records.labels(kind).inc(),
            reviewer=Gate(filters, on_failure=settings.filter_failure, on_verdict=self.metrics.verdicts.add)
            if filters
            else None,
        )
        self.sessions.guard = self.chat.control.check
        self.metrics.watch_control(self.chat.control)
        self.rest = Rest(
            settings=settings,
            chat=self.chat,
            tokens=self.tokens,
            guard=self.chat.control.check,
            readiness=self.readiness,
            metrics=self.metrics,
        )
        self.retention = Retention(
            self.history,
            clock,
            age_ms=round(settings.retention_s * 1000) or None,
            keep=settings.retention_messages or None,
            on_emptied=self.metrics.emptied.inc,
        )
        # The way of every connect and every event, outermost first.
        pipeline: list[Middleware] = [
            Observe(self.metrics),
            Answers(),
            Authenticate(self.sessions, query_tokens=settings.query_tokens),
            RateLimit(enabled=settings.limits),
            Validate(),
        ]
        for name, namespace in ((CHAT, ChatNamespace), (PRESENCE, PresenceNamespace)):
            self.wire.mount(
                name,
                namespace(self.chat, self.sessions, pipeline=pipeline, metrics=self.metrics, node=settings.node),
            )
        self.admin = administration(
            self.chat,
            lines=_Lines(self.wire, self.sessions, self.fanout),
            channel=self.wire.fanout(ADMIN, on_sent=self.metrics.deliveries.inc),
            rooms=lambda: self.fanout.groups,
            metrics=self.metrics,
            state=lambda: (self._status.status, self.watch.state.status),
            now=time.monotonic,
            node=settings.node,
            version=VERSION,
        )
        self.wire.mount(
            ADMIN,
            AdminNamespace(
                self.admin,
                self.chat.house,
                self.sessions,
                pipeline=pipeline,
                metrics=self.metrics,
                node=settings.node,
            ),
        )
        self.url = ""
        self.on_drain: Callable[[], None] = lambda: None
        """What an administrator's order to shut this node down comes to."""
        self._end_by = 0.0

    def readiness(self) -> Readiness:
        """How the node is. What fails for all nodes makes none unready; what fails for this one alone does."""
        trouble = self.cluster.trouble
        if trouble is None or not self._status.takes_clients:
            return self._status
        return Readiness(trouble.status, (*self._status.reasons, trouble.reason))

    def _on_written(self, uid: str, written: Written) -> None:
        if written.claimed == written.message.seq:
            self.metrics.messages.inc()
        self.chat.written(uid, written)

    async def __aenter__(self) -> Service:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._status = Readiness("draining")
        await self._stack.aclose()

    def _on_store(self, state: StoreState) -> None:
        """The store was opened at last, is away, or is back. A node that lets its clients go stays as it is."""
        self.metrics.store_up.set(state.status == "up")
        if self._status.status == "draining":
            return
        if state.status == "opening":
            self._status = Readiness("starting", (state.reason,))
        elif state.status == "away":
            self._status = Readiness("degraded", (state.reason,))
        else:
            self._status = Readiness("ready")
            self.chat.start()
            self.retention.start()
            self.wire.take_newcomers()

    async def _start(self) -> None:
        self.wire.refuse_newcomers("This node is starting.")
        self._stack.push_async_callback(self.cluster.close)
        await self.cluster.start()
        self.cluster.watch(self.chat.control, lambda: len(self.wire.eio.sessions), lambda: self.on_drain())
        self.wire.eio.passes_on = self.cluster.passes_on
        await self._stack.enter_async_context(self._store())
        if self.rules is not None:
            self.rules.start()
            self._stack.push_async_callback(self.rules.close)
        await self.tokens.start()
        self._stack.push_async_callback(self.tokens.close)
        app = web.Application(client_max_size=self.settings.max_packet_bytes)
        self.wire.attach(app)
        add_routes(
            app,
            settings=self.settings,
            tokens=self.tokens,
            readiness=self.readiness,
            registry=self.metrics.registry,
            rest=self.rest,
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=REQUESTS_S, keepalive_timeout=KEEPALIVE_S)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        for listener in await listening_sockets(self.settings.host, self.settings.port):
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._stack.push_async_callback(self._let_go)

    @contextlib.asynccontextmanager
    async def _store(self) -> AsyncIterator[None]:
        try:
            await self.watch.open()
            yield
            await self.watch.close()
            await self.retention.close()
            await self.admin.close()
            # What is under way is finished in the time that is left of the drain, or at least in a moment.
            deadline = max(self._end_by, asyncio.get_running_loop().time() + FINISH_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await self.chat.close()
            await self.writer.drain(max(0.0, deadline - asyncio.get_running_loop().time()))
        finally:
            await self.watch.close()
            await self.retention.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self.history.close()

    async def _let_go(self) -> None:
        """Take no newcomers, let the clients go spread over the time that is given, and answer what was admitted."""
        self._status = Readiness("draining")
        self.wire.refuse_newcomers()
        loop = asyncio.get_running_loop()
        self._end_by = loop.time() + self.settings.drain_s
        await self.wire.let_go(
            within_s=self.settings.drain_s * LET_GO_SHARE,
            tell=lambda link, ms: _tell(link, "draining", {"reconnect_in_ms": ms}),
            say=lambda link: _tell(link, "closing", _CLOSING),
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._end_by):
                await self.wire.wait_idle()
                await self.rest.surface.wait_idle()
        await self.wire.close(within_s=min(CLOSE_S, max(self._end_by - loop.time(), 0.1)))


class _Doors:
    """As `hubbub.domain.control.ports.Doors`: the sessions' connections, and this process."""

    def __init__(self, sessions: Sessions, *, drain: Callable[[], None]) -> None:
        self.end_user = sessions.end_user
        self.end_jti = sessions.end_jti
        self.end_connection = sessions.end_connection
        self.drain = drain


class _Lines:
    """As `hubbub.domain.admin.ports.Lines`: what the wire, the sessions and the groups of `/chat` know anyway."""

    def __init__(self, wire: Server, sessions: Sessions, fanout: Fanout) -> None:
        self._wire = wire
        self._sessions = sessions
        self._fanout = fanout

    def count(self) -> int:
        return len(self._wire.eio.sessions)

    def by_age(self) -> Sequence[Link]:
        links: list[Link] = self._wire.eio.links_by_age()
        return links

    def of_user(self, user: str) -> Sequence[Link]:
        return self._sessions.links_of(user)

    def in_room(self, uid: str) -> int:
        return self._fanout.size(uid)

    def of_room(self, uid: str) -> Iterator[Link]:
        return (connection.link for connection in self._fanout.members(uid))


def _tell(link: Link, event: str, document: dict[str, Any]) -> None:
    for connection in link.connections.values():
        connection.emit(event, document)


def _history(settings: Settings) -> History:
    """The adapter for the store. MongoDB's is imported only where it is wanted, because its driver is an extra."""
    if not settings.on_mongodb:
        return SqliteHistory(settings.store_path)
    try:
        from hubbub.history.mongo import MongoHistory
    except ImportError as error:
        raise StoreError("MongoDB's driver is not installed: pip install 'hubbub[mongo]'.") from error
    return MongoHistory(settings.store)


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        packet_bytes=settings.max_packet_bytes,
        outbox_bytes=settings.outbox_bytes,
        deflate_bytes=settings.deflate_bytes,
        ping_interval_s=settings.ping_interval_s,
        ping_timeout_s=settings.ping_timeout_s,
        event_s=DEADLINE_S,
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        body=settings.max_body,
        packet_bytes=settings.max_packet_bytes,
        rooms_per_user=settings.rooms_per_user,
        capacity=settings.room_capacity,
        capacity_max=settings.room_capacity_max,
    )


def _origin_rule(settings: Settings) -> Callable[[str, str], bool]:
    """Whether a page of this origin may connect to this host."""

    def allowed(origin: str, host: str) -> bool:
        return "*" in settings.origins or origin.lower() in settings.origins or is_same_origin(origin, host)

    return allowed
