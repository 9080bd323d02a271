"""A line between a process and what it talks to over TCP. It can be spoiled while it is in use, each way by itself."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator
from typing import Literal, cast

__all__ = ["Link", "Way", "running_link"]

State = Literal["passes", "holds", "loses"]


class Way:
    """One direction. What is set holds for open connections, too, from the next piece on.

    `delay_s` is how late each piece comes out, `jitter_s` how much later at most, never before an earlier piece.
    `state` is `passes`; or `holds`, and what comes meanwhile goes on when it passes again, as on a network that is away
    for a while; or `loses`, and it never comes out, not even the end of a connection. `loss` is the share of the pieces
    that are lost while it passes.
    """

    def __init__(self, seed: int) -> None:
        self.delay_s = 0.0
        self.jitter_s = 0.0
        self.loss = 0.0
        self.lost = 0
        self._state: State = "passes"
        self._ends: set[_End] = set()
        self._chance = random.Random(seed)

    @property
    def state(self) -> State:
        return self._state

    @state.setter
    def state(self, state: State) -> None:
        self._state = state
        for end in list(self._ends):
            end.flush()

    def heal(self) -> None:
        self.delay_s = self.jitter_s = self.loss = 0.0
        self.state = "passes"

    def takes(self) -> bool:
        """Whether the next piece gets through."""
        taken = self._state != "loses" and self._chance.random() >= self.loss
        self.lost += not taken
        return taken

    def late_s(self) -> float:
        return self.delay_s + self.jitter_s * self._chance.random()


class Link:
    """Listens on a port of this machine that the system chose, and passes bytes on to `target`, another such port.

    `up` is the way from who connects to the target, `down` the way back. `refuse` ends what there is and takes no
    more, `cut` ends what there is, `stall` makes the line half-open, `heal` makes all of that good. What was lost
    while it was stalled stays lost, so a connection that was made before may be of no use for good.
    """

    def __init__(self, target: int, *, seed: int = 1) -> None:
        self.target = target
        self.port = 0
        self.up = Way(seed)
        self.down = Way(seed + 1)
        self.made = 0
        """How many connections there have been."""
        self.ends: set[_End] = set()
        self._refuses = False
        self._server: asyncio.Server | None = None
        self._connecting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _End(self, self.up, self.down), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Every connection is gone afterwards."""
        if self._server is not None:
            self._server.close()
            self.cut()
            await self._server.wait_closed()
            self._server = None

    def delay(self, delay_s: float, jitter_s: float = 0.0) -> None:
        """Either way."""
        for way in (self.up, self.down):
            way.delay_s, way.jitter_s = delay_s, jitter_s

    def stall(self, state: Literal["holds", "loses"] = "loses") -> None:
        """Connections stay, new ones can be made, and nothing comes through, either way."""
        self.up.state = self.down.state = state

    def cut(self) -> None:
        for task in list(self._connecting):
            task.cancel()
        for end in list(self.ends):
            end.abort()

    def refuse(self) -> None:
        self._refuses = True
        self.cut()

    def heal(self) -> None:
        self._refuses = False
        for way in (self.up, self.down):
            way.heal()

    def connect(self, near: _End, far: _End) -> None:
        """Make the far half of a connection that came."""
        if self._refuses:
            near.abort()
            return
        self.made += 1
        task = asyncio.ensure_future(self._connect(near, far))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, near: _End, far: _End) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: far, "127.0.0.1", self.target)
        except OSError:
            near.abort()


class _End(asyncio.Protocol):
    """One half of a connection. What it reads goes the way `reads`, what it writes has come the way `writes`. `other`
    is the other half; None for one that has just come in.
    """

    def __init__(self, link: Link, reads: Way, writes: Way, other: _End | None = None) -> None:
        self._link = link
        self._reads = reads
        self._writes = writes
        self._other = other
        self._transport: asyncio.Transport | None = None
        self._is_gone = False
        self._due: deque[tuple[float, bytes | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._link.ends.add(self)
        self._writes._ends.add(self)
        if self._is_gone:
            self._transport.abort()
        elif self._other is None:
            self._other = _End(self._link, self._writes, self._reads, self)
            self._link.connect(self, self._other)
        else:
            self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_gone = True
        self._link.ends.discard(self)
        self._writes._ends.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._other is not None and not self._other._is_gone:
            self._pass_on(None)

    def data_received(self, data: bytes) -> None:
        self._pass_on(data)

    def abort(self) -> None:
        self._is_gone = True
        self._due.clear()
        if self._transport is not None:
            self._transport.abort()

    def flush(self) -> None:
        """Write what is due; it is called again for the rest. Before the connection is made everything waits."""
        if self._transport is None or self._is_gone or self._writes.state == "holds":
            return
        loop = asyncio.get_running_loop()
        while self._due and self._due[0][0] <= loop.time():
            data = self._due.popleft()[1]
            if data is None:
                self.abort()
                return
            self._transport.write(data)
        if self._due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(self._due[0][0], self.flush)

    def _pass_on(self, data: bytes | None) -> None:
        """A piece, or the end, which is late and lost as pieces are."""
        if self._other is not None and self._reads.takes():
            self._other._write(asyncio.get_running_loop().time() + self._reads.late_s(), data)

    def _write(self, due: float, data: bytes | None) -> None:
        """Pass on at this time, and never before what came first."""
        self._due.append((max(due, self._due[-1][0]) if self._due else due, data))
        if len(self._due) == 1:
            self.flush()


@contextlib.asynccontextmanager
async def running_link(target: int, *, seed: int = 1) -> AsyncIterator[Link]:
    link = Link(target, seed=seed)
    await link.start()
    try:
        yield link
    finally:
        await link.stop()
