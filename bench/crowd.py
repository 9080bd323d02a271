"""Thousands of connections that only listen, in a process that costs less than any server (native/crowd.c).

They are opened here, with upgrade, CONNECT and join as any client does it, and then handed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import socket
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

from bench.native import built
from bench.processes import raise_descriptor_limit
from bench.servers import Target
from bench.wire import Wire, connect

__all__ = ["Crowd", "as_many_as_fit", "bare", "crowd", "member_of", "percentile_ms"]

OPEN_AT_ONCE: Final = 32
SETTLE_TIMEOUT_S: Final = 60.0
_SPARE_DESCRIPTORS: Final = 500
_WORDS: Final = 4
_PER_OCTAVE: Final = 16
_BUCKETS: Final = 64 * _PER_OCTAVE
_LAYOUT: Final = struct.Struct(f"={_WORDS + _BUCKETS}Q")
"""`struct counters` of native/crowd.c."""


def as_many_as_fit(count: int) -> int:
    """`count`, or as many connections as one process may have here."""
    return min(count, raise_descriptor_limit() - _SPARE_DESCRIPTORS)


class Crowd:
    """Connections that count what comes. All figures are since the beginning; take differences."""

    def __init__(self, process: asyncio.subprocess.Process, control: socket.socket, counters: mmap.mmap) -> None:
        self._process = process
        self._control = control
        self._counters = counters
        self._given = 0

    def _values(self) -> tuple[int, ...]:
        return _LAYOUT.unpack_from(self._counters)

    @property
    def lost(self) -> int:
        """How many connections the other side closed."""
        return self._values()[1]

    @property
    def bytes(self) -> int:
        return self._values()[3]

    @property
    def messages(self) -> int:
        return self._values()[2]

    def latencies(self) -> list[int]:
        """How many samples by bucket; for `percentile_ms` take what two of these differ by."""
        return list(self._values()[_WORDS:])

    def give(self, descriptors: Sequence[int]) -> None:
        """Hand connections over. They are closed here, which does not end them."""
        socket.send_fds(self._control, [b"f"], descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        self._given += len(descriptors)

    async def open(
        self,
        target: Target,
        users: Sequence[str],
        greet: Callable[[Wire], Awaitable[Any]],
        *,
        keep: list[int] | None = None,
        **how: Any,
    ) -> None:
        """Open a connection for each user, some at a time, do what `greet` does on it, and hand it over.

        Descriptors by which to send on them are added to `keep`, for the caller to close.
        """
        for first in range(0, len(users), OPEN_AT_ONCE):
            some = users[first : first + OPEN_AT_ONCE]
            wires = await asyncio.gather(*(_opened(target, user, greet, how) for user in some))
            descriptors = [wire.detach() for wire in wires]
            if keep is not None:
                keep += map(os.dup, descriptors)
            self.give(descriptors)

    async def wait_messages(self, wanted: int) -> None:
        """Wait until that many messages came; raises `RuntimeError` if some are missing for ten seconds."""
        seen, since = self.messages, time.monotonic()
        while seen < wanted:
            await asyncio.sleep(0.002)
            now = self.messages
            if now != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > 10:
                raise RuntimeError(
                    f"{wanted - seen} of {wanted} deliveries are missing; {self.lost} connections were lost"
                )

    def check(self) -> None:
        """Raise `RuntimeError` if a connection was lost."""
        if self.lost:
            raise RuntimeError(f"the server closed {self.lost} of {self._given} connections")

    async def kill(self) -> None:
        """End all connections at once, as when a network goes: nobody says goodbye."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._control.close()
        await self._process.wait()


@contextlib.asynccontextmanager
async def crowd() -> AsyncIterator[Crowd]:
    """An empty crowd; what is in it at the end is closed."""
    program = await asyncio.to_thread(built, "crowd")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with tempfile.TemporaryFile() as file, theirs:
        file.truncate(_LAYOUT.size)
        process = await asyncio.create_subprocess_exec(
            program, f"/dev/fd/{file.fileno()}", stdin=theirs.fileno(), pass_fds=(file.fileno(),)
        )
        opened = Crowd(process, ours, mmap.mmap(file.fileno(), _LAYOUT.size))
    try:
        yield opened
    finally:
        await opened.kill()


def percentile_ms(before: Sequence[int], after: Sequence[int], percent: float) -> float:
    """The latency within which this share was delivered, to 5 %; 0 if nothing was."""
    counts = [now - then for now, then in zip(after, before, strict=True)]
    wanted, seen = sum(counts) * percent / 100, 0
    for index, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            return float(2 ** ((index + 1) / _PER_OCTAVE) / 1e6)
    return 0.0


async def _opened(target: Target, user: str, greet: Callable[[Wire], Awaitable[Any]], how: dict[str, Any]) -> Wire:
    wire = await connect(target.server.url, target.token(user), Wire, **how)
    await greet(wire)
    return wire


async def bare(wire: Wire) -> None:
    """Do nothing on a new connection."""


def member_of(target: Target, room: str) -> Callable[[Wire], Awaitable[Any]]:
    """Join this room on a new connection."""
    request = {"room": room, "limit": 1} if target.is_hubbub else {"room": room}
    return lambda wire: wire.call("room:join", request)
