"""Sessions without sockets: a clock that is set by hand, and the sides of a session, which keep what they were told."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from hubbub.transport.base import Handshake, Link
from hubbub.transport.bounds import Bounds
from hubbub.transport.session import Closing, Session, Shell
from hubbub.transport.states import State, ViolationError
from hubbub.transport.wheel import Timed, Wheel

__all__ = [
    "JumpingLoop",
    "ManualWheel",
    "RecordingOwner",
    "RecordingShell",
    "RecordingTransport",
    "make_session",
    "run_jumping",
]

T = TypeVar("T")

_numbers = itertools.count(1)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that waits for nothing: when all is done its clock jumps to the next timer, and a little beyond."""

    LATE_S = 1e-6

    def __init__(self) -> None:
        self._now = 1_000.0
        super().__init__()

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        timers = [each.when() for each in self._scheduled if not each.cancelled()]  # type: ignore[attr-defined]
        if not self._ready and timers:  # type: ignore[attr-defined]
            self._now = max(self._now, min(timers) + self.LATE_S)
        super()._run_once()  # type: ignore[misc]


def run_jumping(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on a `JumpingLoop`."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(work)


class ManualWheel(Wheel):
    """A wheel without ticks, which asks its owners exactly when they want it, as time goes `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 1_000.0
        self.places: dict[Timed, float] = {}

    def now(self) -> float:
        return self.time

    def set(self, owner: Timed, at: float) -> None:
        self.places[owner] = min(at, self.places.get(owner, at))
        owner.tick = 1

    def remove(self, owner: Timed) -> None:
        self.places.pop(owner, None)
        owner.tick = 0

    def forward(self, seconds: float) -> None:
        end = self.time + seconds
        while self.places and (at := min(self.places.values())) <= end:
            self.time = max(self.time, at)
            owner = next(each for each, its in self.places.items() if its == at)
            self.remove(owner)
            again = owner.on_time(self.time)
            if again is not None:
                assert again > self.time, "who wants to be asked at once again is asked without end"
                self.set(owner, again)
        self.time = end


class RecordingOwner:
    """See `session.Owner`. A text or binary that begins with `bad` is a violation."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.closings: list[Closing] = []
        self.closed = 0
        self.on_received: Callable[[Session], None] = lambda session: None

    def on_text(self, session: Session, text: bytes) -> None:
        self._take(session, "text", text)

    def on_binary(self, session: Session, data: bytes) -> None:
        self._take(session, "binary", data)

    def _take(self, session: Session, kind: str, data: bytes) -> None:
        if data.startswith(b"bad"):
            raise ViolationError("bad")
        self.received.append((kind, data))
        self.on_received(session)

    def on_closing(self, session: Session, closing: Closing) -> None:
        self.closings.append(closing)

    def on_closed(self, session: Session) -> None:
        self.closed += 1

    @property
    def texts(self) -> list[bytes]:
        return [data for kind, data in self.received if kind == "text"]


class RecordingShell:
    """See `session.Shell`: keeps what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.waiting = 0
        """Bytes that its socket has not taken."""

    def wake(self) -> None:
        self.asked.append("wake")

    def ping(self) -> None:
        self.asked.append("ping")

    def resume(self) -> None:
        self.asked.append("resume")

    def unsent(self) -> int:
        return self.waiting

    def close(self, closing: Closing) -> None:
        self.asked.append("close")

    def abort(self) -> None:
        self.asked.append("abort")

    def finish(self) -> None:
        self.asked.append("finish")


class RecordingTransport(asyncio.Transport):
    """A transport that leads nowhere. `full` pauses the writing of its protocol at the next write."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True
        self.is_closed = False
        self.aborted = False
        self.full = False
        self.waiting = 0
        """Bytes that its socket has not taken."""

        self.high: int | None = None
        self.protocol: Any = None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written.append(bytes(data))
        if self.full:
            self.full = False
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.aborted = True

    def take(self) -> bytes:
        """What was written since it was last asked."""
        written, self.written[:] = b"".join(self.written), []
        return written


def make_session(
    *,
    state: State = State.WEBSOCKET,
    shell: Shell | None = None,
    bounds: Bounds | None = None,
) -> tuple[Session, RecordingOwner, ManualWheel]:
    """A session that has just begun, its owner and its wheel. Its shell is a `RecordingShell` unless one is given."""
    owner, wheel = RecordingOwner(), ManualWheel()
    link = Link(f"session-{next(_numbers)}", Handshake({}, {}, {}, "192.0.2.7"))
    session = Session(link, owner, wheel, bounds or Bounds(), state=state, shell=shell or RecordingShell())
    return session, owner, wheel
