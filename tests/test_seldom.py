"""A line that others bring about comes once a second at most, and none of what it tells of is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from structlog.testing import capture_logs

from hubbub.seldom import QUIET_S, Seldom
from tests.support.virtualtime import run_in_virtual_time


def lines_of(test: Callable[[Seldom], Coroutine[Any, Any, None]]) -> list[tuple[int, Any]]:
    """How many times each line tells of, and the fact `n` in it."""

    async def work() -> None:
        await test(Seldom(structlog.get_logger("x"), "garbage"))

    with capture_logs() as lines:
        run_in_virtual_time(work())
    assert all((line["event"], line["log_level"]) == ("garbage", "warning") for line in lines)
    return [(line["times"], line["n"]) for line in lines]


class TestALineThatOthersBringAbout:
    def test_the_first_is_written_at_once(self) -> None:
        async def test(seldom: Seldom) -> None:
            seldom.warn(n=1)

        assert lines_of(test) == [(1, 1)]

    def test_what_comes_within_a_second_is_told_together_when_it_is_over(self) -> None:
        async def test(seldom: Seldom) -> None:
            for n in range(272):
                seldom.warn(n=n)
            await asyncio.sleep(QUIET_S + 0.1)

        assert lines_of(test) == [(1, 0), (271, 271)]

    def test_a_flood_is_a_line_each_second(self) -> None:
        async def test(seldom: Seldom) -> None:
            for n in range(40):
                seldom.warn(n=n)
                await asyncio.sleep(QUIET_S / 10)
            await asyncio.sleep(2 * QUIET_S)

        told = lines_of(test)
        assert 4 <= len(told) <= 6
        assert sum(times for times, _ in told) == 40
        assert told[-1][1] == 39

    def test_after_a_quiet_second_it_is_written_at_once_again(self) -> None:
        async def test(seldom: Seldom) -> None:
            seldom.warn(n=1)
            await asyncio.sleep(QUIET_S + 0.1)
            seldom.warn(n=2)

        assert lines_of(test) == [(1, 1), (1, 2)]

    def test_what_was_counted_is_told_when_it_is_closed(self) -> None:
        async def test(seldom: Seldom) -> None:
            for n in range(3):
                seldom.warn(n=n)
            seldom.close()
            seldom.close()
            await asyncio.sleep(2 * QUIET_S)

        assert lines_of(test) == [(1, 0), (2, 2)]
