"""The WebSocket shell: frames are parsed where they arrive, and written straight to the transport.

After the upgrade aiohttp is out of the way: this protocol takes its place on the same transport. There is no task, no
queue and no stream per connection. The socket's own buffer is the first place where bytes wait; above its mark the
session is not `clear` any more, and what comes then waits in its outbox until the buffer has drained.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

from hubbub.transport import frames
from hubbub.transport.frames import FrameError, read_frame
from hubbub.transport.session import FAREWELL, GONE, PING_FRAME, Closing, Session
from hubbub.transport.states import ViolationError

__all__ = ["BUFFER_BYTES", "WebSocketShell"]

BUFFER_BYTES: Final = 32_768
"""What may wait in the transport before the outbox is used: bytes there can be neither shed nor replaced."""

_TAKE_BYTES: Final = 65_536
"""What the outbox gives at once."""

_MOST_FRAGMENTS: Final = 128

_UNSENT_S: Final = 5.0
"""How long what is unsent may keep a socket whose session is over."""

_FRAMES_AT_ONCE: Final = 64
"""Frames of one connection that are handled in a turn of the loop: ten thousand fit into one read."""

_PROBE: Final = b"2probe"
_PROBED: Final = frames.text_frame(b"3probe")
_UPGRADE: Final = b"5"


class WebSocketShell(asyncio.Protocol):
    """The shell of one session (see `session.Shell`). With `probe_s` it is a probe of a session that polls, and has so
    long to become its shell.
    """

    __slots__ = (
        "_answer",
        "_chunks",
        "_closed",
        "_fragments",
        "_later",
        "_missing",
        "_paused",
        "_probe_s",
        "_rest",
        "_session",
        "_timer",
        "_transport",
        "deflate",
    )

    def __init__(self, *, deflate: bool, probe_s: float | None = None) -> None:
        self.deflate = deflate
        self._probe_s = probe_s
        self._timer: asyncio.TimerHandle | None = None
        self._session: Session | None = None
        self._transport: asyncio.Transport | None = None
        self._rest = b""
        self._chunks: list[bytes] | None = None
        self._missing = 0
        self._fragments: list[bytes] | None = None
        self._later = False
        self._paused = False
        self._closed = False
        self._answer: bytes | None = None

    def take_over(self, transport: asyncio.Transport, session: Session) -> None:
        """Become the protocol of a transport, on which the 101 response has just been written."""
        self._session = session
        self._transport = transport
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=BUFFER_BYTES)
        transport.resume_reading()  # It was paused if much came before its time.
        if self._probe_s is None:
            self._open()
        else:
            self._timer = asyncio.get_running_loop().call_later(self._probe_s, self.abort)

    def _open(self) -> None:
        """The session may write here."""
        session = self._session
        if session is not None and session.is_open:
            transport = cast(asyncio.Transport, self._transport)
            session.write, session.write_many = transport.write, transport.writelines
            session.deflate = self.deflate
            if not self._paused:
                self._drain(session)

    # -- as session.Shell --------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """What is put in the outbox while the transport is paused goes out when it resumes."""

    def ping(self) -> None:
        self._write(PING_FRAME)

    def resume(self) -> None:
        session = self._session
        if session is None:
            return
        rest, self._rest = self._rest, b""
        self._later = False
        if rest:
            self._read(session, rest)
        if self._later:
            return
        if not session.blocked and self._transport is not None and not self._closed:
            self._transport.resume_reading()

    def unsent(self) -> int:
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def close(self, closing: Closing) -> None:
        """The close frame goes behind what the transport has; then the peer has some seconds to close as well."""
        if self._closed or self._transport is None:
            return
        session = self._session
        if session is not None and session.outbox is not None and closing.code != "slow_consumer" and not self._paused:
            for message in session.take(session.bounds.outbox_bytes):
                self._write(message.frame)
        self._write(frames.close_frame(closing.status if closing is not FAREWELL else 1000, closing.reason))
        self._closed = True
        self._rest = b""
        if closing.code in ("client_closed", "transport_lost"):
            self._transport.close()
        elif self._later or (session is not None and session.blocked):
            # Reading was paused; the peer's own close has to be seen.
            self._transport.resume_reading()

    def abort(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """Answer a close frame, and close."""
        self._closed = True
        if self._transport is not None:
            if self._answer is not None:
                self._transport.write(self._answer)
            self._transport.close()
            if self.unsent():
                # Closing waits for what is unsent, and a peer that does not read would keep the descriptor.
                asyncio.get_running_loop().call_later(_UNSENT_S, self._transport.abort)

    # -- as asyncio.Protocol -----------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        session = self._session
        if session is None:
            return
        if self._chunks is not None:
            # A frame in many pieces: joining them once costs what they are, joining at each what they are squared.
            self._chunks.append(data)
            self._missing -= len(data)
            if self._missing > 0:
                return
            data, self._chunks = b"".join(self._chunks), None
        self._read(session, data if not self._rest else self._rest + data)

    def eof_received(self) -> bool:
        """Whether the transport stays open: until its turn comes, or many ends at once would stop the loop."""
        session = self._session
        if session is None or session.shell is not self:
            return False
        session.end_soon()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        session, self._session = self._session, None
        self._transport = None
        self._stop_timer()
        self._chunks = self._fragments = None
        self._rest = b""
        self._closed = True
        if session is not None:
            if session.candidate is self:
                session.candidate = None
            if session.probe_shell is self:
                session.give_up_probe()
            elif session.shell is self:
                session.cut_off()

    def pause_writing(self) -> None:
        self._paused = True
        session = self._session
        if session is not None and session.shell is self:
            session.clear = False
            session.stalled()

    def resume_writing(self) -> None:
        self._paused = False
        session = self._session
        if session is not None and session.shell is self and session.is_open:
            session.progressed()
            self._drain(session)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._closed:
            self._transport.write(data)

    def _drain(self, session: Session) -> None:
        """Write from the outbox until it is empty or the transport takes no more."""
        while not self._paused:
            messages = session.take(_TAKE_BYTES)
            if not messages:
                session.clear = True
                return
            if session.deflate:
                threshold = session.bounds.deflate_bytes
                self._write(b"".join([message.deflated(threshold) for message in messages]))
            elif any(message.pieces for message in messages):
                if self._transport is not None and not self._closed:
                    self._transport.writelines([piece for message in messages for piece in message.frame_pieces()])
            else:
                self._write(b"".join([message.frame for message in messages]))

    def _read(self, session: Session, data: bytes) -> None:
        """Handle the whole frames; keep the rest."""
        at, size = 0, len(data)
        limit = session.bounds.packet_bytes
        try:
            handled = 0
            while at < size:
                if handled == _FRAMES_AT_ONCE and not self._closed:
                    self._go_on_later(data[at:])
                    return
                handled += 1
                if session.blocked and session.shell is self and not self._closed:
                    if self._transport is not None:
                        self._transport.pause_reading()
                    self._rest = data[at:]
                    return
                frame = read_frame(data, at, limit=limit, deflate=self.deflate)
                if type(frame) is int:
                    self._keep(data[at:] if at else data, frame)
                    return
                at = frame[4]  # type: ignore[index]  # A tuple; the type check above is the quick one.
                self._on_frame(session, frame)  # type: ignore[arg-type]
                if self._closed and session.closing is not None and session.closing is not GONE and at >= size:
                    break
            self._rest = b""
        except FrameError as error:
            self._rest = b""
            if session.shell is self:
                session.violate(ViolationError(error.reason), error.code)
            else:
                self._refuse(error.code, error.reason)

    def _go_on_later(self, rest: bytes) -> None:
        """Others have their turn before the rest is looked at."""
        self._rest = rest
        self._later = True
        if self._transport is not None:
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self.resume)

    def _keep(self, rest: bytes, missing: int) -> None:
        if missing > 4096:
            self._rest = b""
            self._chunks = [rest]
            self._missing = missing
        else:
            self._rest = rest

    def _on_frame(self, session: Session, frame: frames.Frame) -> None:
        opcode, fin, compressed, payload, _ = frame
        if opcode >= frames.CLOSE:
            self._on_control(session, opcode, payload)
        elif self._closed:
            return
        elif opcode == frames.CONTINUATION:
            self._on_fragment(session, payload, fin)
        elif self._fragments is not None:
            raise FrameError(1002, "a message begins within another")
        elif fin:
            if compressed:
                payload = frames.inflate(payload, limit=session.bounds.packet_bytes)
            self._on_message(session, opcode, payload)
        else:
            self._fragments = [bytes((opcode, compressed)), payload]

    def _on_fragment(self, session: Session, payload: bytes, fin: bool) -> None:
        fragments = self._fragments
        if fragments is None:
            raise FrameError(1002, "a continuation continues nothing")
        fragments.append(payload)
        if sum(map(len, fragments[1:])) > session.bounds.packet_bytes or len(fragments) > _MOST_FRAGMENTS:
            raise FrameError(1009, "a message is larger than this server takes")
        if fin:
            self._fragments = None
            opcode, compressed = fragments[0]
            message = b"".join(fragments[1:])
            if compressed:
                message = frames.inflate(message, limit=session.bounds.packet_bytes)
            self._on_message(session, opcode, message)

    def _on_message(self, session: Session, opcode: int, payload: bytes) -> None:
        if opcode == frames.TEXT:
            if not payload.isascii():
                try:
                    payload.decode()
                except UnicodeDecodeError:
                    raise FrameError(1007, "a text is not UTF-8") from None
            if session.shell is self:
                session.receive_text(payload)
            else:
                self._on_probe(session, payload)
        elif session.shell is self:
            session.receive_binary(payload)
        else:
            raise FrameError(1002, "a probe sends no binary")

    def _on_probe(self, session: Session, payload: bytes) -> None:
        """A WebSocket that is not the transport yet may send two packets: the probe and the upgrade."""
        if payload == _PROBE:
            if session.probe(self):
                self._write(_PROBED)
                return
        elif payload == _UPGRADE and session.probe_shell is self:
            self._stop_timer()
            before = session.upgrade()
            self._open()
            if before is not None:
                before.resume()
            return
        self._refuse(1002, "not a probe")

    def _refuse(self, code: int, reason: str) -> None:
        """A probe that is none ends; the session it names goes on as it was."""
        self._write(frames.close_frame(code, reason))
        self._closed = True
        if self._transport is not None:
            self._transport.close()

    def _on_control(self, session: Session, opcode: int, payload: bytes) -> None:
        if opcode == frames.PING:
            if not self._paused:
                self._write(frames.pong_frame(payload))
        elif opcode == frames.CLOSE:
            code = frames.read_close(payload)
            if not self._closed:
                self._answer = frames.close_frame(1000 if code == 1005 else code)
                self._closed = True
            if session.shell is self:
                session.end_soon()
            else:
                self.finish()
