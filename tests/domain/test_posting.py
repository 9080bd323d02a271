"""Sending, editing, deleting, reacting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hubbub.domain.limits import Limits
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.filters import Draft, Room, Sender
from tests.support.house import ChatHouse, chat_house, outlet_of, refusal_of


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[ChatHouse]:
    async with chat_house(tmp_path, limits=Limits(body=10, reactions=1, mentions=2)) as house:
        yield house


async def room_of_two(house: ChatHouse) -> tuple[Client, Client]:
    """Ada owns `tea`, bob is a member; both have joined."""
    ada, bob = await house.enter("ada"), await house.enter("bob")
    await house.room(ada)
    await house.join(ada)
    await house.join(bob)
    return ada, bob


class TestSending:
    async def test_a_used_key_shows_nothing_of_a_room_that_the_token_does_not_reach(self, house: ChatHouse) -> None:
        ada, _ = await room_of_two(house)
        await house.send(ada, "secret", key="k")
        limited = await house.enter("ada", rooms=["plans"])
        assert await refusal_of(house.send(limited, "secret", key="k")) == "not_found"

    async def test_all_who_joined_get_what_was_stored(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        message = await house.send(ada, "hi @bob")
        assert (message["seq"], message["rev"], message["body"], message["mentions"]) == (1, 1, "hi @bob", ["bob"])
        assert message["sender"] == {"id": "ada", "name": "Ada", "guest": False}
        assert outlet_of(ada).of("message") == outlet_of(bob).of("message") == [message]

    async def test_a_key_is_used_once_whatever_comes_with_it(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        first = await house.send(bob, "one", key="k")
        request = {"room": "tea", "key": "k", "body": "two"}
        again = await house.chat.posting.send(bob, request, admitted=lambda: None)
        assert again == {"message": first, "duplicate": True}
        assert len(outlet_of(ada).of("message")) == 1
        assert (await house.send(ada, "one", key="k"))["seq"] == 2

    async def test_a_repeat_is_answered_before_any_refusal(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        first = await house.send(bob, "one", key="k")
        for harm in (house.chat.membership.mute, house.chat.membership.kick, house.chat.membership.ban):
            await harm(ada, {"room": "tea", "user": "bob"})
            assert await house.send(bob, "x" * 10_000, key="k") == first
            assert await refusal_of(house.send(bob, "new")) in ("muted", "forbidden", "banned")

    async def test_it_needs_no_task_and_waits_for_nothing_before_its_place_in_line(self, house: ChatHouse) -> None:
        ada, _ = await room_of_two(house)
        admitted: list[bool] = []
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        request = {"room": "tea", "key": "k", "body": "hi @bob"}
        sending = house.chat.posting.send(ada, request, admitted=lambda: admitted.append(True))

        def step(_: object = None) -> None:
            try:
                assert asyncio.current_task() is None
                waits_for = sending.send(None)
                assert admitted
            except StopIteration as done:
                answer.set_result(done.value)
            except BaseException as error:
                answer.set_exception(error)
            else:
                waits_for._asyncio_future_blocking = False
                waits_for.add_done_callback(step)

        asyncio.get_running_loop().call_soon(step)
        async with asyncio.timeout(20):
            assert (await answer)["message"] == outlet_of(ada).of("message")[0]

    async def test_the_place_in_line_is_taken_before_the_commit(self, house: ChatHouse) -> None:
        ada, _ = await room_of_two(house)
        admitted: list[bool] = []
        held = house.store.hold("commit")
        request = {"room": "tea", "key": "k", "body": "hi"}
        sending = asyncio.ensure_future(house.chat.posting.send(ada, request, admitted=lambda: admitted.append(True)))
        await held.wait()
        assert admitted == [True]
        assert not sending.done()
        assert outlet_of(ada).of("message") == []
        held.release()
        await sending

    async def test_a_body_has_a_bounded_length(self, small: ChatHouse) -> None:
        ada, _ = await room_of_two(small)
        await small.send(ada, "😀" * 10)
        assert await refusal_of(small.send(ada, "x" * 11)) == "too_large"

    async def test_a_reply_is_to_a_message_of_the_room(self, house: ChatHouse) -> None:
        ada, _ = await room_of_two(house)
        await house.room(ada, "other")
        first, foreign = await house.send(ada), await house.send(ada, room="other")
        assert (await house.send(ada, reply_to=first["id"]))["reply_to"] == first["id"]
        for reply_to in (foreign["id"], f"{house.uid()}.99", "nonsense", ""):
            assert await refusal_of(house.send(ada, reply_to=reply_to)) == "not_found"

    async def test_members_are_mentioned_connected_or_not(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        house.leave(bob)
        await house.enter("eve")
        assert (await house.send(ada, "@bob @eve @ada @bob."))["mentions"] == ["bob", "ada"]

    async def test_after_the_store_failed_the_same_key_may_be_repeated(self, house: ChatHouse) -> None:
        ada, _ = await room_of_two(house)
        house.store.fail("commit", HubbubError("unavailable"))
        assert await refusal_of(house.send(ada, "hi", key="k")) == "unavailable"
        assert (await house.send(ada, "hi", key="k"))["seq"] == 1

    async def test_a_room_that_was_deleted_meanwhile_is_not_there(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        held = house.store.hold("member_ids")
        sending = asyncio.ensure_future(house.send(bob, "@nobody"))
        await held.wait()
        await house.chat.rooms.delete(ada, {"room": "tea"})
        held.release()
        assert await refusal_of(sending) == "not_found"


class Upper:
    """Filters that put the body in capitals, refuse what has `no` in it, and do something meanwhile."""

    def __init__(self) -> None:
        self.seen: list[Draft] = []
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def review(self, draft: Draft) -> str:
        self.seen.append(draft)
        if self.meanwhile is not None:
            await self.meanwhile()
        if "no" in draft.body:
            raise HubbubError("forbidden", "No.")
        return draft.body.upper().replace("LONG", "LONGER THAN TEN")


class TestFilters:
    @pytest.fixture
    async def upper(self) -> Upper:
        return Upper()

    @pytest.fixture
    async def house(self, tmp_path: Path, upper: Upper) -> AsyncIterator[ChatHouse]:
        async with chat_house(tmp_path, limits=Limits(body=10), reviewer=upper) as house:
            yield house

    async def test_they_see_who_says_what_where(self, house: ChatHouse, upper: Upper) -> None:
        ada, bob = await room_of_two(house)
        first = await house.send(ada, "hi @BOB")
        assert (first["body"], first["mentions"]) == ("HI @BOB", [])
        await house.send(bob, "aye", reply_to=first["id"])
        await house.chat.posting.edit(bob, {"room": "tea", "id": f"{house.uid()}.2", "body": "yes"})
        room = Room("tea", "public", "tea")
        by_ada = Sender("ada", "Ada", False, frozenset(), "owner")
        by_bob = Sender("bob", "Bob", False, frozenset(), "member")
        assert upper.seen == [
            Draft(room, by_ada, "hi @BOB"),
            Draft(room, by_bob, "aye", reply_to=first["id"]),
            Draft(room, by_bob, "yes", edits=f"{house.uid()}.2"),
        ]
        assert [each["body"] for each in outlet_of(ada).of("message")] == ["HI @BOB", "AYE", "YES"]

    async def test_what_they_refuse_takes_no_key_no_turn_and_no_revision(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        await house.chat.rooms.update(ada, {"room": "tea", "slow_mode_s": 10})
        assert await refusal_of(house.send(bob, "no", key="k")) == "forbidden"
        assert (await house.send(bob, "yes", key="k"))["seq"] == 1
        assert (await house.send(bob, "no", key="k"))["body"] == "YES"
        edit = {"room": "tea", "id": f"{house.uid()}.1", "body": "no"}
        assert await refusal_of(house.chat.posting.edit(bob, edit)) == "forbidden"

    async def test_what_they_put_in_place_has_the_same_limits(self, house: ChatHouse) -> None:
        ada, _ = await room_of_two(house)
        assert await refusal_of(house.send(ada, "long")) == "too_large"
        first = await house.send(ada, "short")
        edit = {"room": "tea", "id": first["id"], "body": "long"}
        assert await refusal_of(house.chat.posting.edit(ada, edit)) == "too_large"

    async def test_who_may_not_post_is_refused_before(self, house: ChatHouse, upper: Upper) -> None:
        ada, bob = await room_of_two(house)
        await house.chat.membership.mute(ada, {"room": "tea", "user": "bob"})
        assert await refusal_of(house.send(bob, "hi")) == "muted"
        assert await refusal_of(house.send(ada, "x" * 11)) == "too_large"
        assert upper.seen == []

    async def test_whoever_is_muted_meanwhile_posts_nothing(self, house: ChatHouse, upper: Upper) -> None:
        ada, bob = await room_of_two(house)
        id = (await house.send(bob, "hi"))["id"]
        upper.meanwhile = lambda: house.chat.membership.mute(ada, {"room": "tea", "user": "bob"})
        assert await refusal_of(house.send(bob, "hi")) == "muted"
        edit = {"room": "tea", "id": id, "body": "ho"}
        await house.chat.membership.mute(ada, {"room": "tea", "user": "bob", "seconds": 0})
        assert await refusal_of(house.chat.posting.edit(bob, edit)) == "muted"

    async def test_the_place_in_line_is_taken_after_them(self, house: ChatHouse, upper: Upper) -> None:
        ada, _ = await room_of_two(house)
        admitted: list[bool] = []
        let_go = asyncio.Event()
        upper.meanwhile = let_go.wait
        request = {"room": "tea", "key": "k", "body": "hi"}
        sending = asyncio.ensure_future(house.chat.posting.send(ada, request, admitted=lambda: admitted.append(True)))
        async with asyncio.timeout(20):
            while not upper.seen:
                await asyncio.sleep(0)
            assert admitted == []
            let_go.set()
            await sending
        assert admitted == [True]


class TestSlowMode:
    @staticmethod
    async def slow_room(house: ChatHouse) -> tuple[Client, Client]:
        ada, bob = await room_of_two(house)
        await house.chat.rooms.update(ada, {"room": "tea", "slow_mode_s": 10})
        return ada, bob

    async def test_members_wait_and_those_who_moderate_do_not(self, house: ChatHouse) -> None:
        ada, bob = await self.slow_room(house)
        await house.send(bob)
        house.clock.forward(4)
        with pytest.raises(HubbubError) as caught:
            await house.send(bob)
        assert (caught.value.code, caught.value.retry_after) == ("slow_mode", 6)
        for _ in range(3):
            await house.send(ada)
        house.clock.forward(6)
        await house.send(bob)

    async def test_a_repeat_and_a_failure_take_no_turn(self, house: ChatHouse) -> None:
        _, bob = await self.slow_room(house)
        await house.send(bob, key="k")
        house.clock.forward(10)
        await house.send(bob, key="k")
        house.store.fail("commit", HubbubError("unavailable"))
        assert await refusal_of(house.send(bob)) == "unavailable"
        await house.send(bob)
        assert await refusal_of(house.send(bob)) == "slow_mode"

    async def test_a_turn_is_taken_when_the_message_is_handed_in(self, house: ChatHouse) -> None:
        _, bob = await self.slow_room(house)
        outcomes = await asyncio.gather(*(house.send(bob) for _ in range(3)), return_exceptions=True)
        assert sorted(getattr(each, "code", "sent") for each in outcomes) == ["sent", "slow_mode", "slow_mode"]


class TestChanging:
    async def test_every_change_is_one_event_of_one_revision(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        id = (await house.send(ada))["id"]
        posting = house.chat.posting
        await posting.edit(ada, {"room": "tea", "id": id, "body": "@bob"})
        await posting.react(bob, {"room": "tea", "id": id, "emoji": "👍", "on": True})
        await posting.react(bob, {"room": "tea", "id": id, "emoji": "👍", "on": True})
        await posting.delete(ada, {"room": "tea", "id": id})
        await posting.delete(ada, {"room": "tea", "id": id})
        events = outlet_of(bob).of("message")
        assert [(each["rev"], each["body"], each["deleted"]) for each in events] == [
            (1, "hello", False),
            (2, "@bob", False),
            (3, "@bob", False),
            (4, "", True),
        ]
        assert events[1]["mentions"] == ["bob"]
        assert events[2]["reactions"] == [{"emoji": "👍", "count": 1, "users": ["bob"]}]

    async def test_authors_edit_and_those_who_moderate_delete(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        of_ada, of_bob = (await house.send(ada))["id"], (await house.send(bob))["id"]
        posting = house.chat.posting
        assert await refusal_of(posting.edit(ada, {"room": "tea", "id": of_bob, "body": "x"})) == "forbidden"
        assert await refusal_of(posting.delete(bob, {"room": "tea", "id": of_ada})) == "forbidden"
        await posting.delete(ada, {"room": "tea", "id": of_bob})
        assert await refusal_of(posting.edit(bob, {"room": "tea", "id": of_bob, "body": "x"})) == "conflict"

    async def test_another_revision_than_was_seen_is_a_conflict(self, house: ChatHouse) -> None:
        ada, _ = await room_of_two(house)
        id = (await house.send(ada))["id"]
        request = {"room": "tea", "id": id, "body": "x", "rev": 1}
        outcomes = await asyncio.gather(
            house.chat.posting.edit(ada, request),
            house.chat.posting.edit(ada, request | {"body": "y"}),
            return_exceptions=True,
        )
        assert [getattr(each, "code", "done") for each in outcomes] == ["done", "conflict"]

    @pytest.mark.parametrize("id", ["nonsense", "uid.1", ""])
    async def test_what_is_no_message_of_the_room_is_not_found(self, house: ChatHouse, id: str) -> None:
        ada, _ = await room_of_two(house)
        for change in (house.chat.posting.edit, house.chat.posting.delete, house.chat.posting.react):
            request = {"room": "tea", "id": id, "body": "x", "emoji": "👍", "on": True}
            assert await refusal_of(change(ada, request)) == "not_found"
            assert await refusal_of(change(ada, request | {"id": f"{house.uid()}.7"})) == "not_found"

    async def test_limits_hold_for_edits_and_reactions(self, small: ChatHouse) -> None:
        ada, _ = await room_of_two(small)
        id = (await small.send(ada))["id"]
        posting = small.chat.posting
        assert await refusal_of(posting.edit(ada, {"room": "tea", "id": id, "body": "x" * 11})) == "too_large"
        await posting.react(ada, {"room": "tea", "id": id, "emoji": "👍", "on": True})
        assert await refusal_of(posting.react(ada, {"room": "tea", "id": id, "emoji": "👎", "on": True})) == "conflict"

    async def test_who_may_not_know_a_room_is_told_nothing(self, house: ChatHouse) -> None:
        ada, eve = await house.enter("ada"), await house.enter("eve")
        room = await house.room(ada, "plans", kind="private")
        id = (await house.send(ada, room=room))["id"]
        request = {"room": room, "id": id, "body": "x", "key": "k", "emoji": "👍", "on": True}
        posting = house.chat.posting
        assert await refusal_of(posting.send(eve, request, admitted=lambda: None)) == "not_found"
        for change in (posting.edit, posting.delete, posting.react, posting.typing):
            assert await refusal_of(change(eve, request)) == "not_found"


class TestTyping:
    async def test_it_reaches_the_others_who_joined(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        await house.chat.posting.typing(ada, {"room": "tea", "on": True})
        assert outlet_of(bob).of("typing") == [{"room": "tea", "user": "ada", "on": True}]
        assert outlet_of(ada).of("typing") == []
