"""The services of chat as one."""

from __future__ import annotations

from tests.support.domain import identity_of
from tests.support.house import ChatHouse, outlet_of, refusal_of


class TestRenewing:
    async def test_rooms_that_the_new_token_does_not_reach_are_left_behind(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        for room in ("tea", "coffee"):
            await house.room(ada, room)
            await house.join(ada, room)
        house.chat.renew(ada, identity_of("ada", rooms=["tea"]))
        assert outlet_of(ada).of("room:removed") == [{"room": "coffee", "reason": "token"}]
        assert ada.joined == {house.uid("tea")}
        assert house.fanout.size(house.uid("coffee")) == 0
        assert await refusal_of(house.send(ada, room="coffee")) == "not_found"
        await house.send(ada, room="tea")

    async def test_a_lost_role_takes_what_it_gave(self, house: ChatHouse) -> None:
        ada, root = await house.enter("ada"), await house.enter("root", roles=["admin"])
        await house.room(ada)
        await house.chat.rooms.update(root, {"room": "tea", "title": "Mine"})
        house.chat.renew(root, identity_of("root"))
        assert await refusal_of(house.chat.rooms.update(root, {"room": "tea", "title": "Mine"})) == "forbidden"

    async def test_a_new_name_is_used_from_now_on(self, house: ChatHouse) -> None:
        ada = await house.enter("ada", name="Ada")
        await house.room(ada)
        house.chat.renew(ada, identity_of("ada", name="Countess"))
        assert (await house.send(ada))["sender"]["name"] == "Countess"

    async def test_a_room_that_is_gone_is_left_without_a_word(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        ada.joined.add("gone")
        house.chat.renew(ada, identity_of("ada"))
        assert ada.joined == set()
        assert outlet_of(ada).sent == []


class TestClosing:
    async def test_what_runs_beside_is_stopped_and_may_be_stopped_twice(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada)
        await house.send(ada)
        await house.chat.close()
        await house.chat.close()
        assert house.chat._activity._timer is None
        assert (await house.chat.house.history.people(["ada"]))["ada"][0].name == "Ada"
