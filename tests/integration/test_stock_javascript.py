"""The stock JavaScript client and the stock python-socketio client talk in one room, over each transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Protocol

import pytest

from tests.support.chat import RefusedError, chat_client
from tests.support.javascript import JavaScriptClient, javascript_client
from tests.support.service import RunningService, running_service

POLLING: Final = {"transports": ["polling"]}
WEBSOCKET: Final = {"transports": ["websocket"]}
UPGRADING: Final = {"transports": ["polling", "websocket"]}

WAYS: Final = pytest.mark.parametrize(
    ("options", "final"),
    [
        pytest.param(POLLING, "polling", id="polling"),
        pytest.param(WEBSOCKET, "websocket", id="websocket"),
        pytest.param(UPGRADING, "websocket", id="upgrading"),
    ],
)

EACH: Final = 25
"""How many messages each of the two sends."""


class Talker(Protocol):
    """What both clients can."""

    async def ok(self, event: str, request: dict[str, Any]) -> Any: ...

    async def wait_count(self, name: str, count: int) -> list[Any]: ...


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[RunningService]:
    async with running_service(tmp_path) as running:
        yield running


async def enter(client: Talker) -> int:
    """Join the room "lobby"; returns its head."""
    head: int = (await client.ok("room:join", {"room": "lobby"}))["head"]
    return head


async def send_many(client: Talker, who: str, acks: list[dict[str, Any]]) -> None:
    for number in range(EACH):
        body = f"{who} {number}"
        data = await client.ok("message:send", {"room": "lobby", "key": f"{who}-{number}", "body": body})
        acks.append(data["message"])


async def let_go(service: RunningService) -> None:
    """The stock Python client, on polling, ends only with its last poll, up to twenty seconds later; or with the
    service.
    """
    await service.kill()


async def wait_transport(client: JavaScriptClient, name: str) -> None:
    """An upgrade happens beside everything else; each question takes a turn of the service or of Node."""
    async with asyncio.timeout(20):
        while await client.transport() != name:
            await client.ok("room:list", {})


@WAYS
class TestOneRoom:
    async def test_each_sees_the_others_messages_in_revision_order(
        self, service: RunningService, options: dict[str, Any], final: str
    ) -> None:
        """Both see one and the same sequence of revisions, without a hole, with what the acks carried."""
        python_transports = options["transports"]
        async with (
            javascript_client(service.url, service.token(user="js", name="Jo"), options=options) as js,
            chat_client(service.url, service.token(user="py", name="Pat"), transports=python_transports) as py,
        ):
            await py.ok("room:create", {"id": "lobby", "title": "Lobby", "kind": "public"})
            head = await enter(py)
            assert await enter(js) == head
            acks: list[dict[str, Any]] = []
            await asyncio.gather(send_many(js, "js", acks), send_many(py, "py", acks))
            seen_by_js = await js.wait_count("message", 2 * EACH)
            seen_by_py = await py.wait_count("message", 2 * EACH)
            await wait_transport(js, final)
            await let_go(service)

        assert [message["rev"] for message in seen_by_js] == list(range(head + 1, head + 2 * EACH + 1))
        assert seen_by_py == seen_by_js
        assert sorted(acks, key=lambda message: int(message["rev"])) == seen_by_js
        for who in ("js", "py"):
            bodies = [message["body"] for message in seen_by_js if message["sender"]["id"] == who]
            assert bodies == [f"{who} {number}" for number in range(EACH)]

    async def test_changes_by_one_reach_the_other(
        self, service: RunningService, options: dict[str, Any], final: str
    ) -> None:
        """An edit, a reaction and a deletion are one revision each, and arrive as whole documents."""
        async with (
            javascript_client(service.url, service.token(user="js", name="Jo"), options=options) as js,
            chat_client(service.url, service.token(user="py", name="Pat"), transports=options["transports"]) as py,
        ):
            await js.ok("room:create", {"id": "lobby", "title": "Lobby", "kind": "public"})
            await enter(js)
            await enter(py)
            sent = (await js.ok("message:send", {"room": "lobby", "key": "k", "body": "Grüße 👋🏽"}))["message"]
            this = {"room": "lobby", "id": sent["id"]}
            edited = (await js.ok("message:edit", {**this, "body": "edited", "rev": sent["rev"]}))["message"]
            reacted = (await py.ok("message:react", {**this, "emoji": "👍", "on": True}))["message"]
            deleted = (await js.ok("message:delete", this))["message"]
            assert await py.wait_count("message", 4) == [sent, edited, reacted, deleted]
            assert await js.wait_count("message", 4) == [sent, edited, reacted, deleted]
            await let_go(service)

        assert sent["body"] == "Grüße 👋🏽"
        assert reacted["reactions"] == [{"emoji": "👍", "count": 1, "users": ["py"]}]
        assert (deleted["deleted"], deleted["body"]) == (True, "")
        assert [message["rev"] - sent["rev"] for message in (sent, edited, reacted, deleted)] == [0, 1, 2, 3]


class TestAcks:
    async def test_an_ack_carries_the_stored_message(self, service: RunningService) -> None:
        """What the ack says is what the history has; a repeat of the key gets the first message."""
        async with javascript_client(service.url, service.token(user="js", name="Jo"), options=WEBSOCKET) as js:
            await js.ok("room:create", {"id": "lobby", "title": "Lobby", "kind": "public"})
            await enter(js)
            first = await js.ok("message:send", {"room": "lobby", "key": "k1", "body": "hello"})
            again = await js.ok("message:send", {"room": "lobby", "key": "k1", "body": "something else"})
            page = await js.ok("history:fetch", {"room": "lobby"})

        assert first["duplicate"] is False
        assert again == {"message": first["message"], "duplicate": True}
        assert page["messages"] == [first["message"]]
        assert first["message"]["sender"] == {"id": "js", "name": "Jo", "guest": False}

    async def test_a_refused_event_carries_the_coded_error(self, service: RunningService) -> None:
        """The fields at fault are named, and the connection goes on."""
        async with javascript_client(service.url, service.token(user="js"), options=WEBSOCKET) as js:
            error = await js.error("message:send", {"room": "lobby", "key": "k", "body": 7, "colour": "red"})
            assert error["code"] == "bad_request"
            assert set(error["fields"]) == {"body", "colour"}
            assert (await js.error("room:join", {"room": "nowhere"}))["code"] == "not_found"


class TestRefusal:
    @pytest.mark.parametrize("options", [POLLING, WEBSOCKET], ids=["polling", "websocket"])
    @pytest.mark.parametrize("token", [None, "not a token"], ids=["none", "nonsense"])
    async def test_a_connect_error_is_the_code_with_the_error_object(
        self, service: RunningService, token: str | None, options: dict[str, Any]
    ) -> None:
        """`message` is the code, `data` the error object."""
        with pytest.raises(RefusedError) as refusal:
            async with javascript_client(service.url, token, options=options):
                pass
        assert refusal.value.message == "unauthorized"
        assert refusal.value.error["code"] == "unauthorized"
        assert refusal.value.error["retryable"] is False

    async def test_both_clients_are_refused_with_the_same_object(self, service: RunningService) -> None:
        """Nothing in the refusal is for one of them alone."""
        with pytest.raises(RefusedError) as from_js:
            async with javascript_client(service.url, "not a token", options=WEBSOCKET):
                pass
        with pytest.raises(RefusedError) as from_py:
            async with chat_client(service.url, "not a token"):
                pass
        assert (from_py.value.message, from_py.value.error) == (from_js.value.message, from_js.value.error)

    async def test_an_expired_token_is_refused_as_such(self, service: RunningService) -> None:
        """The client learns that a new token would help."""
        token = service.token(user="js", ttl_s=-3600)
        with pytest.raises(RefusedError) as refusal:
            async with javascript_client(service.url, token, options=WEBSOCKET):
                pass
        assert refusal.value.message == "token_expired"
