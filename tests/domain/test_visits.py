"""Callers without a connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hubbub.domain.visits import Visits
from hubbub.errors import HubbubError
from tests.support.domain import identity_of
from tests.support.house import ChatHouse, chat_house, outlet_of, refusal_of


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[ChatHouse]:
    async with chat_house(tmp_path) as made:
        await made.room(await made.enter("ada"))
        yield made


def visits(house: ChatHouse) -> Visits:
    return Visits(house.chat.house, house.chat.posting, house.chat.reading)


async def send(house: ChatHouse, user: str, *, key: str = "k", room: str = "tea", **who: Any) -> dict[str, Any]:
    visit = await visits(house).enter(identity_of(user, **who))
    answer: dict[str, Any] = await visits(house).send(
        visit, {"room": room, "key": key, "body": "hello"}, admitted=lambda: None
    )
    return answer


class TestEntering:
    """A visit stands to rooms as its user does, and leaves no trace."""

    async def test_standings_are_those_in_memory_of_whoever_is_connected(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        house.store.calls.clear()
        visit = await visits(house).enter(identity_of("ada", name="Ada on the phone"))
        assert house.store.calls == []
        assert visit.user.standings is ada.user.standings
        assert (visit.user.person.name, ada.user.person.name) == ("Ada on the phone", "Ada")

    async def test_standings_of_others_are_read(self, house: ChatHouse) -> None:
        bob = await house.enter("bob")
        await house.join(bob)
        house.leave(bob)
        visit = await visits(house).enter(identity_of("bob"))
        assert visit.user.standings[house.uid()].role == "member"
        assert not house.chat.house.roster.is_online("bob")

    async def test_a_store_that_is_away_is_told_of(self, house: ChatHouse) -> None:
        house.store.fail("standings_of", HubbubError("unavailable"))
        assert await refusal_of(visits(house).enter(identity_of("bob"))) == "unavailable"

    async def test_a_visit_is_sent_nothing(self, house: ChatHouse) -> None:
        visit = await visits(house).enter(identity_of("bob"))
        visit.outlet.emit("message", {})
        await visit.outlet.wait_room()
        assert not visit.outlet.is_open
        assert visit.held is None


class TestBots:
    """A bot becomes a member with its first message, where it may."""

    async def test_the_room_is_told_of_it(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.join(ada)
        assert not (await send(house, "bot", roles=["bot"]))["duplicate"]
        assert [each["user"]["id"] for each in outlet_of(ada).of("member")] == ["bot"]
        assert [each["body"] for each in outlet_of(ada).of("message")] == ["hello"]

    async def test_people_do_not(self, house: ChatHouse) -> None:
        assert await refusal_of(send(house, "bob")) == "forbidden"
        assert await refusal_of(send(house, "mod", roles=["moderator"])) == "forbidden"

    async def test_a_connected_bot_is_a_member_on_its_connection_too(self, house: ChatHouse) -> None:
        bot = await house.enter("bot", roles=["bot"])
        await send(house, "bot", roles=["bot"])
        assert bot.user.standings[house.uid()].role == "member"

    async def test_a_private_room_needs_an_invitation(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        room = await house.room(ada, "private", kind="private")
        assert await refusal_of(send(house, "bot", room=room, roles=["bot"])) == "not_found"
        await house.chat.membership.invite(ada, {"room": room, "user": "bot"})
        assert not (await send(house, "bot", room=room, roles=["bot"]))["duplicate"]

    async def test_a_full_room_refuses_it(self, house: ChatHouse) -> None:
        await house.room(await house.enter("ada"), "full", capacity=1)
        assert await refusal_of(send(house, "bot", room="full", roles=["bot"])) == "room_full"

    async def test_a_repeated_key_makes_nobody_a_member(self, house: ChatHouse) -> None:
        first = await send(house, "bot", roles=["bot"])
        await house.chat.membership.kick(await house.enter("ada"), {"room": "tea", "user": "bot"})
        again = await send(house, "bot", roles=["bot"])
        assert (again["message"]["id"], again["duplicate"]) == (first["message"]["id"], True)
        visit = await visits(house).enter(identity_of("bot"))
        assert house.uid() not in visit.user.standings or visit.user.standings[house.uid()].role is None
