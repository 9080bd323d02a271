"""Group commit, proved on the real store where it can be, and on one that is held by hand where the moment matters."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import Change, History, Insert, Outcome, Written
from hubbub.history.sqlite import SqliteHistory
from hubbub.history.writer import GATHER_S, PATIENCE_S, Writer
from tests.support.history import Op, draft, editing, new_room, open_sqlite
from tests.support.virtualtime import run_in_virtual_time


class HeldHistory(SqliteHistory):
    """The real store, whose commits begin when they are let go; `fail` makes the next one raise."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.batches: list[Sequence[Op]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.fail: BaseException | None = None
        self.lanes: Callable[[str], str] = super().lane

    def lane(self, uid: str) -> str:
        return self.lanes(uid)

    async def commit(self, batch: Sequence[Insert | Change]) -> Sequence[Outcome]:
        self.batches.append(batch)
        await self.gate.wait()
        if self.fail is not None:
            failure, self.fail = self.fail, None
            raise failure
        return await super().commit(batch)


@pytest.fixture
async def history(tmp_path: Path) -> AsyncIterator[HeldHistory]:
    history = HeldHistory(tmp_path / "hubbub.db")
    await history.open()
    yield history
    await history.close()


@pytest.fixture
async def uid(history: HeldHistory) -> str:
    return (await new_room(history)).uid


class Told:
    """What the writer has told of, in order."""

    def __init__(self) -> None:
        self.written: list[tuple[str, int]] = []
        self.batches: list[tuple[int, float]] = []

    def on_written(self, uid: str, written: Written) -> None:
        self.written.append((uid, written.claimed))

    def on_batch(self, size: int, seconds: float) -> None:
        self.batches.append((size, seconds))


def make_writer(
    history: SqliteHistory,
    told: Told | None = None,
    *,
    max_queued: int = 1000,
    max_queued_bytes: int = 10**7,
    max_batch: int = 100,
    clock: Callable[[], float] = time.monotonic,
) -> Writer:
    told = told or Told()
    return Writer(
        cast(History, history),
        max_queued=max_queued,
        max_queued_bytes=max_queued_bytes,
        max_batch=max_batch,
        on_written=told.on_written,
        on_batch=told.on_batch,
        clock=clock,
    )


class TestGrouping:
    async def test_what_is_handed_in_together_goes_together(self, history: HeldHistory, uid: str) -> None:
        told = Told()
        writer = make_writer(history, told)
        futures = [writer.submit(draft(uid, str(n))) for n in range(50)]
        assert [written.claimed for written in await asyncio.gather(*futures)] == list(range(1, 51))
        assert [size for size, _ in told.batches] == [50]
        assert told.batches[0][1] > 0

    async def test_what_arrives_during_a_commit_goes_in_the_next(self, history: HeldHistory, uid: str) -> None:
        writer = make_writer(history)
        history.gate.clear()
        first = writer.submit(draft(uid, "first"))
        while not history.batches:
            await asyncio.sleep(0)
        later = [writer.submit(draft(uid, str(n))) for n in range(7)]
        await asyncio.sleep(0)
        assert len(history.batches) == 1
        history.gate.set()
        assert [written.claimed for written in await asyncio.gather(first, *later)] == list(range(1, 9))
        assert [len(batch) for batch in history.batches] == [1, 7]

    async def test_a_batch_leaves_when_a_turn_of_the_loop_brings_nothing_more(
        self, history: HeldHistory, uid: str
    ) -> None:
        writer = make_writer(history, clock=lambda: 0.0)
        futures: list[asyncio.Future[Written]] = []
        for n in range(10):  # As senders whose acks came together, and who are read one after the other.
            futures.append(writer.submit(draft(uid, str(n))))
            await asyncio.sleep(0)
        await asyncio.gather(*futures)
        assert [len(batch) for batch in history.batches] == [10]

    async def test_a_batch_does_not_wait_longer_than_a_sync_takes(self, history: HeldHistory, uid: str) -> None:
        now = 0.0
        writer = make_writer(history, clock=lambda: now)
        history.gate.clear()
        futures: list[asyncio.Future[Written]] = []
        while not history.batches:
            futures.append(writer.submit(draft(uid, str(len(futures)))))
            await asyncio.sleep(0)
            now += GATHER_S / 5
        history.gate.set()
        await asyncio.gather(*futures)
        assert 2 <= len(history.batches[0]) <= 6

    async def test_a_write_that_is_alone_leaves_at_once(self, history: HeldHistory, uid: str) -> None:
        writer = make_writer(history, clock=lambda: 0.0)
        future = writer.submit(draft(uid, "alone"))
        for _ in range(3):
            await asyncio.sleep(0)
        assert [len(batch) for batch in history.batches] == [1]
        await future

    async def test_a_batch_has_a_largest_size(self, history: HeldHistory, uid: str) -> None:
        writer = make_writer(history, max_batch=20)
        await asyncio.gather(*(writer.submit(draft(uid, str(n))) for n in range(50)))
        assert [len(batch) for batch in history.batches] == [20, 20, 10]

    async def test_lanes_do_not_wait_for_each_other(self, history: HeldHistory) -> None:
        history.lanes = lambda uid: uid
        one, two = (await new_room(history)).uid, (await new_room(history)).uid
        writer = make_writer(history)
        history.gate.clear()
        futures = [writer.submit(draft(one, "a")), writer.submit(draft(two, "a")), writer.submit(draft(one, "b"))]
        while len(history.batches) < 2:
            await asyncio.sleep(0)
        history.gate.set()
        assert [written.claimed for written in await asyncio.gather(*futures)] == [1, 1, 2]
        assert [len(batch) for batch in history.batches] == [2, 1]


class TestTelling:
    async def test_revisions_are_told_in_order_before_any_future_is_done(self, history: HeldHistory, uid: str) -> None:
        seen: list[tuple[int, list[bool]]] = []
        futures: list[asyncio.Future[Written]] = []
        writer = Writer(
            cast(History, history),
            max_queued=100,
            max_queued_bytes=10**6,
            max_batch=100,
            on_written=lambda _, written: seen.append((written.claimed, [future.done() for future in futures])),
        )
        ops = (draft(uid, "a"), draft(uid, "a"), draft("nowhere", "a"), editing(uid, 1, "b"), draft(uid, "c"))
        futures += [writer.submit(op) for op in ops]
        await asyncio.wait(futures)
        assert seen == [(rev, [False] * 5) for rev in (1, 2, 3)]

    async def test_all_of_a_batch_is_resolved_in_one_turn_of_the_loop(self, history: HeldHistory, uid: str) -> None:
        writer = make_writer(history)
        futures = [writer.submit(draft(uid, str(n))) for n in range(10)]
        counts: list[int] = []
        futures[0].add_done_callback(lambda _: counts.append(sum(future.done() for future in futures)))
        await asyncio.gather(*futures)
        assert counts == [10]

    async def test_a_listener_that_fails_harms_no_write(
        self, history: HeldHistory, uid: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        def listen(uid: str, written: Written) -> None:
            raise ZeroDivisionError

        writer = Writer(cast(History, history), max_queued=10, max_queued_bytes=10**6, max_batch=10, on_written=listen)
        assert (await writer.submit(draft(uid, "a"))).claimed == 1
        assert "could not be announced" in caplog.text


class TestBounds:
    async def test_too_many_writes_are_refused_at_once(self, history: HeldHistory, uid: str) -> None:
        writer = make_writer(history, max_queued=3)
        history.gate.clear()
        futures = [writer.submit(draft(uid, str(n))) for n in range(3)]
        with pytest.raises(HubbubError) as caught:
            writer.submit(draft(uid, "one more"))
        assert (caught.value.code, caught.value.retry_after) == ("unavailable", 1.0)
        assert writer.refused == 1
        history.gate.set()
        await asyncio.gather(*futures)
        assert (writer.queued, writer.queued_bytes) == (0, 0)
        assert (await writer.submit(draft(uid, "one more"))).claimed == 4

    async def test_too_much_text_is_refused_at_once(self, history: HeldHistory, uid: str) -> None:
        writer = make_writer(history, max_queued_bytes=10_000)
        future = writer.submit(draft(uid, "a", body="x" * 1000))
        with pytest.raises(HubbubError, match="unavailable"):
            writer.submit(draft(uid, "b", body="x" * 1000))
        small = writer.submit(draft(uid, "c"))
        assert [(await future).claimed, (await small).claimed] == [1, 2]


class TestFailures:
    async def test_a_failure_of_one_write_is_its_own(self, history: HeldHistory, uid: str) -> None:
        writer = make_writer(history)
        futures = [writer.submit(draft(uid, "a")), writer.submit(editing(uid, 9, "x")), writer.submit(draft(uid, "b"))]
        one, failed, two = await asyncio.gather(*futures, return_exceptions=True)
        assert isinstance(failed, HubbubError)
        assert failed.code == "not_found"
        assert isinstance(one, Written)
        assert isinstance(two, Written)
        assert (one.claimed, two.claimed) == (1, 2)

    @pytest.mark.parametrize("failure", [HubbubError("unavailable", "The disk."), ZeroDivisionError()])
    async def test_a_commit_that_fails_is_unavailable_for_its_batch_alone(
        self, history: HeldHistory, uid: str, failure: BaseException
    ) -> None:
        writer = make_writer(history, max_batch=2)
        history.fail = failure
        futures = [writer.submit(draft(uid, str(n))) for n in range(3)]
        *failed, written = await asyncio.gather(*futures, return_exceptions=True)
        assert [error.code for error in failed if isinstance(error, HubbubError)] == ["unavailable"] * 2
        assert failed[0] is not failed[1]
        assert isinstance(written, Written)
        assert written.claimed == 1
        assert writer.queued == 0

    async def test_a_caller_that_goes_away_does_not_undo_its_write(self, history: HeldHistory, uid: str) -> None:
        told = Told()
        writer = make_writer(history, told)
        writer.submit(draft(uid, "a")).cancel()
        repeat = await writer.submit(draft(uid, "a"))
        assert repeat.duplicate
        assert told.written == [(uid, 1)]
        assert writer.queued == 0


class TroubledStore:
    """What a writer needs of a store, in memory: a commit takes `takes_s`, or fails at once while `fails`.

    A commit that is cancelled is made all the same, as a server does that has the request already.
    """

    def __init__(self) -> None:
        self.takes_s = 0.0
        self.fails = False
        self.lanes = 1
        self.heads: dict[str, int] = {}
        self.committed: list[str] = []
        self.asked_at: list[float] = []
        self.now: Callable[[], float] = asyncio.get_running_loop().time

    def lane(self, uid: str) -> str:
        return uid if self.lanes > 1 else "all"

    async def commit(self, batch: Sequence[Insert | Change]) -> Sequence[Outcome]:
        self.asked_at.append(self.now())
        if self.fails:
            raise HubbubError("unavailable", "The store is down.", retry_after=1)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            outcomes = [self._insert(op) for op in batch if isinstance(op, Insert)]
        return outcomes

    def _insert(self, op: Insert) -> Written:
        uid = op.message.uid
        rev = self.heads[uid] = self.heads.get(uid, 0) + 1
        self.committed.append(op.message.key)
        return Written(op.message.placed(rev), claimed=rev)


class Senders:
    """Sends through a writer in virtual time, and keeps the answers in the order in which they came."""

    def __init__(self, **bounds: float) -> None:
        self.store = TroubledStore()
        self.now = self.store.now
        self.answers: list[tuple[str, str]] = []
        self.errors: list[HubbubError] = []
        self.writer = Writer(
            cast(History, self.store),
            max_queued=int(bounds.get("max_queued", 1000)),
            max_queued_bytes=10**8,
            max_batch=int(bounds.get("max_batch", 10)),
            on_written=lambda uid, written: None,
            clock=self.now,
        )

    def send(self, key: str, uid: str = "u") -> None:
        try:
            future = self.writer.submit(draft(uid, key))
        except HubbubError as error:
            self._fail(key, error)
        else:
            future.add_done_callback(lambda done: self._answer(key, done))

    def _answer(self, key: str, done: asyncio.Future[Written]) -> None:
        error = done.exception()
        if error is None:
            self.answers.append((key, "ok"))
        else:
            assert isinstance(error, HubbubError)
            self._fail(key, error)

    def _fail(self, key: str, error: HubbubError) -> None:
        self.answers.append((key, error.code))
        self.errors.append(error)

    def keys(self, code: str) -> list[str]:
        return [key for key, answer in self.answers if answer == code]


class TestUnderPressure:
    """A store that is slow, stuck or away."""

    def test_writes_are_acknowledged_late_then_refused_and_drained_when_the_store_is_back(self) -> None:
        async def test() -> None:
            senders = Senders(max_queued=50)
            senders.store.takes_s = 2
            for number in range(60):
                senders.send(f"k{number}")
            assert senders.keys("unavailable") == [f"k{number}" for number in range(50, 60)]
            assert (senders.writer.queued, senders.writer.refused) == (50, 10)
            assert all(error.retry_after == 1.0 for error in senders.errors)
            await asyncio.sleep(3)
            assert senders.keys("ok") == [f"k{number}" for number in range(10)]
            senders.store.takes_s = 0
            await asyncio.sleep(5)
            assert senders.keys("ok") == [f"k{number}" for number in range(50)] == senders.store.committed
            assert (senders.writer.queued, senders.writer.queued_bytes, senders.writer.oldest_s) == (0, 0, 0)

        run_in_virtual_time(test())

    def test_the_time_after_which_to_come_again_grows_while_the_store_is_stuck(self) -> None:
        async def test() -> None:
            senders = Senders(max_queued=5)
            senders.store.takes_s = 3600
            for number in range(5):
                senders.send(f"k{number}")
            asked = []
            for _ in range(6):
                senders.send("more")
                asked.append(senders.errors[-1].retry_after)
                assert senders.errors[-1].retry_after == max(1.0, round(senders.writer.oldest_s, 1))
                await asyncio.sleep(3)
            assert asked == [1.0, 3.0, 6.0, 9.0, 12.0, 15.0]

        run_in_virtual_time(test())

    def test_a_commit_that_hangs_keeps_nobody_for_ever(self) -> None:
        """Its own callers and those behind it are answered, in order; the lane goes on when the store does."""

        async def test() -> None:
            senders = Senders(max_batch=3)
            senders.store.takes_s = 10**6
            for number in range(6):
                senders.send(f"k{number}")
            await asyncio.sleep(PATIENCE_S - 1)
            assert senders.answers == []
            senders.send("later")
            senders.store.takes_s = 0.1
            await asyncio.sleep(3)
            assert [key for key, _ in senders.answers] == ["k0", "k1", "k2", "k3", "k4", "k5", "later"]
            assert senders.keys("unavailable") == [f"k{number}" for number in range(6)]
            assert senders.keys("ok") == ["later"]
            # Of the first nobody knew; it was made after all. Of those that waited it is sure that they were not.
            assert senders.store.committed == ["k0", "k1", "k2", "later"]
            assert all((error.retry_after or 0) >= 1 for error in senders.errors)
            assert (senders.writer.failed, senders.writer.refused, senders.writer.queued) == (1, 3, 0)

        run_in_virtual_time(test())

    def test_a_queue_that_is_too_slow_does_not_write_what_nobody_waits_for(self) -> None:
        async def test() -> None:
            senders = Senders(max_batch=1)
            senders.store.takes_s = 6
            for number in range(10):
                senders.send(f"k{number}")
            await asyncio.sleep(60)
            assert senders.keys("ok") == [f"k{number}" for number in range(4)] == senders.store.committed
            assert senders.keys("unavailable") == [f"k{number}" for number in range(4, 10)]

        run_in_virtual_time(test())

    @pytest.mark.parametrize("lanes", [1, 40])
    def test_a_store_that_fails_at_once_is_not_asked_in_a_circle(self, lanes: int) -> None:
        async def test() -> None:
            senders = Senders()
            senders.store.lanes = lanes
            senders.store.fails = True
            for number in range(400):
                senders.send(f"k{number}", f"u{number % lanes}")
            await asyncio.sleep(10)
            assert len(senders.store.asked_at) <= lanes + 20
            pauses = [later - before for before, later in itertools.pairwise(senders.store.asked_at[lanes:])]
            assert max(pauses, default=1.0) <= 1.1
            senders.store.fails = False
            asked = len(senders.store.asked_at)
            await asyncio.sleep(10)
            assert len(senders.store.asked_at) > asked
            assert senders.writer.queued == 0
            assert len(senders.answers) == 400
            assert sorted(senders.keys("ok")) == sorted(senders.store.committed)
            senders.send("now")
            await asyncio.sleep(0.001)
            assert senders.answers[-1] == ("now", "ok")

        run_in_virtual_time(test())

    def test_an_outage_is_longer_and_longer_for_those_who_ask(self) -> None:
        async def test() -> None:
            senders = Senders()
            senders.store.fails = True
            for _ in range(60):
                senders.send("k")
                await asyncio.sleep(1)
            waits = [error.retry_after for error in senders.errors]
            assert waits == sorted(waits, key=lambda wait: wait or 0)
            assert (waits[0], waits[-1]) == (1, 30)

        run_in_virtual_time(test())


class TestDraining:
    async def test_what_was_taken_is_committed_and_nothing_more_is_taken(self, history: HeldHistory, uid: str) -> None:
        writer = make_writer(history, max_batch=4)
        futures = [writer.submit(draft(uid, str(n))) for n in range(10)]
        drained = asyncio.ensure_future(writer.drain(20))
        await asyncio.sleep(0)
        with pytest.raises(HubbubError, match="draining"):
            writer.submit(draft(uid, "late"))
        assert await drained
        assert all(future.done() for future in futures)
        assert await history.head(uid) == 10

    async def test_an_idle_writer_is_drained_at_once(self, history: HeldHistory) -> None:
        assert await make_writer(history).drain(0)

    async def test_what_does_not_make_it_in_time_fails(self, history: HeldHistory, uid: str) -> None:
        writer = make_writer(history, max_batch=1)
        history.gate.clear()
        futures = [writer.submit(draft(uid, str(n))) for n in range(3)]
        while not history.batches:
            await asyncio.sleep(0)
        assert not await writer.drain(0.01)
        assert [future.done() for future in futures] == [False, True, True]
        with pytest.raises(HubbubError, match="unavailable"):
            await futures[1]
        history.gate.set()
        assert (await futures[0]).claimed == 1
        assert await writer.drain(20)


class TestOnTheStore:
    async def test_a_burst_is_committed_in_few_batches(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            uid = (await new_room(history)).uid
            told = Told()
            writer = make_writer(history, told)

            async def chat(name: str) -> list[int]:
                return [(await writer.submit(draft(uid, f"{name}-{n}"))).claimed for n in range(20)]

            claims = await asyncio.gather(*(chat(f"user{n}") for n in range(25)))
            assert sorted(claim for own in claims for claim in own) == list(range(1, 501))
            assert all(own == sorted(own) for own in claims)
            assert told.written == [(uid, rev) for rev in range(1, 501)]
            assert sum(size for size, _ in told.batches) == 500
            assert len(told.batches) < 250
