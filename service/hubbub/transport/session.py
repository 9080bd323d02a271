"""One Engine.IO connection without its sockets: what state it is in, what waits for its peer, and how long it may.

A session is given what arrives (`receive_text`, `receive_binary`, `probe`, `upgrade`, `lost`) and the time (`on_time`),
and talks to two sides: its *shell*, which carries bytes, and its *owner*, which carries messages to whoever handles
them. It never waits; the table of its states is in `states`.

Sending has a short way. While the shell takes everything (`clear`), whoever sends may call `write` with a message's
frame at once, which is all that fan-out does. Otherwise messages go to the outbox, and the shell takes them from there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from hubbub.transport.base import Link
from hubbub.transport.bounds import Bounds
from hubbub.transport.frames import text_frame
from hubbub.transport.message import Message
from hubbub.transport.outbox import Outbox, Verdict
from hubbub.transport.states import DEADLINES, TRANSITIONS, Deadline, Input, State, ViolationError
from hubbub.transport.wheel import Wheel

__all__ = ["GONE", "Closing", "Owner", "Session", "Shell"]

PING_FRAME: Final = text_frame(b"2")

_NEVER: Final = float("inf")

_JOINED_BYTES: Final = 16_384
"""What is smaller is joined, and written at once: that costs less than writing it in pieces."""

_CROWDED: Final = 16
"""A share of what may wait: as much and the largest page are less than half."""


class Closing:
    """Why a connection ends: a code for logs and metrics, and how the peer's WebSocket is told (RFC 6455, 7.4.1)."""

    __slots__ = ("code", "reason", "status")

    def __init__(self, code: str, status: int, reason: str = "") -> None:
        self.code = code
        self.status = status
        self.reason = reason

    def __repr__(self) -> str:
        return f"Closing({self.code!r}, {self.status}, {self.reason!r})"


GONE: Final = Closing("transport_lost", 1006)
FAREWELL: Final = Closing("client_closed", 1000)
PING_TIMEOUT: Final = Closing("ping_timeout", 1001, "no answer to a heartbeat")
CONNECT_TIMEOUT: Final = Closing("connect_timeout", 1002, "no namespace was connected in time")
SLOW: Final = Closing("slow_consumer", 1013, "what was sent is not read")


class Shell(Protocol):
    """What carries a session's bytes."""

    def wake(self) -> None:
        """There is something in the outbox."""

    def ping(self) -> None:
        """Send a PING, past what waits in the outbox."""

    def resume(self) -> None:
        """The session takes packets again."""

    def unsent(self) -> int:
        """How many bytes the transport has taken and the socket has not."""

    def close(self, closing: Closing) -> None:
        """Send what can be sent, and end the transport."""

    def abort(self) -> None:
        """End the transport now."""

    def finish(self) -> None:
        """Let go of a transport that has ended, or that the peer wants to end."""


class Owner(Protocol):
    """Who handles what a session receives."""

    def on_text(self, session: Session, text: bytes) -> None:
        """A message came; raises `ViolationError` for what is none."""

    def on_binary(self, session: Session, data: bytes) -> None: ...

    def on_closing(self, session: Session, closing: Closing) -> None:
        """The connection is ending. Called once, before the shell is told."""

    def on_closed(self, session: Session) -> None:
        """The connection is gone. Called once."""


class Session:
    """See above. `link` is what the layers above see of it; `server` is a place for their own bookkeeping."""

    __slots__ = (
        "_at",
        "_owner",
        "_room",
        "_unsent",
        "_wheel",
        "attachments",
        "blocked",
        "bounds",
        "candidate",
        "clear",
        "closing",
        "corked",
        "deflate",
        "greeted",
        "lane",
        "link",
        "outbox",
        "probe_shell",
        "refusals",
        "shell",
        "state",
        "tick",
        "write",
        "write_many",
    )

    def __init__(self, link: Link, owner: Owner, wheel: Wheel, bounds: Bounds, *, state: State, shell: Shell) -> None:
        self.link = link
        self.bounds = bounds
        self.state = state
        self.shell = shell
        self.probe_shell: Shell | None = None
        self.candidate: Shell | None = None
        """A WebSocket that names the session and has not been upgraded: there may be one."""

        self.clear = False
        self.write: Callable[[bytes], object] = _nowhere
        self.write_many: Callable[[list[bytes | memoryview]], object] = _nowhere
        """As `write`, of pieces that follow each other and are not joined for it."""

        self.corked: list[bytes | memoryview] | None = None
        """Frames for the end of this turn of the loop (see `fanout.Batch`)."""

        self.deflate = False
        """The peer takes compressed frames."""

        self.outbox: Outbox | None = None
        self.closing: Closing | None = None
        self.blocked = False
        """Nothing more is to be read for now."""

        self.lane: Any = None
        self.attachments: Any = None
        self.greeted = False
        """A CONNECT has come: nothing else may be first (Socket.IO 5, "Connection to a namespace")."""

        self.refusals = 0
        self.tick = 0
        self._at: dict[Deadline, float] | tuple[()] = ()
        self._owner = owner
        self._room: list[asyncio.Future[None]] | None = None
        self._unsent = 0
        self._wheel = wheel

    @property
    def id(self) -> str:
        return self.link.id

    @property
    def is_open(self) -> bool:
        return self.closing is None

    # -- sending -----------------------------------------------------------------------------------------------------

    def send(self, message: Message) -> Verdict:
        """Send a message, or put it where it waits. A verdict of `slow` has closed the connection."""
        if self.clear:
            if self.corked is not None:
                self.uncork()
            if message.pieces and not self.deflate:
                self.write_many(message.frame_pieces())
            else:
                self.write(self.frame_of(message))
            return Verdict.OK
        return self.queue(message)

    def frame_of(self, message: Message) -> bytes:
        """A message as this peer takes it."""
        return message.deflated(self.bounds.deflate_bytes) if self.deflate else message.frame

    def uncork(self) -> None:
        """Write what was kept for the end of the turn."""
        frames, self.corked = self.corked, None
        if frames is None:
            return
        if len(frames) > 1 and sum(map(len, frames)) > _JOINED_BYTES:
            self.write_many(frames)
        else:
            self.write(b"".join(frames))

    def queue(self, message: Message) -> Verdict:
        """As `send`, for a session that is not clear."""
        if self.closing is not None:
            return Verdict.SHED
        if self.corked is not None:
            self.uncork()
        if self.outbox is None:
            self.outbox = Outbox(max_bytes=self.bounds.outbox_bytes, max_packets=self.bounds.outbox_packets)
        verdict = self.outbox.put(message)
        if verdict is Verdict.SLOW:
            self.close(SLOW)
        else:
            self.shell.wake()
        return verdict

    def take(self, max_bytes: int, max_packets: int = 4096) -> list[Message]:
        """What goes out next. An outbox that is empty takes no memory."""
        if self.outbox is None:
            return []
        taken = self.outbox.take(max_bytes, max_packets)
        if not self.outbox:
            self.outbox = None
        if self._room is not None and not self.is_crowded:
            self._let_in()
        return taken

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits that a large answer should wait too: with it, half of the outbox must stay free for
        what is sent to groups.
        """
        return self.outbox is not None and self.outbox.bytes > self.bounds.outbox_bytes // _CROWDED

    async def wait_room(self) -> None:
        """Return when it is not crowded, or ending."""
        while self.is_crowded and self.closing is None:
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            if self._room is None:
                self._room = []
            self._room.append(room)
            await room

    def _let_in(self) -> None:
        waiting, self._room = self._room, None
        for room in waiting or ():
            if not room.done():
                room.set_result(None)

    # -- receiving ---------------------------------------------------------------------------------------------------

    def receive_text(self, packet: bytes) -> None:
        """One Engine.IO packet in text (Engine.IO 4, "Packet encoding"). What breaks the protocol closes."""
        if self.closing is not None:
            return
        kind = packet[:1]
        try:
            if kind == b"4":
                self._owner.on_text(self, packet[1:])
            elif packet == b"3":
                self._on_pong()
            elif packet == b"1":
                self.close(FAREWELL)
            elif packet != b"6":
                raise ViolationError("a packet that clients do not send")
        except ViolationError as violation:
            self.violate(violation)

    def receive_binary(self, data: bytes) -> None:
        """A binary message."""
        if self.closing is not None:
            return
        try:
            self._owner.on_binary(self, data)
        except ViolationError as violation:
            self.violate(violation)

    def violate(self, violation: ViolationError, status: int = 1002) -> None:
        """The peer broke the protocol: the connection ends."""
        self.close(Closing("protocol_violation", status, violation.reason))

    def _on_pong(self) -> None:
        """Only an answer is a sign of life: a PONG that nobody asked for says nothing."""
        if isinstance(self._at, dict) and self._at.pop(Deadline.PONG, None) is not None:
            self.deadline(Deadline.PING, self.bounds.ping_interval_s)

    def pause(self) -> None:
        """Take no more packets. The peer is not to blame if its PONG waits behind them."""
        self.blocked = True

    def resume(self) -> None:
        if self.blocked:
            self.blocked = False
            if isinstance(self._at, dict) and Deadline.PONG in self._at:
                self.deadline(Deadline.PONG, self.bounds.ping_timeout_s)
            self.shell.resume()

    # -- changing ----------------------------------------------------------------------------------------------------

    def probe(self, shell: Shell) -> bool:
        """A WebSocket asks to become the transport; whether it may."""
        if self.state is not State.POLLING or self.probe_shell is not None:
            return False
        self._step(Input.PROBE)
        self.probe_shell = shell
        self.deadline(Deadline.UPGRADE, self.bounds.upgrade_s)
        self.shell.wake()
        return True

    def upgrade(self) -> Shell | None:
        """The probe becomes the transport. Returns the shell that was it before; None if there was no probe."""
        if self.state is not State.PROBING or self.probe_shell is None:
            return None
        self._step(Input.UPGRADE)
        before, self.shell, self.probe_shell = self.shell, self.probe_shell, None
        self.candidate = None
        self._forget(Deadline.UPGRADE)
        if isinstance(self._at, dict) and self._at.pop(Deadline.PONG, None) is not None:
            # The PING may have waited for a poll that never came.
            self.deadline(Deadline.PING, 0)
        self._forget(Deadline.STALL)
        return before

    def give_up_probe(self) -> None:
        """The probe is gone: polling goes on."""
        if self.probe_shell is not None:
            self.probe_shell = None
            self._step(Input.GIVE_UP)
            self._forget(Deadline.UPGRADE)
            self.shell.wake()

    def close(self, closing: Closing) -> None:
        """End the connection for this reason; the first reason counts."""
        if self.closing is not None:
            return
        if self.corked is not None:
            self.uncork()
        self.closing = closing
        self.clear = False
        self._let_in()
        self._step(Input.CLOSE)
        self._owner.on_closing(self, closing)
        ended = isinstance(self._at, dict) and Deadline.END in self._at
        self._at = ()
        self.deadline(*((Deadline.END, 0) if ended else (Deadline.CLOSE, self.bounds.close_s)))
        if self.probe_shell is not None:
            probe, self.probe_shell = self.probe_shell, None
            probe.abort()
        self.shell.close(closing)

    def end_soon(self) -> None:
        """The transport has ended, or the peer wants it to. What follows from it costs too much for ten thousand at
        once, so it is done in slices, by the wheel.
        """
        if self.state is not State.CLOSED:
            self.clear = False
            self.deadline(Deadline.END, 0)

    def cut_off(self) -> None:
        """The transport is gone, and what follows from it is done soon. Nothing is written meanwhile: a transport of
        uvloop that is closed raises, and what raises at one session in a batch is lost to all behind it.
        """
        self.corked = None
        self.write = self.write_many = _nowhere
        self.end_soon()

    def lost(self) -> None:
        """The transport is gone, and this is what follows from it."""
        if self.state is State.CLOSED:
            return
        if self.closing is None:
            self.closing = GONE
            self._owner.on_closing(self, GONE)
        self._let_in()
        self._step(Input.LOST)
        self.clear = self.blocked = False
        self.outbox = self.corked = None
        self.write = self.write_many = _nowhere
        self._at = ()
        self._wheel.remove(self)
        if self.probe_shell is not None:
            probe, self.probe_shell = self.probe_shell, None
            probe.abort()
        self._owner.on_closed(self)

    def _step(self, happened: Input) -> None:
        self.state = TRANSITIONS[self.state, happened]

    # -- time --------------------------------------------------------------------------------------------------------

    def deadline(self, what: Deadline, in_s: float) -> None:
        """From now on this may take so long."""
        at = self._wheel.now() + in_s
        if isinstance(self._at, tuple):
            self._at = {}
        self._at[what] = at
        self._wheel.set(self, at)

    def start(self, first_ping_s: float) -> None:
        """Begin the heartbeat, and wait for the first CONNECT."""
        self.deadline(Deadline.CONNECT, self.bounds.connect_s)
        self.deadline(Deadline.PING, first_ping_s)

    def connected(self) -> None:
        """A namespace is connected."""
        self._forget(Deadline.CONNECT)

    def left(self, within_s: float) -> None:
        """No namespace is connected any more: the connection ends unless one is soon."""
        if self.closing is None:
            self.deadline(Deadline.CONNECT, within_s)

    def stalled(self) -> None:
        """The socket takes nothing. Begins to count unless it does already."""
        if self.closing is None and not self._is_stalled():
            self._unsent = self.shell.unsent()
            self.deadline(Deadline.STALL, self.bounds.stall_s)

    def _is_stalled(self) -> bool:
        return isinstance(self._at, dict) and Deadline.STALL in self._at

    def _pass_stall(self) -> None:
        """A page of history is large, and a slow line may take longer for it than we wait for any sign: as long as it
        becomes less, the peer reads.
        """
        before, self._unsent = self._unsent, self.shell.unsent()
        if self._unsent < before:
            self.deadline(Deadline.STALL, self.bounds.stall_s)
        else:
            self.close(SLOW)

    def progressed(self) -> None:
        if isinstance(self._at, dict) and self._at.pop(Deadline.STALL, None) is not None and Deadline.PONG in self._at:
            self.deadline(Deadline.PONG, self.bounds.ping_timeout_s)

    def _forget(self, what: Deadline) -> None:
        if isinstance(self._at, dict):
            self._at.pop(what, None)

    def on_time(self, now: float) -> float | None:
        """See `wheel.Timed`."""
        for what, at in list(self._at.items()) if isinstance(self._at, dict) else ():
            if at <= now and what in DEADLINES[self.state]:
                self._pass(what, now)
        return min(self._at.values(), default=None) if isinstance(self._at, dict) else None

    def _pass(self, what: Deadline, now: float) -> None:
        if not isinstance(self._at, dict) or self._at.get(what, _NEVER) > now:
            return  # Another that passed at the same time has ended it.
        del self._at[what]
        if what is Deadline.PING:
            self.shell.ping()
            self.deadline(Deadline.PONG, self.bounds.ping_timeout_s)
        elif what is Deadline.PONG:
            if self.blocked or self._is_stalled():
                # What it answers waits behind what we do not read, or what it has not read yet. The stall has an end.
                self.deadline(Deadline.PONG, self.bounds.ping_timeout_s)
            else:
                # The peer had its time. To wait for its close as well would keep it longer than is promised to others.
                self.close(PING_TIMEOUT)
                self.shell.finish()
                self.lost()
        elif what is Deadline.CONNECT:
            self.close(CONNECT_TIMEOUT)
        elif what is Deadline.STALL:
            self._pass_stall()
        elif what is Deadline.UPGRADE:
            probe = self.probe_shell
            self.give_up_probe()
            if probe is not None:
                probe.abort()
        elif what is Deadline.END:
            self.shell.finish()
            self.lost()
        else:
            self.shell.abort()
            self.lost()


def _nowhere(data: object) -> None:
    """Where the frames of a session go that has no WebSocket."""
