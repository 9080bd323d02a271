"""How a room is entered."""

from __future__ import annotations

import asyncio

import pytest

from hubbub.domain.house import no_room
from hubbub.domain.permissions import Action
from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER, Person
from tests.support.house import ChatHouse, outlet_of, refusal_of


class TestEntering:
    async def test_who_may_is_given_the_room(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada)
        assert (await house.chat.house.enter(ada, "tea", Action.DELETE_ROOM)).id == "tea"

    async def test_a_hidden_room_and_none_at_all_cannot_be_told_apart(self, house: ChatHouse) -> None:
        ada, eve = await house.enter("ada"), await house.enter("eve")
        hidden = await house.room(ada, "plans", kind="private")
        errors = []
        for room in (hidden, "nowhere"):
            with pytest.raises(HubbubError) as caught:
                await house.chat.house.enter(eve, room, Action.READ)
            errors.append(caught.value.document())
        assert errors[0] == errors[1] == no_room().document()

    async def test_a_room_that_the_token_does_not_reach_is_not_there(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada)
        limited = await house.enter("ada", rooms=["coffee"])
        assert await refusal_of(house.chat.house.enter(limited, "tea", Action.READ)) == "not_found"

    async def test_who_may_not_is_told_why(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        assert await refusal_of(house.chat.house.enter(bob, "tea", Action.KICK)) == "forbidden"
        await house.chat.membership.ban(ada, {"room": "tea", "user": "bob"})
        assert await refusal_of(house.chat.house.enter(bob, "tea", Action.READ)) == "banned"


class TestPeople:
    async def test_anybody_has_a_standing_connected_or_not(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(bob)
        await house.chat.membership.mute(ada, {"room": "tea", "user": "bob"})
        before = await house.chat.house.standing(house.uid(), "bob")
        house.leave(bob)
        after = await house.chat.house.standing(house.uid(), "bob")
        assert before == after
        assert after is not None
        assert (after.role, after.muted_until) == ("member", FOREVER)
        assert await house.chat.house.standing(house.uid(), "eve") is None

    async def test_who_is_still_being_loaded_is_asked_for_in_the_store(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada)
        await house.join(await house.enter("bob"))
        for client in list(house.chat.house.roster.clients("bob")):
            house.leave(client)
        held = house.store.hold("arrival")
        entering = asyncio.ensure_future(house.enter("bob"))
        await held.wait()
        standing = await house.chat.house.standing(house.uid(), "bob")
        assert standing is not None
        assert standing.role == "member"
        held.release()
        await entering

    async def test_anybody_has_a_name(self, house: ChatHouse) -> None:
        bob = await house.enter("bob", name="Robert")
        assert await house.chat.house.person("bob") == Person("bob", "Robert")
        await house.chat.house.roster.wait_written()
        house.leave(bob)
        assert await house.chat.house.person("bob") == Person("bob", "Robert")
        assert await house.chat.house.person("nobody") == Person("nobody", "nobody")
        assert house.chat.house.user(Person("bob", "Robert"))["status"] == "offline"


class TestForgetting:
    async def test_a_room_that_is_gone_leaves_nothing(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada)
        await house.join(ada)
        uid = house.uid()
        room = house.chat.house.rooms.by_uid(uid)
        assert room is not None
        house.chat.house.close_room(room)
        assert outlet_of(ada).of("room:removed") == [{"room": "tea", "reason": "deleted"}]
        assert house.fanout.size(uid) == 0
        assert ada.joined == set()
        assert ada.user.standings == {}
        assert house.chat.house.rooms.by_uid(uid) is None


class TestThoseWhoWent:
    async def test_events_that_still_wait_are_judged_by_the_store(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)
        await house.join(bob)
        house.leave(bob)
        await house.chat.membership.ban(ada, {"room": "tea", "user": "bob"})
        await house.chat.house.roster.refresh(bob)
        assert await refusal_of(house.send(bob)) == "banned"
