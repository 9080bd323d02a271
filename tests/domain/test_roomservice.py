"""Making, listing, changing and deleting rooms."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.domain.limits import Limits
from hubbub.domain.roomservice import direct_room_id, new_uid
from hubbub.errors import HubbubError
from hubbub.events import PUBLIC_ROOM_ID
from tests.support.house import ChatHouse, chat_house, outlet_of, refusal_of

USERS = st.text(min_size=1, max_size=20)


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[ChatHouse]:
    async with chat_house(tmp_path, limits=Limits(rooms_per_user=2, capacity=3, capacity_max=5)) as house:
        yield house


class TestIds:
    @given(USERS, USERS)
    def test_the_direct_room_of_two_is_the_same_whoever_asks(self, one: str, other: str) -> None:
        assert direct_room_id(one, other) == direct_room_id(other, one)
        assert re.fullmatch(r"direct:[a-z2-7]{24}", direct_room_id(one, other))

    @given(st.tuples(USERS, USERS), st.tuples(USERS, USERS))
    def test_other_pairs_have_other_rooms(self, pair: tuple[str, str], other: tuple[str, str]) -> None:
        assert (direct_room_id(*pair) == direct_room_id(*other)) == (sorted(pair) == sorted(other))

    @pytest.mark.parametrize(
        ("pair", "other"),
        [
            (("a", "bc"), ("ab", "c")),
            (("1:a", "b"), ("a", "1:b")),
            (("a", "1:a1:b"), ("a1:a", "b")),
            (("11", "1"), ("1", "11:")),
        ],
    )
    def test_ids_that_run_together_do_not_collide(self, pair: tuple[str, str], other: tuple[str, str]) -> None:
        assert direct_room_id(*pair) != direct_room_id(*other)

    def test_a_uid_is_random_and_has_no_separator(self) -> None:
        uids = {new_uid() for _ in range(1000)}
        assert len(uids) == 1000
        assert all(re.fullmatch(r"[a-z2-7]{16}", uid) for uid in uids)


class TestCreating:
    async def test_its_creator_owns_it_and_others_are_invited(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        request = {"kind": "public", "title": "Tea", "id": "tea", "members": ["bob", "ada", "bob", "eve"], "topic": "T"}
        room = (await house.chat.rooms.create(ada, request))["room"]
        assert (room["id"], room["role"], room["members"], room["topic"], room["head"]) == ("tea", "owner", 1, "T", 0)
        (added,) = outlet_of(bob).of("room:added")
        assert (added["room"]["id"], added["room"]["role"]) == ("tea", "invited")
        assert outlet_of(ada).of("room:added") == []

    async def test_ids_that_the_server_makes_say_what_is_not_public(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        public = (await house.chat.rooms.create(ada, {"kind": "public", "title": "T"}))["room"]["id"]
        private = await house.room(ada, kind="private")
        direct = await house.room(ada, kind="direct", members=["bob"])
        assert re.fullmatch(PUBLIC_ROOM_ID, public)
        assert private.startswith("private:")
        assert direct.startswith("direct:")

    async def test_an_id_is_taken_once(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        outcomes = await asyncio.gather(house.room(ada), house.room(bob), return_exceptions=True)
        assert [getattr(each, "code", "made") for each in outcomes] == ["made", "conflict"]

    async def test_a_direct_room_is_one_for_both_even_at_once(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        one, other = await asyncio.gather(
            house.room(ada, kind="direct", members=["bob"]), house.room(bob, kind="direct", members=["ada"])
        )
        assert one == other
        for user in (ada, bob):
            assert [each["room"]["id"] for each in outlet_of(user).of("room:added")] == [one]
        message = await house.send(ada, room=one)
        assert (await house.chat.reading.fetch(bob, {"room": one}))["messages"] == [message]
        assert await refusal_of(house.room(ada, kind="direct", members=["ada"])) == "bad_request"

    async def test_counts_and_capacities_are_bounded(self, small: ChatHouse) -> None:
        ada = await small.enter("ada")
        assert await refusal_of(small.room(ada, capacity=6)) == "too_large"
        await small.room(ada, "one")
        await small.room(ada, "two", members=["bob"])
        assert await refusal_of(small.room(ada, "three")) == "forbidden"

    async def test_others_are_not_made_members_of_too_many_rooms(self, small: ChatHouse) -> None:
        for user in ("one", "two"):
            await small.room(await small.enter(user), f"of-{user}", kind="private", members=["vic"])
        eve = await small.enter("eve")
        for kind in ("private", "direct"):
            assert await refusal_of(small.room(eve, "more", kind=kind, members=["vic"])) == "forbidden"

    async def test_whoever_is_invited_hears_that_the_room_is_gone(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        secret = await house.room(ada, "plans", kind="private", members=["bob"])
        await house.chat.rooms.delete(ada, {"room": secret})
        assert outlet_of(bob).of("room:removed") == [{"room": secret, "reason": "deleted"}]

    async def test_a_room_takes_as_many_members_as_its_capacity(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada, capacity=2)
        joiners = [await house.enter(user) for user in ("bob", "eve", "joe")]
        outcomes = await asyncio.gather(*(house.join(each) for each in joiners), return_exceptions=True)
        assert sorted(each.code if isinstance(each, HubbubError) else "in" for each in outcomes) == [
            "in",
            "room_full",
            "room_full",
        ]

    async def test_a_token_makes_only_rooms_that_it_reaches(self, house: ChatHouse) -> None:
        ada = await house.enter("ada", rooms=["tea*"])
        await house.room(ada, "teapot")
        assert await refusal_of(house.room(ada, "coffee")) == "forbidden"

    async def test_a_token_that_is_limited_to_rooms_learns_of_no_direct_room_that_is_there(
        self, house: ChatHouse
    ) -> None:
        request = {"kind": "direct", "members": ["bob"]}
        whole, limited = await house.enter("ada"), await house.enter("ada", rooms=["tea*"])
        await house.chat.rooms.create(whole, request)
        assert await refusal_of(house.chat.rooms.create(limited, request)) == "forbidden"


class TestListing:
    async def test_everybody_sees_what_they_may_know(self, house: ChatHouse) -> None:
        ada, eve = await house.enter("ada"), await house.enter("eve")
        await house.room(ada)
        plans = await house.room(ada, "plans", kind="private")
        root = await house.enter("root", roles=["admin"])
        limited = await house.enter("ada", rooms=["private:*"])

        async def seen(client: object, **request: object) -> list[str]:
            page = await house.chat.rooms.list_rooms(client, request)  # type: ignore[arg-type]
            return [room["id"] for room in page["rooms"]]

        assert await seen(ada) == [plans, "tea"]
        assert await seen(eve) == ["tea"]
        assert await seen(root) == [plans, "tea"]
        assert await seen(limited) == [plans]
        assert await seen(eve, mine=True) == []
        assert await seen(ada, query="PLA") == [plans]


class TestUpdating:
    async def test_who_joined_gets_the_new_document(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(bob)
        await house.send(ada)
        room = (await house.chat.rooms.update(ada, {"room": "tea", "title": "New", "slow_mode_s": 5}))["room"]
        assert (room["title"], room["slow_mode_s"], room["head"], room["role"]) == ("New", 5, 1, "owner")
        (document,) = outlet_of(bob).of("room")
        assert {**room, **document} == room
        assert "role" not in document
        assert await refusal_of(house.chat.rooms.update(bob, {"room": "tea", "title": "x"})) == "forbidden"

    async def test_a_capacity_is_not_below_the_members_nor_above_the_bound(self, small: ChatHouse) -> None:
        ada = await small.enter("ada")
        await small.room(ada)
        await small.join(await small.enter("bob"))
        assert await refusal_of(small.chat.rooms.update(ada, {"room": "tea", "capacity": 1})) == "conflict"
        assert await refusal_of(small.chat.rooms.update(ada, {"room": "tea", "capacity": 6})) == "too_large"
        await small.chat.rooms.update(ada, {"room": "tea", "capacity": 2})


class TestDeleting:
    async def test_all_who_belonged_or_listened_are_told_once_and_it_is_gone(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(bob)
        phone = await house.enter("bob")
        await house.chat.rooms.delete(ada, {"room": "tea"})
        for client in (ada, bob, phone):
            assert outlet_of(client).of("room:removed") == [{"room": "tea", "reason": "deleted"}]
        assert bob.joined == set()
        assert bob.user.standings == {}
        assert await refusal_of(house.chat.house.find("tea")) == "not_found"
        epoch = (await house.chat.rooms.create(bob, {"kind": "public", "title": "T", "id": "tea"}))["room"]["epoch"]
        assert (await house.join(ada, since=1, epoch="old"))["outcome"] == "reset"
        assert epoch == house.uid()

    async def test_only_owners_delete(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(bob)
        await house.chat.membership.role(ada, {"room": "tea", "user": "bob", "role": "moderator"})
        assert await refusal_of(house.chat.rooms.delete(bob, {"room": "tea"})) == "forbidden"
