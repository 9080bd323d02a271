"""What every history promises: messages, revisions and pages (`hubbub.history.base`)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import Change, History, Message
from hubbub.history.sizes import document_bytes
from tests.support.history import (
    AMPLE_BYTES,
    Op,
    all_messages,
    code_of,
    deleting,
    draft,
    editing,
    new_room,
    say,
    written,
)

Reopen = Callable[[], Awaitable[History]]


class TestCommit:
    async def test_revisions_of_a_room_are_one_two_three(self, history: History) -> None:
        one, other = await new_room(history), await new_room(history)
        batch: list[Op] = [draft(one.uid, "a"), draft(other.uid, "a"), draft(one.uid, "b"), editing(one.uid, 1, "new")]
        outcomes = [written(outcome) for outcome in await history.commit(batch)]
        assert [(o.message.uid, o.message.seq, o.claimed, o.message.rev) for o in outcomes] == [
            (one.uid, 1, 1, 1),
            (other.uid, 1, 1, 1),
            (one.uid, 2, 2, 2),
            (one.uid, 1, 3, 3),
        ]
        assert await history.head(one.uid) == 3

    async def test_a_message_comes_back_as_it_went_in(self, history: History) -> None:
        room = await new_room(history)
        insert = draft(
            room.uid, "kéy\n", body='tab\t "quoted" \\ 👩\u200d👩\u200d👧 \u2028 {}[]', sender="u:1|ß", at=2**53 - 1
        )
        full = replace(
            insert.message,
            sender=replace(insert.message.sender, name="Ünï", guest=True),
            reply_to=f"{room.uid}.7",
            mentions=("bob", "eve"),
            edited_at=5,
            reactions={"👍": ("eve", "ann"), "a": ("bob",)},
        )
        (outcome,) = await history.commit([replace(insert, message=full)])
        expected = replace(full, seq=1, rev=1)
        assert written(outcome).message == expected
        read = await history.message(room.uid, 1)
        assert read == expected
        assert read is not None
        assert list(read.reactions) == ["👍", "a"]

    async def test_a_repeated_key_returns_the_message_as_it_stands(self, history: History) -> None:
        room = await new_room(history)
        await history.commit([draft(room.uid, "a", body="first"), editing(room.uid, 1, "edited")])
        (outcome,) = await history.commit([draft(room.uid, "a", body="again")])
        assert written(outcome).duplicate
        assert written(outcome).claimed == 0
        assert written(outcome).message == await history.message(room.uid, 1)
        assert written(outcome).message.body == "edited"
        assert await history.head(room.uid) == 2

    async def test_a_key_repeated_within_a_batch_is_a_duplicate_of_the_first(self, history: History) -> None:
        room = await new_room(history)
        batch: list[Op] = [draft(room.uid, "a", body="1"), editing(room.uid, 1, "2"), draft(room.uid, "a", body="3")]
        first, edit, second = [written(outcome) for outcome in await history.commit(batch)]
        assert (first.claimed, edit.claimed, second.claimed, second.duplicate) == (1, 2, 0, True)
        assert second.message == edit.message

    async def test_keys_are_of_their_sender_and_room(self, history: History) -> None:
        one, other = await new_room(history), await new_room(history)
        batch: list[Op] = [
            draft(one.uid, "a"),
            draft(one.uid, "a", sender="bob"),
            draft(other.uid, "a"),
            draft(one.uid, "A"),
        ]
        assert [written(outcome).claimed for outcome in await history.commit(batch)] == [1, 2, 1, 3]

    async def test_a_key_stays_taken_after_a_restart(self, history: History, reopen: Reopen) -> None:
        room = await new_room(history)
        await history.commit([draft(room.uid, "a", body="before")])
        (outcome,) = await (await reopen()).commit([draft(room.uid, "a", body="after")])
        assert (written(outcome).duplicate, written(outcome).message.body) == (True, "before")

    async def test_an_edit_that_changes_nothing_claims_nothing(self, history: History) -> None:
        room = await new_room(history)
        batch: list[Op] = [draft(room.uid, "a"), deleting(room.uid, 1), deleting(room.uid, 1)]
        outcomes = [written(outcome) for outcome in await history.commit(batch)]
        assert [outcome.claimed for outcome in outcomes] == [1, 2, 0]
        assert not outcomes[2].duplicate
        assert outcomes[2].message.deleted

    async def test_an_edit_cannot_change_what_a_message_is(self, history: History) -> None:
        room = await new_room(history)

        def forge(message: Message) -> Message:
            return replace(message, uid="x", seq=9, rev=99, key="z", sender=replace(message.sender, id="eve"), body="b")

        _, outcome = await history.commit([draft(room.uid, "a"), Change(room.uid, 1, forge)])
        message = written(outcome).message
        assert (message.uid, message.seq, message.rev, message.key) == (room.uid, 1, 2, "a")
        assert (message.sender.id, message.body) == ("ann", "b")

    async def test_a_failure_is_that_writes_own(self, history: History) -> None:
        room = await new_room(history)

        def refuse(message: Message) -> Message:
            raise HubbubError("conflict", "No.")

        def crash(message: Message) -> Message:
            raise ZeroDivisionError

        batch: list[Op] = [
            draft(room.uid, "a"),
            draft("nowhere", "a"),
            editing("nowhere", 1, "x"),
            editing(room.uid, 7, "x"),
            editing(room.uid, 0, "x"),
            editing(room.uid, 2**70, "x"),
            Change(room.uid, 1, refuse),
            Change(room.uid, 1, crash),
            draft(room.uid, "b"),
        ]
        first, *failed, last = await history.commit(batch)
        assert [code_of(outcome) for outcome in failed] == [
            "not_found", "not_found", "not_found", "not_found", "not_found", "conflict", "internal",
        ]  # fmt: skip
        assert (written(first).claimed, written(last).claimed) == (1, 2)

    async def test_text_that_cannot_be_stored_is_refused_alone(self, history: History) -> None:
        room = await new_room(history)
        batch: list[Op] = [
            draft(room.uid, "a\0b"),
            draft(room.uid, "\ud800"),
            draft(room.uid, "a", body="\ud800"),
            draft(room.uid, "a", body="nul \0 is kept"),
        ]
        *failed, last = await history.commit(batch)
        assert [code_of(outcome) for outcome in failed] == ["bad_request"] * 3
        assert written(last).claimed == 1
        assert await history.message(room.uid, 1) == written(last).message

    async def test_an_empty_batch_is_nothing(self, history: History) -> None:
        assert list(await history.commit([])) == []

    async def test_commits_that_race_claim_every_revision_once(self, history: History) -> None:
        room = await new_room(history)
        batches = [[draft(room.uid, f"{batch}-{n}") for n in range(7)] for batch in range(20)]
        outcomes = await asyncio.gather(*(history.commit(batch) for batch in batches))
        claimed = [written(outcome).claimed for batch in outcomes for outcome in batch]
        assert sorted(claimed) == list(range(1, 141))


class TestReadingOne:
    async def test_unknown_messages_are_none(self, history: History) -> None:
        room = await new_room(history)
        other = await new_room(history)
        await say(history, other.uid, "hello")
        for seq in (-1, 0, 1, 2**36, 2**36 + 1, 2**64):
            assert await history.message(room.uid, seq) is None
        assert await history.message("nowhere", 1) is None
        assert await history.message_by_key(room.uid, "ann", "a") is None

    async def test_a_message_is_found_by_its_key(self, history: History) -> None:
        room = await new_room(history)
        await history.commit([draft(room.uid, "a"), draft(room.uid, "a", sender="bob")])
        found = await history.message_by_key(room.uid, "bob", "a")
        assert found is not None
        assert found.seq == 2

    async def test_the_head_of_an_empty_room_is_zero(self, history: History) -> None:
        room = await new_room(history)
        assert await history.head(room.uid) == 0

    async def test_the_heads_of_many_rooms_come_at_once_and_those_that_are_gone_are_missing(
        self, history: History
    ) -> None:
        empty, changed, gone, other = [await new_room(history) for _ in range(4)]
        (first, *_) = await say(history, changed.uid, "a", "b")
        await history.commit([editing(changed.uid, first.seq, "c")])
        await say(history, other.uid, "not asked for")
        await history.delete_room(gone.uid)
        asked = [empty.uid, changed.uid, gone.uid, "nowhere", changed.uid]
        assert await history.heads(asked) == {empty.uid: 0, changed.uid: 3}
        assert await history.heads([]) == {}

    async def test_a_room_that_is_not_there_is_not_found(self, history: History) -> None:
        for read in (
            history.head("nowhere"),
            history.page("nowhere", limit=1, max_bytes=1),
            history.changes("nowhere", since=0, limit=1, max_bytes=1),
        ):
            with pytest.raises(HubbubError) as caught:
                await read
            assert caught.value.code == "not_found"


async def page(
    history: History,
    uid: str,
    *,
    before: int | None = None,
    after: int | None = None,
    around: int | None = None,
    limit: int = 3,
    max_bytes: int = AMPLE_BYTES,
) -> tuple[list[int], bool, bool]:
    """A page as (seqs, more before, more after)."""
    found = await history.page(uid, before=before, after=after, around=around, limit=limit, max_bytes=max_bytes)
    return [message.seq for message in found.messages], found.more_before, found.more_after


class TestPages:
    async def test_the_newest_page_is_the_default(self, history: History) -> None:
        uid = (await new_room(history)).uid
        assert await page(history, uid) == ([], False, False)
        await say(history, uid, *"abc")
        assert await page(history, uid) == ([1, 2, 3], False, False)
        await say(history, uid, *"de")
        assert await page(history, uid) == ([3, 4, 5], True, False)

    async def test_before_and_after_are_exclusive(self, history: History) -> None:
        uid = (await new_room(history)).uid
        await say(history, uid, *"abcdefg")
        assert await page(history, uid, before=5) == ([2, 3, 4], True, True)
        assert await page(history, uid, before=4) == ([1, 2, 3], False, True)
        assert await page(history, uid, before=1) == ([], False, True)
        assert await page(history, uid, before=100) == ([5, 6, 7], True, False)
        assert await page(history, uid, after=0) == ([1, 2, 3], False, True)
        assert await page(history, uid, after=3) == ([4, 5, 6], True, True)
        assert await page(history, uid, after=4) == ([5, 6, 7], True, False)
        assert await page(history, uid, after=7) == ([], True, False)

    async def test_around_has_its_message_in_the_middle(self, history: History) -> None:
        uid = (await new_room(history)).uid
        await say(history, uid, *"abcdefg")
        assert await page(history, uid, around=4) == ([3, 4, 5], True, True)
        assert await page(history, uid, around=4, limit=1) == ([4], True, True)
        assert await page(history, uid, around=1) == ([1, 2], False, True)
        assert await page(history, uid, around=7, limit=5) == ([5, 6, 7], True, False)

    async def test_positions_outside_of_the_room_reach_no_other_room(self, history: History) -> None:
        first, uid, last = [(await new_room(history)).uid for _ in range(3)]
        for each in (first, uid, last):
            await say(history, each, *"abc")
        for position in (-(2**70), -1, 2**36, 2**64):
            for found in (
                await history.page(uid, before=position, limit=9, max_bytes=AMPLE_BYTES),
                await history.page(uid, after=position, limit=9, max_bytes=AMPLE_BYTES),
                await history.page(uid, around=position, limit=9, max_bytes=AMPLE_BYTES),
                await history.changes(uid, since=position, limit=9, max_bytes=AMPLE_BYTES),
            ):
                assert {message.uid for message in found.messages} <= {uid}
            assert {m.uid for _, m in await history.revisions(uid, after=-1, upto=position)} <= {uid}

    async def test_seqs_that_edits_took_are_no_holes_in_pages(self, history: History) -> None:
        uid = (await new_room(history)).uid
        await say(history, uid, "a")
        await history.commit([editing(uid, 1, "b"), editing(uid, 1, "c")])
        await say(history, uid, "d")
        assert await page(history, uid) == ([1, 4], False, False)
        assert await page(history, uid, before=4, limit=1) == ([1], False, True)
        assert await page(history, uid, around=2, limit=4) == ([1, 4], False, False)

    async def test_a_page_ends_before_its_documents_exceed_the_bytes(self, history: History) -> None:
        uid = (await new_room(history)).uid
        size = document_bytes((await say(history, uid, *["éé"] * 7))[-1])  # Each has a key of its own, about as long.
        few, two, three = size // 2, 2 * size + 20, 3 * size + 30
        assert await page(history, uid, limit=9, max_bytes=two) == ([6, 7], True, False)
        assert await page(history, uid, limit=9, max_bytes=2 * size - 20) == ([7], True, False)
        assert await page(history, uid, limit=9, max_bytes=few) == ([7], True, False)
        assert await page(history, uid, limit=9, max_bytes=8 * size) == ([1, 2, 3, 4, 5, 6, 7], False, False)
        assert await page(history, uid, before=4, limit=9, max_bytes=two) == ([2, 3], True, True)
        assert await page(history, uid, after=4, limit=9, max_bytes=two) == ([5, 6], True, True)
        assert await page(history, uid, around=4, limit=7, max_bytes=three) == ([3, 4, 5], True, True)

    async def test_what_json_escapes_counts_as_it_is_sent(self, history: History) -> None:
        uid = (await new_room(history)).uid
        await say(history, uid, *["\x01" * 1000] * 9)
        assert await page(history, uid, limit=9, max_bytes=20_000) == ([7, 8, 9], True, False)
        changed = await history.changes(uid, since=0, limit=9, max_bytes=20_000)
        assert [message.seq for message in changed.messages] == [1, 2, 3]

    async def test_reactions_that_came_later_count(self, history: History) -> None:
        uid = (await new_room(history)).uid
        await say(history, uid, *["a"] * 9)
        users = tuple(f"{number:0>100}" for number in range(1000))

        def react(message: Message) -> Message:
            return replace(message, reactions={"+1": users})

        assert await page(history, uid, limit=9, max_bytes=6000) == ([*range(1, 10)], False, False)
        await history.commit([Change(uid, seq, react) for seq in range(1, 10)])
        assert await page(history, uid, limit=9, max_bytes=6000) == ([8, 9], True, False)

    async def test_deleted_messages_keep_their_place(self, history: History) -> None:
        uid = (await new_room(history)).uid
        await say(history, uid, *"abc")
        await history.commit([deleting(uid, 2)])
        found = await history.page(uid, limit=9, max_bytes=AMPLE_BYTES)
        assert [(message.seq, message.body, message.deleted) for message in found.messages] == [
            (1, "a", False),
            (2, "", True),
            (3, "c", False),
        ]
        assert found.head == 4


class TestRevisions:
    async def test_changes_ascend_by_revision(self, history: History) -> None:
        uid = (await new_room(history)).uid
        await say(history, uid, *"abc")
        await history.commit([editing(uid, 2, "x"), editing(uid, 1, "y"), editing(uid, 2, "z")])
        found = await history.changes(uid, since=0, limit=9, max_bytes=AMPLE_BYTES)
        assert [(m.rev, m.seq, m.body) for m in found.messages] == [(3, 3, "c"), (5, 1, "y"), (6, 2, "z")]
        assert (found.head, found.more_before, found.more_after) == (6, False, False)

    async def test_changes_come_in_pages(self, history: History) -> None:
        uid = (await new_room(history)).uid
        await say(history, uid, *["four"] * 5)
        found = await history.changes(uid, since=1, limit=2, max_bytes=AMPLE_BYTES)
        assert ([m.rev for m in found.messages], found.more_after) == ([2, 3], True)
        found = await history.changes(uid, since=1, limit=9, max_bytes=900)
        assert ([m.rev for m in found.messages], found.more_after) == ([2, 3], True)
        found = await history.changes(uid, since=3, limit=2, max_bytes=1)
        assert ([m.rev for m in found.messages], found.more_after) == ([4], True)
        found = await history.changes(uid, since=5, limit=2, max_bytes=1)
        assert (list(found.messages), found.more_after, found.head) == ([], False, 5)

    async def test_every_revision_has_its_message_as_it_stands_now(self, history: History) -> None:
        uid = (await new_room(history)).uid
        await say(history, uid, *"ab")
        await history.commit([editing(uid, 1, "x"), editing(uid, 1, "y")])
        found = await history.revisions(uid, after=0, upto=4)
        assert [(rev, m.seq, m.rev, m.body) for rev, m in found] == [
            (1, 1, 4, "y"),
            (2, 2, 2, "b"),
            (3, 1, 4, "y"),
            (4, 1, 4, "y"),
        ]
        assert [rev for rev, _ in await history.revisions(uid, after=1, upto=3)] == [2, 3]
        assert list(await history.revisions(uid, after=4, upto=9)) == []
        assert list(await history.revisions("nowhere", after=0, upto=9)) == []


class TestLife:
    async def test_what_was_written_is_there_after_a_restart(self, history: History, reopen: Reopen) -> None:
        uid = (await new_room(history)).uid
        await say(history, uid, *"abc")
        await history.commit([editing(uid, 2, "x")])
        before = await all_messages(history, uid)
        assert await all_messages(await reopen(), uid) == before

    async def test_closing_twice_is_harmless(self, history: History) -> None:
        await history.close()
        await history.close()

    async def test_a_closed_store_is_unavailable(self, history: History) -> None:
        await history.close()
        for call in (
            history.room("general"),
            history.commit([draft("u", "a")]),
            history.check(),
            history.search(uids=[], public=True, phrases=["a"], limit=1, cursor=None),
        ):
            with pytest.raises(HubbubError) as caught:
                await call
            assert caught.value.code == "unavailable"

    async def test_a_healthy_store_passes_its_check(self, history: History) -> None:
        await history.check()

    async def test_writes_that_were_taken_are_finished_by_closing(self, history: History, reopen: Reopen) -> None:
        uid = (await new_room(history)).uid
        pending = [asyncio.ensure_future(history.commit([draft(uid, str(n))])) for n in range(50)]
        await asyncio.sleep(0)
        await history.close()
        assert [written((await task)[0]).claimed for task in pending] == list(range(1, 51))
        assert await (await reopen()).head(uid) == 50

    async def test_a_caller_that_goes_away_does_not_undo_its_write(self, history: History) -> None:
        uid = (await new_room(history)).uid
        task = asyncio.ensure_future(history.commit([draft(uid, "a")]))
        await asyncio.sleep(0)
        task.cancel()
        (outcome,) = await history.commit([draft(uid, "a")])
        assert written(outcome).duplicate
