"""What waits for a slow reader, against a list that does what the module says without any index."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hubbub.transport.message import CONTROL_OVERHEAD_BYTES, Keep, Message
from hubbub.transport.outbox import Outbox, Verdict

MAX_BYTES = 4_000
MAX_PACKETS = 10
LATE = (Keep.LATEST, Keep.DROP)


def message(size: int = CONTROL_OVERHEAD_BYTES, keep: Keep = Keep.MUST, key: str = "k", parts: int = 0) -> Message:
    """A message that takes so many bytes in an outbox."""
    return Message(bytes(size - CONTROL_OVERHEAD_BYTES), [b""] * parts, keep=keep, key=key)


class NaiveOutbox:
    """The rules again, each by looking at the whole list."""

    def __init__(self) -> None:
        self.waiting: list[Message] = []

    @property
    def bytes(self) -> int:
        return sum(each.size for each in self.waiting)

    def fits(self, new: Message, share: int) -> bool:
        return self.bytes + new.size <= MAX_BYTES // share and len(self.waiting) + 1 <= MAX_PACKETS // share

    def put(self, new: Message) -> Verdict:
        if new.keep is Keep.LATEST:
            for place, old in enumerate(self.waiting):
                if old.keep is Keep.LATEST and old.key == new.key:
                    if self.bytes - old.size + new.size > MAX_BYTES:
                        return Verdict.SHED
                    self.waiting[place] = new
                    return Verdict.OK
        share = 1 if new.keep is Keep.MUST else 2
        if not self.fits(new, share):
            if new.keep in LATE:
                return Verdict.SHED
            self.waiting = [each for each in self.waiting if each.keep not in LATE]
            if not self.fits(new, share):
                return Verdict.SLOW if new.keep is Keep.MUST else Verdict.GAP
        self.waiting.append(new)
        return Verdict.OK

    def take(self, max_bytes: int, max_packets: int) -> list[Message]:
        count = 0
        for count in range(len(self.waiting), 0, -1):
            front = self.waiting[:count]
            packets = sum(1 + len(each.attachments) for each in front)
            if sum(each.size for each in front) <= max_bytes and packets <= max_packets:
                break
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken


class Outboxes(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.outbox = Outbox(max_bytes=MAX_BYTES, max_packets=MAX_PACKETS)
        self.naive = NaiveOutbox()

    @rule(
        size=st.integers(CONTROL_OVERHEAD_BYTES, 1_500) | st.just(MAX_BYTES) | st.just(MAX_BYTES + 1),
        keep=st.sampled_from(Keep),
        key=st.sampled_from("abc"),
        parts=st.integers(0, 2),
    )
    def put(self, size: int, keep: Keep, key: str, parts: int) -> None:
        new = message(size, keep, key, parts)
        assert self.outbox.put(new) is self.naive.put(new)

    @rule(max_bytes=st.integers(0, 3_000), max_packets=st.integers(0, 8))
    def take(self, max_bytes: int, max_packets: int) -> None:
        assert self.outbox.take(max_bytes, max_packets) == self.naive.take(max_bytes, max_packets)

    @rule()
    def clear(self) -> None:
        self.outbox.clear()
        self.naive.waiting.clear()

    @invariant()
    def the_bounds_are_kept(self) -> None:
        assert self.outbox.bytes <= MAX_BYTES
        assert len(self.outbox) <= MAX_PACKETS

    @invariant()
    def both_hold_the_same(self) -> None:
        assert list(self.outbox._waiting.values()) == self.naive.waiting
        assert self.outbox.bytes == self.naive.bytes

    @invariant()
    def the_keys_are_those_of_what_waits(self) -> None:
        latest = [each for each in self.naive.waiting if each.keep is Keep.LATEST]
        assert sorted(map(str, self.outbox._by_key)) == sorted(str(each.key) for each in latest)


TestOutboxes = Outboxes.TestCase


def filled(keep: Keep, count: int) -> Outbox:
    outbox = Outbox(max_bytes=MAX_BYTES, max_packets=MAX_PACKETS)
    for number in range(count):
        assert outbox.put(message(keep=keep, key=str(number))) is Verdict.OK
    return outbox


class TestVerdicts:
    def test_what_must_arrive_is_taken_up_to_the_bound_and_then_the_reader_is_too_slow(self) -> None:
        outbox = filled(Keep.MUST, MAX_PACKETS)
        assert outbox.put(message()) is Verdict.SLOW
        assert len(outbox) == MAX_PACKETS

    def test_rooms_are_suspended_from_half_full_on(self) -> None:
        outbox = filled(Keep.GAP, MAX_PACKETS // 2)
        assert outbox.put(message(keep=Keep.GAP)) is Verdict.GAP
        assert outbox.put(message(keep=Keep.MUST)) is Verdict.OK

    @pytest.mark.parametrize("keep", LATE)
    def test_what_is_worthless_when_late_is_shed_from_half_full_on(self, keep: Keep) -> None:
        outbox = filled(Keep.MUST, MAX_PACKETS // 2)
        assert outbox.put(message(keep=keep)) is Verdict.SHED
        assert len(outbox) == MAX_PACKETS // 2

    @pytest.mark.parametrize("keep", LATE)
    def test_it_makes_room_before_a_room_is_suspended(self, keep: Keep) -> None:
        outbox = filled(keep, MAX_PACKETS // 2)
        assert outbox.put(message(keep=Keep.GAP)) is Verdict.OK
        assert len(outbox) == 1

    @pytest.mark.parametrize("keep", LATE)
    def test_it_makes_room_before_a_connection_ends(self, keep: Keep) -> None:
        outbox = filled(keep, MAX_PACKETS // 2)
        for _ in range(MAX_PACKETS):
            assert outbox.put(message()) is Verdict.OK
        assert outbox.put(message()) is Verdict.SLOW

    def test_the_newest_of_a_key_takes_the_place_of_the_older(self) -> None:
        outbox = Outbox(max_bytes=MAX_BYTES, max_packets=MAX_PACKETS)
        old, other, new = message(keep=Keep.LATEST), message(keep=Keep.MUST), message(300, Keep.LATEST)
        assert [outbox.put(each) for each in (old, other, new)] == [Verdict.OK] * 3
        assert outbox.take(MAX_BYTES, MAX_PACKETS) == [new, other]

    def test_what_is_larger_than_the_bound_is_never_taken(self) -> None:
        outbox = Outbox(max_bytes=MAX_BYTES, max_packets=MAX_PACKETS)
        assert outbox.put(message(MAX_BYTES + 1)) is Verdict.SLOW
        assert (len(outbox), outbox.bytes) == (0, 0)

    def test_what_has_been_taken_is_replaced_by_nothing(self) -> None:
        outbox = Outbox(max_bytes=MAX_BYTES, max_packets=MAX_PACKETS)
        old, new = message(keep=Keep.LATEST), message(keep=Keep.LATEST)
        outbox.put(old)
        assert outbox.take(MAX_BYTES, MAX_PACKETS) == [old]
        outbox.put(new)
        assert outbox.take(MAX_BYTES, MAX_PACKETS) == [new]


class TestTaking:
    def test_an_empty_one_gives_nothing(self) -> None:
        assert Outbox(max_bytes=1, max_packets=1).take(10, 10) == []

    def test_one_message_goes_out_however_large_it_is(self) -> None:
        outbox = Outbox(max_bytes=MAX_BYTES, max_packets=MAX_PACKETS)
        large = message(3_000, parts=5)
        outbox.put(large)
        assert outbox.take(1, 1) == [large]
