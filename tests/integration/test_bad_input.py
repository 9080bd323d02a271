"""Bad input gets a coded answer that names the field, stores nothing, and leaves the connection usable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hubbub.events import CLIENT_EVENTS
from tests.support.chat import ChatClient, RefusedError, chat_client
from tests.support.service import RunningService, running_service

WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("room:create", {"kind": "public"}, "title"),
    ("room:create", {"kind": "open", "title": "x"}, "kind"),
    ("room:create", {"kind": "public", "title": "x", "id": "Ä"}, "id"),
    ("room:create", {"kind": "public", "title": "x", "id": "private:x"}, "id"),
    ("room:create", {"kind": "private", "title": "x", "id": "mine"}, "id"),
    ("room:create", {"kind": "public", "title": " "}, "title"),
    ("room:create", {"kind": "public", "title": "x" * 101}, "title"),
    ("room:create", {"kind": "public", "title": "a\x00b"}, "title"),
    ("room:create", {"kind": "public", "title": "x", "capacity": 0}, "capacity"),
    ("room:create", {"kind": "public", "title": "x", "capacity": True}, "capacity"),
    ("room:create", {"kind": "direct"}, "members"),
    ("room:create", {"kind": "direct", "members": ["a", "b"]}, "members"),
    ("room:create", {"kind": "private", "title": "x", "members": ["a", 7]}, "members.1"),
    ("room:list", {"limit": 0}, "limit"),
    ("room:list", {"limit": 501}, "limit"),
    ("room:list", {"limit": 1.0}, "limit"),
    ("room:list", {"mine": "yes"}, "mine"),
    ("room:join", {}, "room"),
    ("room:join", {"room": ["lobby"]}, "room"),
    ("room:join", {"room": "lobby", "since": -1}, "since"),
    ("room:join", {"room": "lobby", "since": 2**53}, "since"),
    ("room:join", {"room": "lobby", "since": 3}, "epoch"),
    ("room:update", {"room": "lobby", "slow_mode_s": "10"}, "slow_mode_s"),
    ("room:mute", {"room": "lobby", "user": "x", "seconds": -1}, "seconds"),
    ("room:role", {"room": "lobby", "user": "x", "role": "king"}, "role"),
    ("message:send", {"room": "lobby", "key": "k"}, "body"),
    ("message:send", {"room": "lobby", "key": "k", "body": ""}, "body"),
    ("message:send", {"room": "lobby", "key": "k", "body": {"text": "x"}}, "body"),
    ("message:send", {"room": "lobby", "key": "k", "body": None}, "body"),
    ("message:send", {"room": "lobby", "key": "", "body": "x"}, "key"),
    ("message:send", {"room": "lobby", "key": "k" * 65, "body": "x"}, "key"),
    ("message:send", {"room": "lobby", "key": "k", "body": "x", "seq": 7}, "seq"),
    ("message:send", {"room": "lobby", "key": "k", "body": "x", "sender": "somebody"}, "sender"),
    ("message:edit", {"room": "lobby", "id": "x", "body": "y", "rev": 0}, "rev"),
    ("message:react", {"room": "lobby", "id": "x", "emoji": "ab", "on": True}, "emoji"),
    ("message:react", {"room": "lobby", "id": "x", "emoji": "👍", "on": 1}, "on"),
    ("history:fetch", {"room": "lobby", "before": 1, "after": 1}, "after"),
    ("history:sync", {"room": "lobby"}, "since"),
    ("history:search", {"query": "   "}, "query"),
    ("history:search", {"query": "?!"}, "query"),
    ("read:mark", {"room": "lobby", "seq": 1.5}, "seq"),
    ("auth:refresh", {"token": ""}, "token"),
]


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RunningService]:
    async with running_service(tmp_path, limits="off") as service:
        yield service


@pytest.fixture
async def alice(service: RunningService) -> AsyncIterator[ChatClient]:
    async with chat_client(service.url, service.token(user="alice")) as client:
        await client.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
        yield client


class TestFields:
    """What is wrong is named."""

    async def test_each_wrong_field_is_named_and_nothing_is_stored(self, alice: ChatClient) -> None:
        for event, request, field in WRONG:
            error = await alice.error(event, request)
            assert error["code"] == "bad_request", (event, request, error)
            assert field in error["fields"], (event, request, error)
            assert error["retryable"] is False
        page = await alice.ok("history:fetch", {"room": "lobby"})
        assert page["messages"] == []
        assert [room["id"] for room in (await alice.ok("room:list", {}))["rooms"]] == ["lobby"]

    async def test_an_unknown_field_is_named_for_every_event(self, alice: ChatClient) -> None:
        for event in CLIENT_EVENTS:
            error = await alice.error(event.name, {"room": "lobby", "flavour": "vanilla"})
            assert "flavour" in error["fields"], event.name

    async def test_arguments_that_are_no_single_object_are_refused(self, alice: ChatClient) -> None:
        wrong: list[tuple[Any, ...]] = [(), ("lobby",), ([{"room": "lobby"}],), ({"room": "lobby"}, {}), (None,), (7,)]
        for arguments in wrong:
            ack = await alice.sio.call("room:members", arguments, namespace="/chat")
            assert ack["error"]["code"] == "bad_request", arguments

    async def test_unknown_and_reserved_event_names_are_refused(self, alice: ChatClient) -> None:
        for name in ("room:explode", "connect", "disconnect", "*", "on_connect", "__init__", ""):
            error = await alice.error(name, {})
            assert error["code"] == "bad_request", name
        await alice.ok("room:list", {})


class TestSizes:
    """What is too large is refused, before or after it was read."""

    async def test_a_body_over_the_limit_is_too_large(self, alice: ChatClient) -> None:
        await alice.ok("room:join", {"room": "lobby"})
        hello = await alice.wait_for("hello")
        longest = hello["limits"]["body"]
        error = await alice.error("message:send", {"room": "lobby", "key": "k", "body": "ä" * (longest + 1)})
        assert error["code"] == "too_large"
        assert "body" in error["fields"]
        data = await alice.ok("message:send", {"room": "lobby", "key": "k", "body": "😀" * longest})
        assert not data["duplicate"]

    async def test_a_frame_over_the_limit_ends_the_connection_and_no_other(
        self, service: RunningService, alice: ChatClient
    ) -> None:
        async with chat_client(service.url, service.token(user="bob")) as bob:
            await bob.emit("message:send", {"room": "lobby", "key": "k", "body": "x" * 200_000})
            await asyncio.wait_for(bob.disconnected.wait(), 20)
        await alice.ok("room:list", {})


class TestWire:
    """Frames that no client library would send."""

    @staticmethod
    async def open(session: aiohttp.ClientSession, service: RunningService, token: str) -> Any:
        socket = await session.ws_connect(f"{service.url}/socket.io/?EIO=4&transport=websocket")
        assert (await socket.receive_str()).startswith("0{")
        await socket.send_str("40/chat," + json.dumps({"token": token}))
        assert (await socket.receive_str()).startswith("40/chat,")
        assert (await socket.receive_str()).startswith('42/chat,["hello"')
        return socket

    @pytest.mark.parametrize(
        "payload",
        [
            '["room:list",{"limit":NaN}]',
            '["room:list",{"limit":Infinity}]',
            '["room:list",{"query":"\\ud800"}]',
            '["room:list",{"limit":1e999}]',
            '["room:list",{"limit":1}',
            '["room:list",' + "[" * 2000 + "]" * 2000 + "]",
        ],
    )
    async def test_a_payload_that_is_not_json_is_answered(self, service: RunningService, payload: str) -> None:
        async with aiohttp.ClientSession() as session:
            socket = await self.open(session, service, service.token(user="eve"))
            await socket.send_str("42/chat,7" + payload)
            answer = await socket.receive_str(timeout=10)
            assert answer.startswith("43/chat,7[")
            error = json.loads(answer.removeprefix("43/chat,7"))[0]["error"]
            assert error["code"] == "bad_request"
            assert list(error["fields"]) == (["query"] if "ud800" in payload else [""])
            await socket.send_str('42/chat,8["room:list",{}]')
            assert (await socket.receive_str(timeout=10)).startswith("43/chat,8[")

    async def test_deep_nesting_is_refused_before_it_is_decoded(self, service: RunningService) -> None:
        async with aiohttp.ClientSession() as session:
            socket = await self.open(session, service, service.token(user="eve"))
            nested = "[" * 500 + "]" * 500
            await socket.send_str('42/chat,7["room:list",{"query":' + nested + "}]")
            answer = await socket.receive_str(timeout=10)
            error = json.loads(answer.removeprefix("43/chat,7"))[0]["error"]
            assert error["code"] == "bad_request"
            assert "Nested too deep" in error["fields"][""][0]

    @pytest.mark.parametrize(
        "frame",
        ["42/chat,7room:list", "42/chat,[7]", "42/chat,{}", "42/chat,[]", "49/chat,x", "4", "45-[]", "42/chat,"],
    )
    async def test_a_frame_that_is_no_event_ends_the_connection(self, service: RunningService, frame: str) -> None:
        async with aiohttp.ClientSession() as session:
            socket = await self.open(session, service, service.token(user="eve"))
            await socket.send_str(frame)
            while (message := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
                pass
            assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)
        assert "Traceback" not in service.log


class TestTokens:
    """Who has no valid token stays outside, and is told why."""

    @pytest.mark.parametrize("token", [None, "", "x", "a.b.c", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."])
    async def test_a_missing_or_broken_token_is_unauthorized(self, service: RunningService, token: str | None) -> None:
        with pytest.raises(RefusedError) as refusal:
            async with chat_client(service.url, token):
                pass
        assert refusal.value.message == "unauthorized"
        assert refusal.value.error["code"] == "unauthorized"

    async def test_a_token_may_come_in_the_header_or_a_cookie_but_not_in_the_query(
        self, service: RunningService
    ) -> None:
        token = service.token(user="alice")
        for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"hubbub_token={token}"}):
            async with chat_client(service.url, None, headers=headers) as client:
                assert (await client.wait_for("hello"))["user"]["id"] == "alice"
        with pytest.raises(RefusedError):
            async with chat_client(service.url, None, query=f"?token={token}"):
                pass

    async def test_no_token_and_no_body_is_ever_logged(self, service: RunningService) -> None:
        token = service.token(user="alice")
        async with chat_client(service.url, token) as client:
            await client.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
            await client.ok("message:send", {"room": "lobby", "key": "k", "body": "the-secret-body"})
            await client.error("message:send", {"room": "lobby", "key": "k2", "body": ["the-secret-body"]})
        assert await service.stop() == 0
        assert "connection.opened" in service.log
        assert token not in service.log
        assert "the-secret-body" not in service.log
