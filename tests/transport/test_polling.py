"""Long-polling: one GET takes what waits, one POST brings what comes, and neither loses or repeats a packet."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.transport.bounds import Bounds
from hubbub.transport.message import Message
from hubbub.transport.polling import MOST_PACKETS, PollingShell, read_payload
from hubbub.transport.session import Closing
from hubbub.transport.states import State, ViolationError
from tests.support.sessions import RecordingShell, make_session, run_jumping
from tests.support.wire import Wire, wire

TIMEOUT_S = 20.0
BOUNDS = Bounds(packet_bytes=2_000)
SEPARATOR = b"\x1e"
RESTART = Closing("draining", 1012, "this node is being shut down")


class Poller:
    """A session that polls; the test is its client. What it would get in an answer is `payload`."""

    def __init__(self, *, bounds: Bounds = BOUNDS) -> None:
        self.shell = PollingShell()
        self.session, self.owner, self.wheel = make_session(state=State.POLLING, shell=self.shell, bounds=bounds)
        self.shell.attach(self.session)
        self.session.start(bounds.ping_interval_s)

    def send(self, *texts: bytes, size: int = 0) -> None:
        for text in texts:
            self.session.send(Message(text + bytes(size)))

    async def poll(self) -> list[bytes]:
        async with asyncio.timeout(TIMEOUT_S):
            return (await self.shell.poll()).split(SEPARATOR)

    async def polling(self) -> asyncio.Task[list[bytes]]:
        """A poll that waits."""
        task = asyncio.ensure_future(self.poll())
        await asyncio.sleep(0)
        assert self.shell.polling
        return task

    async def post(self, *packets: bytes) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            await self.shell.receive(SEPARATOR.join(packets))


PACKETS = st.lists(
    st.binary(max_size=20)
    | st.text(max_size=20)
    .map(str.encode)
    .filter(lambda text: SEPARATOR not in text and text[:1] != b"b")
    .map(bytearray),
    min_size=1,
    max_size=8,
)


class TestPayloads:
    @given(PACKETS)
    def test_packets_are_read_as_they_were_written(self, packets: list[bytes | bytearray]) -> None:
        """Here a `bytearray` is a text, and `bytes` are binary."""
        parts = [bytes(each) if isinstance(each, bytearray) else b"b" + base64.b64encode(each) for each in packets]
        read = read_payload(SEPARATOR.join(parts))
        assert [bytes(each) for each in read] == [bytes(each) for each in packets]
        assert [isinstance(each, bytearray) for each in read] == [type(each) is bytes for each in packets]

    @pytest.mark.parametrize(
        "body", [b"b!", b"bA", b"bAA", b"bAAA", b"bAAA=A", b"b AAAA", b"bAA==AA==", "bé".encode(), b"b-_-_"]
    )
    def test_binary_that_is_not_base64_is_a_violation(self, body: bytes) -> None:
        with pytest.raises(ViolationError):
            read_payload(body)

    def test_an_empty_body_is_one_packet_of_nothing(self) -> None:
        assert read_payload(b"") == [b""]

    def test_as_many_packets_as_the_bound_are_taken(self) -> None:
        assert len(read_payload(SEPARATOR.join([b"6"] * MOST_PACKETS))) == MOST_PACKETS
        with pytest.raises(ViolationError):
            read_payload(SEPARATOR.join([b"6"] * (MOST_PACKETS + 1)))

    @given(st.binary(max_size=60))
    def test_any_body_is_packets_or_a_violation(self, body: bytes) -> None:
        try:
            packets = read_payload(body)
        except ViolationError:
            return
        assert len(packets) == body.count(SEPARATOR) + 1


class TestPolls:
    async def test_what_waits_is_the_answer(self) -> None:
        poller = Poller()
        poller.send(b"4a", b"4b")
        poller.session.send(Message(b"451-x", [b"\x00"]))
        assert await poller.poll() == [b"4a", b"4b", b"451-x", b"bAA=="]
        assert poller.session.outbox is None

    async def test_otherwise_it_waits_until_the_end_of_the_turn_in_which_there_is_something(self) -> None:
        poller = Poller()
        poll = await poller.polling()
        poller.send(b"4a")
        poller.send(b"4b")
        assert await poll == [b"4a", b"4b"]
        assert not poller.shell.polling

    async def test_a_ping_is_something(self) -> None:
        poller = Poller()
        poll = await poller.polling()
        poller.shell.ping()
        assert await poll == [b"2"]
        poller.shell.ping()
        poller.send(b"4a")
        assert await poller.poll() == [b"2", b"4a"]

    async def test_an_answer_is_no_larger_than_what_clients_may_send(self) -> None:
        poller = Poller()
        poller.send(*(b"4%d" % number for number in range(5)), size=800)
        answers = [await poller.poll() for _ in range(3)]
        assert [len(answer) for answer in answers] == [1, 1, 1] or all(
            len(SEPARATOR.join(answer)) <= BOUNDS.packet_bytes for answer in answers
        )
        while poller.session.outbox is not None:
            answers.append(await poller.poll())
        assert [packet[:2] for answer in answers for packet in answer] == [b"4%d" % number for number in range(5)]

    async def test_but_one_packet_goes_out_however_large_it_is(self) -> None:
        poller = Poller()
        poller.send(b"4a", size=10_000)
        poller.send(b"4b")
        assert [len(packet) for packet in await poller.poll()] == [10_002]
        assert await poller.poll() == [b"4b"]

    async def test_an_answer_has_no_more_packets_than_stock_python_clients_take(self) -> None:
        poller = Poller(bounds=Bounds())
        poller.send(*(b"4%d" % number for number in range(100)))
        packets: list[bytes] = []
        while poller.session.outbox is not None:
            poller.shell.ping()
            answer = await poller.poll()
            assert len(answer) <= 16
            packets += answer[1:]
        assert packets == [b"4%d" % number for number in range(100)]

    async def test_who_does_not_ask_has_no_endless_time(self) -> None:
        poller = Poller()
        poller.session.connected()
        poller.send(b"4a")
        poller.wheel.forward(BOUNDS.stall_s - 1)
        await poller.poll()
        poller.send(b"4b")
        poller.wheel.forward(BOUNDS.stall_s - 1)
        assert poller.session.is_open
        poller.wheel.forward(1)
        assert [closing.code for closing in poller.owner.closings] == ["slow_consumer"]

    async def test_a_poll_that_is_given_up_loses_nothing(self) -> None:
        poller = Poller()
        poll = await poller.polling()
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
        assert not poller.shell.polling
        poller.send(b"4a")
        assert await poller.poll() == [b"4a"]


class TestPosts:
    async def test_packets_are_handled_in_their_order(self) -> None:
        poller = Poller()
        await poller.post(b"4a", b"bAP8=", "4ü".encode())
        assert poller.owner.received == [("text", b"a"), ("binary", b"\x00\xff"), ("text", "ü".encode())]

    async def test_text_is_utf_8(self) -> None:
        poller = Poller()
        with pytest.raises(ViolationError):
            await poller.post(b"4a", b"4\xff", b"4b")
        assert poller.owner.texts == [b"a"]

    async def test_nothing_behind_the_end_is_handled(self) -> None:
        poller = Poller()
        await poller.post(b"4a", b"1", b"4b", b"4\xff")
        assert poller.owner.texts == [b"a"]

    async def test_a_body_that_cannot_be_read_is_not_handled_at_all(self) -> None:
        poller = Poller()
        with pytest.raises(ViolationError):
            await poller.post(b"4a", b"b!")
        assert poller.owner.received == []

    async def test_it_waits_while_the_session_takes_no_more(self) -> None:
        poller = Poller()
        poller.owner.on_received = lambda session: session.pause()
        post = asyncio.ensure_future(poller.post(b"4a", b"4b", b"4c"))
        for texts in ([b"a"], [b"a", b"b"], [b"a", b"b", b"c"]):
            for _ in range(3):
                await asyncio.sleep(0)
            assert poller.owner.texts == texts
            assert post.done() == (len(texts) == 3)
            poller.session.resume()
        await post

    async def test_the_end_of_the_session_ends_it(self) -> None:
        poller = Poller()
        poller.owner.on_received = lambda session: session.pause()
        post = asyncio.ensure_future(poller.post(b"4a", b"4b"))
        await asyncio.sleep(0)
        poller.session.close(RESTART)
        await post
        assert poller.owner.texts == [b"a"]

    async def test_an_upgrade_meanwhile_does_not_leave_it_waiting(self) -> None:
        poller = Poller()
        poller.owner.on_received = lambda session: session.pause()
        post = asyncio.ensure_future(poller.post(b"4a", b"4b"))
        await asyncio.sleep(0)
        poller.session.probe(RecordingShell())
        before = poller.session.upgrade()
        assert before is poller.shell
        poller.shell.resume()
        await post
        assert poller.owner.texts == [b"a", b"b"]


class TestProbes:
    """Beside a probe a poll is answered soon, because the client waits for its end."""

    def test_one_that_waits_is_answered_with_a_noop_but_not_at_once(self) -> None:
        async def scenario() -> tuple[list[bytes], float]:
            poller, loop = Poller(), asyncio.get_running_loop()
            before = loop.time()
            poll = await poller.polling()
            poller.session.probe(RecordingShell())
            return await poll, loop.time() - before

        answer, seconds = run_jumping(scenario())
        assert answer == [b"6"]
        assert 0.05 < seconds < 1

    def test_so_is_one_that_comes_later(self) -> None:
        async def scenario() -> tuple[list[bytes], float]:
            poller, loop = Poller(), asyncio.get_running_loop()
            poller.session.probe(RecordingShell())
            before = loop.time()
            return await poller.poll(), loop.time() - before

        answer, seconds = run_jumping(scenario())
        assert answer == [b"6"]
        assert 0.05 < seconds < 1

    async def test_what_there_is_goes_out_at_once(self) -> None:
        poller = Poller()
        poll = await poller.polling()
        poller.session.probe(RecordingShell())
        poller.send(b"4a")
        assert await poll == [b"4a"]

    async def test_after_the_upgrade_it_is_answered_and_takes_nothing(self) -> None:
        poller = Poller()
        poll = await poller.polling()
        poller.session.probe(RecordingShell())
        poller.session.upgrade()
        poller.send(b"4a")
        poller.shell.resume()
        assert await poll == [b"6"]
        assert [message.text for message in poller.session.take(1_000)] == [b"4a"]

    def test_when_the_probe_is_given_up_polls_are_held_again(self) -> None:
        async def scenario() -> bool:
            poller = Poller()
            poller.session.probe(RecordingShell())
            assert await poller.poll() == [b"6"]
            poller.session.give_up_probe()
            poll = await poller.polling()
            await asyncio.sleep(5)
            held = not poll.done()
            poll.cancel()
            return held

        assert run_jumping(scenario())


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


class TestEnds:
    async def test_who_broke_the_protocol_is_told(self) -> None:
        poller = Poller()
        poll = await poller.polling()
        poller.session.violate(ViolationError("bad"))
        assert await poll == [b"1"]
        assert poller.owner.closed == 1

    async def test_who_said_farewell_gets_one(self) -> None:
        poller = Poller()
        poll = await poller.polling()
        await poller.post(b"1")
        assert await poll == [b"1"]
        assert poller.owner.closed == 1

    async def test_others_are_not_so_that_they_come_back(self) -> None:
        poller = Poller()
        poll = await poller.polling()
        poller.session.close(RESTART)
        assert await poll == [b"6"]
        assert poller.owner.closed == 1

    async def test_a_poll_that_waits_takes_what_was_sent_before(self) -> None:
        poller = Poller()
        poll = await poller.polling()
        poller.send(b"4last")
        poller.session.close(RESTART)
        assert await poll == [b"4last"]
        await settle()
        assert poller.owner.closed == 1

    async def test_without_one_it_is_kept_for_the_next(self) -> None:
        poller = Poller()
        poller.send(b"4a", b"4b", size=1_500)
        poller.session.close(RESTART)
        await settle()
        assert poller.owner.closed == 0
        left = []
        while poller.shell.has_leftovers:
            left.append(poller.shell.take_leftovers()[:2])
        assert left == [b"4a", b"4b"]
        await settle()
        assert poller.owner.closed == 1

    async def test_but_not_for_ever(self) -> None:
        poller = Poller()
        poller.send(b"4a")
        poller.session.close(RESTART)
        await settle()
        poller.wheel.forward(BOUNDS.close_s)
        assert poller.owner.closed == 1
        assert not poller.shell.has_leftovers

    async def test_who_broke_the_protocol_gets_nothing_of_it(self) -> None:
        poller = Poller()
        poller.send(b"4a")
        poller.session.violate(ViolationError("bad"))
        await settle()
        assert not poller.shell.has_leftovers
        assert poller.owner.closed == 1

    async def test_abort_ends_a_poll_too(self) -> None:
        poller = Poller()
        poll = await poller.polling()
        poller.shell.abort()
        assert await poll == [b"6"]
        await settle()
        assert poller.owner.closed == 1


@pytest.fixture
async def tiny() -> AsyncIterator[Wire]:
    async with wire() as tiny:
        yield tiny


async def answers(session: aiohttp.ClientSession, url: str, count: int) -> list[str]:
    """Poll until there are that many acks."""
    acks: list[str] = []
    async with asyncio.timeout(TIMEOUT_S):
        while len(acks) < count:
            async with session.get(url) as response:
                packets = (await response.text()).split("\x1e")
            acks.extend(packet for packet in packets if packet.startswith("43"))
    return acks


class TestBodies:
    @pytest.mark.parametrize("count", [1, 17, 200])
    @pytest.mark.parametrize("chunked", [False, True])
    async def test_every_packet_of_a_body_is_handled(self, tiny: Wire, count: int, chunked: bool) -> None:
        async with aiohttp.ClientSession() as session:
            url = f"{tiny.url}/socket.io/?EIO=4&transport=polling"
            async with session.get(url) as response:
                url += f"&sid={orjson.loads((await response.text())[1:])['sid']}"
            async with session.post(url, data="40/chat,") as response:
                assert response.status == 200
            packets = [f'42/chat,{number}["echo","{"x" * 300}"]' for number in range(count)]
            body = "\x1e".join(packets).encode()

            async def pieces() -> AsyncIterator[bytes]:
                for start in range(0, len(body), 5000):
                    yield body[start : start + 5000]

            polling = asyncio.ensure_future(answers(session, url, count))
            async with session.post(url, data=pieces() if chunked else body) as response:
                assert response.status == 200
            acks = await polling
        assert [int(ack.removeprefix("43/chat,").partition("[")[0]) for ack in acks] == list(range(count))
