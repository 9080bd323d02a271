"""A connection without its sockets: whatever happens in whatever order, it keeps to the table and comes to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from hubbub.transport.bounds import Bounds
from hubbub.transport.frames import text_frame
from hubbub.transport.message import Keep, Message
from hubbub.transport.outbox import Verdict
from hubbub.transport.session import GONE, Closing, Session
from hubbub.transport.states import TRANSITIONS, Input, State, ViolationError
from tests.support.sessions import ManualWheel, RecordingOwner, RecordingShell, make_session

BOUNDS = Bounds(
    packet_bytes=1_000,
    outbox_bytes=4_000,
    outbox_packets=10,
    connect_s=20,
    upgrade_s=10,
    stall_s=10,
    close_s=5,
    ping_interval_s=15,
    ping_timeout_s=15,
)
DROPPED = Closing("dropped", 1001, "closed by the server")
TEXTS = [b"40", b"42[]", b"4bad", b"3", b"3probe", b"2", b"2probe", b"1", b"5", b"6", b"0", b"", b"x", b"b4", b"\xff"]
ALIVE = (State.POLLING, State.PROBING, State.WEBSOCKET)


def begun(
    state: State = State.WEBSOCKET, *, bounds: Bounds = BOUNDS, ping_s: float = 15
) -> tuple[Session, RecordingShell, RecordingOwner, ManualWheel]:
    shell = RecordingShell()
    session, owner, wheel = make_session(state=state, shell=shell, bounds=bounds)
    session.start(ping_s)
    return session, shell, owner, wheel


def probed() -> tuple[Session, RecordingShell, RecordingShell, RecordingOwner, ManualWheel]:
    session, polling, owner, wheel = begun(State.POLLING)
    probe = RecordingShell()
    assert session.probe(probe)
    return session, polling, probe, owner, wheel


def path_of(before: State, after: State) -> bool:
    """Whether the table leads from one to the other, in any number of steps."""
    found, new = {before}, {before}
    while new:
        new = {TRANSITIONS[state, each] for state in new for each in Input if (state, each) in TRANSITIONS} - found
        found |= new
    return after in found


class Sessions(RuleBasedStateMachine):
    """Everything that shells, owners, peers and the time can do to a session."""

    def __init__(self) -> None:
        super().__init__()
        self.session, _, self.owner, self.wheel = begun(State.POLLING)
        self.before = self.session.state
        self.written: list[bytes] = []

    @rule(text=st.sampled_from(TEXTS))
    def a_text_comes(self, text: bytes) -> None:
        self.session.receive_text(text)

    @rule(data=st.sampled_from([b"", b"abc", b"bad"]))
    def a_binary_comes(self, data: bytes) -> None:
        self.session.receive_binary(data)

    @rule()
    def a_websocket_probes(self) -> None:
        may = self.session.state is State.POLLING
        assert self.session.probe(RecordingShell()) is may

    @rule()
    def a_probe_becomes_the_transport(self) -> None:
        shell, probe = self.session.shell, self.session.probe_shell
        was = self.session.upgrade()
        assert was is (shell if probe is not None else None)
        if probe is not None:
            assert self.session.shell is probe

    @rule()
    def the_probe_is_given_up(self) -> None:
        self.session.give_up_probe()

    @rule()
    def the_server_closes(self) -> None:
        self.session.close(DROPPED)

    @rule()
    def the_peer_breaks_the_protocol(self) -> None:
        self.session.violate(ViolationError("broken"))

    @rule()
    def the_transport_is_gone(self) -> None:
        self.session.lost()

    @rule()
    def the_transport_ends(self) -> None:
        self.session.end_soon()

    @rule()
    def the_transport_is_cut_off(self) -> None:
        self.session.cut_off()

    @precondition(lambda self: self.session.state is State.WEBSOCKET and self.session.outbox is None)
    @rule()
    def the_socket_takes_everything(self) -> None:
        self.session.progressed()
        self.session.write = self.written.append
        self.session.clear = True

    @rule()
    def the_socket_takes_nothing(self) -> None:
        self.session.clear = False
        self.session.stalled()

    @rule(count=st.integers(1, 4))
    def the_outbox_is_read(self, count: int) -> None:
        self.session.take(500, count)
        self.session.progressed()

    @rule(keep=st.sampled_from(Keep), size=st.integers(1, 1_000))
    def something_is_sent(self, keep: Keep, size: int) -> None:
        was_open, was_clear, written = self.session.is_open, self.session.clear, len(self.written)
        verdict = self.session.send(Message(b"4" + bytes(size), keep=keep, key="k"))
        if not was_open:
            assert verdict is Verdict.SHED
        elif was_clear:
            assert verdict is Verdict.OK
        assert len(self.written) - written == (1 if was_clear else 0)

    @rule()
    def too_much_has_come(self) -> None:
        self.session.pause()

    @rule()
    def there_is_room_again(self) -> None:
        self.session.resume()

    @rule()
    def a_namespace_is_connected(self) -> None:
        self.session.connected()

    @rule()
    def the_last_namespace_is_left(self) -> None:
        self.session.left(5)

    @rule(seconds=st.sampled_from([0.0, 0.1, 4.9, 5.0, 10.0, 14.0, 15.0, 31.0]))
    def time_passes(self, seconds: float) -> None:
        self.wheel.forward(seconds)

    @invariant()
    def the_state_changes_as_the_table_says(self) -> None:
        assert path_of(self.before, self.session.state)
        self.before = self.session.state

    @invariant()
    def the_owner_is_told_once_of_each_end(self) -> None:
        state = self.session.state
        assert len(self.owner.closings) == (state not in ALIVE)
        assert self.owner.closings == ([self.session.closing] if self.session.closing is not None else [])
        assert self.owner.closed == (state is State.CLOSED)

    @invariant()
    def there_is_a_probe_as_long_as_one_is_going_on(self) -> None:
        assert (self.session.probe_shell is not None) == (self.session.state is State.PROBING)

    @invariant()
    def nothing_is_sent_at_once_by_who_is_ending(self) -> None:
        assert not self.session.clear or self.session.state is State.WEBSOCKET

    @invariant()
    def the_outbox_keeps_its_bounds(self) -> None:
        outbox = self.session.outbox
        if outbox is not None:
            assert outbox.bytes <= BOUNDS.outbox_bytes
            assert len(outbox) <= BOUNDS.outbox_packets

    @invariant()
    def only_who_is_not_closed_has_a_place_in_the_wheel(self) -> None:
        assert (self.session in self.wheel.places) == (self.session.state is not State.CLOSED)

    @invariant()
    def the_closed_hold_nothing(self) -> None:
        if self.session.state is State.CLOSED:
            assert self.session.outbox is None
            assert self.session.corked is None

    def teardown(self) -> None:
        """Whatever happened: a peer that does nothing more has an end, once what it sent has been handled."""
        self.session.resume()
        self.wheel.forward(BOUNDS.ping_interval_s + BOUNDS.ping_timeout_s + BOUNDS.close_s + 1)
        assert self.session.state is State.CLOSED
        assert (len(self.owner.closings), self.owner.closed) == (1, 1)
        assert self.wheel.places == {}


TestSessions = Sessions.TestCase


class TestReceiving:
    def test_messages_go_to_the_owner(self) -> None:
        session, _, owner, _ = begun()
        session.receive_text(b"4hello")
        session.receive_binary(b"\x00\x01")
        assert owner.received == [("text", b"hello"), ("binary", b"\x00\x01")]

    @pytest.mark.parametrize(
        "packet", [b"", b"0", b"2", b"2probe", b"3probe", b"33", b"5", b"1x", b"66", b"7", b"x", b"b4"]
    )
    def test_what_clients_do_not_send_closes(self, packet: bytes) -> None:
        session, _, owner, _ = begun()
        session.receive_text(packet)
        assert [closing.code for closing in owner.closings] == ["protocol_violation"]
        assert owner.received == []

    def test_a_noop_is_passed_over(self) -> None:
        session, _, owner, _ = begun()
        session.receive_text(b"6")
        assert session.is_open
        assert owner.received == []

    def test_a_farewell_is_one(self) -> None:
        session, shell, owner, _ = begun()
        session.receive_text(b"1")
        assert [closing.code for closing in owner.closings] == ["client_closed"]
        assert shell.asked == ["close"]

    @pytest.mark.parametrize("kind", ["text", "binary"])
    def test_what_the_owner_does_not_take_closes_and_says_why(self, kind: str) -> None:
        session, _, owner, _ = begun()
        session.receive_text(b"4bad") if kind == "text" else session.receive_binary(b"bad")
        (closing,) = owner.closings
        assert (closing.code, closing.status, closing.reason) == ("protocol_violation", 1002, "bad")

    def test_nothing_is_looked_at_behind_the_end(self) -> None:
        session, _, owner, _ = begun()
        session.close(DROPPED)
        session.receive_text(b"4hello")
        session.receive_text(b"4bad")
        session.receive_binary(b"bad")
        assert owner.received == []
        assert session.closing is DROPPED

    def test_the_first_reason_counts(self) -> None:
        session, shell, owner, _ = begun()
        session.close(DROPPED)
        session.violate(ViolationError("late"))
        session.receive_text(b"1")
        assert owner.closings == [DROPPED]
        assert shell.asked == ["close"]


class TestSending:
    @staticmethod
    def clear() -> tuple[Session, list[bytes]]:
        session, *_ = begun()
        written: list[bytes] = []
        session.write = written.append
        session.clear = True
        return session, written

    def test_what_a_socket_takes_is_written_at_once(self) -> None:
        session, written = self.clear()
        assert session.send(Message(b"4a")) is Verdict.OK
        assert written == [text_frame(b"4a")]
        assert session.outbox is None

    def test_otherwise_it_waits_in_the_outbox_and_the_shell_is_told(self) -> None:
        session, shell, *_ = begun()
        message = Message(b"4a")
        assert session.send(message) is Verdict.OK
        assert shell.asked == ["wake"]
        assert session.take(1_000) == [message]
        assert session.outbox is None

    def test_what_was_kept_for_the_end_of_the_turn_goes_first(self) -> None:
        session, written = self.clear()
        session.corked = [text_frame(b"4a"), text_frame(b"4b")]
        session.send(Message(b"4c"))
        assert written == [text_frame(b"4a") + text_frame(b"4b"), text_frame(b"4c")]
        session.corked = [text_frame(b"4d")]
        session.clear = False
        session.send(Message(b"4e"))
        assert written[2:] == [text_frame(b"4d")]

    def test_it_also_goes_out_before_the_end(self) -> None:
        session, written = self.clear()
        session.corked = [text_frame(b"4a")]
        session.close(DROPPED)
        assert written == [text_frame(b"4a")]

    def test_a_transport_that_is_gone_is_written_to_no_more(self) -> None:
        session, written = self.clear()
        session.corked = [text_frame(b"4a")]
        session.lost()
        session.write(b"late")
        assert session.send(Message(b"4b")) is Verdict.SHED
        assert written == []

    def test_nor_while_what_follows_from_that_waits_for_its_turn(self) -> None:
        session, written = self.clear()
        session.corked = [text_frame(b"4a")]
        session.cut_off()
        session.send(Message(b"4b"))
        session.uncork()
        session.write(b"late")
        session.write_many([b"late"])
        assert written == []
        assert session.state is State.WEBSOCKET

    def test_who_reads_too_slowly_is_closed(self) -> None:
        session, _, owner, _ = begun()
        verdicts = [session.send(Message(b"4")) for _ in range(11)]
        assert verdicts == [Verdict.OK] * 10 + [Verdict.SLOW]
        (closing,) = owner.closings
        assert (closing.code, closing.status) == ("slow_consumer", 1013)

    def test_what_is_in_pieces_is_written_in_pieces(self) -> None:
        session, written = self.clear()
        lines: list[list[bytes | memoryview]] = []
        session.write_many = lines.append
        session.corked = [text_frame(b"4a")]
        shared = memoryview(b"shared")
        message = Message(b"", pieces=[b"4<", shared, b">"])
        session.send(message)
        assert written == [text_frame(b"4a")]
        assert lines[0][1] is shared
        assert b"".join(lines[0]) == text_frame(b"4<shared>")
        session.deflate = True
        session.send(message)
        assert written[1:] == [message.deflated(0)]

    def test_compression_is_for_those_who_take_it(self) -> None:
        session, written = self.clear()
        message = Message(b"4" + b"tea " * 100)
        session.send(message)
        session.deflate = True
        session.send(message)
        assert written == [message.frame, message.deflated(0)]
        assert len(written[1]) < len(written[0])


class TestRoom:
    @staticmethod
    async def crowded() -> tuple[Session, asyncio.Task[None]]:
        """A session for which much waits, and somebody who wants to send more."""
        session, *_ = begun()
        for _ in range(2):
            session.send(Message(b"4"))
        assert session.is_crowded
        waiting = asyncio.ensure_future(session.wait_room())
        await asyncio.sleep(0)
        assert not waiting.done()
        return session, waiting

    async def test_there_is_when_enough_of_what_waited_has_gone(self) -> None:
        session, waiting = await self.crowded()
        session.take(1, 1)
        await waiting
        assert session.outbox is not None
        await session.wait_room()

    async def test_each_who_waits_looks_again(self) -> None:
        session, waiting = await self.crowded()
        session.take(1_000_000)
        session.send(Message(b"4" + bytes(BOUNDS.outbox_bytes // 10)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not waiting.done()
        session.take(1_000_000)
        await waiting

    async def test_an_end_lets_everybody_go(self) -> None:
        ends: list[Callable[[Session], None]] = [Session.lost, lambda session: session.close(DROPPED)]
        for end in ends:
            session, waiting = await self.crowded()
            end(session)
            await waiting
            await session.wait_room()

    async def test_who_does_not_wait_any_more_is_passed_over(self) -> None:
        session, waiting = await self.crowded()
        waiting.cancel()
        await asyncio.wait([waiting])
        session.take(1_000_000)
        assert not session.is_crowded


class TestHeartbeat:
    def test_a_ping_is_sent_when_it_is_time_and_an_answer_puts_off_the_next(self) -> None:
        session, shell, _, wheel = begun(ping_s=7)
        session.connected()
        wheel.forward(6.9)
        assert shell.asked == []
        wheel.forward(0.1)
        assert shell.asked == ["ping"]
        wheel.forward(14)
        session.receive_text(b"3")
        wheel.forward(14.9)
        assert shell.asked == ["ping"]
        wheel.forward(0.1)
        assert shell.asked == ["ping", "ping"]

    def test_no_answer_is_the_end(self) -> None:
        session, shell, owner, wheel = begun()
        session.connected()
        wheel.forward(29.9)
        assert session.is_open
        wheel.forward(0.1)
        assert [closing.code for closing in owner.closings] == ["ping_timeout"]
        # It is at once: its peer is not there to close as well, and is seen by others until it has ended.
        assert (shell.asked, owner.closed) == (["ping", "close", "finish"], 1)

    def test_a_pong_that_nobody_asked_for_is_no_sign_of_life(self) -> None:
        session, shell, owner, wheel = begun()
        session.connected()
        for _ in range(15):
            session.receive_text(b"3")
            wheel.forward(1)
        assert shell.asked == ["ping"]
        wheel.forward(15)
        assert [closing.code for closing in owner.closings] == ["ping_timeout"]

    def test_other_packets_are_no_answer(self) -> None:
        session, _, owner, wheel = begun()
        session.connected()
        for _ in range(30):
            session.receive_text(b"4x")
            wheel.forward(1)
        assert [closing.code for closing in owner.closings] == ["ping_timeout"]

    def test_who_is_not_read_is_not_to_blame(self) -> None:
        session, _, _, wheel = begun()
        session.connected()
        session.pause()
        wheel.forward(100)
        assert session.is_open
        session.resume()
        wheel.forward(14.9)
        session.receive_text(b"3")
        wheel.forward(15)
        assert session.is_open

    def test_after_that_an_answer_is_due_again(self) -> None:
        session, _, owner, wheel = begun()
        session.connected()
        session.pause()
        wheel.forward(100)
        session.resume()
        wheel.forward(15)
        assert [closing.code for closing in owner.closings] == ["ping_timeout"]


class TestConnecting:
    def test_who_connects_no_namespace_is_closed(self) -> None:
        session, _, owner, wheel = begun()
        wheel.forward(19.9)
        assert session.is_open
        wheel.forward(0.1)
        assert [closing.code for closing in owner.closings] == ["connect_timeout"]

    def test_who_does_is_not(self) -> None:
        session, _, _, wheel = begun()
        session.connected()
        wheel.forward(25)
        assert session.is_open

    def test_who_has_left_all_has_some_time_to_come_back(self) -> None:
        session, _, owner, wheel = begun(ping_s=100)
        session.connected()
        session.left(5)
        wheel.forward(4)
        session.connected()
        wheel.forward(50)
        assert session.is_open
        session.left(5)
        wheel.forward(5)
        assert [closing.code for closing in owner.closings] == ["connect_timeout"]


class TestStalling:
    def test_a_socket_that_takes_nothing_for_long_is_given_up(self) -> None:
        session, _, owner, wheel = begun()
        session.stalled()
        wheel.forward(5)
        session.stalled()
        wheel.forward(5)
        assert [closing.code for closing in owner.closings] == ["slow_consumer"]

    def test_progress_begins_the_time_anew(self) -> None:
        session, _, _, wheel = begun()
        for _ in range(3):
            session.stalled()
            wheel.forward(4)
            session.progressed()
        assert session.is_open

    def test_who_reads_slowly_but_reads_is_kept(self) -> None:
        """A page of history is many times what a slow line carries in the time that a stall may last."""
        session, shell, owner, wheel = begun()
        session.connected()
        shell.waiting = 250_000
        session.stalled()
        while shell.waiting > 50_000:
            shell.waiting -= 50_000
            wheel.forward(10)
            assert session.is_open
        wheel.forward(10)
        assert [closing.code for closing in owner.closings] == ["slow_consumer"]

    def test_its_answer_to_a_heartbeat_waits_behind_that(self) -> None:
        session, shell, _, wheel = begun()
        session.connected()
        shell.waiting = 1_000
        session.stalled()
        for _ in range(10):
            shell.waiting -= 100
            wheel.forward(10)
        session.progressed()
        wheel.forward(14)
        session.receive_text(b"3")
        wheel.forward(15)
        assert session.is_open

    def test_an_upgrade_is_progress(self) -> None:
        session, _, _, _, wheel = probed()
        session.connected()
        session.stalled()
        wheel.forward(6)
        session.upgrade()
        wheel.forward(6)
        assert session.is_open


class TestUpgrading:
    def test_a_probe_wakes_the_poll_that_waits(self) -> None:
        _, polling, probe, _, _ = probed()
        assert polling.asked == ["wake"]
        assert probe.asked == []

    def test_a_second_probe_is_turned_away(self) -> None:
        session, _, probe, _, _ = probed()
        assert session.probe(RecordingShell()) is False
        assert session.probe_shell is probe

    def test_without_a_probe_nothing_is_upgraded(self) -> None:
        session, shell, _, _ = begun(State.POLLING)
        assert session.upgrade() is None
        assert (session.shell, session.state) == (shell, State.POLLING)

    def test_a_probe_that_takes_too_long_is_ended_and_polling_goes_on(self) -> None:
        session, polling, probe, owner, wheel = probed()
        session.connected()
        wheel.forward(9.9)
        assert probe.asked == []
        wheel.forward(0.1)
        assert probe.asked == ["abort"]
        assert (session.state, session.shell) == (State.POLLING, polling)
        assert polling.asked == ["wake", "wake"]
        assert owner.closings == []
        assert session.probe(RecordingShell()) is True

    def test_the_end_of_the_session_is_that_of_its_probe(self) -> None:
        session, polling, probe, _, _ = probed()
        session.close(DROPPED)
        assert (polling.asked, probe.asked) == (["wake", "close"], ["abort"])

    def test_so_is_the_loss_of_its_transport(self) -> None:
        session, _, probe, owner, _ = probed()
        session.lost()
        assert probe.asked == ["abort"]
        assert owner.closings == [GONE]

    def test_the_time_of_the_probe_ends_with_it(self) -> None:
        session, _, probe, _, wheel = probed()
        session.connected()
        session.upgrade()
        wheel.forward(14)
        assert (session.state, probe.asked) == (State.WEBSOCKET, [])


class TestEnding:
    @pytest.mark.parametrize("state", [State.POLLING, State.WEBSOCKET])
    def test_a_transport_that_does_not_end_is_cut(self, state: State) -> None:
        session, shell, owner, wheel = begun(state)
        session.close(DROPPED)
        wheel.forward(4.9)
        assert shell.asked == ["close"]
        assert owner.closed == 0
        wheel.forward(0.1)
        assert shell.asked == ["close", "abort"]
        assert owner.closed == 1

    def test_one_that_ends_before_is_not(self) -> None:
        session, shell, owner, wheel = begun()
        session.close(DROPPED)
        session.lost()
        wheel.forward(100)
        assert shell.asked == ["close"]
        assert owner.closed == 1

    def test_a_transport_that_ended_is_dealt_with_soon(self) -> None:
        session, shell, owner, wheel = begun()
        session.end_soon()
        assert (session.clear, owner.closed) == (False, 0)
        wheel.forward(0.1)
        assert shell.asked == ["finish"]
        assert (owner.closings, owner.closed) == ([GONE], 1)

    def test_an_end_by_the_server_meanwhile_does_not_put_that_off(self) -> None:
        session, _, owner, wheel = begun()
        session.end_soon()
        session.close(DROPPED)
        wheel.forward(0.1)
        assert owner.closed == 1

    def test_after_the_end_nothing_is_asked_of_anybody(self) -> None:
        session, shell, owner, wheel = begun()
        session.lost()
        calls: list[Any] = [session.pause, session.resume, session.stalled, session.progressed, session.connected]
        calls += [session.end_soon, session.give_up_probe, session.lost, lambda: session.left(1), session.upgrade]
        for call in calls:
            call()
        wheel.forward(100)
        assert session.probe(RecordingShell()) is False
        assert (owner.closings, owner.closed) == ([GONE], 1)
        assert wheel.places == {}
        assert shell.asked in ([], ["resume"])

    def test_a_closing_says_what_it_is(self) -> None:
        assert repr(DROPPED) == "Closing('dropped', 1001, 'closed by the server')"
