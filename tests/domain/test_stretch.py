"""Stretches of history in memory: old state, a cut and the events behind it are always a fresh fetch."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.domain.documents import message_document
from hubbub.domain.stretch import Cut, Newest, Stretch
from hubbub.history.base import Message, MessagePage
from tests.support.roommodel import RoomModel, applied, held_at

AMPLE = 10**9

changes = st.lists(st.tuples(st.sampled_from(["send", "send", "edit", "delete"]), st.integers(0, 99)), max_size=40)


def document(message: Message, rev: int | None = None) -> dict[str, Any]:
    return message_document("tea", message, rev=rev)


def model_of(steps: list[tuple[str, int]]) -> RoomModel:
    model = RoomModel()
    for what, choice in steps:
        if what == "send":
            model.send()
        else:
            model.change(choice, deleted=what == "delete")
    return model


def read(cut: Cut) -> list[dict[str, Any]]:
    """The messages as a client reads them."""
    documents: list[dict[str, Any]] = orjson.loads(b"[" + b"".join(cut.messages) + b"]")
    return documents


def sent(count: int) -> RoomModel:
    return model_of([("send", 0)] * count)


class TestCuts:
    @given(changes, st.data())
    def test_with_old_state_and_later_events_they_are_a_fresh_fetch(
        self, steps: list[tuple[str, int]], data: st.DataObject
    ) -> None:
        model = model_of(steps)

        def number(low: int, high: int) -> int:
            return data.draw(st.integers(low, high))

        read_at = number(0, model.head)
        low = number(0, read_at)
        stretch = Stretch("tea", model.changes(low, limit=number(1, 40), head=read_at), low=low)
        now = stretch.head
        while data.draw(st.booleans()):
            match data.draw(st.sampled_from(["advance", "append", "prepend"])):
                case "advance":
                    # What the feed delivered since; some of it may be known.
                    later = number(stretch.head, model.head)
                    stretch.advance(model.between(number(0, stretch.head), later))
                    assert stretch.head == later
                case "append":
                    now = number(max(now, stretch.high), model.head)
                    assert stretch.append(model.changes(stretch.high, limit=number(1, 40), head=now))
                case _:
                    now = number(max(now, stretch.low), model.head)
                    before = number(0, stretch.low)
                    page = model.changes(before, limit=number(1, 40), head=now)
                    if stretch.prepend(page, low=before):
                        assert stretch.low == before
        low = stretch.low
        since = number(low, stretch.head)
        if not stretch.covers(since):
            assert since >= stretch.high
            return
        upto = number(since, stretch.head)
        cut = stretch.cut(since, upto=upto, limit=number(1, 40), max_bytes=number(1, 9000))
        documents = read(cut)
        revs = [each["rev"] for each in documents]
        assert revs == sorted(set(revs))
        assert all(since < rev <= cut.end for rev in revs)
        assert cut.is_partial == (cut.end < upto)
        assert cut.end > since or cut.end == upto
        held = applied(held_at(model, since, document), documents)
        if cut.is_partial:
            rest = model.changes(cut.end, limit=99)
            held = applied(held, [document(message) for message in rest.messages])
        held = applied(held, [document(message, rev) for rev, message in model.between(upto, model.head)])
        assert held == held_at(model, model.head, document)

    @given(changes, st.integers(0, 40))
    def test_a_whole_one_that_is_up_to_date_is_what_the_store_would_answer(
        self, steps: list[tuple[str, int]], low: int
    ) -> None:
        model = model_of(steps)
        low = min(low, model.head)
        stretch = Stretch("tea", model.changes(low, limit=99, head=low), low=low)
        stretch.advance(model.between(low, model.head))
        for since in range(low, model.head + 1):
            fresh = model.changes(since, limit=99)
            cut = stretch.cut(since, upto=model.head, limit=99, max_bytes=AMPLE)
            assert read(cut) == [document(message) for message in fresh.messages]
            assert (cut.end, cut.is_partial) == (model.head, False)

    def test_one_message_fits_always_and_no_more_than_the_bound(self) -> None:
        stretch = Stretch("tea", sent(5).changes(0, limit=9), low=0)
        one = len(stretch.cut(0, upto=5, limit=1, max_bytes=AMPLE).messages[0])
        for max_bytes, count in ((1, 1), (one, 1), (2 * one, 1), (2 * one + 1, 2), (AMPLE, 5)):
            cut = stretch.cut(0, upto=5, limit=9, max_bytes=max_bytes)
            assert len(read(cut)) == cut.end == count
            assert cut.is_partial == (count < 5)

    def test_a_message_that_is_newer_than_its_revision_waits_for_its_own(self) -> None:
        """A fill brings messages as they stand, also for revisions of which later ones follow."""
        model = sent(2)
        stretch = Stretch("tea", model.changes(0, limit=9), low=0)
        model.change(0)
        newest = model.change(0)
        stretch.advance([(3, newest)])
        cut = stretch.cut(0, upto=3, limit=9, max_bytes=AMPLE)
        assert ([(each["seq"], each["rev"]) for each in read(cut)], cut.end, cut.is_partial) == ([(2, 2)], 3, False)
        stretch.advance([(4, newest)])
        assert read(stretch.cut(0, upto=4, limit=9, max_bytes=AMPLE))[1] == document(newest)


class TestSharing:
    def test_large_cuts_are_views_of_one_text(self) -> None:
        stretch = Stretch("tea", sent(100).changes(0, limit=100), low=0)
        cuts = [stretch.cut(since, upto=100, limit=100, max_bytes=AMPLE).messages[0] for since in range(40)]
        assert len({id(cut.obj) for cut in cuts}) == 1

    def test_small_ones_are_copies_that_are_shared_as_well(self) -> None:
        stretch = Stretch("tea", sent(100).changes(0, limit=100), low=0)
        one, again = (stretch.cut(90, upto=100, limit=100, max_bytes=AMPLE).messages[0] for _ in range(2))
        assert one.obj is again.obj
        assert memoryview(one.obj).nbytes == one.nbytes
        for limit in range(1, 100):
            stretch.cut(99, upto=100, limit=limit, max_bytes=AMPLE)
        assert len(stretch._cuts) <= 64

    def test_a_cut_stays_as_it_was_when_the_room_goes_on(self) -> None:
        model = sent(3)
        stretch = Stretch("tea", model.changes(0, limit=9), low=0)
        before = stretch.cut(0, upto=3, limit=9, max_bytes=AMPLE)
        text = bytes(before.messages[0])
        model.change(1)
        stretch.advance(model.between(3, 4))
        stretch.cut(0, upto=4, limit=9, max_bytes=AMPLE)
        assert bytes(before.messages[0]) == text

    def test_its_size_follows_what_it_holds(self) -> None:
        model = sent(3)
        stretch = Stretch("tea", model.changes(0, limit=9), low=0)
        model.change(0, deleted=True)
        stretch.advance(model.between(3, 4))
        (view,) = stretch.cut(0, upto=4, limit=9, max_bytes=AMPLE).messages
        assert stretch.size == len(view) - 2


class TestCovering:
    def test_what_begins_later_or_ends_earlier_does_not(self) -> None:
        model = sent(20)
        whole, part = (Stretch("tea", model.changes(5, limit=limit), low=5) for limit in (99, 5))
        assert [since for since in range(25) if whole.covers(since)] == [*range(5, 21)]
        assert [since for since in range(25) if part.covers(since)] == [*range(5, 10)]
        assert whole.outdoes(part)
        assert not part.outdoes(whole)

    @pytest.mark.parametrize("floor", [None, 6])
    def test_below_the_floor_only_for_the_same_since(self, floor: int | None) -> None:
        """What retention emptied is news for those alone who may hold an older state of it."""
        stretch = Stretch("tea", sent(20).changes(5, limit=99, floor=floor), low=5)
        assert [since for since in range(25) if stretch.covers(since)] == [5]


class TestNewest:
    @staticmethod
    def page(model: RoomModel, limit: int) -> MessagePage:
        return MessagePage([*model.state(model.head).values()][-limit:], model.head)

    @given(changes, st.integers(1, 9), st.data())
    def test_with_later_events_it_is_the_newest_page(
        self, steps: list[tuple[str, int]], limit: int, data: st.DataObject
    ) -> None:
        model = model_of(steps)
        page = self.page(model, limit)
        upto = data.draw(st.integers(0, model.head))
        cut = Newest("tea", page).cut(upto)
        assert (cut.end, cut.is_partial) == (upto, False)
        assert all(each["rev"] <= upto for each in read(cut))
        later = [document(message, rev) for rev, message in model.between(upto, model.head)]
        held = applied({each["id"]: each for each in read(cut)}, later)
        fresh = {message.id: document(message) for message in page.messages}
        assert {id: held[id] for id in fresh} == fresh

    def test_it_is_shared(self) -> None:
        newest = Newest("tea", self.page(sent(3), 9))
        assert newest.cut(3).messages[0] is newest.cut(3).messages[0]

    def test_an_empty_room_has_an_empty_one(self) -> None:
        assert Newest("tea", MessagePage([], 0)).cut(0) == Cut([], 0, False)
