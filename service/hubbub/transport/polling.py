"""The long-polling shell: one GET at a time takes what waits, one POST at a time brings what comes.

A body is read whole and bounded before anything is made of it. A second GET or POST beside the first would split the
stream, so it closes the session (Engine.IO 4, "HTTP long-polling").
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable
from typing import Final

from hubbub.transport.session import Closing, Session
from hubbub.transport.states import State, ViolationError

__all__ = ["MOST_PACKETS", "PollingShell", "read_payload"]

SEPARATOR: Final = b"\x1e"

MOST_PACKETS: Final = 4096
"""Packets in one POST: stock clients send as many as they have waiting; more than this is no client."""

_HANDLED_AT_ONCE: Final = 64
"""Packets of one POST that are handled in a turn of the loop."""

_PACKETS_AT_ONCE: Final = 14
"""Messages in one answer: stock Python clients take no more than 16 packets, and lose all of a longer answer."""

_NOTHING_MORE: Final = ("client_closed", "ping_timeout", "protocol_violation", "slow_consumer")
"""Ends at which nobody will ask for what waits, or nobody shall get it."""

_PROBE_NOOP_S: Final = 0.1
"""How long a poll beside a probe is kept: the client waits for its end before it upgrades, and must not spin."""


def read_payload(body: bytes) -> list[bytes | bytearray]:
    """The packets of a body: `bytes` are text, a `bytearray` is binary. Raises `ViolationError`."""
    parts = body.split(SEPARATOR, MOST_PACKETS)
    if len(parts) > MOST_PACKETS:
        raise ViolationError("too many packets in a request")
    packets: list[bytes | bytearray] = []
    for part in parts:
        if part[:1] == b"b":
            try:
                packets.append(bytearray(base64.b64decode(part[1:], validate=True)))
            except binascii.Error:
                raise ViolationError("a binary packet is not base64") from None
        else:
            packets.append(part)
    return packets


class PollingShell:
    """The shell of a session (see `session.Shell`) while it polls."""

    __slots__ = ("_final", "_ping", "_room", "_session", "_timer", "_waiter", "polled_by", "posting")

    def __init__(self) -> None:
        self._session: Session | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ping = False
        self._final: bytes | None = None
        self.posting = False
        self.polled_by: Callable[[], bool] | None = None

    def attach(self, session: Session) -> None:
        self._session = session

    @property
    def polling(self) -> bool:
        """Whether a GET is waiting."""
        return self._waiter is not None

    # -- the two requests --------------------------------------------------------------------------------------------

    async def poll(self, is_there: Callable[[], bool] = lambda: True) -> bytes:
        """What a GET is answered with, when there is something. The caller sees to it that there is one at a time.

        `is_there` says whether its peer still waits: what comes for one that has gone is kept for the next.
        """
        session = self._session
        payload = self._payload()
        if payload or session is None:
            return payload or b"6"
        self._waiter = asyncio.get_running_loop().create_future()
        if session.state is State.PROBING:
            self._release_later()
        self.polled_by = is_there
        try:
            await self._waiter
        finally:
            self._waiter = self.polled_by = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        return (self._payload() if is_there() else b"") or b"6"

    async def give_up_poll(self) -> None:
        """End a poll whose peer has gone."""
        while self._waiter is not None:
            self._release()
            await asyncio.sleep(0)

    async def receive(self, body: bytes) -> None:
        """Handle the packets of a POST, in order; waits while the session takes no more. Raises `ViolationError`."""
        session = self._session
        packets = read_payload(body)
        for number, packet in enumerate(packets, 1):
            if number % _HANDLED_AT_ONCE == 0:
                await asyncio.sleep(0)
            while session is not None and session.blocked and session.is_open and session.shell is self:
                self._room = asyncio.get_running_loop().create_future()
                await self._room
            if session is None or not session.is_open:
                return
            if isinstance(packet, bytearray):
                session.receive_binary(bytes(packet))
            else:
                if not packet.isascii():
                    try:
                        packet.decode()
                    except UnicodeDecodeError:
                        raise ViolationError("a text is not UTF-8") from None
                session.receive_text(packet)

    @property
    def has_leftovers(self) -> bool:
        """Whether something waits for a last poll, though the session is closing."""
        session = self._session
        return session is not None and session.state is State.CLOSING and session.outbox is not None

    def take_leftovers(self) -> bytes:
        """What is left, up to the size of one body; with the last of it the session is gone."""
        payload = self._payload()
        if not self.has_leftovers and self._session is not None:
            asyncio.get_running_loop().call_soon(self._session.lost)
        return payload or b"6"

    def _payload(self) -> bytes:
        """What is ready to go, at most one body of the size that clients may send us."""
        session = self._session
        parts: list[bytes] = []
        if self._ping:
            self._ping = False
            parts.append(b"2")
        if session is not None and session.shell is self:
            for message in session.take(session.bounds.packet_bytes, _PACKETS_AT_ONCE - len(parts)):
                parts += message.payloads()
            session.progressed()
        if self._final is not None:
            parts.append(self._final)
        return SEPARATOR.join(parts)

    # -- as session.Shell --------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Answer the poll that waits, at the end of this turn, so that what else comes in it goes along."""
        session = self._session
        if self._waiter is None:
            if session is not None and session.outbox is not None:
                session.stalled()
        elif session is not None and (session.outbox is not None or session.shell is not self):
            self._release()
        elif session is not None and session.state is State.PROBING:
            self._release_later()

    def ping(self) -> None:
        self._ping = True
        self._release()

    def resume(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if self._session is not None and self._session.shell is not self:
            self._release()

    def unsent(self) -> int:
        """What a poll has taken has gone, as far as can be known."""
        return 0

    def close(self, closing: Closing) -> None:
        """A peer that broke the protocol is told with a CLOSE packet. Stock Python clients take one for a farewell and
        stay away, so others are not: they poll again, find no session, and come back.
        """
        session = self._session
        if session is not None and session.outbox is not None and closing.code in _NOTHING_MORE:
            session.outbox = None
        if closing.code in ("protocol_violation", "client_closed"):
            self._final = b"1"
        self._let_go()

    def abort(self) -> None:
        self._let_go()

    def finish(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        session = self._session
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._release()
        if session is not None and (self._waiter is not None or not self.has_leftovers):
            # There is no transport that could end later.
            asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        """A poll that was waiting has taken what there was, unless it was too much for one."""
        if self._session is not None and not self.has_leftovers:
            self._session.lost()

    def _release(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _release_later(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PROBE_NOOP_S, self._release)
