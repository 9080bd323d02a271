"""The loop that has the store emptied: when it asks, for what, and how it goes on after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import pytest

from hubbub.domain.retention import FIRST_S, ROUND_PAUSE, ROUND_S, SLICE_PAUSE, Retention
from hubbub.errors import HubbubError
from hubbub.history.base import History
from tests.support.domain import ManualClock

DAY_MS = 86_400_000


class Store:
    """Answers with the numbers it is given, each after a second on the timer; then it does not answer any more."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = [*answers]
        self.asked: list[tuple[int | None, int | None]] = []
        self.pauses: list[float] = []
        self.emptied: list[int] = []
        self.now = 0.0
        self.exhausted = asyncio.Event()

    async def expire(self, *, before: int | None, keep: int | None) -> int:
        if not self.answers:
            self.exhausted.set()
            await asyncio.Event().wait()
        self.asked.append((before, keep))
        self.now += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    async def wait(self) -> None:
        async with asyncio.timeout(20):
            await self.exhausted.wait()


Begin = Callable[..., Retention]


@pytest.fixture
async def begin() -> AsyncIterator[Begin]:
    """Starts a loop over a store; it is closed at the end."""
    loops: list[Retention] = []

    def begin(store: Store, *, age_ms: int | None = None, keep: int | None = None) -> Retention:
        loop = Retention(
            cast(History, store),
            ManualClock(10 * DAY_MS),
            age_ms=age_ms,
            keep=keep,
            on_emptied=store.emptied.append,
            sleep=store.sleep,
            timer=lambda: store.now,
        )
        loop.start()
        loops.append(loop)
        return loop

    yield begin
    for loop in loops:
        await loop.close()


class TestAsking:
    @pytest.mark.parametrize(
        ("age_ms", "keep", "asked"),
        [(DAY_MS, None, (9 * DAY_MS, None)), (None, 7, (None, 7)), (DAY_MS, 7, (9 * DAY_MS, 7))],
    )
    async def test_it_asks_for_what_the_settings_say(
        self, begin: Begin, age_ms: int | None, keep: int | None, asked: tuple[int | None, int | None]
    ) -> None:
        store = Store(0, 0)
        begin(store, age_ms=age_ms, keep=keep)
        await store.wait()
        assert store.asked == [asked] * 2

    async def test_without_rules_it_finishes_what_was_begun_and_ends(self, begin: Begin) -> None:
        store = Store(5, 0, 9)
        loop = begin(store)
        async with asyncio.timeout(20):
            while loop._task is not None and not loop._task.done():
                await asyncio.sleep(0)
        assert store.asked == [(None, None)] * 2
        assert store.answers == [9]

    async def test_it_starts_once(self, begin: Begin) -> None:
        store = Store(0)
        loop = begin(store, keep=1)
        task = loop._task
        loop.start()
        assert loop._task is task
        await store.wait()


class TestPauses:
    async def test_a_slice_is_followed_by_a_pause_as_long_as_it_took(self, begin: Begin) -> None:
        store = Store(5, 5, 0)
        begin(store, keep=1)
        await store.wait()
        assert store.emptied == [5, 5]
        first, *slices, between = store.pauses
        assert 0 <= first <= FIRST_S
        assert slices == pytest.approx([SLICE_PAUSE * 1.0] * 2)
        assert between == pytest.approx(ROUND_PAUSE * (3 + 2 * SLICE_PAUSE))

    async def test_a_short_round_is_followed_by_the_usual_one(self, begin: Begin) -> None:
        store = Store(0)
        begin(store, keep=1)
        await store.wait()
        assert ROUND_S / 2 <= store.pauses[1] <= ROUND_S


class TestFailures:
    @pytest.mark.parametrize("error", [HubbubError("unavailable"), RuntimeError("a fault of ours")])
    async def test_it_goes_on_with_the_next_round(self, begin: Begin, error: Exception) -> None:
        store = Store(5, error, 5, 0)
        begin(store, keep=1)
        await store.wait()
        assert len(store.asked) == 4

    async def test_what_was_begun_is_not_given_up(self, begin: Begin) -> None:
        store = Store(HubbubError("unavailable"), 5, 0)
        loop = begin(store)
        async with asyncio.timeout(20):
            while loop._task is not None and not loop._task.done():
                await asyncio.sleep(0)
        assert store.answers == []

    async def test_closing_one_that_never_started_is_harmless(self) -> None:
        clock = ManualClock()
        loop = Retention(cast(History, Store()), clock, age_ms=None, keep=None, on_emptied=lambda count: None)
        await loop.close()
