"""What every history promises: retention (`History.expire`, promise 6 of `hubbub.history.base`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hubbub.history.base import Change, History, Insert, Message
from tests.support.history import (
    AMPLE_BYTES,
    Op,
    all_messages,
    code_of,
    deleting,
    draft,
    editing,
    eventually,
    member,
    new_room,
    say,
    written,
)

Reopen = Callable[[], Awaitable[History]]


async def expire(history: History, *, before: int | None = None, keep: int | None = None) -> int:
    """Until nothing is left to do; how many messages were emptied."""
    total = 0
    while emptied := await history.expire(before=before, keep=keep):
        total += emptied
    return total


async def seqs(history: History, uid: str) -> list[int]:
    return list(await all_messages(history, uid))


async def shown(history: History, uid: str, since: int) -> list[tuple[int, int, bool]]:
    """The changes since a revision: seq, rev and whether it shows itself as deleted."""
    page = await history.changes(uid, since=since, limit=500, max_bytes=AMPLE_BYTES)
    return [(message.seq, message.rev, message.deleted) for message in page.messages]


def reacting(uid: str, seq: int) -> Change:
    return Change(uid, seq, lambda message: replace(message, reactions={"👍": ("bob",)}))


def replying(uid: str, key: str) -> Insert:
    message = draft(uid, key, body="@bob is secret", at=1).message
    return Insert(replace(message, reply_to=f"{uid}.1", mentions=("bob",)))


class TestWhatIsEmptied:
    async def test_messages_beyond_the_count(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, *"abcdef")
        assert await expire(history, keep=4) == 2
        assert await seqs(history, room.uid) == [3, 4, 5, 6]
        assert await history.head(room.uid) == 6

    async def test_the_count_is_of_messages_not_of_revisions(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, *"ab")
        await history.commit([editing(room.uid, 1, "x"), editing(room.uid, 2, "y"), editing(room.uid, 1, "z")])
        await say(history, room.uid, "c")
        assert await expire(history, keep=3) == 0
        await say(history, room.uid, "d")
        assert await expire(history, keep=3) == 1
        assert await seqs(history, room.uid) == [2, 6, 7]

    async def test_each_round_follows_what_came(self, history: History) -> None:
        room = await new_room(history)
        for _ in range(4):
            await say(history, room.uid, *"abc")
            await history.commit([reacting(room.uid, (await seqs(history, room.uid))[-1])])
            await expire(history, keep=5)
            assert len(await seqs(history, room.uid)) <= 5
        assert await seqs(history, room.uid) == [10, 11, 13, 14, 15]

    async def test_messages_older_than_a_time(self, history: History) -> None:
        room = await new_room(history)
        await history.commit([draft(room.uid, str(at), at=at) for at in (10, 20, 30, 40)])
        assert await expire(history, before=30) == 2
        assert await seqs(history, room.uid) == [3, 4]
        assert await expire(history, before=30) == 0
        assert await expire(history, before=31) == 1

    async def test_either_rule(self, history: History) -> None:
        old, long = await new_room(history), await new_room(history)
        await history.commit([draft(old.uid, str(at), at=at) for at in (10, 20, 30, 40)])
        await history.commit([draft(long.uid, str(at), at=at) for at in range(100, 106)])
        assert await expire(history, before=25, keep=5) == 3
        assert await seqs(history, old.uid) == [3, 4]
        assert await seqs(history, long.uid) == [2, 3, 4, 5, 6]

    async def test_nothing_is_emptied_behind_a_message_that_is_young_enough(self, history: History) -> None:
        room = await new_room(history)
        await history.commit([draft(room.uid, str(at), at=at) for at in (10, 99, 11, 12, 13)])
        assert await expire(history, before=50) == 1
        assert await seqs(history, room.uid) == [2, 3, 4, 5]
        assert await expire(history, before=100) == 3

    @pytest.mark.parametrize("rule", [{"before": 10**15}, {"keep": 0}, {"keep": 1}, {"before": 10**15, "keep": 0}])
    async def test_the_newest_message_stays(self, history: History, rule: dict[str, int]) -> None:
        rooms = [await new_room(history) for _ in range(3)]
        await say(history, rooms[0].uid, *"abc")
        await say(history, rooms[1].uid, "alone")
        assert await expire(history, **rule) == 2
        assert [await seqs(history, room.uid) for room in rooms] == [[3], [1], []]
        await history.commit([deleting(rooms[0].uid, 3)])
        assert await expire(history, **rule) == 0
        assert [await history.head(room.uid) for room in rooms] == [4, 1, 0]

    async def test_nothing_if_nothing_is_asked_for(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, *"abc")
        assert await expire(history) == 0
        assert await seqs(history, room.uid) == [1, 2, 3]

    async def test_a_slice_is_bounded_and_all_comes_to_be_done(self, history: History, reopen: Reopen) -> None:
        rooms = [await new_room(history) for _ in range(3)]
        for room in rooms:
            await say(history, room.uid, *["word"] * 400)
        first = await history.expire(before=None, keep=100)
        assert 0 < first < 3 * 300
        again = await reopen()
        assert first + await expire(again, keep=100) == 3 * 300
        assert [len(await seqs(again, room.uid)) for room in rooms] == [100] * 3

    async def test_rooms_are_treated_alike(self, history: History) -> None:
        """A room with much to do does not keep the others waiting for ever."""
        rooms = [await new_room(history) for _ in range(40)]
        for room in rooms:
            await say(history, room.uid, *"abc", at=lambda number: number)
        assert await expire(history, keep=1) == 80
        assert [len(await seqs(history, room.uid)) for room in rooms] == [1] * 40

    async def test_several_at_once_empty_each_message_once(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, *["word"] * 700)
        counts = await asyncio.gather(*(expire(history, keep=10) for _ in range(4)))
        assert sum(counts) == 690
        assert len(await seqs(history, room.uid)) == 10

    async def test_beside_those_who_write(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, *["word"] * 200)

        async def write() -> None:
            for number in range(60):
                ops: list[Op] = [
                    draft(room.uid, f"k{number}"),
                    reacting(room.uid, number + 1),
                    editing(room.uid, 150, str(number)),
                ]
                for outcome in await history.commit(ops):
                    assert not isinstance(outcome, Exception) or code_of(outcome) == "not_found"

        await asyncio.gather(write(), expire(history, keep=50), expire(history, keep=20))
        await expire(history, keep=20)
        head = await history.head(room.uid)
        revisions = await history.revisions(room.uid, after=0, upto=head)
        assert [rev for rev, _ in revisions] == list(range(1, head + 1))
        kept = await seqs(history, room.uid)
        assert len(kept) == 20
        assert all(message.deleted == (message.seq < kept[0]) for _, message in revisions)
        assert all(message.body == "" for _, message in revisions if message.deleted)

    async def test_a_deleted_room_needs_none(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, *"abc")
        await history.delete_room(room.uid)
        assert await expire(history, keep=1) == 0


class TestStubs:
    """Five messages, of which the first three were emptied: 1 was edited, 2 reacted to, 3 has all that there is."""

    @pytest.fixture
    async def uid(self, history: History) -> str:
        room = await new_room(history, member("ann", "owner"), member("bob"))
        await say(history, room.uid, "secret one", "secret two", at=lambda _: 1)
        await history.commit([replying(room.uid, "reply")])
        await say(history, room.uid, "four", "five", at=lambda _: 9)
        await history.commit([editing(room.uid, 1, "secret edit"), reacting(room.uid, 2), reacting(room.uid, 4)])
        assert await expire(history, before=5) == 3
        return room.uid

    async def test_they_are_on_no_page(self, history: History, uid: str) -> None:
        async def page(**where: int) -> tuple[list[int], bool, bool]:
            found = await history.page(uid, limit=10, max_bytes=AMPLE_BYTES, **where)
            return [message.seq for message in found.messages], found.more_before, found.more_after

        assert await page() == ([4, 5], False, False)
        assert await page(after=0) == ([4, 5], False, False)
        assert await page(after=2) == ([4, 5], False, False)
        assert await page(before=5) == ([4], False, True)
        assert await page(before=4) == ([], False, True)
        assert await page(before=2) == ([], False, True)
        assert await page(around=4) == ([4, 5], False, False)
        assert await page(around=2) == ([4, 5], False, False)

    async def test_a_page_that_ends_at_the_floor_has_no_more_before(self, history: History, uid: str) -> None:
        page = await history.page(uid, limit=2, max_bytes=AMPLE_BYTES)
        assert ([message.seq for message in page.messages], page.more_before) == ([4, 5], False)
        page = await history.page(uid, limit=1, max_bytes=AMPLE_BYTES)
        assert ([message.seq for message in page.messages], page.more_before) == ([5], True)
        landing = await history.landing(uid, "bob", since=None, limit=2, max_bytes=AMPLE_BYTES, members_most=9)
        assert landing is not None
        assert ([message.seq for message in landing.page.messages], landing.page.more_before) == ([4, 5], False)

    async def test_they_are_not_to_be_had_one_by_one(self, history: History, uid: str) -> None:
        assert [await history.message(uid, seq) is not None for seq in range(1, 6)] == [False] * 3 + [True] * 2

    async def test_they_cannot_be_changed(self, history: History, uid: str) -> None:
        outcomes = await history.commit(
            [editing(uid, 1, "x"), reacting(uid, 2), deleting(uid, 3), editing(uid, 4, "y")]
        )
        assert [code_of(outcome) for outcome in outcomes[:3]] == ["not_found"] * 3
        assert written(outcomes[3]).claimed == 9

    async def test_a_repeated_key_finds_them_as_deleted(self, history: History, uid: str) -> None:
        (outcome,) = await history.commit([draft(uid, "reply", body="again")])
        message = written(outcome).message
        assert (written(outcome).duplicate, written(outcome).claimed) == (True, 0)
        self.check_is_stub(message, seq=3)
        assert await history.message_by_key(uid, "ann", "reply") == message
        assert await history.head(uid) == 8

    async def test_revisions_show_them_as_deleted(self, history: History, uid: str) -> None:
        revisions = await history.revisions(uid, after=0, upto=8)
        assert [(rev, message.seq, message.rev) for rev, message in revisions] == [
            (1, 1, 6), (2, 2, 7), (3, 3, 3), (4, 4, 8), (5, 5, 5), (6, 1, 6), (7, 2, 7), (8, 4, 8),
        ]  # fmt: skip
        for _, message in revisions:
            if message.seq <= 3:
                self.check_is_stub(message, seq=message.seq)
            else:
                assert not message.deleted

    async def test_changes_show_them_to_those_who_may_have_them(self, history: History, uid: str) -> None:
        assert await shown(history, uid, 0) == [(5, 5, False), (4, 8, False)]
        assert await shown(history, uid, 1) == [(5, 5, False), (1, 6, True), (4, 8, False)]
        assert await shown(history, uid, 2) == [(5, 5, False), (1, 6, True), (2, 7, True), (4, 8, False)]
        assert await shown(history, uid, 5) == [(1, 6, True), (2, 7, True), (4, 8, False)]
        assert await shown(history, uid, 6) == [(2, 7, True), (4, 8, False)]
        assert await shown(history, uid, 7) == [(4, 8, False)]
        assert await shown(history, uid, 8) == []

    async def test_a_landing_shows_the_same(self, history: History, uid: str) -> None:
        for since in range(9):
            landing = await history.landing(uid, "bob", since=since, limit=99, max_bytes=AMPLE_BYTES, members_most=9)
            assert landing is not None
            page = landing.page
            assert [(message.seq, message.rev, message.deleted) for message in page.messages] == await shown(
                history, uid, since
            )
            assert not page.more_after

    async def test_small_pages_of_changes_come_to_the_same(self, history: History, uid: str) -> None:
        for since in range(8):
            found: list[int] = []
            after, more = since, True
            while more:
                page = await history.changes(uid, since=after, limit=1, max_bytes=AMPLE_BYTES)
                found += [message.seq for message in page.messages if message.seq > 3]
                more = page.more_after
                after = page.messages[-1].rev if page.messages else after
            assert found == [seq for seq, _, _ in await shown(history, uid, since) if seq > 3]

    async def test_they_are_not_unread(self, history: History, uid: str) -> None:
        view = await history.view(uid, "bob")
        assert view is not None
        assert view.unread == 2
        assert await history.mark_read(uid, "bob", 2) == (2, 2)
        assert await history.mark_read(uid, "bob", 4) == (4, 1)

    async def test_they_are_not_found(self, history: History, uid: str) -> None:
        async def found(phrase: str) -> Sequence[str]:
            page = await history.search(uids=[], public=True, phrases=[phrase], limit=9, cursor=None)
            return [message.body for message in page.messages]

        await eventually(lambda: found("five"), ["five"])
        for phrase in ("secret", "edit", "bob"):
            assert await found(phrase) == []

    async def test_what_was_found_before_is_not_found_after(self, history: History) -> None:
        room = await new_room(history)
        await say(history, room.uid, *["needle"] * 5)

        async def found() -> Sequence[int]:
            page = await history.search(uids=[], public=True, phrases=["needle"], limit=3, cursor=None)
            return [message.seq for message in page.messages]

        await eventually(found, [5, 4, 3])
        await expire(history, keep=2)
        assert await found() == [5, 4]

    async def test_they_stay_so(self, history: History, uid: str, reopen: Reopen) -> None:
        before = await history.revisions(uid, after=0, upto=8)
        again = await reopen()
        assert await again.revisions(uid, after=0, upto=8) == before
        assert await seqs(again, uid) == [4, 5]
        assert await expire(again, before=5) == 0

    async def test_a_key_below_the_floor_in_the_batch_that_follows(self, history: History, uid: str) -> None:
        """A batch in which a stub's key, a change of it and new messages meet."""
        ops: list[Op] = [draft(uid, "reply"), reacting(uid, 3), draft(uid, "new"), draft(uid, "reply")]
        first, change, new, second = await history.commit(ops)
        assert written(first).message == written(second).message
        assert code_of(change) == "not_found"
        assert written(new).message.seq == 9

    def check_is_stub(self, message: Message, *, seq: int) -> None:
        assert message.seq == seq
        assert (message.deleted, message.body, message.reply_to, message.mentions) == (True, "", None, ())
        assert message.reactions == {}
        assert message.sender.name == "Ann"


operations = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(1, 3)),
        st.tuples(st.just("edit"), st.integers(1, 20)),
        st.tuples(st.just("delete"), st.integers(1, 20)),
        st.tuples(st.just("keep"), st.integers(0, 5)),
    ),
    max_size=12,
)


class TestResuming:
    @given(operations)
    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    async def test_whoever_resumes_comes_to_what_a_newcomer_sees(
        self, history: History, operations: list[tuple[str, int]]
    ) -> None:
        """At every cut: what was known and is no stub, and the changes since, are what a fresh reading has."""
        room = await new_room(history)
        cuts: list[tuple[int, dict[int, Message]]] = []
        for what, number in operations:
            if what == "say":
                await say(history, room.uid, *["word"] * number)
            elif what == "keep":
                await expire(history, keep=number)
            else:
                change = editing(room.uid, number, "new") if what == "edit" else deleting(room.uid, number)
                await history.commit([change])
            cuts.append((await history.head(room.uid), dict(await all_messages(history, room.uid))))
        fresh = dict(await all_messages(history, room.uid))
        floor = min(fresh, default=1) - 1
        for head, known in cuts:
            page = await history.changes(room.uid, since=head, limit=500, max_bytes=AMPLE_BYTES)
            now = known | {message.seq: message for message in page.messages}
            assert {seq: message for seq, message in now.items() if seq > floor} == fresh
            stale = [message for seq, message in now.items() if seq <= floor and not message.deleted]
            assert all(message.rev <= head for message in stale)
            assert all(message.seq <= head < message.rev for message in page.messages if message.seq <= floor)
