"""The two crowds of stock clients of a rolling restart: in a process of Node, and here.

Each client does what an application does: it joins its rooms after each connect with what it has, writes now and then,
and repeats what had no ack with the same key. It reconnects as the library does by itself. What it tells is described
in `rolling_judge`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import socketio

from tests.support.conformance import find_node
from tests.support.plain import JS_HOME
from tests.support.rolling_judge import Member, News

__all__ = ["Place", "PythonMember", "Swarm", "swarm"]

Tell = Callable[[News], None]

ACK_TIMEOUT_S: Final = 45.0
"""The service answers within 30 s whatever hangs, or ends the connection."""

LOST_PAUSE_S: Final = 0.1
OUTSTANDING_MOST: Final = 5
STOP_S: Final = 20.0
LINE_MAX_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """A client to be: who it is, how it comes, where it writes and how often."""

    name: str
    token: str
    transports: Sequence[str]
    rooms: Sequence[str]
    every_s: float


# -- JavaScript --------------------------------------------------------------------------------------------------------


class Swarm:
    """Clients in a process of Node (`js_clients/swarm.mjs`)."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def stop(self) -> None:
        """Nobody begins to write anything from now on."""
        self._say({"do": "stop"})

    def begin(self, url: str, places: Sequence[Place]) -> None:
        clients = [
            {
                "name": place.name,
                "token": place.token,
                "transports": place.transports,
                "rooms": place.rooms,
                "everyMs": place.every_s * 1000,
            }
            for place in places
        ]
        self._say({"url": url, "clients": clients})

    async def read(self, tell: Tell) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            tell(json.loads(line))

    def _say(self, document: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(document).encode() + b"\n")


@contextlib.asynccontextmanager
async def swarm(url: str, places: Sequence[Place], tell: Tell) -> AsyncIterator[Swarm]:
    process = await asyncio.create_subprocess_exec(
        *(find_node(), str(JS_HOME / "swarm.mjs")),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_MAX_BYTES,
    )
    clients = Swarm(process)
    reading = asyncio.create_task(clients.read(tell))
    try:
        clients.begin(url, places)
        yield clients
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()
        await reading


# -- Python ------------------------------------------------------------------------------------------------------------


class PythonMember:
    """python-socketio's own client. All handlers are plain functions, so that what comes is told in its order."""

    def __init__(self, place: Place, member: Member, tell: Tell, chance: random.Random) -> None:
        self._place = place
        self._member = member
        self._news = tell
        self._chance = chance
        self._gone: asyncio.Future[None] | None = None
        self._connected = asyncio.Event()
        self._entered = asyncio.Event()
        self._stopped = asyncio.Event()
        self._outstanding = 0
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._sio = socketio.AsyncClient(handle_sigint=False)
        for name, handler in (
            *(("connect", self._on_connect), ("disconnect", self._on_disconnect), ("hello", self._on_hello)),
            *(("message", self._on_message), ("gap", self._on_gap), ("connect_error", self._on_refused)),
            *((name, functools.partial(self._on_told, name)) for name in ("draining", "closing")),
        ):
            self._sio.on(name, handler, namespace="/chat")

    async def begin(self, url: str) -> None:
        await self._sio.connect(
            url,
            auth={"token": self._place.token},
            transports=list(self._place.transports),
            namespaces=["/chat"],
            retry=True,
            wait_timeout=ACK_TIMEOUT_S,
        )
        self._spawn(self._write())

    def stop(self) -> None:
        """It begins to write nothing from now on."""
        self._stopped.set()

    async def close(self) -> None:
        """What still comes while it takes its leave is nobody's business: it has left its rooms."""
        self._news = lambda news: None
        self._stopped.set()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        with contextlib.suppress(socketio.exceptions.SocketIOError, TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._sio.disconnect()
                await self._sio.shutdown()
        # A connect that failed half-way leaves the library's HTTP session open.
        http = self._sio.eio.http
        if http is not None and not http.closed:
            await http.close()

    @property
    def library_gave_up(self) -> bool:
        """Whether the library's own task that reconnects has died of an error, and nobody will come back."""
        task = self._sio._reconnect_task
        is_dead = task is not None and task.done() and not task.cancelled() and task.exception() is not None
        return is_dead and not self._connected.is_set()

    # -- what comes --------------------------------------------------------------------------------------------------

    def _tell(self, what: str, **more: Any) -> None:
        self._news({"client": self._place.name, "is": what, **more})

    def _on_connect(self) -> None:
        self._gone = asyncio.get_running_loop().create_future()
        self._connected.set()
        for room in self._place.rooms:
            self._spawn(self._join(room, self._gone))

    def _on_hello(self, data: Any) -> None:
        self._tell("open", node=data["node"], at=time.time())

    def _on_disconnect(self, reason: str) -> None:
        self._connected.clear()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self._tell("lost", reason=reason, at=time.time())

    def _on_refused(self, data: Any = None) -> None:
        reason = data.get("message", "") if isinstance(data, dict) else str(data)
        self._tell("refused", reason=reason, at=time.time())

    def _on_message(self, data: Any) -> None:
        self._tell("message", data=data)

    def _on_gap(self, data: Any) -> None:
        self._tell("gap", data=data)
        if self._gone is not None:
            self._spawn(self._join(data["room"], self._gone))

    def _on_told(self, name: str, data: Any) -> None:
        self._tell(name, data=data, at=time.time())

    # -- what it does ------------------------------------------------------------------------------------------------

    async def _join(self, room: str, gone: asyncio.Future[None]) -> None:
        replica = self._member.replicas[room]
        since = replica.synced
        request = {"room": room, "since": since, "limit": 200}
        if since:
            request["epoch"] = replica.epoch
        await self._ask(
            "room:join", request, gone, lambda data: self._tell("joined", room=room, since=since, data=data)
        )
        if all(each.epoch is not None for each in self._member.replicas.values()):
            self._entered.set()
        while replica.is_paging and not gone.done():
            since = replica.synced
            request = {"room": room, "since": since, "epoch": replica.epoch, "limit": 200}
            then = functools.partial(self._told_page, room, since)
            await self._ask("history:sync", request, gone, then)

    def _told_page(self, room: str, since: int, data: Any) -> None:
        self._tell("paged", room=room, since=since, data=data)

    async def _ask(
        self, event: str, request: dict[str, Any], gone: asyncio.Future[None], then: Callable[[Any], None]
    ) -> None:
        """Until there is an answer or the connection is gone. `then` is called before any later packet."""
        while not gone.done():
            ack = await self._call(event, request, gone, then)
            if ack is None or ack["ok"]:
                if ack is None and not gone.done():
                    self._tell("trouble", text=f"{event} had no ack")
                return
            if not ack["error"]["retryable"]:
                self._tell("trouble", text=f"{event} was refused: {ack}")
                return
            await asyncio.sleep(self._pause_s(ack))

    def _pause_s(self, ack: Any) -> float:
        """As long as the service asks for, and not all at once."""
        asked: float = ack["error"].get("retry_after", 1)
        return asked * self._chance.uniform(0.5, 1.5)

    async def _call(
        self, event: str, request: dict[str, Any], gone: asyncio.Future[None], then: Callable[[Any], None]
    ) -> Any:
        """The ack; None if there is none."""
        got: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def take(ack: Any) -> None:
            if not got.done() and not gone.done():
                got.set_result(ack)
                if ack["ok"]:
                    then(ack["data"])

        try:
            await self._sio.emit(event, request, namespace="/chat", callback=take)
        except socketio.exceptions.SocketIOError as error:
            # The connection is gone, and the library is about to say so.
            await asyncio.wait({gone}, timeout=STOP_S)
            if not gone.done():
                self._tell("trouble", text=f"{event} could not be said: {error!r}")
            return None
        await asyncio.wait({got, gone}, timeout=ACK_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        if got.done():
            return got.result()
        got.cancel()
        return None

    async def _write(self) -> None:
        # Whoever has never been in its rooms may not write there yet.
        await self._entered.wait()
        every_s = self._place.every_s
        wait_s = every_s * self._chance.random()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), wait_s)
            if self._stopped.is_set():
                return
            wait_s = every_s * self._chance.uniform(0.5, 1.5)
            if self._outstanding < OUTSTANDING_MOST:
                self._count += 1
                self._outstanding += 1
                room = self._place.rooms[self._count % len(self._place.rooms)]
                request = {"room": room, "key": f"k{self._count}", "body": f"{self._place.name} says {self._count}"}
                self._tell("sending", **request, away=not self._connected.is_set())
                self._spawn(self._send(request))

    async def _send(self, request: dict[str, Any]) -> None:
        first = True

        def acked(data: Any) -> None:
            self._outstanding -= 1
            self._tell("acked", room=request["room"], key=request["key"], data=data, first=first)

        while True:
            # This client refuses to send while it is away, so the application has to wait.
            await self._connected.wait()
            assert self._gone is not None
            ack = await self._call("message:send", request, self._gone, acked)
            if ack is not None and ack["ok"]:
                return
            if ack is not None and not ack["error"]["retryable"]:
                self._tell("trouble", text=f"message:send was refused: {ack}")
                return
            self._tell("unknown", code="no ack" if ack is None else ack["error"]["code"], at=time.time())
            first = False
            # Without an ack the library may not have noticed yet that it is away.
            await asyncio.sleep(LOST_PAUSE_S if ack is None else self._pause_s(ack))

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._tell("trouble", text=f"the test's own client failed: {task.exception()!r}")
