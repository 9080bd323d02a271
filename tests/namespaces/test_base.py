"""How the namespaces of users are entered and left, without a wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.namespaces.chat import ChatNamespace
from hubbub.namespaces.presence import PresenceNamespace
from hubbub.pipeline.answers import Answers
from hubbub.pipeline.auth import Authenticate
from hubbub.pipeline.base import Middleware
from hubbub.pipeline.sessions import Sessions
from hubbub.pipeline.validation import Validate
from hubbub.telemetry import Metrics
from hubbub.transport.base import Incoming, Link, Order
from tests.support.connections import LooseConnection, link_of
from tests.support.domain import identity_of
from tests.support.house import ChatHouse, chat_house


class Verifier:
    """Takes the name of a user for a token, and refuses `nobody`."""

    async def verify(self, token: str) -> Identity:
        if token == "nobody":
            raise HubbubError("unauthorized")
        user, _, name = token.partition(":")
        return identity_of(user, name=name or None)


class Door:
    """Both namespaces of a house."""

    def __init__(self, house: ChatHouse) -> None:
        self.house = house
        self.metrics = Metrics()
        self.sessions = Sessions(Verifier(), clock=house.clock, expiring_s=0)
        pipeline: list[Middleware] = [Answers(), Authenticate(self.sessions, query_tokens=False), Validate()]
        self.chat = ChatNamespace(house.chat, self.sessions, pipeline=pipeline, metrics=self.metrics, node="n")
        self.presence = PresenceNamespace(house.chat, self.sessions, pipeline=pipeline, metrics=self.metrics, node="n")

    async def enter(self, link: Link, namespace: str, token: str = "ada") -> LooseConnection:
        connection = LooseConnection(link, namespace)
        greet = await self.handler(namespace).connect(connection, {"token": token})
        greet()
        return connection

    def handler(self, namespace: str) -> ChatNamespace | PresenceNamespace:
        return self.chat if namespace == "/chat" else self.presence

    async def ask(self, connection: LooseConnection, name: str, request: dict[str, Any]) -> Any:
        incoming = Incoming(name, (request,), lambda: None)
        return await self.handler(connection.namespace).event(connection, incoming)

    async def end(self, connection: LooseConnection, *, clean: bool) -> None:
        connection.is_open = False
        connection.link.connections.pop(connection.namespace, None)
        await self.handler(connection.namespace).disconnected(connection, clean=clean)

    def count(self, namespace: str) -> float | None:
        return self.metrics.registry.get_sample_value("hubbub_connections", {"namespace": namespace})


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with chat_house(tmp_path) as house:
        yield Door(house)


class TestEntering:
    async def test_both_namespaces_of_a_transport_are_one_device_of_one_user(self, door: Door) -> None:
        link = link_of()
        chat, presence = await door.enter(link, "/chat"), await door.enter(link, "/presence")
        assert [name for name, _ in chat.did + presence.did] == ["hello", "hello"]
        assert {held.device for held in (chat.state.held, presence.state.held)} == {link.id}
        assert (door.count("/chat"), door.count("/presence")) == (1, 1)
        assert (await door.ask(presence, "presence:set", {"status": "away"}))["data"]["status"] == "away"
        await door.end(presence, clean=True)
        face = door.house.chat.house.presence.face("ada")
        assert face is not None
        assert face.status == "away"

    async def test_a_refusal_leaves_nothing_behind(self, door: Door) -> None:
        link = link_of()
        with pytest.raises(HubbubError, match="unauthorized"):
            await door.enter(link, "/presence", "nobody")
        assert door.house.chat.house.roster.size == 0

    async def test_who_is_banned_while_being_let_in_is_refused_and_leaves_nothing_behind(self, door: Door) -> None:
        held = door.house.store.hold("arrival")
        entering = asyncio.ensure_future(door.enter(link_of(), "/chat"))
        await held.wait()
        door.sessions.end_user("ada", HubbubError("banned"))
        held.release()
        with pytest.raises(HubbubError, match="banned"):
            await entering
        assert door.house.chat.house.roster.size == 0
        assert door.house.chat.house.presence.face("ada") is None

    async def test_who_is_banned_is_not_served_any_more(self, door: Door) -> None:
        chat = await door.enter(link_of(), "/chat")
        door.sessions.end_user("ada", HubbubError("banned"))
        answer = await door.ask(chat, "room:create", {"kind": "public", "id": "tea", "title": "Tea"})
        assert answer["error"]["code"] == "banned"
        assert chat.did[-1] == ("<disconnect>", None)

    async def test_a_new_token_is_for_all_namespaces(self, door: Door) -> None:
        link = link_of()
        chat, presence = await door.enter(link, "/chat"), await door.enter(link, "/presence")
        answer = await door.ask(presence, "auth:refresh", {"token": "ada:Countess"})
        assert answer["data"]["user"]["name"] == "Countess"
        assert chat.state.identity is presence.state.identity
        face = door.house.chat.house.presence.face("ada")
        assert face is not None
        assert face.person.name == "Countess"


class TestLeaving:
    async def test_a_goodbye_is_seen_at_once_and_a_broken_transport_later(self, door: Door) -> None:
        presence = door.house.chat.house.presence
        await door.end(await door.enter(link_of(), "/presence", "ada"), clean=True)
        await door.end(await door.enter(link_of(), "/presence", "bob"), clean=False)
        assert (presence.face("ada") is None, presence.face("bob") is None) == (True, False)
        assert door.house.chat.house.roster.size == 0
        assert door.count("/presence") == 0

    async def test_an_event_that_waited_when_the_client_left_is_served(self, door: Door) -> None:
        connection = await door.enter(link_of(), "/presence")
        await door.end(connection, clean=False)
        assert (await door.ask(connection, "presence:set", {"status": "busy"}))["ok"]
        assert (await door.ask(connection, "presence:watch", {"rooms": ["nowhere"]}))["error"]["code"] == "not_found"


class TestOrder:
    async def test_each_namespace_has_its_own_events(self, door: Door) -> None:
        assert door.chat.order("message:send") is Order.PIPELINED
        assert door.chat.order("typing") is Order.FREE
        assert door.presence.order("message:send") is door.presence.order("presence:set") is Order.SERIAL
        connection = await door.enter(link_of(), "/presence")
        for name in ("message:send", "typing"):
            assert (await door.ask(connection, name, {}))["error"]["code"] == "bad_request"

    async def test_what_cannot_be_read_is_answered(self, door: Door) -> None:
        error = HubbubError("bad_request")
        assert door.presence.refused(error)["error"]["code"] == "bad_request"
        connection = await door.enter(link_of(), "/presence")
        door.presence.suspended(connection, "tea")
        assert [name for name, _ in connection.did] == ["hello"]


class TestOutsideProcesses:
    async def test_a_notice_goes_to_everybody_or_to_a_room_if_it_is_one(self, door: Door) -> None:
        chat = await door.enter(link_of(), "/chat")
        notice = {"level": "info", "text": "Tea is ready."}
        assert list(door.chat.outside("notice", notice, None)) == [chat]
        assert list(door.chat.outside("notice", notice, "nowhere")) == []
        assert list(door.chat.outside("marker", "anything", None)) == [chat]

    @pytest.mark.parametrize(
        "notice",
        [
            None,
            "Tea is ready.",
            [{"level": "info", "text": "Tea is ready."}],
            ("info", "Tea is ready."),
            {"bad": 1},
            {"text": "Tea is ready."},
            {"level": "loud", "text": "Tea is ready."},
            {"level": ["info"], "text": "Tea is ready."},
            {"level": "info", "text": " "},
            {"level": "info", "text": "x" * 1001},
            {"level": "info", "text": "Tea is ready.", "room": "tea"},
        ],
    )
    async def test_a_notice_that_is_none_goes_to_nobody_and_is_told(self, door: Door, notice: Any) -> None:
        await door.enter(link_of(), "/chat")
        with capture_logs() as lines:
            assert list(door.chat.outside("notice", notice, None)) == []
        (line,) = lines
        assert (line["event"], line["name"], line["times"]) == ("outside.refused", "notice", 1)
        assert "Tea" not in str(line)

    async def test_what_the_service_alone_may_say_is_refused_once_a_second_in_the_log(self, door: Door) -> None:
        await door.enter(link_of(), "/chat")
        with capture_logs() as lines:
            for _ in range(200):
                assert list(door.chat.outside("message", {"rev": 1}, None)) == []
            assert list(door.presence.outside("presence", {}, None)) == []
        assert [line["namespace"] for line in lines if line["event"] == "outside.refused"][:1] == ["/chat"]
        assert 2 <= len(lines) < 20
