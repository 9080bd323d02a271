"""`/admin` over the wire: who is let in, every event by everybody, and what it does to those who are connected."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar

import pytest

from hubbub.domain.admin.caller import SCOPES
from hubbub.events import ADMIN_CLIENT_EVENTS
from tests.support.admin import AdminClient, admin_client
from tests.support.chat import ChatClient, RefusedError, chat_client
from tests.support.service import RunningService, running_service

CHANGING = frozenset(
    {
        "connection:disconnect",
        "user:disconnect",
        "user:ban",
        "user:unban",
        "token:revoke",
        "room:delete",
        "notice:send",
        "node:drain",
    }
)
"""Events that change something: each is in the audit log, whatever came of it."""


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RunningService]:
    async with running_service(tmp_path, node="n1") as service:
        yield service


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def enter(stack: AsyncExitStack, service: RunningService, user: str = "root", **claims: Any) -> AdminClient:
    token = service.token(user=user, **({"roles": ["admin"]} | claims))
    return await stack.enter_async_context(admin_client(service.url, token))


async def chat(stack: AsyncExitStack, service: RunningService, user: str) -> ChatClient:
    return await stack.enter_async_context(chat_client(service.url, service.token(user=user)))


async def in_room(stack: AsyncExitStack, service: RunningService, user: str, room: str) -> ChatClient:
    client = await chat(stack, service, user)
    await client.ok("room:create", {"kind": "public", "id": room, "title": room})
    await client.ok("room:join", {"room": room})
    return client


async def audit(admin: AdminClient) -> list[dict[str, Any]]:
    """What the audit log has, oldest first."""
    entries: list[dict[str, Any]] = (await admin.ok("audit:list", {"limit": 500}))["entries"]
    return entries[::-1]


class TestEntering:
    @pytest.mark.parametrize("roles", [[], ["moderator"], ["bot"], ["moderator", "bot"]])
    async def test_others_than_administrators_are_refused(self, service: RunningService, roles: list[str]) -> None:
        with pytest.raises(RefusedError) as caught:
            async with admin_client(service.url, service.token(user="eve", roles=roles)):
                pass
        assert (caught.value.message, caught.value.error["code"]) == ("forbidden", "forbidden")
        assert caught.value.error["retryable"] is False

    async def test_so_is_nobody(self, service: RunningService) -> None:
        with pytest.raises(RefusedError, match="unauthorized"):
            async with admin_client(service.url, "no token"):
                pass

    async def test_an_administrator_is_greeted_as_everywhere_and_seen_by_nobody(
        self, service: RunningService, stack: AsyncExitStack
    ) -> None:
        admin = await enter(stack, service)
        bob = await in_room(stack, service, "bob", "tea")
        hello = await admin.wait_for("hello")
        theirs = await bob.wait_for("hello")
        assert set(hello) == set(theirs)
        assert hello["user"] == {
            "id": "root",
            "name": "root",
            "guest": False,
            "status": "offline",
            "text": "",
            "last_seen": None,
        }
        assert hello["limits"] == theirs["limits"]
        assert (await admin.ok("stats:watch", {"every_ms": 0})) == {}

    async def test_a_token_without_the_role_ends_admin_alone(
        self, service: RunningService, stack: AsyncExitStack
    ) -> None:
        token = service.token(user="root", roles=["admin"])
        both = await stack.enter_async_context(admin_client(service.url, token, "/admin", "/chat"))
        await both.ok("stats:watch", {"every_ms": 500})
        plain = service.token(user="root")
        began = time.monotonic()
        ack = await both.sio.call("auth:refresh", {"token": plain}, namespace="/chat", timeout=20)
        assert ack["ok"]
        async with asyncio.timeout(1):
            await both.left.wait()
        assert time.monotonic() - began < 1
        closing = await both.wait_for("closing")
        assert (closing["code"], closing["reconnect"]) == ("forbidden", False)
        rooms = await both.sio.call("room:list", {}, namespace="/chat", timeout=20)
        assert rooms["ok"]
        assert "/admin" not in both.sio.namespaces

    async def test_it_does_so_also_where_admin_itself_is_told(
        self, service: RunningService, stack: AsyncExitStack
    ) -> None:
        admin = await enter(stack, service)
        renewed = await admin.ok("auth:refresh", {"token": service.token(user="root", roles=["admin"], name="Root")})
        assert renewed["user"]["name"] == "Root"
        assert (await admin.error("auth:refresh", {"token": service.token(user="eve", roles=["admin"])}))[
            "code"
        ] == "forbidden"
        await admin.sio.emit("auth:refresh", {"token": service.token(user="root")}, namespace="/admin")
        async with asyncio.timeout(5):
            await admin.left.wait()


class TestMatrix:
    """Every event by everybody. Who is not let in has been seen above; here is what those may do who are."""

    REQUESTS: ClassVar[dict[str, dict[str, Any]]] = {
        "stats:watch": {"every_ms": 60_000},
        "connection:disconnect": {"id": "n1.none", "reason": "test"},
        "user:disconnect": {"user": "eve", "reason": "test"},
        "user:ban": {"user": "eve", "reason": "test"},
        "user:unban": {"user": "eve"},
        "token:revoke": {"user": "eve", "reason": "test"},
        "notice:send": {"level": "info", "text": "test"},
        "node:drain": {"node": "n9"},
    }
    IN_ROOM = ("connections:list", "notice:send", "room:delete")
    LIMITED: ClassVar[dict[str, str]] = {
        "rooms:list": "ok",
        "connections:list": "forbidden",
        "connections:list in": "ok",
        "connections:list beyond": "not_found",
        "notice:send": "forbidden",
        "notice:send in": "ok",
        "notice:send beyond": "not_found",
        "room:delete in": "ok",
        "room:delete beyond": "not_found",
        "auth:refresh": "ok",
    }
    """What a token for some rooms comes to; all else is `forbidden`."""
    FREE: ClassVar[dict[str, str]] = {"connection:disconnect": "not_found", "node:drain": "not_found"}
    """What comes of it for an administrator without a limit, where it is not `ok`."""

    def requests(self, token: str) -> dict[str, tuple[str, dict[str, Any]]]:
        """By a name for each: every event, those that are about a room once more with one that is covered (`in`) and
        one that is not.
        """
        requests = {
            event.name: (event.name, self.REQUESTS.get(event.name, {}))
            for event in ADMIN_CLIENT_EVENTS
            if event.name not in ("room:delete", "auth:refresh")
        }
        for event in self.IN_ROOM:
            extra = self.REQUESTS.get(event, {"reason": "test"} if event == "room:delete" else {})
            requests[f"{event} in"] = (event, {**extra, "room": "tea"})
            requests[f"{event} beyond"] = (event, {**extra, "room": "cake"})
        return requests | {"auth:refresh": ("auth:refresh", {"token": token})}

    @pytest.mark.parametrize("limited", [False, True])
    async def test_every_event(self, service: RunningService, stack: AsyncExitStack, limited: bool) -> None:
        rooms = ["tea*"] if limited else None
        token = service.token(user="root", roles=["admin"], rooms=rooms)
        admin = await enter(stack, service, rooms=rooms)
        everything = await enter(stack, service, "boss")
        for room in ("tea", "cake"):
            await in_room(stack, service, f"owner-of-{room}", room)
        requests = self.requests(token)
        assert {event for event, _ in requests.values()} == set(SCOPES)
        before = len(await audit(everything))
        wrong, expected_audit = [], []
        for name, (event, request) in requests.items():
            ack = await admin.ask(event, request)
            code = "ok" if ack["ok"] else ack["error"]["code"]
            expected = self.LIMITED.get(name, "forbidden") if limited else self.FREE.get(name, "ok")
            if code != expected:
                wrong.append((name, code, expected))
            if event in CHANGING:
                expected_audit.append((event, expected))
        assert wrong == []
        entries = (await audit(everything))[before:]
        assert [(entry["action"], entry["outcome"]) for entry in entries] == expected_audit
        assert {entry["actor"] for entry in entries} == {"root"}

    async def test_nobody_else_reaches_an_event_by_another_namespace(
        self, service: RunningService, stack: AsyncExitStack
    ) -> None:
        eve = await chat(stack, service, "eve")
        for event in ADMIN_CLIENT_EVENTS:
            if event.name not in ("room:delete", "auth:refresh"):
                assert (await eve.error(event.name, {}))["code"] == "bad_request", event.name
        # Without having been let in there is nobody to answer: what is sent is passed over.
        await eve.sio.eio.send('2/admin,["user:ban",{"user":"bob","reason":"spite"}]')
        await eve.ok("room:list", {})
        admin = await enter(stack, service)
        assert await audit(admin) == []

    async def test_a_limited_token_sees_no_other_rooms(self, service: RunningService, stack: AsyncExitStack) -> None:
        bob = await in_room(stack, service, "bob", "tea")
        await bob.ok("room:create", {"kind": "public", "id": "cake", "title": "Cake"})
        await bob.ok("room:join", {"room": "cake"})
        admin = await enter(stack, service, rooms=["tea"])
        assert [room["id"] for room in (await admin.ok("rooms:list", {}))["rooms"]] == ["tea"]
        (shown,) = (await admin.ok("connections:list", {"room": "tea"}))["connections"]
        assert shown["rooms"] == ["tea"]


class TestInput:
    async def test_what_is_not_in_the_contract_is_refused_and_named(
        self, service: RunningService, stack: AsyncExitStack
    ) -> None:
        admin = await enter(stack, service)
        for event in ADMIN_CLIENT_EVENTS:
            error = await admin.error(event.name, {"flavour": "vanilla"})
            assert (error["code"], "flavour" in error["fields"]) == ("bad_request", True), event.name
        wrong: list[tuple[Any, ...]] = [(), ("tea",), ({}, {}), (None,), ([],)]
        for arguments in wrong:
            ack = await admin.sio.call("nodes:list", arguments, namespace="/admin", timeout=20)
            assert ack["error"]["code"] == "bad_request", arguments
        assert (await admin.error("message:send", {}))["code"] == "bad_request"
        for name in ("rooms:list", "connections:list", "audit:list"):
            error = await admin.error(name, {"cursor": "nonsense"})
            assert (error["code"], list(error["fields"])) == ("bad_request", ["cursor"]), name
        assert await audit(admin) == []

    async def test_a_flood_is_stopped(self, service: RunningService, stack: AsyncExitStack) -> None:
        admin = await enter(stack, service)
        acks = await asyncio.gather(*(admin.ask("bans:list", {}) for _ in range(300)))
        codes = {ack["error"]["code"] for ack in acks if not ack["ok"]}
        assert codes == {"rate_limited"}


class TestActing:
    async def test_a_ban_ends_connections_and_is_told_with_who_when_and_why(
        self, service: RunningService, stack: AsyncExitStack
    ) -> None:
        admin, eve = await enter(stack, service), await chat(stack, service, "eve")
        before = time.time() * 1000
        await admin.ok("user:ban", {"user": "eve", "seconds": 3600, "reason": "spam"})
        async with asyncio.timeout(1):
            await eve.disconnected.wait()
        assert (await eve.wait_for("closing"))["code"] == "banned"
        with pytest.raises(RefusedError, match="banned"):
            await chat(stack, service, "eve")
        (ban,) = (await admin.ok("bans:list", {}))["bans"]
        assert (ban["user"], ban["reason"], ban["by"]) == ("eve", "spam", "root")
        assert ban["until"] - ban["at"] == 3_600_000
        (entry,) = await audit(admin)
        assert {name: entry[name] for name in ("actor", "action", "target", "reason", "outcome")} == {
            "actor": "root",
            "action": "user:ban",
            "target": {"user": "eve"},
            "reason": "spam",
            "outcome": "ok",
        }
        assert before - 1000 <= entry["at"] <= time.time() * 1000 + 1000
        await admin.ok("user:unban", {"user": "eve"})
        assert (await admin.ok("bans:list", {}))["bans"] == []
        await chat(stack, service, "eve")

    async def test_nobody_bans_themselves(self, service: RunningService, stack: AsyncExitStack) -> None:
        admin = await enter(stack, service)
        assert (await admin.error("user:ban", {"user": "root", "reason": "oops"}))["code"] == "forbidden"
        assert [entry["outcome"] for entry in await audit(admin)] == ["forbidden"]

    async def test_bans_come_in_pages(self, service: RunningService, stack: AsyncExitStack) -> None:
        admin = await enter(stack, service)
        for user in ("c", "a", "b"):
            await admin.ok("user:ban", {"user": user, "reason": "spam"})
        first = await admin.ok("bans:list", {"limit": 2})
        rest = await admin.ok("bans:list", {"limit": 2, "cursor": first["cursor"]})
        assert [ban["user"] for ban in first["bans"] + rest["bans"]] == ["a", "b", "c"]
        assert rest["cursor"] is None

    async def test_one_connection_of_several_is_ended_by_the_id_that_the_list_and_the_logs_have(
        self, service: RunningService, stack: AsyncExitStack
    ) -> None:
        admin = await enter(stack, service)
        one, other = await chat(stack, service, "bob"), await chat(stack, service, "bob")
        listed = (await admin.ok("connections:list", {"user": "bob"}))["connections"]
        ids = [each["id"] for each in listed]
        assert ids == [client.sio.get_sid("/chat") for client in (one, other)]
        async with asyncio.timeout(20):
            while not all(id in service.log for id in ids):
                await asyncio.sleep(0.02)
        sids = {client.sio.sid for client in (one, other)}
        assert not any(sid in repr(listed) for sid in sids), "the transport's id is a secret"
        await admin.ok("connection:disconnect", {"id": ids[0], "reason": "test"})
        async with asyncio.timeout(1):
            await one.disconnected.wait()
        assert await other.ok("room:list", {}) is not None
        assert (await admin.error("connection:disconnect", {"id": ids[0], "reason": "test"}))["code"] == "not_found"

    async def test_a_revoked_user_is_ended(self, service: RunningService, stack: AsyncExitStack) -> None:
        admin, bob = await enter(stack, service), await chat(stack, service, "bob")
        await admin.ok("token:revoke", {"user": "bob", "reason": "lost"})
        async with asyncio.timeout(1):
            await bob.disconnected.wait()
        assert (await bob.wait_for("closing"))["code"] == "unauthorized"

    @pytest.mark.parametrize("event", ["connection:disconnect", "user:disconnect", "token:revoke"])
    async def test_an_order_upon_oneself_is_answered_before_it_ends_the_connection(
        self, service: RunningService, stack: AsyncExitStack, event: str
    ) -> None:
        admin = await enter(stack, service)
        upon = {"id": admin.sio.get_sid("/admin")} if event == "connection:disconnect" else {"user": "root"}
        await admin.ok(event, {**upon, "reason": "test"})
        async with asyncio.timeout(20):
            await admin.left.wait()

    async def test_a_notice_reaches_everybody_in_chat_or_a_room(
        self, service: RunningService, stack: AsyncExitStack
    ) -> None:
        admin = await enter(stack, service)
        bob, eve = await in_room(stack, service, "bob", "tea"), await chat(stack, service, "eve")
        await admin.ok("notice:send", {"room": "tea", "level": "warning", "text": "Kettle\nis hot"})
        await admin.ok("notice:send", {"level": "critical", "text": "Fire"})
        assert await eve.wait_count("notice", 1) == [{"level": "critical", "text": "Fire"}]
        told = await bob.wait_count("notice", 2)
        assert sorted(each["text"] for each in told) == ["Fire", "Kettle\nis hot"]
        assert (await admin.error("notice:send", {"room": "none", "level": "info", "text": "x"}))["code"] == "not_found"

    async def test_a_room_is_deleted_for_its_members(self, service: RunningService, stack: AsyncExitStack) -> None:
        admin, bob = await enter(stack, service), await in_room(stack, service, "bob", "tea")
        await admin.ok("room:delete", {"room": "tea", "reason": "spam"})
        assert (await bob.wait_for("room:removed"))["reason"] == "deleted"
        (entry,) = await audit(admin)
        assert (entry["action"], entry["target"], entry["reason"]) == ("room:delete", {"room": "tea"}, "spam")
        assert (await admin.error("room:delete", {"room": "tea", "reason": "spam"}))["code"] == "not_found"

    async def test_direct_rooms_of_others_stay_closed(self, service: RunningService, stack: AsyncExitStack) -> None:
        admin, bob = await enter(stack, service), await chat(stack, service, "bob")
        room = (await bob.ok("room:create", {"kind": "direct", "members": ["eve"]}))["room"]["id"]
        await bob.ok("room:join", {"room": room})
        for event, request in (
            ("room:delete", {"reason": "curious"}),
            ("connections:list", {}),
            ("notice:send", {"level": "info", "text": "hello"}),
        ):
            assert (await admin.error(event, {"room": room, **request}))["code"] == "not_found", event
        assert (await admin.ok("rooms:list", {}))["rooms"] == []
        (shown,) = (await admin.ok("connections:list", {"user": "bob"}))["connections"]
        assert shown["rooms"] == []

    async def test_a_drained_node_ends_as_by_sigterm(self, service: RunningService, stack: AsyncExitStack) -> None:
        admin, bob = await enter(stack, service), await chat(stack, service, "bob")
        await admin.ok("node:drain", {"node": "n1"})
        await bob.wait_for("draining")
        assert await asyncio.wait_for(service.process.wait(), 30) == 0


class TestSeeing:
    async def test_figures_come_as_asked_and_end_as_asked(self, service: RunningService, stack: AsyncExitStack) -> None:
        admin, bob = await enter(stack, service), await in_room(stack, service, "bob", "tea")
        await admin.ok("stats:watch", {"every_ms": 500})
        for number in range(20):
            await bob.ok("message:send", {"room": "tea", "key": f"k{number}", "body": "hello"})
        stats = await admin.wait_for("stats", lambda stats: stats["messages_per_s"] > 0)
        assert (stats["nodes"], stats["store"], stats["node"]) == (["n1"], "up", "n1")
        assert stats["connections"] == {"/admin": 1, "/chat": 1}
        assert (stats["users"], stats["rooms"]) == (1, 1)
        assert stats["events_per_s"] > 0
        assert stats["deliveries_per_s"] > 0
        assert stats["memory_bytes"] > 10_000_000
        assert 0 <= stats["cpu_share"] < 64
        await admin.ok("stats:watch", {"every_ms": 0})
        count = len(admin.of("stats"))
        (node,) = (await admin.ok("nodes:list", {}))["nodes"]
        assert (node["node"], node["own"], node["status"]) == ("n1", True, "ready")
        assert len(admin.of("stats")) == count

    async def test_rooms_are_found_by_a_part_of_their_title(
        self, service: RunningService, stack: AsyncExitStack
    ) -> None:
        admin, bob = await enter(stack, service), await in_room(stack, service, "bob", "tea")
        await bob.ok("room:create", {"kind": "private", "title": "Secret teapots"})
        rooms = (await admin.ok("rooms:list", {"query": "TEA"}))["rooms"]
        assert {room["kind"] for room in rooms} == {"public", "private"}
        assert (await admin.ok("rooms:list", {"query": "coffee"})) == {"rooms": [], "cursor": None}

    async def test_connections_say_in_which_namespaces_and_rooms_they_are(
        self, service: RunningService, stack: AsyncExitStack
    ) -> None:
        admin, bob = await enter(stack, service), await in_room(stack, service, "bob", "tea")
        (one, two) = (await admin.ok("connections:list", {}))["connections"]
        assert (one["user"]["id"], one["namespaces"], one["rooms"]) == ("root", ["/admin"], [])
        assert (two["user"]["id"], two["namespaces"], two["rooms"]) == ("bob", ["/chat"], ["tea"])
        assert (two["node"], two["transport"], two["address"]) == ("n1", "websocket", "127.0.0.1")
        assert abs(two["since"] - time.time() * 1000) < 60_000
        assert (await admin.ok("connections:list", {"room": "tea"}))["connections"] == [two]
        await bob.ok("room:leave", {"room": "tea"})
        assert (await admin.ok("connections:list", {"room": "tea"}))["connections"] == []
        assert (await admin.error("connections:list", {"node": "n9"}))["code"] == "not_found"
