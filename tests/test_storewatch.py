"""The store is opened, sooner or later, and looked after."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
import structlog

from hubbub import storewatch as module
from hubbub.errors import HubbubError, StoreError
from hubbub.history.base import History
from hubbub.storewatch import StoreState, StoreWatch
from tests.support.virtualtime import run_in_virtual_time

UNREACHABLE = HubbubError("unavailable", "The server cannot be reached.")


class Door:
    """What the watch needs of a store: it opens, and answers. Each takes `takes_s`, and fails with `error` if there is
    one.
    """

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.takes_s = 0.0
        self.opened_at: list[float] = []
        self.checked_at: list[float] = []

    async def _answer(self) -> None:
        await asyncio.sleep(self.takes_s)
        if self.error is not None:
            raise self.error

    async def open(self) -> None:
        self.opened_at.append(asyncio.get_running_loop().time())
        await self._answer()

    async def check(self) -> None:
        self.checked_at.append(asyncio.get_running_loop().time())
        await self._answer()


def watch_over(door: Door) -> tuple[StoreWatch, list[StoreState]]:
    told: list[StoreState] = []
    return StoreWatch(cast(History, door), on_change=told.append), told


class TestOpening:
    def test_a_store_that_is_there_is_up_at_once(self) -> None:
        async def test() -> None:
            watch, told = watch_over(Door())
            assert watch.state.status == "opening"
            await watch.open()
            assert told == [StoreState("up")]
            await watch.close()

        run_in_virtual_time(test())

    def test_one_that_is_out_of_reach_is_tried_again_less_and_less(self) -> None:
        async def test() -> None:
            door = Door(UNREACHABLE)
            watch, told = watch_over(door)
            with structlog.testing.capture_logs() as logs:
                await watch.open()
                reason = "the store cannot be reached yet: The server cannot be reached."
                assert told == [StoreState("opening", reason)]
                await asyncio.sleep(60)
                assert len(told) == 1
                pauses = [later - before for before, later in zip(door.opened_at, door.opened_at[1:], strict=False)]
                assert pauses[0] <= module.FIRST_PAUSE_S
                assert all(module.LONGEST_PAUSE_S / 2 <= pause <= module.LONGEST_PAUSE_S for pause in pauses[4:])
                door.error = None
                await asyncio.sleep(module.LONGEST_PAUSE_S)
            assert told[1:] == [StoreState("up")]
            assert [line["event"] for line in logs] == ["store.away", "store.up"]
            await watch.close()

        run_in_virtual_time(test())

    def test_it_is_up_once_what_has_to_be_known_was_read_and_is_opened_once_for_that(self) -> None:
        async def test() -> None:
            door, errors = Door(), [HubbubError("unavailable"), HubbubError("unavailable")]

            async def prepare() -> None:
                if errors:
                    raise errors.pop()

            told: list[StoreState] = []
            watch = StoreWatch(cast(History, door), on_change=told.append, prepare=prepare)
            await watch.open()
            assert [state.status for state in told] == ["opening"]
            await asyncio.sleep(10)
            assert [state.status for state in told] == ["opening", "up"]
            assert len(door.opened_at) == 1
            await watch.close()

        run_in_virtual_time(test())

    def test_one_that_hangs_does_not_keep_the_service_from_listening(self) -> None:
        async def test() -> None:
            door = Door()
            door.takes_s = 60
            watch, told = watch_over(door)
            await watch.open()
            assert asyncio.get_running_loop().time() == pytest.approx(module.FIRST_S)
            assert watch.state.status == "opening"
            await asyncio.sleep(50.5)
            assert told == [StoreState("up")]
            await watch.close()

        run_in_virtual_time(test())

    def test_one_that_cannot_ever_be_opened_is_an_error_at_once(self) -> None:
        async def test() -> None:
            watch, told = watch_over(Door(StoreError("The password is wrong.")))
            with pytest.raises(StoreError, match="password"):
                await watch.open()
            assert told == []
            await watch.close()

        run_in_virtual_time(test())

    def test_one_that_turns_out_to_be_such_later_ends_the_waiting(self) -> None:
        async def test() -> None:
            door = Door(UNREACHABLE)
            watch, _ = watch_over(door)
            await watch.open()
            waiting = asyncio.ensure_future(watch.wait_failed())
            await asyncio.sleep(1)
            assert not waiting.done()
            door.error = StoreError("The password is wrong.")
            with pytest.raises(StoreError, match="password"):
                await waiting
            await watch.close()

        run_in_virtual_time(test())

    def test_closing_ends_an_attempt_that_hangs(self) -> None:
        async def test() -> None:
            door = Door()
            door.takes_s = 3600
            watch, told = watch_over(door)
            opening = asyncio.ensure_future(watch.open())
            await asyncio.sleep(1)
            opening.cancel()
            await asyncio.wait([opening])
            await watch.close()
            await watch.close()
            assert asyncio.get_running_loop().time() < 2
            assert told == []

        run_in_virtual_time(test())


class TestWatching:
    @pytest.mark.parametrize(
        ("error", "takes_s", "reason"),
        [
            (UNREACHABLE, 0.0, "the store is away: The server cannot be reached."),
            (None, 3600.0, "the store is away: It takes too long to answer."),
            (ZeroDivisionError(), 0.0, "the store cannot be looked at."),
        ],
    )
    def test_each_change_is_told_and_logged_once(self, error: Exception | None, takes_s: float, reason: str) -> None:
        async def test() -> None:
            door = Door()
            watch, told = watch_over(door)
            with structlog.testing.capture_logs() as logs:
                await watch.open()
                await asyncio.sleep(10)
                door.error, door.takes_s = error, takes_s
                await asyncio.sleep(30)
                assert told == [StoreState("up"), StoreState("away", reason)]
                door.error, door.takes_s = None, 0.0
                await asyncio.sleep(module.CHECK_EVERY_S + module.CHECK_S)
            assert told[2:] == [StoreState("up")]
            events = [line["event"] for line in logs if line["event"] != "store.check_broken"]
            assert events == ["store.up", "store.away", "store.up"]
            await watch.close()
            asked = len(door.checked_at)
            await asyncio.sleep(30)
            assert len(door.checked_at) == asked

        run_in_virtual_time(test())

    def test_another_reason_is_told_and_not_logged(self) -> None:
        async def test() -> None:
            door = Door()
            watch, told = watch_over(door)
            with structlog.testing.capture_logs() as logs:
                await watch.open()
                for text in ("One.", "Two."):
                    door.error = HubbubError("unavailable", text)
                    await asyncio.sleep(module.CHECK_EVERY_S * 2)
            reasons = [state.reason for state in told]
            assert reasons == ["", "the store is away: One.", "the store is away: Two."]
            assert [line["event"] for line in logs] == ["store.up", "store.away"]
            await watch.close()

        run_in_virtual_time(test())
