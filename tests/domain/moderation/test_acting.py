"""What moderators do is recorded before it is done, if they may do it at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hubbub.domain.roster import Client
from hubbub.errors import HubbubError
from tests.support.house import ChatHouse, refusal_of


async def entries(house: ChatHouse) -> list[tuple[str, str, dict[str, str], str, str]]:
    """Actor, action, target, reason and outcome, the oldest first."""
    page = await house.chat.house.history.ledger.audit(limit=100, cursor=None)
    return [(each.actor, each.action, dict(each.target), each.reason, each.outcome) for each in reversed(page.entries)]


@pytest.fixture
async def ada(house: ChatHouse) -> Client:
    """She owns `tea`, of which bob is a member."""
    ada = await house.enter("ada")
    await house.room(ada)
    await house.join(await house.enter("bob"))
    return ada


class TestActing:
    async def test_each_action_has_its_entry(self, house: ChatHouse, ada: Client) -> None:
        membership, rooms = house.chat.membership, house.chat.rooms
        user = {"room": "tea", "user": "bob"}
        works: list[tuple[Callable[[Client, dict[str, Any]], Awaitable[Any]], dict[str, Any]]] = [
            (membership.mute, user | {"seconds": 9, "reason": "loud"}),
            (membership.role, user | {"role": "moderator"}),
            (membership.kick, user | {"reason": "rude"}),
            (membership.ban, user | {"reason": "spam"}),
            (membership.unban, user),
            (house.chat.purging.purge, user),
            (rooms.update, {"room": "tea", "title": "Green"}),
            (rooms.delete, {"room": "tea", "reason": "over"}),
        ]
        for work, request in works:
            await work(ada, request)
        target = {"room": "tea", "user": "bob"}
        assert await entries(house) == [
            ("ada", "room:mute", target, "loud", "ok"),
            ("ada", "room:role", target, "moderator", "ok"),
            ("ada", "room:kick", target, "rude", "ok"),
            ("ada", "room:ban", target, "spam", "ok"),
            ("ada", "room:unban", target, "", "ok"),
            ("ada", "room:purge", target, "", "ok"),
            ("ada", "room:update", {"room": "tea"}, "", "ok"),
            ("ada", "room:delete", {"room": "tea"}, "over", "ok"),
        ]

    async def test_who_may_not_is_refused_and_not_recorded(self, house: ChatHouse, ada: Client) -> None:
        bob = await house.enter("bob")
        assert await refusal_of(house.chat.membership.kick(bob, {"room": "tea", "user": "ada"})) == "forbidden"
        assert await refusal_of(house.chat.membership.kick(ada, {"room": "tea", "user": "ada"})) == "forbidden"
        assert await entries(house) == []

    async def test_what_fails_has_its_code(self, house: ChatHouse, ada: Client) -> None:
        assert await refusal_of(house.chat.membership.kick(ada, {"room": "tea", "user": "zoe"})) == "not_found"
        assert [each[-1] for each in await entries(house)] == ["not_found"]

    async def test_whoever_lost_the_right_while_it_was_recorded_does_nothing(
        self, house: ChatHouse, ada: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ledger = house.chat.house.history.ledger
        begin = ledger.audit_begin

        async def begin_late(**entry: Any) -> str:
            house.chat.house.roster.learn(house.uid(), "ada", None)
            return await begin(**entry)

        monkeypatch.setattr(ledger, "audit_begin", begin_late)
        assert await refusal_of(house.chat.membership.kick(ada, {"room": "tea", "user": "bob"})) == "forbidden"
        assert [each[-1] for each in await entries(house)] == ["forbidden"]

    async def test_what_cannot_be_recorded_is_not_done(
        self, house: ChatHouse, ada: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def fail(**entry: Any) -> str:
            raise HubbubError("unavailable")

        monkeypatch.setattr(house.chat.house.history.ledger, "audit_begin", fail)
        assert await refusal_of(house.chat.membership.kick(ada, {"room": "tea", "user": "bob"})) == "unavailable"
        standing = await house.chat.house.history.standing(house.uid(), "bob")
        assert standing is not None
        assert standing.role == "member"
