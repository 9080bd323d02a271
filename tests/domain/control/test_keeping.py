"""Signs of life, mending and pruning, now and then."""

from __future__ import annotations

import asyncio

from hubbub.domain.control import keeping as module
from hubbub.domain.control.keeping import Keeping
from hubbub.errors import HubbubError
from hubbub.history.base import Beat
from tests.support.controllog import MemoryLedger
from tests.support.virtualtime import run_in_virtual_time


class Scene:
    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.tidied = 0
        self.keeping = Keeping(self.ledger, self.clock, beat=self.beat, on_tidy=self.tidy)

    def clock(self) -> int:
        return module.KEEP_MS + round(asyncio.get_running_loop().time() * 1000)

    def beat(self) -> Beat:
        return Beat("n1", self.ledger.origin, self.clock())

    def tidy(self) -> None:
        self.tidied += 1

    def count(self, call: str) -> int:
        return self.ledger.calls.count(call)


class TestKeeping:
    def test_a_node_beats_at_once_and_every_three_seconds_and_mends(self) -> None:
        async def test() -> None:
            scene = Scene()
            scene.keeping.start()
            scene.keeping.start()
            await asyncio.sleep(0.01)
            assert scene.count("beat") == 1
            await asyncio.sleep(300)
            assert 90 <= scene.count("beat") <= 112
            assert 50 <= scene.count("mend") <= 75
            assert 4 <= scene.count("prune") <= 8
            assert scene.tidied == scene.count("prune")
            await scene.keeping.close()
            assert scene.ledger.shared.beats == {}

        run_in_virtual_time(test())

    def test_what_is_old_is_removed_and_the_newest_stay(self) -> None:
        async def test() -> None:
            scene = Scene()
            for number in range(module.KEEP + 5):
                scene.ledger.shared.log("room", {}, at=number % 2)
            await asyncio.sleep(1)
            await scene.keeping.prune()
            assert [record.n for record in scene.ledger.shared.records[:1]] == [6]

        run_in_virtual_time(test())

    def test_neither_failures_nor_a_store_that_hangs_end_it(self) -> None:
        async def test() -> None:
            scene = Scene()
            scene.ledger.failures = [HubbubError("unavailable"), HubbubError("internal")]
            scene.keeping.start()
            scene.ledger.latency_s = 3600
            await asyncio.sleep(60)
            assert scene.count("beat") >= 5
            scene.ledger.latency_s = 0
            await asyncio.sleep(20)
            assert scene.ledger.shared.beats != {}
            scene.ledger.latency_s = 3600
            await scene.keeping.close()

        run_in_virtual_time(test())

    def test_a_fault_of_ours_does_not_end_it(self) -> None:
        async def test() -> None:
            scene = Scene()
            beats = [ZeroDivisionError()]

            def beat() -> Beat:
                if beats:
                    raise beats.pop()
                return scene.beat()

            scene.keeping._beat = beat
            scene.keeping.start()
            await asyncio.sleep(10)
            assert scene.ledger.shared.beats != {}
            await scene.keeping.close()

        run_in_virtual_time(test())

    def test_one_that_never_began_says_no_goodbye(self) -> None:
        async def test() -> None:
            scene = Scene()
            await scene.keeping.close()
            assert scene.ledger.calls == []

        run_in_virtual_time(test())
