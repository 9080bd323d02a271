"""Who belongs to a room, and what moderators do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from hubbub.history.base import FOREVER
from tests.support.house import ChatHouse, outlet_of, refusal_of


async def tea(house: ChatHouse, *users: str) -> list[Client]:
    """The first user owns `tea`; all have joined it."""
    clients = [await house.enter(user) for user in users]
    await house.room(clients[0])
    for client in clients:
        await house.join(client)
    return clients


def on(user: str, **more: Any) -> dict[str, Any]:
    return {"room": "tea", "user": user, **more}


async def refusal_or_answer(work: Awaitable[dict[str, Any]]) -> str | dict[str, Any]:
    try:
        return await work
    except HubbubError as error:
        return error.code


class TestLeaving:
    async def test_who_leaves_is_told_of_and_hears_no_more(self, house: ChatHouse) -> None:
        ada, bob = await tea(house, "ada", "bob")
        phone = await house.enter("bob")
        await house.chat.membership.leave(bob, {"room": "tea"})
        assert outlet_of(phone).of("room:removed") == [{"room": "tea", "reason": "left"}]
        assert outlet_of(bob).of("room:removed") == []
        left = outlet_of(ada).of("member")[-1]
        assert (left["user"]["id"], left["user"]["name"], left["left"]) == ("bob", "Bob", True)
        await house.send(ada)
        assert outlet_of(bob).of("message") == []
        assert await refusal_of(house.send(bob)) == "forbidden"
        assert await house.chat.membership.leave(bob, {"room": "tea"}) == {}

    async def test_when_the_last_owner_leaves_another_is_found_and_told_of(self, house: ChatHouse) -> None:
        ada, bob = await tea(house, "ada", "bob")
        await house.chat.membership.leave(ada, {"room": "tea"})
        heir = outlet_of(bob).of("member")[-1]
        assert (heir["user"]["id"], heir["role"]) == ("bob", "owner")
        await house.chat.rooms.update(bob, {"room": "tea", "title": "Bob's"})

    async def test_who_joins_a_room_that_everybody_left_owns_it(self, house: ChatHouse) -> None:
        ada, bob = await tea(house, "ada", "bob")
        for each in (ada, bob):
            await house.chat.membership.leave(each, {"room": "tea"})
        await house.join(ada)
        await house.chat.rooms.update(ada, {"room": "tea", "title": "Ada's again"})

    async def test_who_leaves_while_being_kicked_is_told_of_once(self, house: ChatHouse) -> None:
        ada, bob, eve = await tea(house, "ada", "bob", "eve")
        phone = await house.enter("bob")
        held = house.store.hold("leave")
        kick = asyncio.ensure_future(house.chat.membership.kick(ada, on("bob")))
        await held.wait()
        leave = asyncio.ensure_future(house.chat.membership.leave(bob, {"room": "tea"}))
        await held.wait()
        held.release()
        assert list(await asyncio.gather(kick, leave)) == [{}, {}]
        assert [each["reason"] for each in outlet_of(phone).of("room:removed")] == ["kicked"]
        assert [each["left"] for each in outlet_of(eve).of("member") if "left" in each] == [True]

    async def test_a_direct_room_cannot_be_left(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        room = await house.room(ada, kind="direct", members=["bob"])
        assert await refusal_of(house.chat.membership.leave(ada, {"room": room})) == "forbidden"


class TestModerating:
    async def test_who_is_kicked_may_come_back(self, house: ChatHouse) -> None:
        ada, bob = await tea(house, "ada", "bob")
        await house.chat.membership.kick(ada, on("bob", reason="Tea time."))
        assert outlet_of(bob).of("room:removed") == [{"room": "tea", "reason": "kicked", "text": "Tea time."}]
        await house.send(ada)
        assert outlet_of(bob).of("message") == []
        await house.join(bob)
        assert await refusal_of(house.chat.membership.kick(ada, on("nobody"))) == "not_found"

    async def test_of_two_who_kick_at_once_one_did(self, house: ChatHouse) -> None:
        ada, _, eve = await tea(house, "ada", "bob", "eve")
        await house.chat.membership.role(ada, on("eve", role="moderator"))
        kicks = [refusal_or_answer(house.chat.membership.kick(each, on("bob"))) for each in (ada, eve)]
        assert sorted(map(str, await asyncio.gather(*kicks))) == ["not_found", "{}"]
        assert len([each for each in outlet_of(eve).of("member") if "left" in each]) == 1

    async def test_who_is_no_member_cannot_be_kicked(self, house: ChatHouse) -> None:
        ada, _ = await tea(house, "ada", "bob")
        await house.chat.membership.mute(ada, on("zoe"))
        assert await refusal_of(house.chat.membership.kick(ada, on("zoe"))) == "not_found"

    async def test_who_is_banned_may_not_until_it_is_over(self, house: ChatHouse) -> None:
        ada, bob = await tea(house, "ada", "bob")
        await house.chat.membership.ban(ada, on("bob", seconds=60))
        assert outlet_of(bob).of("room:removed")[0]["reason"] == "banned"
        assert await refusal_of(house.join(bob)) == "banned"
        house.clock.forward(60)
        await house.join(bob)

    async def test_a_ban_ends_when_it_is_taken_back(self, house: ChatHouse) -> None:
        ada, bob = await tea(house, "ada", "bob")
        await house.chat.membership.ban(ada, on("bob"))
        house.clock.forward(10**9)
        assert await refusal_of(house.join(bob)) == "banned"
        await house.chat.membership.unban(ada, on("bob"))
        await house.chat.membership.unban(ada, on("bob"))
        await house.join(bob)

    async def test_a_ban_of_no_time_is_none(self, house: ChatHouse) -> None:
        ada, _ = await tea(house, "ada", "bob")
        assert await refusal_of(house.chat.membership.ban(ada, on("bob", seconds=0))) == "bad_request"

    async def test_a_ban_tells_nobody_of_a_room_that_they_did_not_know(self, house: ChatHouse) -> None:
        ada, eve = await house.enter("ada"), await house.enter("eve")
        room = await house.room(ada, "plans", kind="private")
        await house.chat.membership.ban(ada, {"room": room, "user": "eve"})
        assert outlet_of(eve).sent == []
        assert await refusal_of(house.join(eve, room)) == "not_found"

    async def test_who_is_muted_reads_only_until_it_is_over(self, house: ChatHouse) -> None:
        ada, bob = await tea(house, "ada", "bob")
        await house.chat.membership.mute(ada, on("bob", seconds=60))
        assert await refusal_of(house.send(bob)) == "muted"
        assert (await house.chat.reading.fetch(bob, {"room": "tea"}))["messages"] == []
        house.clock.forward(60)
        await house.send(bob)
        await house.chat.membership.mute(ada, on("bob"))
        listed = (await house.chat.membership.members(ada, {"room": "tea"}))["members"]
        assert {each["user"]["id"]: each["muted_until"] for each in listed} == {"ada": 0, "bob": FOREVER}
        await house.chat.membership.mute(ada, on("bob", seconds=0))
        await house.send(bob)

    async def test_a_mute_outlives_leaving_and_coming_back(self, house: ChatHouse) -> None:
        ada, bob = await tea(house, "ada", "bob")
        await house.chat.membership.mute(ada, on("bob"))
        await house.chat.membership.leave(bob, {"room": "tea"})
        await house.join(bob)
        assert await refusal_of(house.send(bob)) == "muted"

    @pytest.mark.parametrize("act", ["kick", "ban", "mute"])
    async def test_nobody_acts_upon_themselves_or_upon_their_equals(self, house: ChatHouse, act: str) -> None:
        ada, bob, _ = await tea(house, "ada", "bob", "eve")
        for user in ("bob", "eve"):
            await house.chat.membership.role(ada, on(user, role="moderator"))
        run = getattr(house.chat.membership, act)
        for user in ("bob", "eve", "ada"):
            assert await refusal_of(run(bob, on(user))) == "forbidden"
        await run(ada, on("eve"))

    async def test_a_role_is_told_of_and_in_force_at_once(self, house: ChatHouse) -> None:
        ada, bob, eve = await tea(house, "ada", "bob", "eve")
        await house.chat.membership.role(ada, on("bob", role="moderator"))
        news = outlet_of(eve).of("member")[-1]
        assert (news["user"]["id"], news["role"]) == ("bob", "moderator")
        await house.chat.membership.kick(bob, on("eve"))
        assert await refusal_of(house.chat.membership.role(bob, on("bob", role="owner"))) == "forbidden"
        assert await refusal_of(house.chat.membership.role(ada, on("eve", role="member"))) == "not_found"
        assert await refusal_of(house.chat.membership.role(ada, on("ada", role="member"))) == "conflict"


class TestInviting:
    async def test_who_is_invited_learns_of_the_room_and_may_join(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        room = await house.room(ada, "plans", kind="private")
        assert await refusal_of(house.join(bob, room)) == "not_found"
        await house.chat.membership.invite(ada, {"room": room, "user": "bob"})
        (added,) = outlet_of(bob).of("room:added")
        assert (added["room"]["id"], added["room"]["role"]) == (room, "invited")
        assert await refusal_of(house.chat.reading.fetch(bob, {"room": room})) == "forbidden"
        await house.join(bob, room)
        await house.chat.membership.invite(ada, {"room": room, "user": "bob"})
        assert len(outlet_of(bob).of("room:added")) == 1
        await house.send(bob, room=room)

    async def test_an_invitation_can_be_declined(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        room = await house.room(ada, "plans", kind="private", members=["bob"])
        await house.chat.membership.leave(bob, {"room": room})
        assert await refusal_of(house.join(bob, room)) == "not_found"

    async def test_who_joins_while_the_invitation_is_recorded_stays_a_member(self, house: ChatHouse) -> None:
        ada, bob = await house.enter("ada"), await house.enter("bob")
        await house.room(ada)

        async def join_at_once() -> None:
            house.store._meanwhile.clear()
            await house.join(bob)

        # Whatever is read from the store once the invitation stands, bob is quicker.
        for method in ("standing", "view"):
            house.store.meanwhile(method, join_at_once)
        await house.chat.membership.invite(ada, on("bob"))
        standing = bob.user.standings[house.uid()]
        assert standing.role == "member"
        await house.send(bob)

    async def test_an_invitation_while_connecting_loses_no_mute(self, house: ChatHouse) -> None:
        (ada,) = await tea(house, "ada")
        await house.chat.membership.mute(ada, on("bob"))

        async def invite_at_once() -> None:
            house.store._meanwhile.clear()
            await house.chat.membership.invite(ada, on("bob"))

        house.store.meanwhile("arrival", invite_at_once)
        bob = await house.enter("bob")
        standing = bob.user.standings[house.uid()]
        assert (standing.role, standing.muted_until) == ("invited", FOREVER)
        await house.join(bob)
        assert await refusal_of(house.send(bob)) == "muted"

    async def test_who_is_banned_cannot_be_invited(self, house: ChatHouse) -> None:
        ada, _ = await tea(house, "ada", "bob")
        await house.chat.membership.ban(ada, on("bob"))
        assert await refusal_of(house.chat.membership.invite(ada, on("bob"))) == "conflict"


class TestListing:
    async def test_members_come_page_by_page_longest_standing_first(self, house: ChatHouse) -> None:
        ada = await house.enter("ada")
        await house.room(ada)
        for user in ("bob", "eve"):
            house.clock.forward(1)
            await house.join(await house.enter(user))
        seen: list[str] = []
        cursor: str | None = None
        while True:
            page = await house.chat.membership.members(ada, {"room": "tea", "limit": 2, "cursor": cursor})
            seen += [each["user"]["id"] for each in page["members"]]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert seen == ["ada", "bob", "eve"]
