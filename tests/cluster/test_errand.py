"""Work beside all else begins once and ends whole."""

from __future__ import annotations

import asyncio

from hubbub.cluster.errand import Errand


class TestErrand:
    async def test_it_runs_once_from_its_begin_to_its_end_and_may_begin_again(self) -> None:
        log: list[str] = []

        async def work() -> None:
            log.append("begun")
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                log.append("ended")

        errand = Errand(work)
        await errand.end()
        seen = []
        for _ in range(2):
            errand.begin()
            errand.begin()
            seen.append(errand.is_begun)
            await asyncio.sleep(0)
            await errand.end()
            await errand.end()
            seen.append(errand.is_begun)
        assert seen == [True, False] * 2
        assert log == ["begun", "ended"] * 2

    async def test_work_that_has_failed_is_ended_as_well(self) -> None:
        async def work() -> None:
            raise ValueError("it failed")

        errand = Errand(work)
        errand.begin()
        task = errand._task
        assert task is not None
        await asyncio.wait({task})
        await errand.end()
        assert isinstance(task.exception(), ValueError)
