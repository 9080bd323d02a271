"""Letting clients go: evenly, in the time that is given, and nobody in the midst of something."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.transport.drain import CROWD, CROWD_S, LEAST_PER_S, let_go, times
from hubbub.transport.session import Session
from tests.support.virtualtime import run_in_virtual_time
from tests.support.wire import raw_client, wire


@dataclass(eq=False)
class Guest:
    """What `let_go` sees of a session."""

    is_open: bool = True
    lane: Any = None


async def watched(guests: list[Guest], *, within_s: float) -> tuple[dict[Guest, int], dict[Guest, float], float]:
    """Let these go: what each was told (ms), when each was ended (s), and when all was over (s)."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    told: dict[Guest, int] = {}
    ended: dict[Guest, float] = {}

    def end(guest: Guest) -> None:
        assert guest not in ended
        ended[guest] = loop.time() - begun
        guest.is_open = False

    await let_go(
        cast(list[Session], guests),
        within_s=within_s,
        tell=lambda session, ms: told.__setitem__(cast(Guest, session), ms),
        end=lambda session: end(cast(Guest, session)),
    )
    return told, ended, loop.time() - begun


def least_s(count: int) -> float:
    return max(count / LEAST_PER_S, CROWD_S if count >= CROWD else 0)


class TestTimes:
    @given(count=st.integers(0, 3000), within_s=st.floats(0, 600))
    def test_they_are_even_and_end_in_time(self, count: int, within_s: float) -> None:
        planned = times(count, within_s=within_s)
        assert len(planned) == count
        assert planned == sorted(planned)
        assert all(0 <= at <= within_s * (1 + 1e-9) for at in planned)
        if count:
            assert planned[-1] == pytest.approx(min(within_s, least_s(count)))

    @pytest.mark.parametrize("count", [CROWD, 50, 75, 100, 1000, 20_000])
    def test_no_second_has_more_than_a_tenth_when_half_a_minute_is_given(self, count: int) -> None:
        seconds = Counter(int(at) for at in times(count, within_s=30 * 0.75))
        assert max(seconds.values()) <= count / 10 + 1

    def test_one_client_does_not_wait(self) -> None:
        assert times(1, within_s=3600) == [0.1]


class TestLettingGo:
    @pytest.mark.parametrize("count", [1, 40, 500])
    def test_everybody_is_told_when_and_is_ended_then(self, count: int) -> None:
        guests = [Guest() for _ in range(count)]
        told, ended, took = run_in_virtual_time(watched(guests, within_s=20))
        assert set(told) == set(ended) == set(guests)
        assert all(abs(ended[guest] - told[guest] / 1000) < 0.11 for guest in guests)
        assert took == pytest.approx(min(20, least_s(count)), abs=0.11)

    def test_the_order_is_not_that_of_arrival(self) -> None:
        guests = [Guest() for _ in range(100)]
        told, _, _ = run_in_virtual_time(watched(guests, within_s=20))
        assert [told[guest] for guest in guests] != sorted(told.values())

    def test_whoever_has_something_under_way_is_waited_for(self) -> None:
        guests = [Guest() for _ in range(20)]
        guests[3].lane = guests[4].lane = "busy"

        async def run() -> tuple[dict[Guest, int], dict[Guest, float], float]:
            asyncio.get_running_loop().call_later(3.0, setattr, guests[3], "lane", None)
            return await watched(guests, within_s=2)

        told, ended, took = run_in_virtual_time(run())
        assert ended[guests[3]] == pytest.approx(
            min(max(3.0, told[guests[3]] / 1000), told[guests[3]] / 1000 + 2), abs=0.11
        )
        assert ended[guests[4]] == pytest.approx(told[guests[4]] / 1000 + 2, abs=0.11)
        assert took <= 4.11

    def test_whoever_leaves_by_themselves_is_not_waited_for(self) -> None:
        guests = [Guest() for _ in range(50)]

        async def run() -> tuple[dict[Guest, int], dict[Guest, float], float]:
            for guest in guests:
                asyncio.get_running_loop().call_later(1.0, setattr, guest, "is_open", False)
            return await watched(guests, within_s=20)

        _, ended, took = run_in_virtual_time(run())
        assert 0 < len(ended) <= 11
        assert took <= 1.5

    def test_without_time_all_go_at_once(self) -> None:
        _, ended, took = run_in_virtual_time(watched([Guest() for _ in range(50)], within_s=0))
        assert len(ended) == 50
        assert took < 0.1


class TestOnTheWire:
    async def test_a_client_is_told_and_then_closed_with_1012(self) -> None:
        async with wire() as tiny, raw_client(tiny.url) as client:
            await client.send("40/chat,")
            for _ in range(2):
                await client.receive()
            said: list[str] = []
            told: list[int] = []
            await tiny.server.let_go(
                within_s=0.2, tell=lambda link, ms: told.append(ms), say=lambda link: said.append(link.id)
            )
            assert await client.receive() is None
            assert client.socket.close_code == 1012
            assert told == [100]
            assert len(said) == 1
