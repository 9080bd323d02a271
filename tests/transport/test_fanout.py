"""Groups of connections, one packet to all of a group, and what goes out in a turn of the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Any

import orjson
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hubbub.transport.bounds import Bounds
from hubbub.transport.fanout import Batch, Fanout
from hubbub.transport.frames import text_frame
from hubbub.transport.message import Keep, Message
from hubbub.transport.outbox import Verdict
from hubbub.transport.packets import event_message
from tests.support.sessions import make_session

RECIPIENTS = st.integers(0, 3)
GROUPS = st.sampled_from(["red", "green", "blue"])
BOUNDS = Bounds(outbox_bytes=100_000, outbox_packets=8, deflate_bytes=100)


class TurnBatch(Batch):
    """A batch whose turns end when the test says so."""

    def _schedule(self) -> None:
        self._scheduled = True

    @property
    def is_waiting(self) -> bool:
        return self._scheduled

    def turn(self) -> None:
        if self._scheduled:
            self._on_turn()


class Reader:
    """A connection in `/chat`; `written` is what its socket was given. One that is `slow` takes nothing."""

    def __init__(self, batch: Batch, *, slow: bool = False, deflate: bool = False) -> None:
        self.batch = batch
        self.session, self.owner, _ = make_session(bounds=BOUNDS)
        self.written: list[bytes] = []
        self.session.write = self.written.append
        self.session.clear = not slow
        self.session.deflate = deflate

    def send(self, message: Message) -> Verdict:
        return self.batch.send(self.session, message)

    def emit(self, event: str, data: Any) -> None:
        self.send(event_message("/chat", event, data))

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The events in what was written, in their order."""
        found: list[tuple[str, Any]] = []
        data = b"".join(self.written)
        while data:
            size, at = data[1], 2
            if size == 127:
                size, at = int.from_bytes(data[2:10], "big"), 10
            assert size < 126 or at == 10
            event, document = orjson.loads(data[at : at + size].removeprefix(b"42/chat,"))
            found.append((event, document))
            data = data[at + size :]
        return found

    @property
    def waiting(self) -> list[Message]:
        """What is in the outbox."""
        return list(self.session.outbox._waiting.values()) if self.session.outbox is not None else []


class Turns(RuleBasedStateMachine):
    """Against lists: who was in a group when something was published gets it, once, and in order.

    Between two groups there is none as long as nothing else happens; each such stretch has a number.
    """

    def __init__(self) -> None:
        super().__init__()
        self.batch = TurnBatch()
        self.sent: list[int] = []
        self.fanout = Fanout("/chat", batch=self.batch, on_sent=self.sent.append)
        self.readers = [Reader(self.batch) for _ in range(4)]
        self.pairs: set[tuple[int, str]] = set()
        self.expected: list[list[tuple[int, Hashable, int]]] = [[] for _ in self.readers]
        self.number = 0
        self.stretch = 0
        self.alone = 0

    def expect(self, who: set[int], group: str | None) -> None:
        for each in who:
            self.expected[each].append((self.stretch, group, self.number))

    def members(self, group: str) -> set[int]:
        return {who for who, each in self.pairs if each == group}

    @rule(who=RECIPIENTS, group=GROUPS)
    def subscribe(self, who: int, group: str) -> None:
        self.stretch += 1
        self.fanout.subscribe(self.readers[who], group)
        self.pairs.add((who, group))

    @rule(who=RECIPIENTS, group=GROUPS)
    def unsubscribe(self, who: int, group: str) -> None:
        self.stretch += 1
        self.fanout.unsubscribe(self.readers[who], group)
        self.pairs.discard((who, group))

    @rule(who=RECIPIENTS)
    def forget(self, who: int) -> None:
        self.stretch += 1
        self.fanout.forget(self.readers[who])
        self.pairs = {pair for pair in self.pairs if pair[0] != who}

    @rule(group=GROUPS)
    def close(self, group: str) -> None:
        self.stretch += 1
        self.fanout.close(group)
        self.pairs = {pair for pair in self.pairs if pair[1] != group}

    @rule(group=GROUPS)
    def publish(self, group: str) -> None:
        self.number += 1
        self.expect(self.members(group), group)
        assert self.fanout.publish(group, "e", self.number) == len(self.members(group))

    @rule(group=GROUPS, skip=RECIPIENTS, volatile=st.booleans())
    def publish_to_others(self, group: str, skip: int, volatile: bool) -> None:
        self.number += 1
        self.stretch += 1
        others = self.members(group) - {skip}
        self.expect(others, None)
        count = self.fanout.publish(group, "e", self.number, skip=self.readers[skip], volatile=volatile)
        assert count == len(others)
        self.stretch += 1

    @rule(who=st.sets(RECIPIENTS))
    def send_to_many(self, who: set[int]) -> None:
        self.number += 1
        self.stretch += 1
        self.expect(who, None)
        assert self.fanout.send_many([self.readers[each] for each in who], "e", self.number) == len(who)
        self.stretch += 1

    @rule(who=RECIPIENTS)
    def send_to_one(self, who: int) -> None:
        self.number += 1
        self.stretch += 1
        self.expect({who}, None)
        self.readers[who].emit("e", self.number)
        self.alone += 1
        self.stretch += 1

    @rule()
    def turn(self) -> None:
        self.stretch += 1
        self.batch.turn()
        for reader, expected in zip(self.readers, self.expected, strict=True):
            received = [number for _, number in reader.events]
            assert sorted(received) == [number for _, _, number in expected]
            of = {number: (stretch, group) for stretch, group, number in expected}
            assert [of[number][0] for number in received] == sorted(stretch for stretch, _, _ in expected)
            for stretch, group, _ in expected:
                of_one = [number for number in received if of[number] == (stretch, group)]
                assert of_one == sorted(of_one)

    @invariant()
    def nothing_waits_without_an_end_of_the_turn_to_come(self) -> None:
        waits = self.batch._groups or any(reader.session.corked for reader in self.readers)
        assert not waits or self.batch.is_waiting

    @invariant()
    def sizes_are_right(self) -> None:
        for group in ("red", "green", "blue"):
            assert self.fanout.size(group) == len(self.members(group))

    @invariant()
    def nothing_is_kept_of_what_is_over(self) -> None:
        assert set(self.fanout._groups) == {group for _, group in self.pairs}
        known = {who for who, reader in enumerate(self.readers) if reader in self.fanout._of}
        assert known == {who for who, _ in self.pairs}
        assert len(self.fanout._of) == len(known)

    def teardown(self) -> None:
        self.turn()
        assert sum(self.sent) + self.alone == sum(len(reader.events) for reader in self.readers)


TestTurns = Turns.TestCase


@pytest.fixture
def batch() -> TurnBatch:
    return TurnBatch()


def group_of(batch: Batch, *readers: Reader, **options: Any) -> Fanout:
    fanout = Fanout("/chat", batch=batch, **options)
    for reader in readers:
        fanout.subscribe(reader, "tea")
    return fanout


class TestBatches:
    def test_what_is_published_in_a_turn_goes_out_at_its_end_in_one_write(self, batch: TurnBatch) -> None:
        reader = Reader(batch)
        fanout = group_of(batch, reader)
        for number in range(3):
            fanout.publish("tea", "e", number)
        assert reader.written == []
        batch.turn()
        assert len(reader.written) == 1
        assert reader.events == [("e", 0), ("e", 1), ("e", 2)]

    def test_so_does_what_is_sent_to_one(self, batch: TurnBatch) -> None:
        reader = Reader(batch)
        for number in range(3):
            reader.emit("e", number)
        assert reader.written == []
        batch.turn()
        assert len(reader.written) == 1
        assert reader.events == [("e", 0), ("e", 1), ("e", 2)]

    def test_what_is_sent_to_one_comes_behind_what_was_published(self, batch: TurnBatch) -> None:
        reader = Reader(batch)
        group_of(batch, reader).publish("tea", "published", 1)
        reader.emit("sent", 2)
        assert reader.events == [("published", 1)]
        batch.turn()
        assert reader.events == [("published", 1), ("sent", 2)]

    def test_and_before_what_is_published_later(self, batch: TurnBatch) -> None:
        reader = Reader(batch)
        fanout = group_of(batch, reader)
        reader.emit("sent", 1)
        fanout.publish("tea", "published", 2)
        batch.turn()
        assert reader.events == [("sent", 1), ("published", 2)]

    def test_who_comes_later_in_the_turn_gets_nothing_of_it(self, batch: TurnBatch) -> None:
        early, late = Reader(batch), Reader(batch)
        fanout = group_of(batch, early)
        fanout.publish("tea", "e", 1)
        fanout.subscribe(late, "tea")
        batch.turn()
        assert (early.events, late.events) == ([("e", 1)], [])

    @pytest.mark.parametrize("how", ["unsubscribe", "forget", "close"])
    def test_who_leaves_later_in_the_turn_gets_it(self, batch: TurnBatch, how: str) -> None:
        reader = Reader(batch)
        fanout = group_of(batch, reader)
        fanout.publish("tea", "e", 1)
        arguments = {"unsubscribe": (reader, "tea"), "forget": (reader,), "close": ("tea",)}[how]
        getattr(fanout, how)(*arguments)
        batch.turn()
        assert reader.events == [("e", 1)]
        assert fanout.size("tea") == 0

    def test_a_shared_page_goes_out_at_the_end_in_its_place_and_is_not_copied(self, batch: TurnBatch) -> None:
        reader, fanout = Reader(batch), Fanout("/chat", batch=batch)
        lines: list[list[bytes | memoryview]] = []

        def write_many(pieces: list[bytes | memoryview]) -> None:
            lines.append(pieces)
            reader.written.append(b"".join(pieces))

        reader.session.write_many = write_many
        page = memoryview(b"x" * 100_000)
        reader.emit("before", 1)
        reader.send(Message(b"", pieces=[b'42/chat,["page","', page, b'"]']))
        batch.turn()
        reader.send(Message(b"", pieces=[b'42/chat,["page","', page, b'"]']))
        fanout.subscribe(reader, "red")
        reader.emit("after", 2)
        assert len(lines) == 1
        fanout.publish("red", "published", 3)
        batch.turn()
        assert [name for name, _ in reader.events] == ["before", "page", "page", "after", "published"]
        assert all(any(piece is page for piece in pieces) for pieces in lines)

    def test_a_second_page_in_the_turn_does_not_wait(self, batch: TurnBatch) -> None:
        """What the transport has taken is counted, and what waits here is not."""
        reader = Reader(batch)
        pages: list[bytes] = []
        reader.session.write_many = lambda pieces: pages.append(b"".join(pieces))
        for _ in range(3):
            reader.send(Message(b"", pieces=[b"4", memoryview(b"x" * 100_000)]))
        assert len(pages) == 2
        batch.turn()
        assert len(pages) == 3

    def test_a_group_says_who_is_in_it(self, batch: TurnBatch) -> None:
        ada, bob = Reader(batch), Reader(batch)
        fanout = Fanout("/chat", batch=batch)
        fanout.subscribe(ada, "tea")
        fanout.subscribe(bob, "tea")
        assert fanout.groups == 1
        members = fanout.members("tea")
        fanout.forget(ada)
        assert members == [ada, bob]
        assert (fanout.members("tea"), fanout.members("cake")) == ([bob], [])

    def test_two_namespaces_may_share_one(self, batch: TurnBatch) -> None:
        reader = Reader(batch)
        one, other = group_of(batch, reader), Fanout("/other", batch=batch)
        other.subscribe(reader, "tea")
        one.publish("tea", "e", 1)
        other.publish("tea", "e", 2)
        batch.turn()
        assert b"".join(reader.written) == text_frame(b'42/chat,["e",1]') + text_frame(b'42/other,["e",2]')

    def test_who_is_gone_at_the_end_of_the_turn_is_written_nothing(self, batch: TurnBatch) -> None:
        reader = Reader(batch)
        fanout = group_of(batch, reader)
        reader.emit("sent", 1)
        reader.session.lost()
        fanout.publish("tea", "published", 2)
        batch.turn()
        assert reader.written == []
        assert reader.waiting == []

    def test_a_socket_that_fills_up_meanwhile_gets_what_was_sent_before(self, batch: TurnBatch) -> None:
        reader = Reader(batch)
        reader.emit("before", 1)
        reader.session.clear = False
        reader.emit("behind", 2)
        batch.turn()
        assert reader.events == [("before", 1)]
        assert [message.text for message in reader.waiting] == [b'42/chat,["behind",2]']

    async def test_a_turn_is_one_of_the_loop(self) -> None:
        batch = Batch()
        reader = Reader(batch)
        fanout = group_of(batch, reader)
        for number in range(3):
            fanout.publish("tea", "e", number)
            await asyncio.sleep(0)
            assert reader.events[-1:] == [("e", number)]

    async def test_a_fan_out_that_is_given_none_has_its_own(self) -> None:
        fanout = Fanout("/chat")
        reader = Reader(Batch())
        fanout.subscribe(reader, "tea")
        fanout.publish("tea", "e", 1)
        await asyncio.sleep(0)
        assert reader.events == [("e", 1)]


class TestEncoding:
    def test_everybody_is_written_the_same_bytes(self, batch: TurnBatch) -> None:
        readers = [Reader(batch) for _ in range(3)]
        fanout = group_of(batch, *readers)
        fanout.publish("tea", "message", {"body": "hi"})
        batch.turn()
        (first,) = readers[0].written
        assert first == text_frame(b'42/chat,["message",{"body":"hi"}]')
        assert all(reader.written[0] is first for reader in readers)

    def test_those_who_take_compressed_frames_share_them_as_well(self, batch: TurnBatch) -> None:
        readers = [Reader(batch, deflate=True) for _ in range(3)]
        plain = Reader(batch)
        fanout = group_of(batch, *readers, plain)
        for _ in range(2):
            fanout.publish("tea", "message", {"body": "tea " * 20})
        batch.turn()
        (first,) = readers[0].written
        assert len(first) < len(plain.written[0])
        assert first[0] == 0xC1
        assert all(reader.written[0] is first for reader in readers)

    def test_nothing_is_encoded_for_nobody(self, batch: TurnBatch) -> None:
        fanout = Fanout("/chat", batch=batch)
        assert fanout.publish("tea", "message", object()) == 0
        assert fanout.send_many([], "message", object()) == 0

    @pytest.mark.parametrize("volatile", [False, True])
    def test_nothing_is_encoded_where_only_the_skipped_one_listens(self, batch: TurnBatch, volatile: bool) -> None:
        alone = Reader(batch)
        fanout = group_of(batch, alone)
        assert fanout.publish("tea", "message", object(), skip=alone, volatile=volatile) == 0

    def test_what_cannot_be_encoded_reaches_nobody(self, batch: TurnBatch) -> None:
        readers = [Reader(batch), Reader(batch)]
        fanout = group_of(batch, *readers)
        with pytest.raises(orjson.JSONEncodeError):
            fanout.send_many(readers, "message", object())
        with pytest.raises(orjson.JSONEncodeError):
            fanout.publish("tea", "message", object())
        batch.turn()
        assert not any(reader.written for reader in readers)


class TestSlowReaders:
    """Who is not clear gets messages in its outbox, half of which is for groups."""

    @staticmethod
    def suspended(batch: TurnBatch, *, count: int) -> tuple[Fanout, Reader, Reader, list[tuple[Any, str]]]:
        """A group of a slow and a quick reader, to which so much was published in a turn; who was suspended."""
        gaps: list[tuple[Any, str]] = []
        slow, quick = Reader(batch, slow=True), Reader(batch)
        fanout = group_of(batch, slow, quick, on_gap=lambda who, group: gaps.append((who, group)))
        fanout.subscribe(slow, "coffee")
        for number in range(count):
            fanout.publish("tea", "e", number)
        batch.turn()
        return fanout, slow, quick, gaps

    def test_up_to_that_they_stay_in_the_group(self, batch: TurnBatch) -> None:
        fanout, slow, quick, gaps = self.suspended(batch, count=4)
        assert len(slow.waiting) == len(quick.events) == 4
        assert gaps == []
        assert fanout.size("tea") == 2

    def test_beyond_they_are_suspended_from_that_group_alone(self, batch: TurnBatch) -> None:
        fanout, slow, quick, gaps = self.suspended(batch, count=7)
        assert len(slow.waiting) == 4
        assert len(quick.events) == 7
        assert gaps == [(slow, "tea")]
        assert (fanout.size("tea"), fanout.size("coffee")) == (1, 1)
        assert slow.session.is_open

    def test_they_get_no_more_of_it(self, batch: TurnBatch) -> None:
        fanout, slow, quick, _ = self.suspended(batch, count=5)
        slow.session.take(100_000)
        fanout.publish("tea", "e", 5)
        batch.turn()
        assert slow.waiting == []
        assert quick.events[-1] == ("e", 5)

    def test_they_can_be_told_at_once(self, batch: TurnBatch) -> None:
        slow = Reader(batch, slow=True)
        fanout = group_of(batch, slow, on_gap=lambda who, group: who.emit("suspended", group))
        for number in range(6):
            fanout.publish("tea", "e", number)
        batch.turn()
        assert slow.waiting[-1].text == b'42/chat,["suspended","tea"]'
        assert len(slow.waiting) == 5

    def test_nobody_need_be_told(self, batch: TurnBatch) -> None:
        slow = Reader(batch, slow=True)
        fanout = group_of(batch, slow)
        for number in range(5):
            fanout.publish("tea", "e", number)
        batch.turn()
        assert fanout.size("tea") == 0

    def test_messages_of_a_group_name_it(self, batch: TurnBatch) -> None:
        _, slow, _, _ = self.suspended(batch, count=1)
        assert [(message.keep, message.key) for message in slow.waiting] == [(Keep.GAP, "tea")]

    def test_what_goes_to_chosen_ones_has_to_arrive(self, batch: TurnBatch) -> None:
        slow, other = Reader(batch, slow=True), Reader(batch)
        fanout = group_of(batch, slow)
        fanout.send_many([slow], "e", 1)
        fanout.publish("tea", "e", 2, skip=other)
        assert [message.keep for message in slow.waiting] == [Keep.MUST, Keep.MUST]

    def test_of_what_is_volatile_the_newest_of_a_key_waits(self, batch: TurnBatch) -> None:
        slow, quick = Reader(batch, slow=True), Reader(batch)
        fanout = group_of(batch, slow, quick)
        for number in range(3):
            fanout.publish("tea", "typing", number, volatile=True, key=("tea", "ada"))
        fanout.publish("tea", "typing", 3, volatile=True, key=("tea", "bob"))
        assert [orjson.loads(each.text[8:])[1] for each in slow.waiting] == [2, 3]
        assert quick.events == [("typing", number) for number in range(4)]

    def test_without_a_key_it_is_worth_nothing_when_late(self, batch: TurnBatch) -> None:
        slow = Reader(batch, slow=True)
        fanout = group_of(batch, slow)
        for number in range(9):
            fanout.publish("tea", "typing", number, volatile=True)
        assert {message.keep for message in slow.waiting} == {Keep.DROP}
        assert len(slow.waiting) == 4
        assert fanout.size("tea") == 1

    def test_one_that_is_closing_does_not_keep_others_from_anything(self, batch: TurnBatch) -> None:
        slow, quick = Reader(batch, slow=True), Reader(batch)
        fanout = group_of(batch, slow, quick)
        slow.session.lost()
        fanout.publish("tea", "e", 1)
        batch.turn()
        assert quick.events == [("e", 1)]


class TestMembership:
    def test_a_group_may_change_from_within_a_loop_over_many(self, batch: TurnBatch) -> None:
        one, other = Reader(batch), Reader(batch)
        fanout = group_of(batch, one)
        assert fanout.send_many([one, other], "e", 1) == 2
        assert fanout.size("tea") == 1

    def test_a_connection_may_be_in_many_groups(self, batch: TurnBatch) -> None:
        reader = Reader(batch)
        fanout = Fanout("/chat", batch=batch)
        for group in ("tea", "tea", "coffee", "milk"):
            fanout.subscribe(reader, group)
        assert fanout._of[reader] == {"tea", "coffee", "milk"}
        fanout.forget(reader)
        assert fanout._groups == {}
        assert fanout._of == {}

    def test_suspending_a_group_tells_all_that_were_in_it(self, batch: TurnBatch) -> None:
        one, other, elsewhere = Reader(batch), Reader(batch), Reader(batch)
        gaps: list[tuple[Any, str]] = []
        fanout = group_of(batch, one, other, on_gap=lambda who, group: gaps.append((who, group)))
        fanout.subscribe(elsewhere, "coffee")
        fanout.suspend("tea")
        fanout.suspend("milk")
        assert gaps == [(one, "tea"), (other, "tea")]
        assert (fanout.size("tea"), fanout.size("coffee")) == (0, 1)

    def test_leaving_a_group_that_one_is_not_in_changes_nothing(self, batch: TurnBatch) -> None:
        one, other = Reader(batch), Reader(batch)
        fanout = group_of(batch, one)
        fanout.unsubscribe(other, "tea")
        fanout.unsubscribe(one, "coffee")
        fanout.forget(other)
        fanout.close("coffee")
        assert fanout.size("tea") == 1


class _CountedGroups(dict[str, Any]):
    """Groups that count how often they are looked at."""

    looks = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.looks += 1
        return super().get(key, default)


class TestCosts:
    def test_forgetting_costs_what_it_was_in_and_not_what_the_server_holds(self, batch: TurnBatch) -> None:
        fanout = Fanout("/chat", batch=batch)
        fanout._groups = groups = _CountedGroups()
        for number in range(1000):
            fanout.subscribe(Reader(batch), f"room-{number}")
        leaver = Reader(batch)
        for number in range(3):
            fanout.subscribe(leaver, f"room-{number}")
        groups.looks = 0
        fanout.forget(leaver)
        assert groups.looks == 3


class TestCounting:
    def test_how_many_got_each_event_is_told(self, batch: TurnBatch) -> None:
        sent: list[int] = []
        readers = [Reader(batch) for _ in range(3)]
        fanout = group_of(batch, *readers, on_sent=sent.append)
        fanout.publish("tea", "message", {}, skip=readers[0])
        fanout.publish("nowhere", "message", {})
        assert sent == [2]
        fanout.publish("tea", "message", {})
        fanout.publish("tea", "message", {})
        batch.turn()
        assert sent == [2, 6]
