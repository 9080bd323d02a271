"""The feed puts a room's revisions in order, whatever happens to them on their way."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hubbub.domain.feeds import Feed, Revision
from hubbub.history.base import Message
from tests.support.domain import message_of

KEEP = 4
HOLD = 3


def revision(rev: int, body: str = "") -> Revision:
    return rev, message_of("uid", rev, body=body or f"at {rev}")


def bodies(revisions: Iterable[Revision]) -> list[str]:
    return [message.body for _, message in revisions if isinstance(message, Message)]


def revs(revisions: Iterable[Revision]) -> list[int]:
    return [rev for rev, _ in revisions]


class UnreliableRoom(RuleBasedStateMachine):
    """A store that claims revisions, a way to the feed that loses, repeats, swaps and delays them, and a subscriber."""

    def __init__(self) -> None:
        super().__init__()
        self.feed = Feed(0)
        self.head = 0
        self.on_the_way: list[int] = []
        self.received: list[Revision] = []
        self.known = 0

    @initialize(start=st.integers(0, 5))
    def begin(self, start: int) -> None:
        self.feed = Feed(start, keep=KEEP, hold=HOLD)
        self.start = self.head = self.known = start

    def goes_out(self, revisions: Iterable[Revision]) -> None:
        self.received.extend(revisions)

    @rule(count=st.integers(1, 6))
    def change(self, count: int) -> None:
        """The store claims revisions; they set out for the feed."""
        self.on_the_way.extend(range(self.head + 1, self.head + 1 + count))
        self.head += count

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data(), again=st.booleans())
    def arrive(self, data: st.DataObject, again: bool) -> None:
        """Any of them arrives; perhaps it will arrive again."""
        rev = data.draw(st.sampled_from(self.on_the_way))
        if not again:
            self.on_the_way.remove(rev)
        self.known = max(self.known, rev)
        self.goes_out(self.feed.offer(*revision(rev)))

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        self.on_the_way.remove(data.draw(st.sampled_from(self.on_the_way)))

    @rule()
    def know(self) -> None:
        self.known = self.head
        self.feed.know(self.head)

    @precondition(lambda self: self.feed.hole is not None)
    @rule(late=st.integers(0, 3))
    def fill(self, late: int) -> None:
        """The owner reads the hole from the store; what was delivered meanwhile may be read as well."""
        hole = self.feed.hole
        assert hole is not None
        after, upto = hole
        first = max(self.start, after - late) + 1
        self.feed.drop_held(upto)
        out = self.feed.fill([revision(rev, "filled") for rev in range(first, upto + 1)])
        assert set(bodies([each for each in out if each[0] <= upto])) <= {"filled"}
        self.goes_out(out)
        assert self.feed.hole is None or self.feed.delivered >= upto

    @invariant()
    def every_revision_goes_out_once_and_in_order(self) -> None:
        assert revs(self.received) == list(range(self.start + 1, self.start + 1 + len(self.received)))
        assert self.feed.delivered == self.start + len(self.received)

    @invariant()
    def what_goes_out_was_there(self) -> None:
        assert self.feed.delivered <= self.head

    @invariant()
    def what_is_held_is_bounded(self) -> None:
        assert len(self.feed._early) <= HOLD
        assert all(rev > self.feed.delivered for rev in self.feed._early)
        assert len(self.feed._recent) <= KEEP

    @invariant()
    def the_hole_is_what_is_known_and_has_not_come(self) -> None:
        expected = (self.feed.delivered, self.known) if self.known > self.feed.delivered else None
        assert self.feed.hole == expected

    @invariant()
    def the_backlog_is_what_went_out_last(self) -> None:
        for after in range(max(0, self.feed.delivered - KEEP - 2), self.feed.delivered + 2):
            backlog = self.feed.backlog(after)
            missing = [each for each in self.received if each[0] > after]
            if after < self.start or len(missing) > KEEP:
                assert backlog is None or after >= self.feed.delivered
            else:
                assert backlog is not None
                assert list(backlog) == missing

    def teardown(self) -> None:
        """Whatever was lost, one fill up to the head brings everything."""
        self.feed.know(self.head)
        if self.feed.hole is not None:
            after, upto = self.feed.hole
            self.goes_out(self.feed.fill([revision(rev) for rev in range(after + 1, upto + 1)]))
        assert self.feed.hole is None
        assert revs(self.received) == list(range(self.start + 1, self.head + 1))


TestUnreliableRoom = UnreliableRoom.TestCase


class TestOffers:
    def test_what_is_next_goes_out_at_once(self) -> None:
        assert revs(Feed(4).offer(*revision(5))) == [5]

    def test_what_comes_early_waits_for_what_is_before_it(self) -> None:
        feed = Feed(0)
        assert feed.offer(*revision(3)) == []
        assert feed.offer(*revision(2)) == []
        assert revs(feed.offer(*revision(1))) == [1, 2, 3]

    def test_what_was_there_goes_out_no_more(self) -> None:
        feed = Feed(4)
        assert feed.offer(*revision(4)) == []
        assert feed.offer(*revision(1)) == []
        assert feed.hole is None

    @given(st.permutations(range(1, 30)))
    def test_any_order_becomes_the_order(self, order: list[int]) -> None:
        feed = Feed(0)
        out: list[Revision] = []
        for rev in order:
            out.extend(feed.offer(*revision(rev)))
        assert revs(out) == list(range(1, 30))

    def test_what_is_held_may_come_again_while_no_more_is_taken(self) -> None:
        feed = Feed(0, hold=1)
        feed.offer(*revision(3, "first"))
        feed.offer(*revision(3, "newer"))
        feed.offer(*revision(4))
        assert feed.hole == (0, 4)
        assert bodies(feed.fill([revision(1), revision(2)]))[-1] == "newer"
        assert feed.hole == (3, 4)


class TestFills:
    def test_what_comes_from_the_store_replaces_what_was_held(self) -> None:
        feed = Feed(0)
        feed.offer(*revision(2, "held"))
        out = feed.fill([revision(1, "stored"), revision(2, "stored")])
        assert bodies(out) == ["stored", "stored"]

    def test_what_was_held_below_the_head_of_a_fill_is_dropped_and_what_is_above_stays(self) -> None:
        feed = Feed(0)
        feed.offer(*revision(2, "older than what is read"))
        feed.offer(*revision(4, "newer than what is read"))
        feed.drop_held(3)
        assert feed.offer(*revision(1)) == [revision(1)]
        assert bodies(feed.fill([revision(2), revision(3)])) == [
            "at 2",
            "at 3",
            "newer than what is read",
        ]

    def test_a_fill_that_is_late_repeats_nothing(self) -> None:
        feed = Feed(0)
        feed.offer(*revision(1))
        assert revs(feed.fill([revision(1), revision(2)])) == [2]

    def test_a_head_that_is_known_is_a_hole_until_it_comes(self) -> None:
        feed = Feed(2)
        feed.know(4)
        assert feed.hole == (2, 4)
        feed.know(3)
        assert feed.hole == (2, 4)
        feed.offer(*revision(3))
        assert feed.hole == (3, 4)
        feed.offer(*revision(4))
        assert feed.hole is None


class TestWithoutListeners:
    def test_advancing_goes_to_the_head_and_forgets_what_was_before(self) -> None:
        feed = Feed(0)
        feed.offer(*revision(1))
        feed.offer(*revision(5))
        feed.advance(3)
        assert feed.delivered == 5
        assert feed.hole is None
        assert feed.backlog(5) == []
        assert feed.backlog(4) is None

    def test_advancing_never_goes_back(self) -> None:
        feed = Feed(7)
        feed.advance(3)
        assert feed.delivered == 7

    def test_a_snapshot_from_after_the_last_delivery_misses_nothing(self) -> None:
        assert Feed(3).backlog(9) == []

    def test_a_message_is_passed_on_and_not_copied(self) -> None:
        message: Message = message_of("uid", 1)
        ((_, out),) = Feed(0).offer(1, message)
        assert out is message
