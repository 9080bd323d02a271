"""How `/admin` is entered and left, without a wire. What its events do is in tests/domain/admin and, over the wire, in
tests/integration/test_admin.py.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.domain.admin.caller import SCOPES, Administrator
from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.events import ADMIN, ADMIN_CLIENT_EVENTS
from hubbub.namespaces.admin import AdminNamespace
from hubbub.namespaces.chat import ChatNamespace
from hubbub.pipeline.answers import Answers
from hubbub.pipeline.auth import Authenticate
from hubbub.pipeline.base import Middleware
from hubbub.pipeline.sessions import Sessions
from hubbub.pipeline.validation import Validate
from hubbub.telemetry import Metrics
from hubbub.transport.base import Incoming, Link, Order
from tests.support.administrators import Office
from tests.support.connections import LooseConnection, link_of
from tests.support.domain import identity_of
from tests.support.house import ChatHouse, chat_house


class Verifier:
    """A token is a user, and after a colon their role."""

    async def verify(self, token: str) -> Identity:
        user, _, role = token.partition(":")
        if role == "limited":
            return identity_of(user, roles=["admin"], rooms=["tea"])
        return identity_of(user, roles=[role] if role else [])


class Door:
    """`/admin` and `/chat` of a house."""

    def __init__(self, house: ChatHouse) -> None:
        self.house = house
        self.metrics = Metrics()
        self.office = Office(house)
        self.sessions = Sessions(Verifier(), clock=house.clock, expiring_s=0)
        pipeline: list[Middleware] = [Answers(), Authenticate(self.sessions, query_tokens=False), Validate()]
        self.admin = AdminNamespace(
            self.office.admin, house.chat.house, self.sessions, pipeline=pipeline, metrics=self.metrics, node="n"
        )
        self.chat = ChatNamespace(house.chat, self.sessions, pipeline=pipeline, metrics=self.metrics, node="n")

    async def enter(self, link: Link, token: str = "root:admin", namespace: str = ADMIN) -> LooseConnection:
        connection = LooseConnection(link, namespace)
        handler = self.admin if namespace == ADMIN else self.chat
        try:
            greet = await handler.connect(connection, {"token": token})
        except HubbubError:
            connection.is_open = False
            del link.connections[namespace]
            raise
        greet()
        return connection

    async def ask(self, connection: LooseConnection, name: str, request: Any) -> Any:
        """The ack of an event, with what must follow it behind it."""
        incoming = Incoming(name, (request,), lambda: None)
        handler = self.admin if connection.namespace == ADMIN else self.chat
        ack = await handler.event(connection, incoming)
        connection.did.append(("<ack>", ack))
        for callback in incoming.after_ack:
            callback()
        return ack

    def count(self) -> float | None:
        return self.metrics.registry.get_sample_value("hubbub_connections", {"namespace": ADMIN})


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with chat_house(tmp_path) as house:
        door = Door(house)
        yield door
        await door.office.admin.close()


class TestEntering:
    async def test_an_administrator_is_greeted_and_is_nobody_in_chat(self, door: Door) -> None:
        connection = await door.enter(link_of())
        ((name, hello),) = connection.did
        assert name == "hello"
        assert set(hello) == {"user", "node", "server_time", "limits", "version"}
        assert (hello["user"]["id"], hello["user"]["status"]) == ("root", "offline")
        assert isinstance(connection.state, Administrator)
        assert door.house.chat.house.roster.size == 0
        assert door.house.chat.house.presence.face("root") is None
        assert door.count() == 1

    @pytest.mark.parametrize("token", ["eve", "eve:moderator", "eve:bot"])
    async def test_others_are_refused_and_leave_nothing_behind(self, door: Door, token: str) -> None:
        link = link_of()
        with pytest.raises(HubbubError, match="forbidden"):
            await door.enter(link, token)
        assert door.sessions.links_of("eve") == []
        assert door.count() is None

    async def test_a_refusal_leaves_the_other_namespaces_alone(self, door: Door) -> None:
        link = link_of()
        chat = await door.enter(link, "eve", "/chat")
        with pytest.raises(HubbubError, match="forbidden"):
            await door.enter(link, "eve")
        assert door.sessions.links_of("eve") == [link]
        assert (await door.ask(chat, "room:list", {}))["ok"]


class TestRoles:
    async def test_a_token_without_the_role_ends_admin_at_once_and_admin_alone(self, door: Door) -> None:
        link = link_of()
        admin, chat = await door.enter(link), await door.enter(link, "root:admin", "/chat")
        await door.ask(admin, "stats:watch", {"every_ms": 60_000})
        assert (await door.ask(chat, "auth:refresh", {"token": "root:moderator"}))["ok"]
        assert [name for name, _ in admin.did[-2:]] == ["closing", "<disconnect>"]
        closing = dict(admin.did)["closing"]
        assert (closing["code"], closing["reconnect"]) == ("forbidden", False)
        assert chat.is_open
        assert door.office.admin._watches.size == 0

    async def test_a_limited_token_ends_figures(self, door: Door) -> None:
        connection = await door.enter(link_of())
        await door.ask(connection, "stats:watch", {"every_ms": 60_000})
        assert (await door.ask(connection, "auth:refresh", {"token": "root:limited"}))["ok"]
        assert connection.is_open
        assert door.office.admin._watches.size == 0

    async def test_what_was_sent_before_and_not_begun_is_refused(self, door: Door) -> None:
        connection = await door.enter(link_of())
        assert (await door.ask(connection, "auth:refresh", {"token": "root"}))["ok"]
        for event in ADMIN_CLIENT_EVENTS:
            if event.name == "user:ban":
                ack = await door.ask(connection, event.name, {"user": "eve", "reason": "late"})
                assert ack["error"]["code"] == "forbidden"
        assert door.house.chat.control.bans() == []

    async def test_a_newer_token_may_bring_another_limit(self, door: Door) -> None:
        connection = await door.enter(link_of())
        ack = await door.ask(connection, "auth:refresh", {"token": "root:admin"})
        assert ack["data"]["user"]["id"] == "root"
        assert connection.state.identity is door.sessions.links_of("root")[0].state.identity
        assert connection.is_open


class TestEvents:
    async def test_each_of_the_contract_is_served(self, door: Door) -> None:
        """Those that need nothing are answered; others get as far as their schema."""
        connection = await door.enter(link_of())
        for event in ADMIN_CLIENT_EVENTS:
            ack = await door.ask(connection, event.name, {})
            assert ack["ok"] or ack["error"]["code"] == "bad_request", (event.name, ack)
        assert set(door.admin._handlers) | {"stats:watch", "auth:refresh"} == set(SCOPES)

    async def test_the_first_figures_come_behind_the_ack(self, door: Door) -> None:
        connection = await door.enter(link_of())
        await door.ask(connection, "stats:watch", {"every_ms": 60_000})
        assert [name for name, _ in connection.did] == ["hello", "<ack>", "stats"]

    async def test_all_are_served_in_order_and_what_cannot_be_read_is_answered(self, door: Door) -> None:
        assert {door.admin.order(event.name) for event in ADMIN_CLIENT_EVENTS} == {Order.SERIAL}
        assert door.admin.refused(HubbubError("bad_request"))["error"]["code"] == "bad_request"
        connection = await door.enter(link_of())
        assert (await door.ask(connection, "message:send", {}))["error"]["code"] == "bad_request"
        assert list(door.admin.outside("stats", {}, None)) == []
        door.admin.suspended(connection, "group")
        assert connection.is_open


NASTY = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-2, 600),
    st.floats(),
    st.text(max_size=70),
    st.sampled_from(
        ["tea", "root", "n", "n.1-chat", "info", "\x00", "a\nb", " ", "\ud800", "Cafe\u0301", "x" * 20_000, "WyJhIl0"]
    ),
    st.lists(st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


GOOD: dict[str, Any] = {"every_ms": 500, "level": "info"}
"""What fits fields that do not take any text."""


class TestInput:
    @settings(max_examples=25)
    @given(data=st.data())
    def test_whatever_is_sent_the_answer_has_a_code_that_is_no_fault_of_the_service(self, data: st.DataObject) -> None:
        async def run(path: Path) -> None:
            async with chat_house(path) as house:
                door = Door(house)
                connection = await door.enter(link_of())
                for _ in range(20):
                    event = data.draw(st.sampled_from(ADMIN_CLIENT_EVENTS))
                    fields = event.schema.fields
                    names = data.draw(st.sets(st.sampled_from([*fields, "extra"]), max_size=2))
                    good = {name: GOOD.get(name, "why") for name, field in fields.items() if field.required}
                    request = good | {name: data.draw(NASTY) for name in names}
                    if event.name == "auth:refresh" and isinstance(request.get("token"), str):
                        continue  # Whoever is somebody else now is tested above.
                    ack = await door.ask(connection, event.name, request)
                    code = "ok" if ack["ok"] else ack["error"]["code"]
                    assert code in ("ok", "bad_request", "not_found", "forbidden"), (event.name, request, ack)
                await door.office.admin.close()

        with tempfile.TemporaryDirectory() as directory:
            asyncio.run(run(Path(directory)))


class TestLeaving:
    async def test_figures_end_and_the_session_with_the_last_namespace(self, door: Door) -> None:
        link = link_of()
        connection = await door.enter(link)
        await door.ask(connection, "stats:watch", {"every_ms": 60_000})
        assert door.office.admin._watches.size == 1
        connection.disconnect()
        await door.admin.disconnected(connection, clean=True)
        assert door.office.admin._watches.size == 0
        assert door.count() == 0
        assert door.sessions.links_of("root") == []
