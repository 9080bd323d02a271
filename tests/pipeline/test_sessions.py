"""A session lasts as long as its token, on a clock that is set by hand.

Timers of the loop are not waited for: `Days.pass_timer` moves the clock to where the timer was set, and lets it ring.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

import hubbub.pipeline.sessions as module
from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.pipeline.sessions import Session, Sessions, session_of
from hubbub.transport.base import Link
from tests.support.connections import LooseConnection, link_of
from tests.support.domain import ManualClock, identity_of


class Verifier:
    """Takes the names of identities that the test made for tokens."""

    def __init__(self) -> None:
        self.identities: dict[str, Identity] = {}

    async def verify(self, token: str) -> Identity:
        if token not in self.identities:
            raise HubbubError("unauthorized")
        return self.identities[token]


class Days:
    def __init__(self, *, expiring_s: float = 60) -> None:
        self.clock = ManualClock()
        self.verifier = Verifier()
        self.sessions = Sessions(self.verifier, clock=self.clock, expiring_s=expiring_s)
        self.links: list[Link] = []

    def token(self, user: str = "ada", *, seconds: float = 300, name: str | None = None) -> str:
        token = f"token-{len(self.verifier.identities)}"
        expires_at = self.clock.now + round(seconds * 1000)
        self.verifier.identities[token] = identity_of(user, name=name, expires_at=expires_at)
        return token

    async def open(self, *, seconds: float = 300, namespaces: tuple[str, ...] = ("/chat",)) -> Session:
        link = link_of()
        self.links.append(link)
        for namespace in namespaces:
            LooseConnection(link, namespace)
        return await self.sessions.open(link, self.token(seconds=seconds))

    def pass_timer(self, session: Session) -> float:
        """Let the session's timer ring when its time has come; returns how many seconds that took."""
        due = session.due
        assert due is not None
        assert self.rings_at is not None
        assert self.rings_at < due + 0.26
        seconds = round(max(due - asyncio.get_running_loop().time(), 0), 1)
        self.clock.forward(seconds)
        self.sessions.ring(due)
        return seconds

    @property
    def rings_at(self) -> float | None:
        """When the one timer rings, by the loop's clock."""
        timer = self.sessions._timer
        if timer is None:
            return None
        assert not timer.cancelled()
        return timer.when()


@pytest.fixture
async def days() -> AsyncIterator[Days]:
    days = Days()
    yield days
    for link in days.links:
        days.sessions.close(link)
        assert link.state is None or link.state.due is None
    days.sessions.ring(0)
    assert days.rings_at is None


def did(session: Session, namespace: str = "/chat") -> list[str]:
    connection = session.link.connections[namespace]
    assert isinstance(connection, LooseConnection)
    return [what for what, _ in connection.did]


class TestOpening:
    async def test_the_session_belongs_to_the_link(self, days: Days) -> None:
        session = await days.open()
        assert session_of(session.link.connections["/chat"]) is session
        assert session.identity.user == "ada"

    async def test_who_has_none_is_unauthorized(self) -> None:
        with pytest.raises(HubbubError, match="unauthorized"):
            session_of(LooseConnection(link_of()))

    async def test_a_token_that_is_not_valid_opens_nothing(self, days: Days) -> None:
        link = link_of()
        with pytest.raises(HubbubError, match="unauthorized"):
            await days.sessions.open(link, "nonsense")
        assert link.state is None

    async def test_a_second_namespace_shares_the_session(self, days: Days) -> None:
        session = await days.open()
        assert await days.sessions.open(session.link, days.token(seconds=100)) is session
        assert session.identity.expires_at == days.clock.now + 300_000

    async def test_a_second_namespace_with_a_later_token_prolongs_it(self, days: Days) -> None:
        session = await days.open()
        await days.sessions.open(session.link, days.token(seconds=900))
        assert session.identity.expires_at == days.clock.now + 900_000
        assert days.pass_timer(session) == 840

    async def test_a_second_namespace_is_of_the_same_user(self, days: Days) -> None:
        session = await days.open()
        with pytest.raises(HubbubError, match="forbidden"):
            await days.sessions.open(session.link, days.token("eve", seconds=900))
        assert session.identity.user == "ada"

    async def test_a_namespace_that_comes_back_to_its_link_is_watched_again(self, days: Days) -> None:
        session = await days.open(seconds=300)
        token = days.token(seconds=300)
        days.sessions.close(session.link)
        assert await days.sessions.open(session.link, token) is session
        assert session.due is not None


class TestTheEnd:
    async def test_the_client_is_told_before_its_token_expires(self, days: Days) -> None:
        session = await days.open(seconds=300, namespaces=("/chat", "/presence"))
        assert days.pass_timer(session) == 240
        for namespace in ("/chat", "/presence"):
            connection = session.link.connections[namespace]
            assert isinstance(connection, LooseConnection)
            assert connection.did == [("token:expiring", {"expires_at": session.identity.expires_at})]

    async def test_all_namespaces_are_closed_when_its_time_is_over(self, days: Days) -> None:
        session = await days.open(seconds=300, namespaces=("/chat", "/presence"))
        connections = list(session.link.connections.values())
        days.pass_timer(session)
        assert days.pass_timer(session) == 60
        for connection in connections:
            assert isinstance(connection, LooseConnection)
            assert connection.did[1:] == [
                (
                    "closing",
                    {"code": "token_expired", "message": HubbubError("token_expired").message, "reconnect": False},
                ),
                ("<disconnect>", None),
            ]
        assert session.due is None

    async def test_a_connection_that_is_still_being_let_in_is_closed_too(self, days: Days) -> None:
        session = await days.open(seconds=300)
        (connection,) = session.link.connections.values()
        assert isinstance(connection, LooseConnection)
        connection.is_open = False
        days.clock.forward(301)
        days.pass_timer(session)
        connection.is_open = True
        days.pass_timer(session)
        assert [what for what, _ in connection.did] == ["closing", "<disconnect>"]

    async def test_until_its_time_is_over_events_pass(self, days: Days) -> None:
        session = await days.open(seconds=300)
        days.clock.forward(299.9)
        days.sessions.check(session)
        days.clock.forward(0.1)
        with pytest.raises(HubbubError, match="token_expired"):
            days.sessions.check(session)

    async def test_a_clock_that_was_set_back_ends_nothing_early(self, days: Days) -> None:
        session = await days.open(seconds=300)
        days.pass_timer(session)
        days.clock.forward(-3600 + 60)
        due = session.due
        assert days.rings_at is not None
        days.sessions.ring(days.rings_at)
        assert did(session) == ["token:expiring"]
        assert session.due != due
        assert days.pass_timer(session) == 3600

    async def test_a_long_life_is_looked_at_every_hour(self, days: Days) -> None:
        session = await days.open(seconds=86_400)
        assert days.pass_timer(session) == 3600
        assert did(session) == []
        assert days.pass_timer(session) == 3600

    async def test_of_many_sessions_the_first_to_end_is_the_first_to_be_looked_at(self, days: Days) -> None:
        sessions = [await days.open(seconds=seconds) for seconds in (300, 100, 7200, 200)]
        begin = days.clock.now
        for first in (sessions[1], sessions[3], sessions[0]):
            assert first.due == min(session.due for session in sessions if session.due is not None)
            assert not did(first)
            days.clock.now = begin
            days.pass_timer(first)
            assert did(first) == ["token:expiring"]
            days.sessions.close(first.link)
        assert not did(sessions[2])

    async def test_sessions_that_end_together_share_the_timer(self, days: Days) -> None:
        token = days.token(seconds=300)
        links = [link_of() for _ in range(50)]
        for link in links:
            LooseConnection(link)
            days.links.append(link)
            await days.sessions.open(link, token)
        days.pass_timer(max((link.state for link in links), key=lambda session: session.due))
        assert all(did(link.state) == ["token:expiring"] for link in links)

    async def test_the_timer_really_rings(self, days: Days) -> None:
        session = await days.open(seconds=0.05)
        days.clock.forward(1)
        async with asyncio.timeout(20):
            while list(session.link.connections):
                await asyncio.sleep(0)
        days.sessions.close(session.link)

    async def test_telling_can_be_turned_off(self) -> None:
        days = Days(expiring_s=0)
        session = await days.open(seconds=300)
        (connection,) = session.link.connections.values()
        assert days.pass_timer(session) == 300
        assert isinstance(connection, LooseConnection)
        assert [what for what, _ in connection.did] == ["closing", "<disconnect>"]

    async def test_who_came_with_a_token_about_to_expire_is_told_once_connected(self, days: Days) -> None:
        """The timer rings while the connect is still under way, when nothing can be sent yet."""
        link = link_of()
        days.links.append(link)
        connection = LooseConnection(link, is_open=False)
        session = await days.sessions.open(link, days.token(seconds=30))
        days.pass_timer(session)
        connection.is_open = True
        rings = 0
        while not connection.did and rings < 10:
            days.pass_timer(session)
            rings += 1
        assert [what for what, _ in connection.did] == ["token:expiring"]

    async def test_a_connect_that_takes_its_time_is_not_asked_after_in_a_busy_loop(self, days: Days) -> None:
        link = link_of()
        days.links.append(link)
        LooseConnection(link, is_open=False)
        session = await days.sessions.open(link, days.token(seconds=30))
        days.pass_timer(session)
        assert days.pass_timer(session) > 0

    async def test_a_link_that_was_never_connected_is_not_watched_for_ever(self, days: Days) -> None:
        session = await days.open(seconds=300, namespaces=())
        days.pass_timer(session)
        assert session.due is None

    async def test_a_closed_link_has_no_timer(self, days: Days) -> None:
        session = await days.open()
        assert days.rings_at is not None
        days.sessions.close(session.link)
        assert session.due is None
        days.sessions.close(session.link)
        days.sessions.close(link_of())


class TestRefreshing:
    async def test_a_new_token_extends_the_session_and_is_announced_anew(self, days: Days) -> None:
        renewed: list[Session] = []
        days.sessions.renewed.append(renewed.append)
        session = await days.open(seconds=300)
        days.pass_timer(session)
        identity = await days.sessions.refresh(session, days.token(seconds=600, name="Countess"))
        assert session.identity is identity
        assert renewed == [session]
        assert days.pass_timer(session) == 540
        assert did(session) == ["token:expiring", "token:expiring"]
        assert days.pass_timer(session) == 60

    async def test_a_shorter_token_is_taken_too(self, days: Days) -> None:
        session = await days.open(seconds=300)
        await days.sessions.refresh(session, days.token(seconds=100))
        assert days.pass_timer(session) == 40

    async def test_somebody_elses_token_changes_nothing(self, days: Days) -> None:
        renewed: list[Session] = []
        days.sessions.renewed.append(renewed.append)
        session = await days.open(seconds=300)
        before = session.identity
        with pytest.raises(HubbubError, match="forbidden"):
            await days.sessions.refresh(session, days.token("eve"))
        assert session.identity is before
        assert renewed == []
        assert days.pass_timer(session) == 240

    async def test_a_token_that_is_not_valid_changes_nothing(self, days: Days) -> None:
        session = await days.open(seconds=300)
        with pytest.raises(HubbubError, match="unauthorized"):
            await days.sessions.refresh(session, "nonsense")
        assert days.pass_timer(session) == 240


class TestEnding:
    """What administrators end: at once, with a reason, and for as long as it holds."""

    async def test_a_user_is_told_why_in_all_namespaces_of_all_links(self, days: Days) -> None:
        sessions = [await days.open(namespaces=("/chat", "/presence")), await days.open()]
        connections = [each for session in sessions for each in session.link.connections.values()]
        assert days.sessions.end_user("ada", HubbubError("banned")) == 2
        closing = {"code": "banned", "message": HubbubError("banned").message, "reconnect": False}
        for connection in connections:
            assert isinstance(connection, LooseConnection)
            assert connection.did == [("closing", closing), ("<disconnect>", None)]
        assert days.sessions.end_user("eve", HubbubError("banned")) == 0

    async def test_what_they_had_sent_before_is_refused(self, days: Days) -> None:
        session = await days.open()
        days.sessions.check(session)
        days.sessions.end_user("ada", HubbubError("banned"))
        with pytest.raises(HubbubError, match="banned"):
            days.sessions.check(session)

    async def test_only_what_stands_on_an_older_token_or_was_there_before(self, days: Days) -> None:
        session = await days.open()
        session.link.opened_at = 5000
        error = HubbubError("unauthorized")
        assert days.sessions.end_user("ada", error, issued_before=session.identity.issued_at - 1) == 0
        assert days.sessions.end_user("ada", error, opened_before=4999) == 0
        assert days.sessions.end_user("ada", error, opened_before=5000) == 1
        assert days.sessions.end_user("ada", error, opened_before=5000) == 0

    async def test_one_token_or_one_connection(self, days: Days) -> None:
        first, second, third = [await days.open() for _ in range(3)]
        second.identity = replace(second.identity, jti="t2")
        assert days.sessions.end_jti("t1", HubbubError("unauthorized")) == 0
        assert days.sessions.end_jti("t2", HubbubError("unauthorized")) == 1
        assert not days.sessions.end_connection("nobody", HubbubError("forbidden"))
        assert days.sessions.end_connection(first.link.connections["/chat"].id, HubbubError("forbidden"))
        assert days.sessions.end_connection(third.link.id, HubbubError("forbidden"))
        assert [session.ended is not None for session in (first, second, third)] == [True, True, True]

    async def test_an_event_that_ends_its_own_session_is_answered_first(self, days: Days) -> None:
        session, other = await days.open(), await days.open()
        release = days.sessions.hold(session)
        assert days.sessions.end_user("ada", HubbubError("forbidden")) == 2
        assert session.link.connections
        assert not other.link.connections
        with pytest.raises(HubbubError, match="forbidden"):
            days.sessions.check(session)
        release()
        assert not session.link.connections

    async def test_an_ack_that_does_not_come_is_not_waited_for(
        self, days: Days, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "HELD_S", 0.01)
        session = await days.open()
        days.sessions.hold(session)
        days.sessions.end_user("ada", HubbubError("forbidden"))
        async with asyncio.timeout(20):
            while session.link.connections:
                await asyncio.sleep(0.001)

    async def test_a_connection_of_another_node_is_not_looked_for(self, days: Days) -> None:
        session = await days.open()
        session.link.id = "n1.link"
        session.link.connections["/chat"].id = "n1.chat"
        error = HubbubError("forbidden")
        assert not any(days.sessions.end_connection(id, error) for id in ("n2.chat", "n1.none", "n1.", ""))
        assert days.sessions.end_connection("n1.chat", error)

    async def test_who_is_kept_out_does_not_come_in_with_any_token(self, days: Days) -> None:
        session = await days.open()
        before = session.identity

        def guard(identity: Identity) -> None:
            raise HubbubError("banned")

        days.sessions.guard = guard
        with pytest.raises(HubbubError, match="banned"):
            await days.sessions.open(link_of(), days.token())
        with pytest.raises(HubbubError, match="banned"):
            await days.sessions.open(session.link, days.token(seconds=900))
        with pytest.raises(HubbubError, match="banned"):
            await days.sessions.refresh(session, days.token(seconds=900))
        assert session.identity is before

    async def test_a_link_that_was_ended_may_begin_anew_once_all_has_left_it(self, days: Days) -> None:
        session = await days.open()
        days.sessions.end_user("ada", HubbubError("forbidden"))
        with pytest.raises(HubbubError, match="forbidden"):
            await days.sessions.open(session.link, days.token())
        days.sessions.close(session.link)
        assert await days.sessions.open(session.link, days.token()) is session
        days.sessions.check(session)
        assert days.sessions.end_user("ada", HubbubError("banned")) == 1

    async def test_nothing_is_kept_of_links_that_are_gone(self, days: Days) -> None:
        sessions = [await days.open() for _ in range(3)]
        for session in sessions:
            days.sessions.close(session.link)
            days.sessions.close(session.link)
        assert days.sessions._by_user == {}
