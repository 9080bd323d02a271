"""Connections that keep a window of sends in flight, and connections that only listen."""

from __future__ import annotations

import asyncio
import time
from typing import TypeVar

from bench.servers import Target
from bench.wire import Wire, connect, frame

__all__ = ["Listener", "Sender", "body_of", "listeners", "senders"]

_W = TypeVar("_W", bound=Wire)
_OPEN_AT_ONCE = 32
_EVENT = b'42/chat,["message"'


def body_of(size: int) -> str:
    """A body of `size` ASCII characters."""
    return ("The quick brown fox jumps over the lazy dog. " * (size // 45 + 1))[:size]


class Sender(Wire):
    """Keeps `window` sends in flight between `begin` and `finish`. Every ack must say `ok: true`.

    `acks` counts for ever, `latencies_ms` is what was measured since `begin`, `events` counts what was pushed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.acks = 0
        self.events = 0
        self.failure: str | None = None
        self.latencies_ms: list[float] = []
        self._sent: dict[int, float] = {}
        self._count = 0
        self._running = False
        self._drained: asyncio.Future[None] | None = None
        self._middle = b""
        self._end = b""

    def begin(self, *, room: str, event: str, key: str, body: str, window: int) -> None:
        """Start sending. `key` makes the keys of this run differ from those of others."""
        self.on_packet = self._on_load_packet
        self._middle = f'["{event}",{{"room":"{room}","key":"{key}-'.encode()
        self._end = f'","body":"{body}"}}]'.encode()
        self.latencies_ms = []
        self._running = True
        self.send_raw(b"".join(self._next() for _ in range(window)))

    async def finish(self) -> None:
        """Stop sending and return when everything is acknowledged."""
        self._running = False
        if self._sent:
            self._drained = asyncio.get_running_loop().create_future()
            await asyncio.wait_for(self._drained, 30)
            self._drained = None
        self.check()

    def check(self) -> None:
        """Raise `RuntimeError` if anything was refused or the connection was lost."""
        if self.failure is not None:
            raise RuntimeError(self.failure)
        if self.lost.done():
            raise RuntimeError("the server closed a connection under load")

    def _next(self) -> bytes:
        self._count += 1
        number = self._count
        self._sent[number] = time.perf_counter()
        return frame(b"42/chat,%d%b%d%b" % (number, self._middle, number, self._end))

    def _on_load_packet(self, packet: bytes) -> None:
        if not packet.startswith(b"43/chat,"):
            self.events += 1
            return
        start = packet.index(b"[", 8)
        sent = self._sent.pop(int(packet[8:start]))
        if not packet.startswith(b'[{"ok":true', start):
            self.failure = f"not acknowledged: {packet.decode()}"
            self._running = False
        self.latencies_ms.append((time.perf_counter() - sent) * 1000)
        self.acks += 1
        if self._running:
            self.send_raw(self._next())
        elif self._drained is not None and not self._sent and not self._drained.done():
            self._drained.set_result(None)


class Listener(Wire):
    """Counts the messages that come, by their first bytes, so that a thousand listeners cost the generator little."""

    def __init__(self) -> None:
        super().__init__()
        self.deliveries = 0
        self.listening = False

    def data_received(self, data: bytes) -> None:
        if not self.listening:
            super().data_received(data)
            return
        self.deliveries += data.count(_EVENT)
        if b"\x81\x012" in data:  # A ping: 0x81 cannot begin a character of the text around it.
            self.send_raw(frame(b"3"))


async def senders(target: Target, count: int, *, prefix: str) -> list[Sender]:
    """Connected senders, each its own user."""
    return await _open(target, count, prefix, Sender)


async def listeners(target: Target, count: int, *, prefix: str, room: str) -> list[Listener]:
    """Connections that are subscribed to a room, each its own user."""
    opened = await _open(target, count, prefix, Listener)
    for wire in opened:
        await wire.call("room:join", {"room": room, "limit": 1} if target.is_hubbub else {"room": room})
        wire.listening = True
    return opened


async def _open(target: Target, count: int, prefix: str, make: type[_W]) -> list[_W]:
    opened: list[_W] = []
    for first in range(0, count, _OPEN_AT_ONCE):
        users = [f"{prefix}-{number}" for number in range(first, min(first + _OPEN_AT_ONCE, count))]
        opened += await asyncio.gather(*(connect(target.server.url, target.token(user), make) for user in users))
    return opened
