"""Following the log: every record once and in order, whatever happens to the polls and to the log."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from hubbub.domain.control import follower as module
from hubbub.domain.control.follower import Follower, Place
from hubbub.errors import HubbubError
from hubbub.history.base import Record
from tests.support.controllog import MemoryLedger
from tests.support.virtualtime import run_in_virtual_time


def record(n: int, key: str | None = None) -> Record:
    return Record(n, "room", key or f"k{n}", 0, "another", {})


class TestPlace:
    def test_it_reads_the_last_record_along_with_what_is_behind(self) -> None:
        assert (Place(0, None).after, Place(1, "k1").after, Place(7, "k7").after) == (0, 0, 6)

    def test_what_is_behind_is_news(self) -> None:
        place = Place(2, "k2")
        assert place.take([record(2), record(3), record(4)]) == [record(3), record(4)]
        assert (place.n, place.key) == (4, "k4")
        assert list(place.take([record(4)]) or ()) == []

    def test_the_first_records_of_a_log_are_news(self) -> None:
        place = Place(0, None)
        assert list(place.take([]) or ()) == []
        assert place.take([record(1)]) == [record(1)]

    @pytest.mark.parametrize(
        ("n", "found"),
        [
            (2, [record(5), record(6)]),  # Pruned.
            (0, [record(3)]),  # Pruned, before the first was seen.
            (2, [record(2, "other"), record(3)]),  # Another log.
            (2, [record(2), record(4)]),  # A hole.
        ],
    )
    def test_anything_else_means_that_everything_may_have_changed(self, n: int, found: list[Record]) -> None:
        place = Place(n, f"k{n}" if n else None)
        assert place.take(found) is None
        assert place.n == n

    def test_a_log_that_is_shorter_is_believed_the_second_time(self) -> None:
        place = Place(2, "k2")
        assert list(place.take([]) or ()) == []
        assert list(place.take([record(2)]) or ()) == []
        assert list(place.take([]) or ()) == []
        assert place.take([]) is None


class Scene:
    """A follower of a log in memory. `seen` are the numbers that it applied; None stands for a recovery."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.seen: list[int | None] = []
        self.keys: list[str] = []
        self.at: dict[int, float] = {}
        self.settled = 0
        self.follower = Follower(self.ledger, apply=self._apply, settle=self._settle, recover=self._recover)

    async def _recover(self) -> Place:
        head = await self.ledger.head()
        tail = await self.ledger.read(after=head - 1, limit=1) if head else []
        self.seen.append(None)
        return Place(head, tail[0].key if tail else None)

    def _apply(self, records: Sequence[Record]) -> None:
        for each in records:
            self.seen.append(each.n)
            self.keys.append(each.key)
            self.at[each.n] = asyncio.get_running_loop().time()

    async def _settle(self) -> None:
        self.settled += 1

    def log(self, count: int = 1) -> None:
        for _ in range(count):
            self.ledger.shared.log("room", {"room": "uid"})


class TestPolling:
    def test_a_record_is_applied_within_a_second_and_nodes_do_not_poll_together(self) -> None:
        async def test() -> None:
            scene = Scene()
            await scene.follower.load()
            scene.follower.start()
            delays = []
            for n in range(1, 41):
                await asyncio.sleep(0.37)
                scene.log()
                logged = asyncio.get_running_loop().time()
                while n not in scene.at:
                    await asyncio.sleep(0.01)
                delays.append(scene.at[n] - logged)
            await scene.follower.stop()
            assert scene.seen == [None, *range(1, 41)]
            assert max(delays) <= module.EVERY_S[1] + 0.01
            assert len({round(delay, 2) for delay in delays}) > 5
            polls = scene.ledger.calls.count("read")
            assert polls <= 2 * asyncio.get_running_loop().time() / module.EVERY_S[0] + 2

        run_in_virtual_time(test())

    def test_an_answer_that_is_awaited_makes_it_poll_often(self) -> None:
        async def test() -> None:
            scene = Scene()
            await scene.follower.load()
            scene.follower.start()
            with scene.follower.awaiting():
                await asyncio.sleep(0)
                before = scene.ledger.calls.count("read")
                await asyncio.sleep(1.0)
                assert scene.ledger.calls.count("read") - before >= 9
            await asyncio.sleep(1.0)
            before = scene.ledger.calls.count("read")
            await asyncio.sleep(2.0)
            assert scene.ledger.calls.count("read") - before <= 4
            await scene.follower.stop()

        run_in_virtual_time(test())

    def test_whoever_hurries_it_does_not_wait(self) -> None:
        async def test() -> None:
            scene = Scene()
            await scene.follower.load()
            scene.follower.start()
            await asyncio.sleep(0)
            scene.log()
            scene.follower.hurry()
            scene.follower.hurry()
            await asyncio.sleep(0.01)
            assert scene.seen == [None, 1]
            await scene.follower.stop()

        run_in_virtual_time(test())

    def test_being_hurried_all_the_time_does_not_make_it_poll_all_the_time(self) -> None:
        async def test() -> None:
            scene = Scene()
            await scene.follower.load()
            scene.follower.start()
            for _ in range(1000):
                scene.log()
                scene.follower.hurry()
                await asyncio.sleep(0.001)
            assert scene.ledger.calls.count("read") <= 2 * 1.0 / module.APART_S + 3
            await asyncio.sleep(module.APART_S + 0.001)
            assert scene.seen == [None, *range(1, 1001)]
            await scene.follower.stop()

        run_in_virtual_time(test())

    def test_more_than_a_page_is_applied_in_one_poll(self) -> None:
        async def test() -> None:
            scene = Scene()
            await scene.follower.load()
            scene.log(3 * module.PAGE + 1)
            await scene.follower.poll()
            assert scene.seen == [None, *range(1, 3 * module.PAGE + 2)]
            assert scene.settled == 1

        run_in_virtual_time(test())

    def test_with_the_store_away_it_is_back_within_a_second_of_its_return(self) -> None:
        async def test() -> None:
            for latency_s in (0.0, 0.3, 10.0):
                scene = Scene()
                await scene.follower.load()
                scene.follower.start()
                scene.ledger.away, scene.ledger.latency_s = True, latency_s
                await asyncio.sleep(10.3)
                assert scene.follower.lag_s > 9
                scene.ledger.away, scene.ledger.latency_s = False, 0.0
                scene.log()
                await asyncio.sleep(0.999)
                assert scene.seen == [None, 1], latency_s
                assert scene.follower.lag_s < 1
                await scene.follower.stop()

        run_in_virtual_time(test())

    def test_a_store_that_is_away_is_not_asked_too_often(self) -> None:
        async def test() -> None:
            scene = Scene()
            await scene.follower.load()
            scene.follower.start()
            scene.ledger.away = True
            await asyncio.sleep(60)
            assert scene.ledger.calls.count("read") < 60 / module.RETRY_S[0]
            await scene.follower.stop()

        run_in_virtual_time(test())

    def test_a_fault_of_ours_does_not_end_it(self) -> None:
        async def test() -> None:
            scene = Scene()
            await scene.follower.load()
            scene.follower._settle = broken
            scene.follower.start()
            await asyncio.sleep(2)
            scene.follower._settle = scene._settle
            scene.log()
            await asyncio.sleep(1)
            assert scene.seen == [None, 1]
            await scene.follower.stop()

        async def broken() -> None:
            raise ZeroDivisionError

        run_in_virtual_time(test())


class TestRecovering:
    def test_after_pruning_beneath_it_everything_is_looked_at(self) -> None:
        async def test() -> None:
            scene = Scene()
            scene.log(3)
            await scene.follower.load()
            scene.log(4)
            del scene.ledger.shared.records[:5]
            await scene.follower.poll()
            await scene.follower.poll()
            scene.log()
            await scene.follower.poll()
            assert scene.seen == [None, None, 8]

        run_in_virtual_time(test())

    def test_a_log_that_went_backwards_is_followed_from_its_new_end(self) -> None:
        async def test() -> None:
            scene = Scene()
            scene.log(5)
            await scene.follower.load()
            del scene.ledger.shared.records[3:]
            for _ in range(3):
                await scene.follower.poll()
            assert scene.seen == [None, None]
            scene.log()
            await scene.follower.poll()
            assert scene.seen == [None, None, 4]

        run_in_virtual_time(test())

    def test_one_that_has_grown_since_is_told_from_the_old_one(self) -> None:
        async def test() -> None:
            scene = Scene()
            scene.log(5)
            await scene.follower.load()
            del scene.ledger.shared.records[3:]
            scene.log(4)
            await scene.follower.poll()
            await scene.follower.poll()
            assert scene.seen == [None, None]
            assert scene.follower.applied == 7

        run_in_virtual_time(test())

    def test_a_recovery_that_fails_is_tried_again(self) -> None:
        async def test() -> None:
            scene = Scene()
            scene.log(3)
            await scene.follower.load()
            scene.log(4)
            del scene.ledger.shared.records[:5]
            await scene.follower.poll()
            scene.ledger.failures = [HubbubError("unavailable")]
            with pytest.raises(HubbubError, match="unavailable"):
                await scene.follower.poll()
            await scene.follower.poll()
            assert scene.seen == [None, None]
            assert scene.follower.applied == 7

        run_in_virtual_time(test())


Step = tuple[str, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["log", "poll", "fail", "prune", "restore", "lose"]), st.integers(1, 40)), max_size=40
)


class TestWhateverHappens:
    @settings(max_examples=300, deadline=None)
    @given(STEPS)
    def test_each_record_is_applied_once_in_order_or_everything_is_looked_at(self, steps: list[Step]) -> None:
        """Against a model: what is in the log and behind the place is applied, by its key; where anything of it is
        missing there is a recovery behind which nothing is missing.
        """

        async def test() -> None:
            scene = Scene()
            await scene.follower.load()
            log = scene.ledger.shared
            for what, number in steps:
                match what:
                    case "log":
                        scene.log(number)
                    case "poll":
                        await self._poll(scene)
                    case "fail":
                        scene.ledger.failures = [HubbubError("unavailable")] * (number % 3)
                        await self._poll(scene)
                    case "prune":
                        del log.records[: max(min(number, len(log.records) - 1), 0)]
                    case "restore":
                        del log.records[max(len(log.records) - number, 1) :]
                    case "lose":
                        # The answer comes from the past, once.
                        kept, log.records = log.records, []
                        await self._poll(scene)
                        log.records = kept
            scene.ledger.failures.clear()
            for _ in range(4):
                await self._poll(scene)
            assert scene.follower.applied == log.head
            # Between two recoveries numbers rise by one.
            last: int | None = None
            for n in scene.seen:
                assert n is None or last is None or n == last + 1
                last = n
            # What is in the log behind the last recovery was applied, each under its own key.
            since = len(scene.seen) - scene.seen[::-1].index(None)
            applied = scene.keys[len(scene.keys) - len(scene.seen[since:]) :]
            assert len(set(applied)) == len(applied)
            there = [each.key for each in log.records]
            common = min(len(applied), len(there))
            assert applied[len(applied) - common :] == there[len(there) - common :]

        with structlog.testing.capture_logs():
            run_in_virtual_time(test())

    @staticmethod
    async def _poll(scene: Scene) -> None:
        with contextlib.suppress(HubbubError):
            await scene.follower.poll()
