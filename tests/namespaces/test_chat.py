"""What people do in rooms, over the wire, with stock clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.chat import ChatClient, chat_client
from tests.support.service import RunningService, running_service

People = Callable[..., Any]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RunningService]:
    async with running_service(tmp_path, limits="off") as service:
        yield service


@pytest.fixture
async def person(service: RunningService) -> AsyncIterator[People]:
    async with AsyncExitStack() as stack:

        async def connect(user: str, **token: Any) -> ChatClient:
            client = chat_client(service.url, service.token(user=user, **token))
            return await stack.enter_async_context(client)

        yield connect


async def lobby(client: ChatClient, **options: Any) -> None:
    await client.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby", **options})


async def say(client: ChatClient, key: str, body: str = "hello", room: str = "lobby", **options: Any) -> Any:
    return await client.ok("message:send", {"room": room, "key": key, "body": body, **options})


class TestHello:
    async def test_the_first_event_says_who_one_is_and_what_holds_here(self, person: People) -> None:
        alice = await person("alice", name="Alice")
        hello = await alice.wait_for("hello")
        assert hello["user"] == {
            "id": "alice", "name": "Alice", "guest": False, "status": "online", "text": "", "last_seen": None,
        }  # fmt: skip
        assert hello["limits"]["body"] == 8192
        assert set(hello) == {"user", "node", "server_time", "limits", "version"}
        assert alice.events[0][0] == "hello"


class TestTalk:
    async def test_every_member_sees_every_message_once_in_order(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        await lobby(alice)
        for client in (alice, bob):
            await client.ok("room:join", {"room": "lobby"})
        await asyncio.gather(*(say(each, f"k{n}", f"n{n}") for each in (alice, bob) for n in range(50)))
        for client in (alice, bob):
            messages = await client.wait_count("message", 100)
            assert [message["rev"] for message in messages] == list(range(1, 101))

    async def test_the_ack_carries_the_stored_message(self, person: People) -> None:
        alice = await person("alice", name="Alice")
        await lobby(alice)
        data = await say(alice, "k1", "Cafe\u0301")
        page = await alice.ok("history:fetch", {"room": "lobby"})
        assert data == {"message": page["messages"][0], "duplicate": False}
        message = page["messages"][0]
        assert message["body"] == "Café"
        assert (message["seq"], message["rev"], message["key"]) == (1, 1, "k1")
        assert message["sender"] == {"id": "alice", "name": "Alice", "guest": False}

    async def test_sends_of_one_connection_are_stored_and_acknowledged_in_order(self, person: People) -> None:
        alice = await person("alice")
        await lobby(alice)
        acked: list[int] = []

        async def one(number: int) -> None:
            data = await say(alice, f"k{number}")
            acked.append(data["message"]["seq"])

        await asyncio.gather(*(one(number) for number in range(200)))
        assert acked == list(range(1, 201))

    async def test_an_edit_behind_a_send_finds_the_message(self, person: People) -> None:
        alice = await person("alice")
        await lobby(alice)
        room = (await alice.ok("room:join", {"room": "lobby"}))["room"]
        sending = asyncio.create_task(say(alice, "k"))
        await asyncio.sleep(0)
        edited = await alice.ok("message:edit", {"room": "lobby", "id": f"{room['epoch']}.1", "body": "better"})
        assert (await sending)["message"]["body"] == "hello"
        assert edited["message"]["rev"] == 2

    async def test_a_repeated_key_returns_the_first_message_whatever_happened_since(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        await lobby(alice)
        await bob.ok("room:join", {"room": "lobby"})
        first = (await say(bob, "k", "first"))["message"]
        await alice.ok("room:mute", {"room": "lobby", "user": "bob"})
        again = await say(bob, "k", "x" * 9000)
        assert again == {"message": first, "duplicate": True}
        await alice.ok("room:ban", {"room": "lobby", "user": "bob"})
        assert (await say(bob, "k"))["duplicate"]
        assert (await bob.error("message:send", {"room": "lobby", "key": "k2", "body": "x"}))["code"] == "banned"

    async def test_edit_delete_and_reaction_are_revisions_that_all_see(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        await lobby(alice)
        for client in (alice, bob):
            await client.ok("room:join", {"room": "lobby"})
        message_id = (await say(alice, "k"))["message"]["id"]
        target = {"room": "lobby", "id": message_id}
        edited = (await alice.ok("message:edit", target | {"body": "better", "rev": 1}))["message"]
        assert (edited["rev"], edited["body"]) == (2, "better")
        assert edited["edited_at"] >= edited["created_at"]
        conflict = await alice.error("message:edit", target | {"body": "worse", "rev": 1})
        assert conflict["code"] == "conflict"
        assert (await bob.error("message:edit", target | {"body": "mine"}))["code"] == "forbidden"
        reacted = (await bob.ok("message:react", target | {"emoji": "👍", "on": True}))["message"]
        assert reacted["reactions"] == [{"emoji": "👍", "count": 1, "users": ["bob"]}]
        same = (await bob.ok("message:react", target | {"emoji": "👍", "on": True}))["message"]
        assert same["rev"] == 3
        deleted = (await alice.ok("message:delete", target))["message"]
        assert (deleted["rev"], deleted["body"], deleted["deleted"], deleted["reactions"]) == (4, "", True, [])
        assert (await alice.error("message:edit", target | {"body": "back"}))["code"] == "conflict"
        assert [each["rev"] for each in await bob.wait_count("message", 4)] == [1, 2, 3, 4]

    async def test_replies_and_mentions(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob@example.com")
        await lobby(alice)
        await bob.ok("room:join", {"room": "lobby"})
        first = (await say(alice, "k1"))["message"]["id"]
        data = await say(alice, "k2", "@bob@example.com, @nobody: @alice?", reply_to=first)
        assert data["message"]["reply_to"] == first
        assert data["message"]["mentions"] == ["bob@example.com", "alice"]
        error = await alice.error("message:send", {"room": "lobby", "key": "k3", "body": "x", "reply_to": "nowhere.9"})
        assert error["code"] == "not_found"


class TestHistory:
    async def test_pages_lead_through_the_whole_history_in_both_directions(self, person: People) -> None:
        alice = await person("alice")
        await lobby(alice)
        await asyncio.gather(*(say(alice, f"k{n}") for n in range(25)))
        newest = await alice.ok("history:fetch", {"room": "lobby", "limit": 10})
        assert [each["seq"] for each in newest["messages"]] == list(range(16, 26))
        assert (newest["more_before"], newest["more_after"]) == (True, False)
        older = await alice.ok("history:fetch", {"room": "lobby", "before": 16, "limit": 20})
        assert [each["seq"] for each in older["messages"]] == list(range(1, 16))
        assert (older["more_before"], older["more_after"]) == (False, True)
        later = await alice.ok("history:fetch", {"room": "lobby", "after": 20, "limit": 3})
        assert [each["seq"] for each in later["messages"]] == [21, 22, 23]
        around = await alice.ok("history:fetch", {"room": "lobby", "around": 12, "limit": 5})
        assert 12 in [each["seq"] for each in around["messages"]]

    async def test_what_changed_since_a_revision_brings_an_old_state_up_to_date(self, person: People) -> None:
        alice = await person("alice")
        await lobby(alice)
        epoch = (await alice.ok("room:join", {"room": "lobby"}))["room"]["epoch"]
        ids = [(await say(alice, f"k{n}"))["message"]["id"] for n in range(10)]
        await alice.ok("message:edit", {"room": "lobby", "id": ids[0], "body": "edited"})
        await alice.ok("message:delete", {"room": "lobby", "id": ids[3]})
        documents: dict[str, Any] = {}
        since, head, outcomes = 4, 5, []
        while since < head:
            page = await alice.ok("history:sync", {"room": "lobby", "since": since, "epoch": epoch, "limit": 3})
            documents |= {each["id"]: each for each in page["messages"]}
            since, head = page["next"], page["head"]
            outcomes.append(page["outcome"])
        assert outcomes == ["partial", "partial", "full"]
        assert set(documents) == {*ids[4:], ids[0], ids[3]}
        assert documents[ids[0]]["body"] == "edited"

    async def test_a_state_of_another_room_or_from_the_future_is_reset(self, person: People) -> None:
        alice = await person("alice")
        await lobby(alice)
        await say(alice, "k")
        for stale in ({"since": 1, "epoch": "other"}, {"since": 99, "epoch": None}):
            request = {"room": "lobby"} | {name: value for name, value in stale.items() if value is not None}
            page = await alice.ok("history:sync", request)
            assert (page["outcome"], page["next"], len(page["messages"])) == ("reset", 1, 1)
        await alice.ok("room:delete", {"room": "lobby"})
        await lobby(alice)
        joined = await alice.ok("room:join", {"room": "lobby", "since": 1, "epoch": "x"})
        assert (joined["outcome"], joined["head"], joined["messages"]) == ("reset", 0, [])

    async def test_search_finds_words_and_phrases_where_one_may_read(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        await lobby(alice)
        await say(alice, "k1", "the zebra crosses the road")
        secret = (await alice.ok("room:create", {"kind": "private", "title": "Secret"}))["room"]["id"]
        await say(alice, "k2", "a secret zebra", room=secret)

        async def found(client: ChatClient, query: str, **options: Any) -> list[str]:
            data = await client.ok("history:search", {"query": query, **options})
            return [each["body"] for each in data["messages"]]

        async with asyncio.timeout(10):
            while len(await found(alice, "zebra")) < 2:
                await asyncio.sleep(0)
        assert await found(alice, "ZEBRA") == ["a secret zebra", "the zebra crosses the road"]
        assert await found(bob, "zebra") == ["the zebra crosses the road"]
        assert await found(bob, '"zebra crosses"') == ["the zebra crosses the road"]
        assert await found(bob, '"crosses zebra"') == []
        assert await found(alice, "zebra", room=secret) == ["a secret zebra"]
        assert (await bob.error("history:search", {"query": "zebra", "room": secret}))["code"] == "not_found"

    async def test_read_marks_count_what_others_wrote(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        await lobby(alice)
        for client in (alice, bob):
            await client.ok("room:join", {"room": "lobby"})
        for number in range(3):
            await say(alice, f"a{number}")
        await say(bob, "b")
        room = (await bob.ok("room:list", {"mine": True}))["rooms"][0]
        assert (room["role"], room["read_seq"], room["unread"]) == ("member", 0, 3)
        assert await bob.ok("read:mark", {"room": "lobby", "seq": 2}) == {"read_seq": 2, "unread": 1}
        assert await alice.wait_for("read") == {"room": "lobby", "user": "bob", "seq": 2}
        assert (await bob.ok("read:mark", {"room": "lobby", "seq": 1}))["read_seq"] == 2
        assert (await bob.ok("read:mark", {"room": "lobby", "seq": 10**9}))["read_seq"] == 4


class TestRooms:
    async def test_a_direct_room_is_the_same_whoever_asks_and_both_learn_of_it(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        made = await alice.ok("room:create", {"kind": "direct", "members": ["bob"]})
        added = await bob.wait_for("room:added")
        assert added["room"]["id"] == made["room"]["id"]
        assert ":" in made["room"]["id"]
        again = await bob.ok("room:create", {"kind": "direct", "members": ["alice"]})
        assert again["room"]["id"] == made["room"]["id"]
        await bob.ok("room:join", {"room": made["room"]["id"]})

    async def test_an_invited_user_joins_a_private_room(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        room = (await alice.ok("room:create", {"kind": "private", "title": "Plans"}))["room"]["id"]
        await alice.ok("room:join", {"room": room})
        assert (await bob.error("room:join", {"room": room}))["code"] == "not_found"
        await alice.ok("room:invite", {"room": room, "user": "bob"})
        assert (await bob.wait_for("room:added"))["room"]["role"] == "invited"
        joined = await bob.ok("room:join", {"room": room})
        assert joined["room"]["role"] == "member"
        assert [each["user"]["id"] for each in joined["members"]] == ["alice", "bob"]
        member = await alice.wait_for("member")
        assert (member["user"]["id"], member["role"]) == ("bob", "member")

    async def test_capacity_counts_members(self, person: People) -> None:
        alice, bob, carol = await person("alice"), await person("bob"), await person("carol")
        await lobby(alice, capacity=2)
        await bob.ok("room:join", {"room": "lobby"})
        assert (await carol.error("room:join", {"room": "lobby"}))["code"] == "room_full"
        await bob.ok("room:join", {"room": "lobby"})
        await bob.ok("room:leave", {"room": "lobby"})
        await carol.ok("room:join", {"room": "lobby"})
        assert (await alice.error("room:update", {"room": "lobby", "capacity": 1}))["code"] == "conflict"

    async def test_kicked_members_are_told_and_get_nothing_more(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        await lobby(alice)
        for client in (alice, bob):
            await client.ok("room:join", {"room": "lobby"})
        await alice.ok("room:kick", {"room": "lobby", "user": "bob", "reason": "rude"})
        assert await bob.wait_for("room:removed") == {"room": "lobby", "reason": "kicked", "text": "rude"}
        assert (await alice.wait_for("member", lambda each: each.get("left")))["user"]["id"] == "bob"
        await say(alice, "k")
        assert (await bob.error("message:send", {"room": "lobby", "key": "k", "body": "x"}))["code"] == "forbidden"
        assert bob.of("message") == []

    async def test_a_ban_in_seconds_ends_by_itself_and_by_unban(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        await lobby(alice)
        await bob.ok("room:join", {"room": "lobby"})
        await alice.ok("room:ban", {"room": "lobby", "user": "bob", "seconds": 3600})
        assert (await bob.error("room:join", {"room": "lobby"}))["code"] == "banned"
        await alice.ok("room:unban", {"room": "lobby", "user": "bob"})
        await bob.ok("room:join", {"room": "lobby"})
        await alice.ok("room:ban", {"room": "lobby", "user": "bob", "seconds": 1})
        async with asyncio.timeout(10):
            while not (await bob.call("room:join", {"room": "lobby"}))["ok"]:
                await asyncio.sleep(0)

    async def test_the_longest_standing_moderator_or_member_inherits(self, person: People) -> None:
        alice, bob, carol = await person("alice"), await person("bob"), await person("carol")
        await lobby(alice)
        await bob.ok("room:join", {"room": "lobby"})
        await carol.ok("room:join", {"room": "lobby"})
        await alice.ok("room:role", {"room": "lobby", "user": "carol", "role": "moderator"})
        await alice.ok("room:leave", {"room": "lobby"})
        heir = await bob.wait_for("member", lambda each: each.get("role") == "owner")
        assert heir["user"]["id"] == "carol"
        last = await carol.error("room:role", {"room": "lobby", "user": "carol", "role": "member"})
        assert last["code"] == "conflict"

    async def test_slow_mode_spares_moderators_and_says_how_long_to_wait(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        await lobby(alice)
        await bob.ok("room:join", {"room": "lobby"})
        await alice.ok("room:join", {"room": "lobby"})
        await alice.ok("room:update", {"room": "lobby", "slow_mode_s": 60})
        assert (await alice.wait_for("room"))["slow_mode_s"] == 60
        await say(bob, "k1")
        error = await bob.error("message:send", {"room": "lobby", "key": "k2", "body": "x"})
        assert error["code"] == "slow_mode"
        assert 50 < error["retry_after"] <= 60
        assert (await say(bob, "k1"))["duplicate"]
        for number in range(3):
            await say(alice, f"a{number}")

    async def test_a_deleted_room_is_gone_for_everybody(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        await lobby(alice)
        await bob.ok("room:join", {"room": "lobby"})
        await alice.ok("room:delete", {"room": "lobby"})
        assert await bob.wait_for("room:removed") == {"room": "lobby", "reason": "deleted"}
        assert (await bob.error("room:join", {"room": "lobby"}))["code"] == "not_found"
        assert (await bob.ok("room:list", {}))["rooms"] == []

    async def test_rooms_are_listed_by_page_and_by_query(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        for number in range(5):
            await alice.ok("room:create", {"kind": "public", "id": f"r{number}", "title": f"Room {number}"})
        await alice.ok("room:create", {"kind": "private", "title": "Hidden"})
        first = await bob.ok("room:list", {"limit": 3})
        second = await bob.ok("room:list", {"limit": 3, "cursor": first["cursor"]})
        assert [each["id"] for each in first["rooms"] + second["rooms"]] == [f"r{number}" for number in range(5)]
        assert second["cursor"] is None
        assert [each["id"] for each in (await bob.ok("room:list", {"query": "ROOM 3"}))["rooms"]] == ["r3"]
        assert (await bob.ok("room:list", {"mine": True}))["rooms"] == []

    async def test_a_token_for_some_rooms_reaches_no_other(self, person: People) -> None:
        alice, limited = await person("alice"), await person("limited", rooms=["team-*"])
        for room in ("lobby", "team-red"):
            await alice.ok("room:create", {"kind": "public", "id": room, "title": room})
            await say(alice, "k", "zebra", room=room)
        assert [each["id"] for each in (await limited.ok("room:list", {}))["rooms"]] == ["team-red"]
        await limited.ok("room:join", {"room": "team-red"})
        assert (await limited.error("room:join", {"room": "lobby"}))["code"] == "not_found"
        error = await limited.error("room:create", {"kind": "public", "id": "other", "title": "x"})
        assert error["code"] == "forbidden"


class TestVolatile:
    async def test_typing_reaches_the_others_in_the_room(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        await lobby(alice)
        for client in (alice, bob):
            await client.ok("room:join", {"room": "lobby"})
        await alice.emit("typing", {"room": "lobby", "on": True})
        assert await bob.wait_for("typing") == {"room": "lobby", "user": "alice", "on": True}
        assert alice.of("typing") == []

    async def test_activity_tells_members_who_have_not_joined_here(self, person: People) -> None:
        alice, bob = await person("alice"), await person("bob")
        await lobby(alice)
        await bob.ok("room:join", {"room": "lobby"})
        elsewhere = await person("bob")
        await say(alice, "k1", "hi @bob")
        await say(alice, "k2", "again")
        assert await elsewhere.wait_for("activity") == {"room": "lobby", "seq": 2, "mention": True}
        assert bob.of("activity") == []
        assert alice.of("activity") == []


class TestTokens:
    async def test_a_token_is_told_of_its_end_and_ends_the_connection(self, tmp_path: Path) -> None:
        async with running_service(tmp_path, token_expiring_s=3600, jwt_leeway_s=0) as service:
            async with chat_client(service.url, service.token(user="alice", ttl_s=2)) as alice:
                await alice.wait_for("token:expiring")
                closing = await alice.wait_for("closing")
                assert (closing["code"], closing["reconnect"]) == ("token_expired", False)
                await asyncio.wait_for(alice.disconnected.wait(), 10)

    async def test_a_refreshed_token_keeps_the_connection(self, tmp_path: Path) -> None:
        async with running_service(tmp_path, token_expiring_s=1, jwt_leeway_s=0) as service:
            async with chat_client(service.url, service.token(user="alice", ttl_s=2)) as alice:
                await alice.wait_for("token:expiring")
                data = await alice.ok("auth:refresh", {"token": service.token(user="alice", ttl_s=600)})
                assert data["user"]["id"] == "alice"
                foreign = await alice.error("auth:refresh", {"token": service.token(user="bob")})
                assert foreign["code"] == "forbidden"
                # Another connection, opened with the time the first one had, comes to its end; this one does not.
                async with chat_client(service.url, service.token(user="carol", ttl_s=2)) as carol:
                    await carol.wait_for("closing")
                assert (await alice.ok("room:list", {}))["rooms"] == []
                assert alice.of("closing") == []


class TestShutdown:
    async def test_clients_are_told_and_what_was_admitted_is_answered(self, tmp_path: Path) -> None:
        async with running_service(tmp_path, limits="off") as service:
            async with chat_client(service.url, service.token(user="alice")) as alice:
                await lobby(alice)
                sends = [asyncio.create_task(say(alice, f"k{n}")) for n in range(20)]
                await asyncio.gather(*sends)
                assert await service.stop() == 0
                closing = await alice.wait_for("closing")
                assert (closing["code"], closing["reconnect"]) == ("draining", True)
                await asyncio.wait_for(alice.disconnected.wait(), 10)
