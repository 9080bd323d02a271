"""What moderators do, over the wire: it holds on live connections, reaches those below, and outlives a restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat import ChatClient, chat_client
from tests.support.service import RunningService, running_service

PEOPLE = ("owner", "mod", "mod2", "bob", "bob2", "eve", "root", "staff")
"""`bob2` is a second connection of bob; `root` and `staff` have their roles from their tokens; `eve` is no member."""

ROLES = {"root": ["admin"], "staff": ["moderator"]}
LOBBY = {"room": "lobby"}

Cast = dict[str, ChatClient]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RunningService]:
    async with running_service(tmp_path, limits="off") as service:
        yield service


@pytest.fixture
async def cast(service: RunningService) -> AsyncIterator[Cast]:
    async with AsyncExitStack() as stack:
        cast = {}
        for name in PEOPLE:
            token = service.token(user=name.removesuffix("2") if name == "bob2" else name, roles=ROLES.get(name, ()))
            cast[name] = await stack.enter_async_context(chat_client(service.url, token))
        await cast["owner"].ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
        for name in ("owner", "mod", "mod2", "bob", "bob2"):
            await cast[name].ok("room:join", LOBBY)
        for name in ("mod", "mod2"):
            await cast["owner"].ok("room:role", {**LOBBY, "user": name, "role": "moderator"})
        yield cast


async def say(client: ChatClient, key: str, body: str = "hello") -> dict[str, Any]:
    message: dict[str, Any] = (await client.ok("message:send", {**LOBBY, "key": key, "body": body}))["message"]
    return message


async def refusal(client: ChatClient, event: str, **more: Any) -> str:
    code: str = (await client.error(event, {**LOBBY, **more}))["code"]
    return code


class TestRanks:
    @pytest.mark.parametrize("event", ["room:kick", "room:ban", "room:mute", "room:purge"])
    async def test_moderators_reach_those_below_and_never_themselves(self, cast: Cast, event: str) -> None:
        for by, user in (("mod", "mod2"), ("mod", "owner"), ("mod", "mod"), ("owner", "owner"), ("staff", "mod")):
            assert await refusal(cast[by], event, user=user) == "forbidden", (by, user)
        for by, user in (("bob", "eve"), ("eve", "bob")):
            assert await refusal(cast[by], event, user=user) == "forbidden", (by, user)
        for by, user in (("mod", "bob"), ("owner", "mod"), ("root", "owner")):
            await cast[by].ok(event, {**LOBBY, "user": user})

    async def test_a_role_that_is_taken_away_is_gone_at_once(self, cast: Cast) -> None:
        await cast["owner"].ok("room:role", {**LOBBY, "user": "mod", "role": "member"})
        for event in ("room:kick", "room:ban", "room:mute", "room:purge", "room:unban"):
            assert await refusal(cast["mod"], event, user="bob") == "forbidden"
        assert await refusal(cast["mod"], "room:update", topic="x") == "forbidden"
        await cast["owner"].ok("room:role", {**LOBBY, "user": "bob", "role": "owner"})
        await cast["bob"].ok("room:role", {**LOBBY, "user": "owner", "role": "member"})
        assert await refusal(cast["owner"], "room:role", user="bob", role="member") == "forbidden"
        told = [(each["user"]["id"], each["role"]) for each in cast["mod2"].of("member") if "role" in each]
        assert told[-3:] == [("mod", "member"), ("bob", "owner"), ("owner", "member")]

    async def test_only_members_get_a_role(self, cast: Cast) -> None:
        assert await refusal(cast["owner"], "room:role", user="eve", role="moderator") == "not_found"
        assert await refusal(cast["owner"], "room:kick", user="eve") == "not_found"


class TestMute:
    async def test_a_muted_member_reads_and_does_not_write_on_any_connection(self, cast: Cast) -> None:
        own = await say(cast["bob"], "k1")
        await cast["mod"].ok("room:mute", {**LOBBY, "user": "bob", "seconds": 3600})
        for name in ("bob", "bob2"):
            client = cast[name]
            assert await refusal(client, "message:send", key="k2", body="x") == "muted"
            assert await refusal(client, "message:edit", id=own["id"], body="x") == "muted"
            assert await refusal(client, "message:react", id=own["id"], emoji="👍", on=True) == "muted"
        assert len((await cast["bob"].ok("history:fetch", LOBBY))["messages"]) == 1
        listed = (await cast["mod"].ok("room:members", LOBBY))["members"]
        assert {each["user"]["id"]: each["muted_until"] > 0 for each in listed}["bob"]
        await cast["bob"].ok("message:delete", {**LOBBY, "id": own["id"]})

    async def test_it_outlives_leaving_and_ends_when_it_is_lifted_or_over(self, cast: Cast) -> None:
        bob = cast["bob"]
        await cast["mod"].ok("room:mute", {**LOBBY, "user": "bob"})
        await bob.ok("room:leave", LOBBY)
        await bob.ok("room:join", LOBBY)
        assert await refusal(bob, "message:send", key="k", body="x") == "muted"
        await cast["mod"].ok("room:mute", {**LOBBY, "user": "bob", "seconds": 0})
        await say(bob, "k")
        await cast["mod"].ok("room:mute", {**LOBBY, "user": "bob", "seconds": 1})
        async with asyncio.timeout(20):
            while not (await bob.call("message:send", {**LOBBY, "key": "k2", "body": "x"}))["ok"]:
                await asyncio.sleep(0)


class TestBan:
    async def test_all_connections_are_out_at_once_and_the_user_stays_out(self, cast: Cast) -> None:
        await cast["mod"].ok("room:ban", {**LOBBY, "user": "bob", "reason": "spam"})
        for name in ("bob", "bob2"):
            told = await cast[name].wait_for("room:removed")
            assert told == {"room": "lobby", "reason": "banned", "text": "spam"}
            assert await refusal(cast[name], "room:join") == "banned"
            assert await refusal(cast[name], "history:fetch") == "banned"
        await say(cast["mod"], "k")
        assert await refusal(cast["mod"], "room:invite", user="bob") == "conflict"
        assert cast["bob"].of("message") == cast["bob2"].of("message") == []

    async def test_whoever_is_no_member_can_be_kept_out_and_let_in(self, cast: Cast) -> None:
        await cast["mod"].ok("room:ban", {**LOBBY, "user": "eve"})
        assert await refusal(cast["eve"], "room:join") == "banned"
        await cast["mod2"].ok("room:unban", {**LOBBY, "user": "eve"})
        await cast["mod2"].ok("room:unban", {**LOBBY, "user": "eve"})
        await cast["eve"].ok("room:join", LOBBY)
        assert await refusal(cast["mod"], "room:ban", user="bob", seconds=0) == "bad_request"

    async def test_an_administrator_is_not_kept_out(self, cast: Cast) -> None:
        await cast["mod"].ok("room:ban", {**LOBBY, "user": "root"})
        await cast["root"].ok("history:fetch", LOBBY)
        await cast["root"].ok("room:unban", {**LOBBY, "user": "root"})


class TestPurge:
    async def test_everybody_sees_what_was_said_go(self, cast: Cast) -> None:
        for number in range(3):
            await say(cast["bob"], f"k{number}", "spam")
        await say(cast["mod"], "k", "stop")
        await cast["mod"].ok("room:ban", {**LOBBY, "user": "bob"})
        purged = await cast["mod"].ok("room:purge", {**LOBBY, "user": "bob", "reason": "spam"})
        assert purged == {"purged": 3, "more": False}
        events = await cast["owner"].wait_count("message", 7)
        assert [each["rev"] for each in events] == [1, 2, 3, 4, 5, 6, 7]
        assert [(each["seq"], each["body"]) for each in events[4:]] == [(3, ""), (2, ""), (1, "")]
        messages = (await cast["eve"].ok("history:fetch", LOBBY))["messages"]
        assert [(each["body"], each["deleted"]) for each in messages] == [
            ("", True),
            ("", True),
            ("", True),
            ("stop", False),
        ]

    async def test_what_is_wrong_with_a_request_is_named(self, cast: Cast) -> None:
        error = await cast["mod"].error("room:purge", {**LOBBY, "user": 7, "seconds": 1})
        assert (error["code"], set(error["fields"])) == ("bad_request", {"user", "seconds"})


class TestRestart:
    async def test_roles_mutes_bans_and_turns_are_kept(self, tmp_path: Path) -> None:
        async with running_service(tmp_path, limits="off") as service, AsyncExitStack() as stack:
            cast = {
                name: await stack.enter_async_context(chat_client(service.url, service.token(user=name)))
                for name in ("owner", "mod", "bob", "eve", "slow")
            }
            await cast["owner"].ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
            for client in cast.values():
                await client.ok("room:join", LOBBY)
            await cast["owner"].ok("room:role", {**LOBBY, "user": "mod", "role": "moderator"})
            await cast["mod"].ok("room:mute", {**LOBBY, "user": "bob"})
            await cast["mod"].ok("room:ban", {**LOBBY, "user": "eve"})
            await cast["mod"].ok("room:update", {**LOBBY, "slow_mode_s": 3600})
            await say(cast["slow"], "k")
            await service.kill()
        async with running_service(tmp_path, limits="off") as service, AsyncExitStack() as stack:
            cast = {
                name: await stack.enter_async_context(chat_client(service.url, service.token(user=name)))
                for name in ("mod", "bob", "eve", "slow")
            }
            assert await refusal(cast["bob"], "message:send", key="k", body="x") == "muted"
            assert await refusal(cast["eve"], "room:join") == "banned"
            error = await cast["slow"].error("message:send", {**LOBBY, "key": "k2", "body": "x"})
            assert error["code"] == "slow_mode"
            assert 3000 < error["retry_after"] <= 3600
            assert (await say(cast["slow"], "k"))["seq"] == 1
            await cast["mod"].ok("room:kick", {**LOBBY, "user": "bob"})
            await say(cast["mod"], "k")
