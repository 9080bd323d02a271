"""The WebSocket shell on a transport that leads nowhere: what it makes of bytes, and what it writes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.transport import frames
from hubbub.transport.bounds import Bounds
from hubbub.transport.message import Message
from hubbub.transport.session import Closing
from hubbub.transport.states import State
from hubbub.transport.websocket import BUFFER_BYTES, WebSocketShell
from tests.support.faults_peer import frame
from tests.support.sessions import (
    RecordingShell,
    RecordingTransport,
    make_session,
    run_jumping,
)

BOUNDS = Bounds(packet_bytes=10_000, outbox_bytes=200_000)
DROPPED = Closing("dropped", 1001, "closed by the server")


class Peer:
    """A session on a WebSocket; the test is its peer."""

    def __init__(self, *, bounds: Bounds = BOUNDS, deflate: bool = False) -> None:
        self.shell = WebSocketShell(deflate=deflate)
        self.session, self.owner, self.wheel = make_session(shell=self.shell, bounds=bounds)
        self.transport = RecordingTransport()
        self.shell.take_over(self.transport, self.session)
        self.session.start(bounds.ping_interval_s)

    def feed(self, *data: bytes) -> None:
        for each in data:
            self.shell.data_received(each)

    def send_text(self, *texts: bytes) -> None:
        self.feed(*(frame(frames.TEXT, text) for text in texts))

    def close_code(self) -> int | None:
        """The code of the close frame that was written last; None if there is none."""
        for opcode, payload in reversed(server_frames(b"".join(self.transport.written))):
            if opcode == frames.CLOSE:
                return int.from_bytes(payload[:2], "big")
        return None


class Probe:
    """A WebSocket that names a session which polls."""

    def __init__(self, *, bounds: Bounds = BOUNDS) -> None:
        self.polling = RecordingShell()
        self.session, self.owner, self.wheel = make_session(state=State.POLLING, shell=self.polling, bounds=bounds)
        self.session.start(bounds.ping_interval_s)
        self.shell, self.transport = self.another()

    def another(self) -> tuple[WebSocketShell, RecordingTransport]:
        shell = WebSocketShell(deflate=False, probe_s=self.session.bounds.upgrade_s)
        transport = RecordingTransport()
        shell.take_over(transport, self.session)
        return shell, transport

    def send(self, *texts: bytes) -> None:
        for text in texts:
            self.shell.data_received(frame(frames.TEXT, text))

    def gone(self) -> None:
        self.shell.connection_lost(None)


def server_frames(data: bytes) -> list[tuple[int, bytes]]:
    """The frames that a server wrote: opcodes and payloads."""
    found: list[tuple[int, bytes]] = []
    while data:
        size, at = data[1], 2
        if size > 125:
            at = 4 if size == 126 else 10
            size = int.from_bytes(data[2:at], "big")
        found.append((data[0] & 0x0F, data[at : at + size]))
        data = data[at + size :]
    return found


def fragmented(message: bytes, cuts: Sequence[int], opcode: int = frames.TEXT) -> list[bytes]:
    """A message as several frames."""
    places = [0, *sorted(cuts), len(message)]
    parts = [message[a:b] for a, b in itertools.pairwise(places)]
    return [
        frame(
            opcode if number == 0 else 0,
            part,
            first=(0x80 if number == len(parts) - 1 else 0) | (opcode if number == 0 else 0),
        )
        for number, part in enumerate(parts)
    ]


class TestBeginning:
    async def test_it_is_the_protocol_of_its_transport_and_the_session_writes_there(self) -> None:
        peer = Peer()
        assert peer.transport.protocol is peer.shell
        assert peer.transport.high == BUFFER_BYTES
        assert peer.session.clear is True
        peer.session.send(Message(b"4a"))
        assert peer.transport.take() == frames.text_frame(b"4a")

    async def test_what_waited_before_goes_out_first(self) -> None:
        shell = WebSocketShell(deflate=False)
        session, _, _ = make_session(shell=shell)
        for text in (b"4a", b"4b"):
            session.send(Message(text))
        transport = RecordingTransport()
        shell.take_over(transport, session)
        session.send(Message(b"4c"))
        assert server_frames(transport.take()) == [(frames.TEXT, text) for text in (b"4a", b"4b", b"4c")]

    async def test_reading_goes_on_though_it_was_paused_for_what_came_early(self) -> None:
        shell, transport = WebSocketShell(deflate=False), RecordingTransport()
        session, _, _ = make_session(shell=shell)
        transport.pause_reading()
        shell.take_over(transport, session)
        assert transport.reading


class TestReading:
    @given(
        messages=st.lists(
            st.tuples(st.booleans(), st.binary(max_size=300).filter(lambda data: not data.startswith(b"bad"))),
            max_size=6,
        ),
        cuts=st.lists(st.integers(0, 2_000), max_size=10),
        data=st.data(),
    )
    def test_any_split_of_any_messages_gives_the_same_messages(
        self, messages: list[tuple[bool, bytes]], cuts: list[int], data: st.DataObject
    ) -> None:
        stream = b""
        for is_text, content in messages:
            message = b"4" + content.hex().encode() if is_text else content
            inner = data.draw(st.lists(st.integers(0, len(message)), max_size=3))
            for part in fragmented(message, inner, frames.TEXT if is_text else frames.BINARY):
                stream += part + data.draw(st.sampled_from([b"", frame(frames.PING, b"x"), frame(frames.PONG, b"")]))
        places = sorted({min(cut, len(stream)) for cut in cuts})

        async def scenario() -> Peer:
            peer = Peer()
            peer.feed(*(stream[a:b] for a, b in itertools.pairwise([0, *places, len(stream)])))
            return peer

        peer = asyncio.run(scenario())
        assert peer.owner.received == [
            ("text", content.hex().encode()) if is_text else ("binary", content) for is_text, content in messages
        ]
        assert peer.session.is_open

    @pytest.mark.parametrize("step", [1, 7, 1_000])
    async def test_a_frame_that_trickles_in_is_read_when_it_is_whole(self, step: int) -> None:
        peer = Peer()
        message = b"4" + b"x" * 9_000
        stream = frame(frames.TEXT, message) + frame(frames.TEXT, b"4end")
        for start in range(0, len(stream), step):
            assert not peer.owner.texts or start > 9_000
            peer.feed(stream[start : start + step])
        assert peer.owner.texts == [message[1:], b"end"]

    async def test_its_pieces_are_joined_once(self) -> None:
        peer = Peer()
        stream = frame(frames.TEXT, b"4" + b"x" * 9_000)
        for start in range(0, 9_000, 10):
            peer.feed(stream[start : start + 10])
        assert peer.shell._chunks is not None
        assert len(peer.shell._chunks) == 900
        assert peer.shell._rest == b""

    async def test_text_is_utf_8(self) -> None:
        peer = Peer()
        peer.send_text("4Grüße 🎉".encode())
        assert peer.owner.texts == ["Grüße 🎉".encode()]
        peer.send_text(b"4\xff")
        assert peer.close_code() == 1007

    async def test_a_character_may_be_cut_by_fragments(self) -> None:
        peer = Peer()
        message = "4ü".encode()
        peer.feed(*fragmented(message, [2]))
        assert peer.owner.texts == ["ü".encode()]

    async def test_binary_may_be_any_bytes(self) -> None:
        peer = Peer()
        peer.feed(frame(frames.BINARY, b"\xff\x00"))
        assert peer.owner.received == [("binary", b"\xff\x00")]


class TestFragments:
    async def test_a_message_in_fragments_may_be_as_large_as_one_in_one_frame(self) -> None:
        whole, parts = Peer(), Peer()
        message = b"4" + b"x" * (BOUNDS.packet_bytes - 1)
        whole.send_text(message)
        parts.feed(*fragmented(message, [5_000]))
        assert whole.owner.texts == parts.owner.texts == [message[1:]]

    async def test_a_larger_one_is_refused_before_it_is_whole(self) -> None:
        peer = Peer()
        parts = fragmented(b"4" + b"x" * BOUNDS.packet_bytes, [9_000, 9_990])
        peer.feed(*parts[:2])
        assert peer.session.is_open
        peer.feed(parts[2][:-1], parts[2][-1:])
        assert peer.close_code() == 1009

    async def test_endless_fragments_are_refused(self) -> None:
        peer = Peer()
        peer.feed(frame(frames.TEXT, b"", first=frames.TEXT))
        peer.feed(*[frame(0, b"", first=0)] * 200)
        assert peer.close_code() == 1009

    async def test_a_continuation_of_nothing_is_refused(self) -> None:
        peer = Peer()
        peer.feed(frame(0, b"4x"))
        assert peer.close_code() == 1002

    @pytest.mark.parametrize("opcode", [frames.TEXT, frames.BINARY])
    async def test_a_message_within_another_is_refused(self, opcode: int) -> None:
        peer = Peer()
        peer.feed(frame(frames.TEXT, b"4x", first=frames.TEXT), frame(opcode, b"4y"))
        assert peer.close_code() == 1002
        assert peer.owner.received == []


class TestCompression:
    async def test_a_compressed_message_is_read(self) -> None:
        peer = Peer(deflate=True)
        packed = frames.deflate(b"4" + b"tea " * 100)
        peer.feed(frame(frames.TEXT, packed, first=0xC1))
        peer.feed(frame(frames.TEXT, packed[:5], first=0x41), frame(0, packed[5:], first=0x80))
        assert peer.owner.texts == [b"tea " * 100] * 2

    async def test_it_is_bounded_when_it_is_unpacked(self) -> None:
        peer = Peer(deflate=True)
        peer.feed(frame(frames.TEXT, frames.deflate(bytes(BOUNDS.packet_bytes + 1)), first=0xC1))
        assert peer.close_code() == 1009

    async def test_it_is_refused_where_it_was_not_agreed_on(self) -> None:
        peer = Peer()
        peer.feed(frame(frames.TEXT, frames.deflate(b"4x"), first=0xC1))
        assert peer.close_code() == 1002

    async def test_what_waited_goes_out_compressed_too(self) -> None:
        peer = Peer(deflate=True, bounds=Bounds(deflate_bytes=50))
        peer.transport.full = True
        message = Message(b"4" + b"tea " * 100)
        peer.session.send(message)
        peer.session.send(message)
        peer.shell.resume_writing()
        assert peer.transport.written == [message.deflated(50)] * 2


class TestControl:
    async def test_a_ping_is_answered_with_what_it_carried(self) -> None:
        peer = Peer()
        peer.feed(frame(frames.PING, b"are you there"))
        assert peer.transport.take() == frames.pong_frame(b"are you there")

    async def test_not_while_the_socket_takes_nothing(self) -> None:
        peer = Peer()
        peer.shell.pause_writing()
        for _ in range(100):
            peer.feed(frame(frames.PING, bytes(125)))
        assert peer.transport.take() == b""

    async def test_a_pong_is_passed_over(self) -> None:
        peer = Peer()
        peer.feed(frame(frames.PONG, b"x"))
        assert (peer.transport.take(), peer.session.is_open) == (b"", True)

    @pytest.mark.parametrize(
        ("payload", "answer"), [(b"", 1000), (b"\x03\xe8", 1000), (b"\x03\xe9bye", 1001), (b"\x0f\xa0", 4000)]
    )
    async def test_a_close_is_answered_and_ends_the_connection(self, payload: bytes, answer: int) -> None:
        peer = Peer()
        peer.feed(frame(frames.CLOSE, payload))
        peer.wheel.forward(0.1)
        assert peer.close_code() == answer
        assert peer.transport.is_closed
        assert peer.owner.closed == 1

    async def test_nothing_behind_a_close_is_looked_at(self) -> None:
        peer = Peer()
        peer.feed(frame(frames.CLOSE, b"") + frame(frames.TEXT, b"4late"))
        peer.send_text(b"4later")
        assert peer.owner.received == []

    @pytest.mark.parametrize("payload", [b"\x03", b"\x03\xed", b"\x03\xe8\xff"])
    async def test_a_close_that_is_none_is_refused(self, payload: bytes) -> None:
        peer = Peer()
        peer.feed(frame(frames.CLOSE, payload))
        assert peer.close_code() in (1002, 1007)
        assert [closing.code for closing in peer.owner.closings] == ["protocol_violation"]


class TestViolations:
    async def test_a_frame_that_is_none_closes_with_its_code_and_says_why(self) -> None:
        peer = Peer()
        peer.feed(frame(3, b"x"))
        ((opcode, payload),) = server_frames(peer.transport.take())
        assert (opcode, int.from_bytes(payload[:2], "big")) == (frames.CLOSE, 1002)
        assert payload[2:].decode() == "an opcode is unknown"
        (closing,) = peer.owner.closings
        assert (closing.code, closing.status) == ("protocol_violation", 1002)

    async def test_one_that_is_too_large_is_refused_by_its_head_alone(self) -> None:
        peer = Peer()
        peer.feed(frame(frames.TEXT, b"", length=BOUNDS.packet_bytes + 1))
        assert peer.close_code() == 1009

    async def test_a_violation_in_a_packet_is_one_of_the_connection(self) -> None:
        peer = Peer()
        peer.send_text(b"4bad", b"4late")
        assert peer.close_code() == 1002
        assert peer.owner.received == []

    async def test_the_peer_s_own_close_is_waited_for(self) -> None:
        peer = Peer()
        peer.send_text(b"4bad")
        assert peer.owner.closed == 0
        peer.feed(frame(frames.CLOSE, b"\x03\xea"))
        peer.wheel.forward(0.1)
        assert peer.transport.is_closed
        assert not peer.transport.aborted
        assert peer.owner.closed == 1

    async def test_but_not_for_ever(self) -> None:
        peer = Peer()
        peer.send_text(b"4bad")
        peer.wheel.forward(BOUNDS.close_s)
        assert peer.transport.aborted
        assert peer.owner.closed == 1


class TestNotReading:
    """A session that is blocked takes nothing, and nothing is lost."""

    @staticmethod
    def blocking(count: int) -> Peer:
        """A peer whose session is blocked by each packet, of which it has sent so many."""
        peer = Peer()
        peer.owner.on_received = lambda session: session.pause()
        peer.feed(b"".join(frame(frames.TEXT, b"4%d" % number) for number in range(count)))
        return peer

    async def test_what_came_stays_until_there_is_room(self) -> None:
        peer = self.blocking(3)
        assert peer.owner.texts == [b"0"]
        assert not peer.transport.reading
        peer.session.resume()
        assert peer.owner.texts == [b"0", b"1"]
        assert not peer.transport.reading
        peer.session.resume()
        peer.session.resume()
        assert peer.owner.texts == [b"0", b"1", b"2"]
        assert peer.transport.reading

    async def test_what_comes_all_the_same_goes_behind_it(self) -> None:
        peer = self.blocking(2)
        peer.send_text(b"4late")
        peer.owner.on_received = lambda session: None
        peer.session.resume()
        assert peer.owner.texts == [b"0", b"1", b"late"]

    async def test_half_a_frame_may_wait_as_well(self) -> None:
        peer = self.blocking(1)
        whole = frame(frames.TEXT, b"4" + b"x" * 8_000)
        peer.feed(whole[:100])
        peer.owner.on_received = lambda session: None
        peer.session.resume()
        peer.feed(whole[100:5_000], whole[5_000:])
        assert peer.owner.texts == [b"0", b"x" * 8_000]

    async def test_an_end_by_the_server_does_not_wait_for_room(self) -> None:
        peer = self.blocking(2)
        peer.session.close(DROPPED)
        assert peer.transport.reading
        peer.feed(frame(frames.CLOSE, b"\x03\xe9"))
        peer.wheel.forward(0.1)
        assert peer.owner.closed == 1
        assert peer.owner.texts == [b"0"]


class TestNotWriting:
    """A socket that takes nothing: what comes then waits in the outbox."""

    @staticmethod
    def paused(count: int = 0, size: int = 10) -> Peer:
        peer = Peer()
        peer.transport.full = True
        peer.session.send(Message(b"4first"))
        for number in range(count):
            peer.session.send(Message(b"4%d" % number + bytes(size)))
        return peer

    async def test_it_is_written_when_the_socket_takes_more(self) -> None:
        peer = self.paused(3)
        assert peer.session.clear is False
        assert len(server_frames(peer.transport.take())) == 1
        peer.shell.resume_writing()
        assert [payload[:2] for _, payload in server_frames(peer.transport.take())] == [b"40", b"41", b"42"]
        assert (peer.session.clear, peer.session.outbox) == (True, None)

    async def test_only_as_much_as_it_takes(self) -> None:
        peer = self.paused(10, 15_000)
        peer.transport.take()
        peer.transport.full = True
        peer.shell.resume_writing()
        first = len(server_frames(peer.transport.take()))
        assert 0 < first < 10
        assert peer.session.clear is False
        peer.shell.resume_writing()
        assert first + len(server_frames(peer.transport.take())) == 10
        assert peer.session.clear is True

    async def test_what_waits_in_pieces_goes_out_between_the_others(self) -> None:
        peer = self.paused(1)
        peer.transport.take()
        peer.session.send(Message(b"", pieces=[b"4<", memoryview(b"shared"), b">"]))
        peer.session.send(Message(b"4z"))
        peer.shell.resume_writing()
        texts = [text for _, text in server_frames(peer.transport.take())]
        assert texts[-2:] == [b"4<shared>", b"4z"]

    async def test_a_heartbeat_goes_past_what_waits(self) -> None:
        peer = self.paused(3)
        peer.transport.take()
        peer.shell.ping()
        assert peer.transport.take() == frames.text_frame(b"2")

    async def test_who_makes_no_progress_is_given_up(self) -> None:
        peer = self.paused(1)
        peer.session.connected()
        peer.wheel.forward(BOUNDS.stall_s)
        assert [closing.code for closing in peer.owner.closings] == ["slow_consumer"]
        assert peer.session.outbox is not None
        peer.wheel.forward(BOUNDS.close_s)
        assert peer.transport.aborted

    async def test_who_reads_slowly_is_not(self) -> None:
        peer = self.paused(1)
        peer.session.connected()
        peer.transport.waiting = 30
        peer.wheel.forward(1)
        peer.session.progressed()
        peer.shell.pause_writing()
        for waiting in (20, 10, 5):
            peer.transport.waiting = waiting
            peer.wheel.forward(BOUNDS.stall_s)
            assert peer.session.is_open
        peer.wheel.forward(BOUNDS.stall_s)
        assert not peer.session.is_open

    async def test_who_does_is_not(self) -> None:
        peer = self.paused(1)
        peer.session.connected()
        for _ in range(3):
            peer.wheel.forward(BOUNDS.stall_s - 6)
            peer.shell.resume_writing()
            peer.transport.full = True
            peer.session.send(Message(b"4x"))
        assert peer.session.is_open


class TestEnding:
    async def test_the_close_frame_goes_behind_what_was_sent(self) -> None:
        peer = Peer()
        peer.session.send(Message(b"4last"))
        peer.session.close(DROPPED)
        (first, last) = server_frames(peer.transport.take())
        assert first == (frames.TEXT, b"4last")
        assert last == (frames.CLOSE, (1001).to_bytes(2, "big") + b"closed by the server")

    async def test_nothing_is_written_behind_it(self) -> None:
        peer = Peer()
        peer.session.close(DROPPED)
        peer.transport.take()
        peer.session.send(Message(b"4late"))
        peer.shell.ping()
        peer.feed(frame(frames.PING, b"x"))
        peer.shell.close(DROPPED)
        assert peer.transport.take() == b""

    async def test_a_farewell_closes_at_once(self) -> None:
        peer = Peer()
        peer.send_text(b"1")
        assert (peer.close_code(), peer.transport.is_closed) == (1000, True)

    async def test_a_connection_that_breaks_is_over(self) -> None:
        peer = Peer()
        peer.shell.connection_lost(ConnectionResetError())
        peer.wheel.forward(0.1)
        assert [closing.code for closing in peer.owner.closings] == ["transport_lost"]
        assert peer.owner.closed == 1
        peer.feed(frame(frames.TEXT, b"4late"))
        assert peer.owner.received == []

    async def test_so_is_one_whose_peer_sends_no_more(self) -> None:
        peer = Peer()
        peer.shell.eof_received()
        peer.wheel.forward(0.1)
        assert peer.transport.is_closed
        assert peer.owner.closed == 1

    async def test_what_is_half_read_is_let_go(self) -> None:
        peer = Peer()
        peer.feed(frame(frames.TEXT, b"4a", first=frames.TEXT), frame(0, b"x" * 6_000)[:100])
        peer.shell.connection_lost(None)
        assert (peer.shell._rest, peer.shell._chunks, peer.shell._fragments) == (b"", None, None)

    async def test_abort_cuts_it(self) -> None:
        peer = Peer()
        peer.shell.abort()
        assert peer.transport.aborted


class TestProbing:
    async def test_a_probe_is_answered(self) -> None:
        probe = Probe()
        probe.send(b"2probe")
        assert probe.transport.take() == frames.text_frame(b"3probe")
        assert probe.session.state is State.PROBING
        assert probe.session.clear is False

    async def test_an_upgrade_makes_it_the_transport(self) -> None:
        probe = Probe()
        waiting = Message(b"4waiting")
        probe.session.send(waiting)
        probe.send(b"2probe")
        probe.transport.take()
        probe.send(b"5")
        assert (probe.session.state, probe.session.shell) == (State.WEBSOCKET, probe.shell)
        assert probe.transport.take() == waiting.frame
        assert probe.polling.asked[-1] == "resume"
        probe.send(b"4hello")
        assert probe.owner.texts == [b"hello"]

    async def test_all_of_it_may_come_at_once(self) -> None:
        probe = Probe()
        probe.shell.data_received(b"".join(frame(frames.TEXT, text) for text in (b"2probe", b"5", b"4hello")))
        assert probe.owner.texts == [b"hello"]

    @pytest.mark.parametrize("text", [b"5", b"2", b"3probe", b"4x", b"1", b"", b"2probe "])
    async def test_anything_else_ends_it_and_not_the_session(self, text: bytes) -> None:
        probe = Probe()
        probe.send(text)
        assert server_frames(probe.transport.take())[-1][0] == frames.CLOSE
        assert probe.transport.is_closed
        probe.gone()
        assert (probe.session.state, probe.session.shell) == (State.POLLING, probe.polling)
        assert probe.owner.received == []

    @pytest.mark.parametrize("text", [b"2probe", b"4x", b"1"])
    async def test_so_it_does_behind_the_probe(self, text: bytes) -> None:
        probe = Probe()
        probe.send(b"2probe", text)
        assert probe.transport.is_closed
        probe.gone()
        assert (probe.session.state, probe.session.probe_shell) == (State.POLLING, None)

    @pytest.mark.parametrize("data", [frame(frames.BINARY, b"2probe"), frame(3, b""), frame(frames.TEXT, b"\xff")])
    async def test_a_frame_that_is_none_does_too(self, data: bytes) -> None:
        probe = Probe()
        probe.shell.data_received(data)
        assert probe.transport.is_closed
        probe.gone()
        assert (probe.session.state, probe.session.is_open) == (State.POLLING, True)

    async def test_a_second_probe_is_turned_away(self) -> None:
        probe = Probe()
        probe.send(b"2probe")
        other, transport = probe.another()
        other.data_received(frame(frames.TEXT, b"2probe"))
        assert transport.is_closed
        other.connection_lost(None)
        assert probe.session.probe_shell is probe.shell

    async def test_one_that_closes_leaves_the_session_as_it_was(self) -> None:
        probe = Probe()
        probe.send(b"2probe")
        probe.shell.data_received(frame(frames.CLOSE, b"\x03\xe8"))
        assert probe.transport.is_closed
        probe.gone()
        assert (probe.session.state, probe.session.is_open) == (State.POLLING, True)

    async def test_one_that_breaks_does_so_too(self) -> None:
        probe = Probe()
        probe.send(b"2probe")
        probe.shell.eof_received()
        probe.gone()
        assert (probe.session.state, probe.session.is_open) == (State.POLLING, True)

    def test_one_that_says_nothing_is_cut(self) -> None:
        async def scenario() -> Probe:
            probe = Probe()
            await asyncio.sleep(BOUNDS.upgrade_s - 0.1)
            assert not probe.transport.aborted
            await asyncio.sleep(0.2)
            return probe

        assert run_jumping(scenario()).transport.aborted

    def test_one_that_became_the_transport_is_not(self) -> None:
        async def scenario() -> Probe:
            probe = Probe()
            probe.send(b"2probe", b"5")
            await asyncio.sleep(BOUNDS.upgrade_s * 2)
            return probe

        assert not run_jumping(scenario()).transport.aborted

    async def test_a_session_that_takes_no_packets_can_be_upgraded_all_the_same(self) -> None:
        probe = Probe()
        probe.session.pause()
        probe.send(b"2probe", b"5", b"4held")
        assert probe.session.state is State.WEBSOCKET
        assert probe.owner.received == []
        assert not probe.transport.reading
        probe.session.resume()
        assert probe.owner.texts == [b"held"]
        assert probe.transport.reading

    async def test_the_socket_of_a_probe_may_be_full(self) -> None:
        probe = Probe()
        probe.session.send(Message(b"4waiting"))
        probe.transport.full = True
        probe.send(b"2probe", b"5")
        assert server_frames(probe.transport.take()) == [(frames.TEXT, b"3probe")]
        assert probe.session.clear is False
        probe.shell.resume_writing()
        assert server_frames(probe.transport.take()) == [(frames.TEXT, b"4waiting")]
        assert probe.session.clear is True

    async def test_the_end_of_the_session_is_that_of_its_probe(self) -> None:
        probe = Probe()
        probe.send(b"2probe")
        probe.session.close(DROPPED)
        assert probe.transport.aborted
