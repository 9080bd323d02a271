"""The way of every REST request, the same as that of an event: who asks, how often, what for, and an answer in time.

A request is carried out in a task of its own. Whoever goes away before the answer takes nothing back: what was admitted
is finished, and the shutdown waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import web

from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.http.bodies import read_body
from hubbub.http.failures import Handler
from hubbub.http.health import Readiness
from hubbub.http.rest.bearer import Bearers
from hubbub.http.rest.buckets import Buckets
from hubbub.http.rest.operations import Operation
from hubbub.http.rest.queries import read_header, read_path, read_query, refuse_query
from hubbub.pipeline.answers import DEADLINE_S
from hubbub.telemetry import Metrics

__all__ = ["Answer", "Asked", "Serve", "Surface"]

BODY_S: Final = 10.0
"""How long a body may take to arrive: it fits a few packets, and a client may not hold up a shutdown with it."""

_HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was found right: who asks, and the values of its path, query, headers and body."""

    identity: Identity
    path: dict[str, Any] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """A document and its status. A `memoryview` in it is a piece of JSON that was encoded already."""

    document: dict[str, Any]
    status: int = 200


Serve = Callable[[Asked], Awaitable[Answer]]


class Surface:
    """Makes handlers of operations. `max_bytes` is the bound of a body, `deadline_s` that of everything."""

    def __init__(
        self,
        *,
        bearers: Bearers,
        buckets: Buckets,
        readiness: Callable[[], Readiness],
        metrics: Metrics,
        max_bytes: int,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self._bearers = bearers
        self._buckets = buckets
        self._readiness = readiness
        self._metrics = metrics
        self._max_bytes = max_bytes
        self._deadline_s = deadline_s
        self._tasks: set[asyncio.Task[web.Response]] = set()

    def handler(self, operation: Operation, serve: Serve) -> Handler:
        """The handler of an operation that asks for a token."""

        async def handle(request: web.Request) -> web.StreamResponse:
            task = asyncio.ensure_future(self._carry_out(request, operation, serve))
            self._tasks.add(task)
            task.add_done_callback(self._done)
            return await asyncio.shield(task)

        return self.measured(operation, handle)

    def measured(self, operation: Operation, handle: Handler) -> Handler:
        """The same handler, whose requests are counted."""

        async def measure(request: web.Request) -> web.StreamResponse:
            begun = time.perf_counter()
            code: str = "internal"
            try:
                response = await handle(request)
                code = "ok"
            except HubbubError as error:
                code = error.code
                raise
            finally:
                self._metrics.requests.add(operation.name, code, time.perf_counter() - begun)
            return response

        return measure

    async def wait_idle(self) -> None:
        """Return when no request is being carried out."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    # -- inside ------------------------------------------------------------------------------------------------------

    def _done(self, task: asyncio.Task[web.Response]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # If nobody waits for the answer any more, nobody has to be told.

    async def _carry_out(self, request: web.Request, operation: Operation, serve: Serve) -> web.Response:
        self._check_open()
        try:
            async with asyncio.timeout(self._deadline_s):
                answer = await serve(await self._read(request, operation))
        except TimeoutError:
            raise HubbubError("unavailable", retry_after=1) from None
        body = orjson.dumps(answer.document, default=_spliced)
        return web.Response(body=body, status=answer.status, content_type="application/json", headers=_HEADERS)

    def _check_open(self) -> None:
        now = self._readiness()
        if now.status == "draining":
            raise HubbubError("draining", "This node is being shut down; ask again.", retry_after=1)
        if not now.takes_clients:
            raise HubbubError("unavailable", "This node is starting.", retry_after=1)

    async def _read(self, request: web.Request, operation: Operation) -> Asked:
        identity = await self._bearers.identify(request)
        self._buckets.take(identity.user)
        if operation.query is None:
            refuse_query(request)
        return Asked(
            identity,
            read_path(request, operation.path_schema) if operation.path_schema is not None else {},
            read_query(request, operation.query) if operation.query is not None else {},
            read_header(request, operation.header) if operation.header is not None else {},
            await self._read_body(request, operation) if operation.body is not None else {},
        )

    async def _read_body(self, request: web.Request, operation: Operation) -> dict[str, Any]:
        assert operation.body is not None
        try:
            async with asyncio.timeout(BODY_S):
                return await read_body(request, operation.body, max_bytes=self._max_bytes)
        except TimeoutError:
            raise HubbubError("bad_request", f"The body did not arrive within {BODY_S:g} seconds.") from None


def _spliced(value: object) -> orjson.Fragment:
    if isinstance(value, memoryview):
        return orjson.Fragment(bytes(value))
    raise TypeError(type(value).__name__)
