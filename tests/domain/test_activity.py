"""News of rooms that a member has not joined on a connection."""

from __future__ import annotations

import asyncio
from typing import Any

from hubbub.domain.activity import WINDOW_S, Activity
from hubbub.domain.roster import Client
from tests.support.history import member, new_room
from tests.support.house import ChatHouse, outlet_of


class Badges:
    """Members ada, bob and eve of the room `tea`, none of whom has joined it on a connection."""

    def __init__(self, house: ChatHouse) -> None:
        self.house = house
        self.clients: dict[str, Client] = {}
        self.uid = ""

    @classmethod
    async def set_up(cls, house: ChatHouse) -> Badges:
        badges = cls(house)
        users = ("ada", "bob", "eve")
        room = await new_room(house.chat.house.history, *(member(user) for user in users), id="tea")
        house.chat.house.rooms.put(room)
        badges.uid = room.uid
        for user in users:
            badges.clients[user] = await house.enter(user)
        return badges

    @property
    def activity(self) -> Activity:
        return self.house.chat._activity

    def say(self, seq: int, *, sender: str = "ada", mentions: tuple[str, ...] = ()) -> None:
        self.activity.touch(self.uid, seq, sender, mentions)

    def told(self, user: str) -> list[Any]:
        return outlet_of(self.clients[user]).of("activity")


class TestTelling:
    async def test_nothing_is_told_before_the_window_is_over(self, house: ChatHouse) -> None:
        badges = await Badges.set_up(house)
        badges.say(1)
        assert badges.told("bob") == []
        timer = badges.activity._timer
        assert timer is not None
        assert abs(timer.when() - asyncio.get_running_loop().time() - WINDOW_S) < 0.5
        timer._run()
        assert badges.told("bob") == [{"room": "tea", "seq": 1, "mention": False}]
        assert badges.activity._timer is None

    async def test_many_messages_are_one_piece_of_news_with_the_newest_seq(self, house: ChatHouse) -> None:
        badges = await Badges.set_up(house)
        for seq in (1, 3, 2):
            badges.say(seq)
        badges.activity.flush()
        assert badges.told("bob") == [{"room": "tea", "seq": 3, "mention": False}]

    async def test_the_next_window_has_its_own_news(self, house: ChatHouse) -> None:
        badges = await Badges.set_up(house)
        badges.say(1, mentions=("bob",))
        badges.activity.flush()
        badges.say(2)
        badges.activity.flush()
        assert [news["mention"] for news in badges.told("bob")] == [True, False]
        badges.activity.flush()
        assert len(badges.told("bob")) == 2

    async def test_who_was_mentioned_once_in_the_window_is_told_so(self, house: ChatHouse) -> None:
        badges = await Badges.set_up(house)
        badges.say(1, mentions=("bob",))
        badges.say(2)
        badges.activity.flush()
        assert badges.told("bob") == [{"room": "tea", "seq": 2, "mention": True}]
        assert badges.told("eve") == [{"room": "tea", "seq": 2, "mention": False}]

    async def test_who_alone_has_spoken_is_not_told(self, house: ChatHouse) -> None:
        badges = await Badges.set_up(house)
        badges.say(1, sender="ada")
        badges.activity.flush()
        assert badges.told("ada") == []
        badges.say(2, sender="ada")
        badges.say(3, sender="bob")
        badges.activity.flush()
        assert len(badges.told("ada")) == 1

    async def test_a_connection_that_has_joined_is_not_told_and_another_of_the_same_user_is(
        self, house: ChatHouse
    ) -> None:
        badges = await Badges.set_up(house)
        await house.join(badges.clients["bob"])
        phone = await house.enter("bob")
        badges.say(1)
        badges.activity.flush()
        assert badges.told("bob") == []
        assert len(outlet_of(phone).of("activity")) == 1

    async def test_a_connection_whose_token_does_not_reach_the_room_is_not_told(self, house: ChatHouse) -> None:
        badges = await Badges.set_up(house)
        limited = await house.enter("bob", rooms=["other"])
        badges.say(1)
        badges.activity.flush()
        assert outlet_of(limited).of("activity") == []

    async def test_who_is_no_member_is_not_told(self, house: ChatHouse) -> None:
        badges = await Badges.set_up(house)
        stranger = await house.enter("mallory")
        badges.say(1, mentions=("mallory",))
        badges.activity.flush()
        assert outlet_of(stranger).of("activity") == []

    async def test_it_is_encoded_once_for_all_who_get_the_same(self, house: ChatHouse) -> None:
        badges = await Badges.set_up(house)
        badges.say(1)
        badges.activity.flush()
        bob, eve = (outlet_of(badges.clients[user]).packets[-1] for user in ("bob", "eve"))
        assert bob is eve

    async def test_a_message_that_is_sent_is_news_and_its_changes_are_none(self, house: ChatHouse) -> None:
        badges = await Badges.set_up(house)
        ada = badges.clients["ada"]
        message = await house.send(ada)
        badges.activity.flush()
        await house.chat.posting.edit(ada, {"room": "tea", "id": message["id"], "body": "other"})
        badges.activity.flush()
        assert badges.told("bob") == [{"room": "tea", "seq": 1, "mention": False}]


class TestEnding:
    async def test_a_room_that_is_gone_is_no_news(self, house: ChatHouse) -> None:
        badges = await Badges.set_up(house)
        badges.say(1)
        house.chat.house.rooms.forget(badges.uid)
        badges.activity.flush()
        assert badges.told("bob") == []

    async def test_after_stopping_nothing_is_told(self, house: ChatHouse) -> None:
        badges = await Badges.set_up(house)
        badges.say(1)
        timer = badges.activity._timer
        badges.activity.stop()
        assert timer is not None
        assert timer.cancelled()
        badges.activity.flush()
        assert badges.told("bob") == []
