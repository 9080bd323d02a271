"""Group commit, proved on the real store where it can be, and on one that is held by hand where the moment matters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import Change, History, Insert, Outcome, Written
from hubbub.history.sqlite import SqliteHistory
from hubbub.history.writer import GATHER_S, Writer
from tests.support.history import Op, draft, editing, new_room, open_sqlite


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
