"""What somebody said in a room is emptied, each message as if it had been deleted alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.domain.moderation.purging import MOST
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from tests.support.house import ChatHouse, outlet_of, refusal_of


async def room_of_two(house: ChatHouse, **more: Any) -> tuple[Client, Client]:
    """Ada owns `tea`, bob is a member; both have joined."""
    ada, bob = await house.enter("ada"), await house.enter("bob")
    await house.room(ada, **more)
    await house.join(ada)
    await house.join(bob)
    return ada, bob


async def purge(house: ChatHouse, client: Client, user: str = "bob", **more: Any) -> dict[str, Any]:
    return await house.chat.purging.purge(client, {"room": "tea", "user": user, **more})


class TestPurging:
    async def test_each_message_is_deleted_under_a_revision_of_its_own_the_newest_first(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        for number in range(3):
            await house.send(bob, f"bob {number}")
            await house.send(ada, f"ada {number}")
        assert await purge(house, ada, reason="spam") == {"purged": 3, "more": False}
        events = outlet_of(bob).of("message")[6:]
        assert [(each["rev"], each["seq"], each["body"], each["deleted"]) for each in events] == [
            (7, 5, "", True),
            (8, 3, "", True),
            (9, 1, "", True),
        ]
        page = await house.join(ada)
        assert [each["body"] for each in page["messages"]] == ["", "ada 0", "", "ada 1", "", "ada 2"]
        assert await purge(house, ada) == {"purged": 0, "more": False}

    async def test_a_request_is_bounded_and_says_whether_to_ask_again(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        for at in range(0, MOST + 20, 100):
            await asyncio.gather(*(house.send(bob) for _ in range(min(100, MOST + 20 - at))))
        assert await purge(house, ada) == {"purged": MOST, "more": True}
        page = await house.sync(ada, 0, limit=500)
        assert sorted(each["seq"] for each in page["messages"] if not each["deleted"]) == list(range(1, 21))
        assert await purge(house, ada) == {"purged": 20, "more": False}

    @pytest.mark.parametrize("end", ["kick", "ban", "leave"])
    async def test_who_is_not_in_the_room_any_more_can_be_purged(self, house: ChatHouse, end: str) -> None:
        ada, bob = await room_of_two(house)
        await house.send(bob)
        if end == "leave":
            await house.chat.membership.leave(bob, {"room": "tea"})
        else:
            await getattr(house.chat.membership, end)(ada, {"room": "tea", "user": "bob"})
        house.leave(bob)
        assert (await purge(house, ada))["purged"] == 1

    async def test_it_reaches_lower_ranks_only_and_never_oneself(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        eve, root = await house.enter("eve"), await house.enter("root", roles=["admin"])
        await house.join(eve)
        for client in (ada, bob, eve):
            await house.send(client)
        for user in ("bob", "eve"):
            await house.chat.membership.role(ada, {"room": "tea", "user": user, "role": "moderator"})
        assert await refusal_of(purge(house, bob, "eve")) == "forbidden"
        assert await refusal_of(purge(house, bob, "ada")) == "forbidden"
        assert await refusal_of(purge(house, ada, "ada")) == "forbidden"
        await house.chat.membership.role(ada, {"room": "tea", "user": "eve", "role": "member"})
        assert (await purge(house, bob, "eve"))["purged"] == 1
        assert (await purge(house, root, "ada"))["purged"] == 1
        assert await refusal_of(purge(house, eve, "stranger")) == "forbidden"

    async def test_what_is_deleted_meanwhile_is_not_counted_and_no_error(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        ids = [(await house.send(bob))["id"] for _ in range(3)]
        held = house.store.hold("seqs_of")
        purging = asyncio.ensure_future(purge(house, ada))
        await held.wait()
        await house.chat.posting.delete(bob, {"room": "tea", "id": ids[1]})
        held.release()
        assert await purging == {"purged": 2, "more": False}

    async def test_what_retention_took_meanwhile_neither(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        for _ in range(3):
            await house.send(bob)
        held = house.store.hold("seqs_of")
        purging = asyncio.ensure_future(purge(house, ada))
        await held.wait()
        while await house.store.expire(before=None, keep=1):
            pass
        held.release()
        assert await purging == {"purged": 1, "more": False}

    async def test_whoever_is_no_moderator_any_more_goes_no_further(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        eve = await house.enter("eve")
        await house.join(eve)
        await house.chat.membership.role(ada, {"room": "tea", "user": "eve", "role": "moderator"})
        await house.send(bob)
        held = house.store.hold("seqs_of")
        purging = asyncio.ensure_future(purge(house, eve))
        await held.wait()
        await house.chat.membership.role(ada, {"room": "tea", "user": "eve", "role": "member"})
        held.release()
        assert await refusal_of(purging) == "forbidden"

    async def test_a_store_that_fails_is_told_and_to_ask_again_goes_on(self, house: ChatHouse) -> None:
        ada, bob = await room_of_two(house)
        for _ in range(3):
            await house.send(bob)
        house.store.fail("commit", HubbubError("unavailable"))
        assert await refusal_of(purge(house, ada)) == "unavailable"
        assert await purge(house, ada) == {"purged": 3, "more": False}

    async def test_who_may_not_know_the_room_is_told_nothing(self, house: ChatHouse) -> None:
        ada, eve = await house.enter("ada"), await house.enter("eve")
        room = await house.room(ada, "plans", kind="private")
        assert await refusal_of(house.chat.purging.purge(eve, {"room": room, "user": "ada"})) == "not_found"
        with pytest.raises(HubbubError) as caught:
            await house.chat.purging.purge(eve, {"room": "nowhere", "user": "ada"})
        assert caught.value.code == "not_found"
