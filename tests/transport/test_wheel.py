"""Deadlines by the tick: never early, late by a tick at most, and only for who still wants to be asked."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.transport.wheel import TICK_S, Wheel
from tests.support.sessions import JumpingLoop, run_jumping

LATE_S = TICK_S + 2 * JumpingLoop.LATE_S


class Owner:
    """Has one deadline after another, and keeps when it was asked and what it was then waiting for."""

    def __init__(self, again: Callable[[float], float | None] = lambda now: None) -> None:
        self.tick = 0
        self.asked: list[float] = []
        self.again = again

    def on_time(self, now: float) -> float | None:
        self.asked.append(now)
        return self.again(now)


async def wait(seconds: float) -> None:
    await asyncio.sleep(seconds)


@pytest.fixture
async def wheel() -> AsyncIterator[Wheel]:
    wheel = Wheel()
    yield wheel
    wheel.close()


class TestTime:
    @given(st.lists(st.floats(0.0, 20.0), min_size=1, max_size=12))
    def test_nobody_is_asked_early_or_later_than_a_tick(self, delays: list[float]) -> None:
        async def scenario() -> list[tuple[float, list[float]]]:
            wheel, start = Wheel(), asyncio.get_running_loop().time()
            owners = [Owner() for _ in delays]
            for owner, delay in zip(owners, delays, strict=True):
                wheel.set(owner, start + delay)
            await wait(21)
            assert not wheel._buckets
            assert wheel._timer is None
            return [(start + delay, owner.asked) for owner, delay in zip(owners, delays, strict=True)]

        for at, asked in run_jumping(scenario()):
            (time,) = asked
            assert at - 1e-9 <= time <= at + LATE_S

    @given(
        st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.01, 5.0)), min_size=1, max_size=8),
        st.floats(0.0, 4.0),
    )
    def test_the_earliest_of_several_deadlines_counts(self, sets: list[tuple[float, float]], later: float) -> None:
        async def scenario() -> tuple[float, list[float]]:
            wheel, owner, loop = Wheel(), Owner(), asyncio.get_running_loop()
            places = []
            for pause, delay in sets:
                await wait(pause)
                if owner.asked:
                    break
                places.append(loop.time() + delay)
                wheel.set(owner, places[-1])
            await wait(10)
            return min(places), owner.asked

        earliest, asked = run_jumping(scenario())
        assert len(asked) == 1
        assert earliest - 1e-9 <= asked[0] <= earliest + LATE_S

    def test_who_wants_it_is_asked_again(self) -> None:
        async def scenario() -> list[float]:
            wheel = Wheel()
            owner = Owner(lambda now: now + 1)
            wheel.set(owner, asyncio.get_running_loop().time())
            await wait(5)
            wheel.close()
            return owner.asked

        asked = run_jumping(scenario())
        assert len(asked) == 5
        assert all(1 <= b - a <= 1 + LATE_S for a, b in itertools.pairwise(asked))

    def test_a_time_that_has_passed_is_the_next_tick(self) -> None:
        async def scenario() -> float:
            wheel, owner, now = Wheel(), Owner(), asyncio.get_running_loop().time()
            wheel.set(owner, now - 100)
            await wait(1)
            return owner.asked[0] - now

        assert 0 <= run_jumping(scenario()) <= LATE_S

    async def test_its_clock_is_that_of_the_loop(self, wheel: Wheel) -> None:
        before = asyncio.get_running_loop().time()
        assert before <= wheel.now() <= asyncio.get_running_loop().time()


class TestRemoving:
    @given(
        st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.floats(0.0, 0.3)), max_size=20),
    )
    def test_who_was_removed_is_not_asked_and_all_others_are(self, steps: list[tuple[int, bool, float]]) -> None:
        async def scenario() -> None:
            wheel, loop = Wheel(), asyncio.get_running_loop()
            owners = [Owner() for _ in range(5)]
            due: dict[int, float] = {}
            for number, removes, pause in steps:
                owner = owners[number]
                if owner.asked:
                    due.pop(number, None)
                    owner.asked.clear()
                if removes:
                    wheel.remove(owner)
                    due.pop(number, None)
                else:
                    due[number] = min(loop.time() + 0.1, due.get(number, loop.time() + 0.1))
                    wheel.set(owner, loop.time() + 0.1)
                await wait(pause)
            for owner in owners:
                if owner.asked:
                    due.pop(owners.index(owner), None)
                    owner.asked.clear()
            await wait(2)
            assert {number for number, owner in enumerate(owners) if owner.asked} == set(due)
            assert all(len(owner.asked) <= 1 for owner in owners)

        run_jumping(scenario())

    async def test_removing_who_has_no_place_is_no_harm(self, wheel: Wheel) -> None:
        wheel.remove(Owner())

    async def test_the_last_in_its_place_leaves_nothing_behind(self, wheel: Wheel) -> None:
        owner = Owner()
        wheel.set(owner, wheel.now() + 5)
        wheel.remove(owner)
        assert not wheel._buckets
        assert owner.tick == 0

    def test_who_ends_another_that_is_due_at_the_same_time_ends_it(self) -> None:
        async def scenario() -> tuple[int, int]:
            wheel, at = Wheel(), asyncio.get_running_loop().time() + 1
            other = Owner()
            first = Owner(lambda now: wheel.remove(other))
            wheel.set(first, at)
            wheel.set(other, at)
            await wait(2)
            return len(first.asked), len(other.asked)

        assert run_jumping(scenario()) == (1, 0)


async def crowded() -> tuple[Wheel, list[Owner]]:
    """A wheel in which a thousand are due at once, just as it has begun to ask them."""
    wheel, begun = Wheel(), asyncio.Event()

    def first(now: float) -> None:
        begun.set()

    owners = [Owner(first), *(Owner() for _ in range(999))]
    at = wheel.now() + 1
    for owner in owners:
        wheel.set(owner, at)
    await begun.wait()
    return wheel, owners


def asked_of(owners: list[Owner]) -> int:
    return sum(len(owner.asked) for owner in owners)


class TestManyAtOnce:
    def test_others_have_their_turn_while_a_thousand_are_asked(self) -> None:
        async def scenario() -> None:
            _, owners = await crowded()
            counts = [asked_of(owners)]
            while counts[-1] < len(owners):
                await asyncio.sleep(0)
                counts.append(asked_of(owners))
            assert len(counts) > 4
            assert max(b - a for a, b in itertools.pairwise(counts)) <= 128
            assert all(len(owner.asked) == 1 for owner in owners)

        run_jumping(scenario())

    def test_who_is_removed_or_put_off_before_its_turn_is_not_asked_in_it(self) -> None:
        async def scenario() -> None:
            wheel, owners = await crowded()
            wheel.remove(owners[-1])
            wheel.remove(owners[-2])
            wheel.set(owners[-2], wheel.now() + 5)
            await wait(3)
            assert [len(owner.asked) for owner in owners[-3:]] == [1, 0, 0]
            await wait(3)
            assert [len(owner.asked) for owner in owners[-3:]] == [1, 1, 0]

        run_jumping(scenario())

    def test_a_wheel_that_is_closed_asks_nobody(self) -> None:
        async def scenario() -> tuple[int, int]:
            wheel, owners = await crowded()
            wheel.close()
            asked = asked_of(owners)
            await wait(5)
            return asked, asked_of(owners)

        before, after = run_jumping(scenario())
        assert before == after < 1_000

    async def test_without_owners_no_timer_runs(self, wheel: Wheel) -> None:
        assert wheel._timer is None
