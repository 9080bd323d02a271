"""Which token counts, and whom it lets in."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.pipeline.auth import COOKIE, Authenticate, find_token
from hubbub.pipeline.base import CONNECT, Call
from hubbub.pipeline.sessions import Sessions, session_of
from hubbub.transport.base import Incoming, Link
from tests.support.connections import LooseConnection, link_of
from tests.support.domain import ManualClock, identity_of


def everything() -> Link:
    """A handshake that carries a token in each of its places."""
    return link_of(
        headers={"authorization": "Bearer header"}, cookies={COOKIE: "cookie"}, query={"token": "query", "EIO": "4"}
    )


class TestTheFirstFound:
    def test_the_payload_comes_first(self) -> None:
        assert find_token(everything().handshake, {"token": "payload"}, query=True) == "payload"

    @pytest.mark.parametrize("auth", [None, {}, {"token": None}, [], "text", 5, {"other": "x"}])
    def test_then_the_header(self, auth: object) -> None:
        assert find_token(everything().handshake, auth, query=True) == "header"

    @pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Bearer ", "header", ""])
    def test_then_the_cookie(self, header: str) -> None:
        link = link_of(headers={"authorization": header}, cookies={COOKIE: "cookie"}, query={"token": "query"})
        assert find_token(link.handshake, None, query=True) == "cookie"

    def test_then_the_query_where_it_is_allowed(self) -> None:
        assert find_token(link_of(query={"token": "query"}).handshake, None, query=True) == "query"

    def test_the_query_is_not_looked_at_where_it_is_not(self) -> None:
        with pytest.raises(HubbubError, match="unauthorized"):
            find_token(link_of(query={"token": "query"}).handshake, None, query=False)

    @pytest.mark.parametrize("header", ["bearer abc", "BEARER abc", "Bearer  abc "])
    def test_the_scheme_is_read_without_regard_to_case(self, header: str) -> None:
        assert find_token(link_of(headers={"authorization": header}).handshake, None, query=False) == "abc"

    @pytest.mark.parametrize("token", [5, ["x"], {"a": 1}, True])
    def test_a_payload_token_that_is_no_string_is_refused_and_not_passed_over(self, token: object) -> None:
        with pytest.raises(HubbubError, match="unauthorized"):
            find_token(everything().handshake, {"token": token}, query=True)

    def test_an_empty_payload_token_is_a_token_and_will_be_refused(self) -> None:
        assert find_token(everything().handshake, {"token": ""}, query=True) == ""


class Verifier:
    """Takes `USER:EXPIRES_AT` for a token."""

    async def verify(self, token: str) -> Identity:
        user, _, expires_at = token.partition(":")
        if not expires_at:
            raise HubbubError("unauthorized")
        return identity_of(user, expires_at=int(expires_at))


class Door:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.sessions = Sessions(Verifier(), clock=self.clock, expiring_s=0)
        self.auth = Authenticate(self.sessions, query_tokens=False)
        self.passed: list[Call] = []

    async def proceed(self, call: Call) -> Any:
        self.passed.append(call)
        return "passed"

    async def connect(self, connection: LooseConnection, token: str | None) -> Any:
        call = Call(connection, CONNECT, {"token": token})
        return await self.auth(call, self.proceed)

    async def event(self, connection: LooseConnection, name: str) -> Any:
        return await self.auth(Call(connection, name, (), None, Incoming(name, (), lambda: None)), self.proceed)

    def token(self, user: str = "ada", *, seconds: float = 60) -> str:
        return f"{user}:{self.clock.now + round(seconds * 1000)}"


class TestTheDoor:
    async def test_who_has_a_valid_token_is_let_in_with_a_session(self) -> None:
        door, connection = Door(), LooseConnection(link_of())
        assert await door.connect(connection, door.token()) == "passed"
        assert session_of(connection).identity.user == "ada"
        assert await door.event(connection, "typing") == "passed"
        door.sessions.close(connection.link)

    @pytest.mark.parametrize("token", ["nonsense", None])
    async def test_nobody_else_is(self, token: str | None) -> None:
        door, connection = Door(), LooseConnection(link_of())
        with pytest.raises(HubbubError, match="unauthorized"):
            await door.connect(connection, token)
        assert door.passed == []
        with pytest.raises(HubbubError, match="unauthorized"):
            await door.event(connection, "typing")

    async def test_events_stop_when_the_time_is_over(self) -> None:
        door, connection = Door(), LooseConnection(link_of())
        await door.connect(connection, door.token(seconds=60))
        door.clock.forward(60)
        with pytest.raises(HubbubError, match="token_expired"):
            await door.event(connection, "typing")
        door.sessions.close(connection.link)

    async def test_a_new_token_may_be_brought_in_the_last_moment(self) -> None:
        door, connection = Door(), LooseConnection(link_of())
        await door.connect(connection, door.token(seconds=60))
        door.clock.forward(60)
        assert await door.event(connection, "auth:refresh") == "passed"
        door.sessions.close(connection.link)
