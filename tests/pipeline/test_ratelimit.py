"""The bucket of events of each connection."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.errors import HubbubError
from hubbub.pipeline.base import CONNECT, Call
from hubbub.pipeline.ratelimit import RateLimit
from hubbub.pipeline.sessions import Session
from hubbub.transport.base import Incoming
from tests.support.connections import LooseConnection, link_of
from tests.support.domain import identity_of


class Tap:
    """A limit on a clock in seconds, and one connection."""

    def __init__(self, *, rate: float = 2, burst: float = 4, enabled: bool = True) -> None:
        self.now = 1000.0
        self.limit = RateLimit(enabled=enabled, rate=rate, burst=burst, clock=lambda: self.now)
        self.connection = self.other()

    @staticmethod
    def other() -> LooseConnection:
        connection = LooseConnection(link_of())
        connection.link.state = Session(connection.link, identity_of("ada"))
        return connection

    async def send(self, connection: LooseConnection | None = None) -> float | None:
        """None if the event passed, else after how many seconds to come back."""
        call = Call(connection or self.connection, "typing", (), None, Incoming("typing", (), lambda: None))

        async def proceed(call: Call) -> Any:
            return "passed"

        try:
            assert await self.limit(call, proceed) == "passed"
        except HubbubError as error:
            if error.code != "rate_limited":
                raise
            return error.retry_after
        return None


class TestTheBucket:
    async def test_a_burst_passes_and_no_more(self) -> None:
        tap = Tap(burst=4)
        assert [await tap.send() for _ in range(5)] == [None] * 4 + [0.5]

    async def test_who_waits_as_long_as_told_passes_once(self) -> None:
        tap = Tap(rate=2, burst=4)
        for _ in range(4):
            await tap.send()
        wait = await tap.send()
        assert wait is not None
        tap.now += wait - 0.01
        assert await tap.send() is not None
        tap.now += 0.01 + 1e-9
        assert await tap.send() is None
        assert await tap.send() is not None

    async def test_being_refused_costs_nothing(self) -> None:
        tap = Tap(rate=1, burst=1)
        await tap.send()
        for _ in range(10):
            assert await tap.send() == 1.0

    async def test_a_long_silence_fills_it_no_higher_than_the_burst(self) -> None:
        tap = Tap(burst=4)
        await tap.send()
        tap.now += 1_000_000
        assert [await tap.send() for _ in range(5)] == [None] * 4 + [0.5]

    async def test_each_connection_has_its_own(self) -> None:
        tap = Tap(burst=1)
        assert await tap.send() is None
        assert await tap.send() is not None
        assert await tap.send(tap.other()) is None

    @given(st.lists(st.floats(0, 3), max_size=40))
    async def test_nobody_passes_more_often_than_burst_and_rate_allow(self, pauses: list[float]) -> None:
        tap = Tap(rate=2, burst=3)
        begun, passed = tap.now, 0
        for pause in pauses:
            tap.now += pause
            passed += await tap.send() is None
            assert passed <= 3 + 2 * (tap.now - begun) + 1e-6


class TestWhatIsCounted:
    async def test_connects_are_not_events(self) -> None:
        tap = Tap(burst=1)

        async def proceed(call: Call) -> Any:
            return "in"

        for _ in range(3):
            assert await tap.limit(Call(LooseConnection(link_of()), CONNECT, None), proceed) == "in"

    async def test_limits_can_be_turned_off(self) -> None:
        tap = Tap(burst=1, enabled=False)
        assert [await tap.send() for _ in range(10)] == [None] * 10

    async def test_who_has_no_session_is_not_let_through(self) -> None:
        with pytest.raises(HubbubError, match="unauthorized"):
            await Tap().send(LooseConnection(link_of()))
