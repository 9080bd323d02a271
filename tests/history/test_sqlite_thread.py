"""What waits for the writing thread goes into one transaction, and each unit of it stands or falls as a whole."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import Outcome, Person
from hubbub.history.sqlite_batch import write_batch
from hubbub.history.sqlite_file import open_database
from hubbub.history.sqlite_rooms import create_room
from hubbub.history.sqlite_standings import join
from hubbub.history.sqlite_thread import WriterThread
from tests.support.history import LOG, Op, draft, editing, make_room, member, written

Moment = Literal["before", "after", "inside"]


class FaultyConnection(sqlite3.Connection):
    """A real connection whose n-th step fails: before a statement, after it, or in the middle of one."""

    faulty = False
    steps = 0
    fail_at = 0
    moment: Moment = "before"
    statements: list[str]

    def arm(self, moment: Moment, fail_at: int) -> None:
        self.moment, self.fail_at, self.steps, self.faulty, self.statements = moment, fail_at, 0, True, []
        if moment == "inside":
            self.set_progress_handler(self._step, 20)

    def disarm(self) -> bool:
        """Whether it came to the failure."""
        self.faulty = False
        self.set_progress_handler(None, 0)
        return self.steps >= self.fail_at

    def _step(self) -> bool:
        self.steps += 1
        return self.steps == self.fail_at

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if self.faulty:
            self.statements.append(sql)
        if self.faulty and self.moment == "before" and self._step():
            raise self.failure()
        cursor = super().execute(sql, parameters)
        if self.faulty and self.moment == "after" and self._step():
            raise self.failure()
        return cursor

    def failure(self) -> sqlite3.OperationalError:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        return error


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[FaultyConnection]:
    open_database(tmp_path / "hubbub.db").close()
    connection = sqlite3.connect(
        tmp_path / "hubbub.db", factory=FaultyConnection, isolation_level=None, check_same_thread=False
    )
    connection.execute("PRAGMA synchronous = FULL")
    yield connection
    connection.close()


@pytest.fixture
def thread(connection: FaultyConnection) -> Iterator[WriterThread]:
    thread = WriterThread(connection, after_commit=lambda: None, chore=lambda _: False)
    yield thread
    thread.close()


async def gather_behind_gate(
    thread: WriterThread, *units: Callable[[sqlite3.Connection], Any], then: Callable[[], None] = lambda: None
) -> list[Any]:
    """Submit units so that they go into one transaction: the thread is held up until all of them wait."""
    started, gate = threading.Event(), threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        started.set()
        gate.wait(20)

    held = thread.submit(hold, then=lambda _: then())
    await asyncio.to_thread(started.wait, 20)
    futures = [thread.submit(unit) for unit in units]
    gate.set()
    return await asyncio.gather(held, *futures, return_exceptions=True)


class TestUnits:
    async def test_a_unit_that_fails_is_undone_alone(self, thread: WriterThread, connection: FaultyConnection) -> None:
        def good(connection: sqlite3.Connection) -> int:
            return connection.execute("INSERT INTO graveyard DEFAULT VALUES").lastrowid or 0

        def bad(connection: sqlite3.Connection) -> None:
            good(connection)
            raise HubbubError("conflict")

        def broken(connection: sqlite3.Connection) -> None:
            good(connection)
            connection.execute("INSERT INTO nowhere VALUES (1)")

        _, first, conflict, internal, second = await gather_behind_gate(thread, good, bad, broken, good)
        assert (first, second) == (1, 2)
        assert (conflict.code, internal.code) == ("conflict", "internal")
        assert connection.execute("SELECT count(*) FROM graveyard").fetchone() == (2,)

    async def test_what_waits_goes_into_one_transaction(
        self, thread: WriterThread, connection: FaultyConnection
    ) -> None:
        room = make_room()
        await thread.submit(lambda c: create_room(c, room, [member("ann", "owner")]))
        joins = [
            lambda c, n=n: join(c, room.uid, Person(f"u{n}", "U"), at=1, role="member", need_invite=False, log=LOG)
            for n in range(200)
        ]
        await gather_behind_gate(thread, *joins, then=lambda: connection.arm("before", 10**9))
        assert connection.statements.count("COMMIT") == 1

    async def test_futures_are_resolved_after_the_commit(self, thread: WriterThread, tmp_path: Path) -> None:
        with sqlite3.connect(tmp_path / "hubbub.db") as other:
            for number in range(1, 20):
                await thread.submit(lambda c: c.execute("INSERT INTO graveyard DEFAULT VALUES").lastrowid)
                assert other.execute("SELECT count(*) FROM graveyard").fetchone() == (number,)
        other.close()

    async def test_a_closed_thread_takes_nothing(self, thread: WriterThread) -> None:
        thread.close()
        with pytest.raises(HubbubError, match="unavailable"):
            thread.submit(lambda _: None)

    async def test_closing_finishes_what_was_taken(self, thread: WriterThread) -> None:
        futures = [thread.submit(lambda _, n=n: n) for n in range(1000)]  # type: ignore[misc]
        await asyncio.to_thread(thread.close)
        assert await asyncio.gather(*futures) == list(range(1000))

    def test_a_loop_that_is_gone_harms_no_other(self, thread: WriterThread) -> None:
        gate = threading.Event()

        async def go_away() -> None:
            thread.submit(lambda _: gate.wait(20))

        async def stay() -> int:
            future = thread.submit(lambda _: 42)
            gate.set()
            return await future

        asyncio.run(go_away())
        assert asyncio.run(stay()) == 42


class TestChores:
    async def test_they_are_done_slice_by_slice_until_there_are_none(self, connection: FaultyConnection) -> None:
        left = [3]
        done = threading.Event()

        def chore(_: sqlite3.Connection) -> bool:
            left[0] -= 1
            if left[0] == 0:
                done.set()
            return left[0] > 0

        thread = WriterThread(connection, after_commit=lambda: None, chore=chore)
        assert await asyncio.to_thread(done.wait, 20)
        assert await thread.submit(lambda _: 1) == 1
        thread.close()
        assert left == [0]

    async def test_one_that_fails_keeps_no_write_waiting(self, connection: FaultyConnection) -> None:
        tried = threading.Event()

        def chore(connection: sqlite3.Connection) -> bool:
            connection.execute("BEGIN")
            tried.set()
            raise sqlite3.OperationalError("broken")

        thread = WriterThread(connection, after_commit=lambda: None, chore=chore)
        assert await asyncio.to_thread(tried.wait, 20)
        assert await thread.submit(lambda c: c.execute("INSERT INTO graveyard DEFAULT VALUES").lastrowid) == 1
        thread.close()


class TestFailures:
    """A failure between any two statements, or in the middle of one: nothing is half there, nothing stays broken."""

    @pytest.mark.parametrize("moment", ["before", "after", "inside"])
    async def test_nothing_is_half_done(
        self, thread: WriterThread, connection: FaultyConnection, moment: Moment
    ) -> None:
        for fail_at in itertools.count(1):
            room = make_room()
            await thread.submit(partial(create_room, room=room, members=[member("ann", "owner")]))
            units = self.units(room.uid)
            _, *results = await gather_behind_gate(thread, *units, then=partial(connection.arm, moment, fail_at))
            came = connection.disarm()
            assert [result for result in results if not self.is_expected(result)] == []
            await self.check_whole(thread, room.uid, results)
            again = [await thread.submit(unit) for unit in units]
            self.check_repeated([*again[0], *again[2]])
            if not came:
                assert fail_at > 15
                return

    def units(self, uid: str) -> list[Callable[[sqlite3.Connection], Any]]:
        one: list[Op] = [draft(uid, "a"), draft(uid, "b"), editing(uid, 1, "x")]
        two: list[Op] = [draft(uid, "c"), draft(uid, "a")]
        return [
            lambda connection: write_batch(connection, one)[0],
            lambda connection: join(
                connection, uid, Person("bob", "B"), at=1, role="member", need_invite=False, log=LOG
            ),
            lambda connection: write_batch(connection, two)[0],
        ]

    def is_expected(self, result: object) -> bool:
        return not isinstance(result, BaseException) or (
            isinstance(result, HubbubError) and result.code == "unavailable"
        )

    async def check_whole(self, thread: WriterThread, uid: str, results: list[Any]) -> None:
        """Revisions have no holes, and whatever was said to be done is there."""

        def read(connection: sqlite3.Connection) -> tuple[list[int], list[tuple[int, int]], int]:
            (no, members) = connection.execute("SELECT no, members FROM rooms WHERE uid = ?", (uid,)).fetchone()
            changes = connection.execute("SELECT place, seq FROM changes WHERE place >> 36 = ?", (no,)).fetchall()
            messages = connection.execute("SELECT place, rev FROM messages WHERE room = ?", (no,)).fetchall()
            claims = [*changes, *((place, place & (2**36 - 1)) for place, _ in messages)]
            latest = {seq: place & (2**36 - 1) for place, seq in sorted(claims)}
            assert {place & (2**36 - 1): rev for place, rev in messages} == latest
            (standing,) = connection.execute("SELECT count(*) FROM standings WHERE room = ?", (no,)).fetchone()
            assert standing == members
            return sorted(place & (2**36 - 1) for place, _ in claims), messages, members

        revisions, _, members = await thread.submit(read)
        assert revisions == list(range(1, len(revisions) + 1))
        first, joined, second = results
        claimed: set[int] = set()
        for batch in (first, second):
            if not isinstance(batch, BaseException):
                claimed |= {written(outcome).claimed for outcome in batch} - {0}
        assert claimed <= set(revisions)
        if not isinstance(joined, BaseException):
            assert members == 2

    def check_repeated(self, outcomes: list[Outcome]) -> None:
        """Every key has one message, whatever was tried before."""
        inserts = [outcomes[index] for index in (0, 1, 3, 4)]
        assert len({written(outcome).message.seq for outcome in inserts}) == 3


class TestRecovery:
    async def test_the_thread_goes_on_after_a_commit_that_failed(
        self, thread: WriterThread, connection: FaultyConnection
    ) -> None:
        def insert(connection: sqlite3.Connection) -> int:
            return connection.execute("INSERT INTO graveyard DEFAULT VALUES").lastrowid or 0

        connection.arm("before", 3)  # BEGIN, INSERT, COMMIT.
        with pytest.raises(HubbubError, match="unavailable"):
            await thread.submit(insert)
        connection.disarm()
        assert await thread.submit(insert) == 1
        with suppress(HubbubError):
            await thread.submit(lambda c: c.execute("nonsense"))
        assert await thread.submit(insert) == 2

    async def test_a_full_file_takes_writes_again_when_there_is_space(
        self, thread: WriterThread, connection: FaultyConnection
    ) -> None:
        room = make_room()
        await thread.submit(lambda c: create_room(c, room, [member("ann", "owner")]))
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 20}")
        large = [draft(room.uid, f"large{n}", body="x" * 3000) for n in range(40)]
        small = [draft(room.uid, "small")]
        _, full, fitting = await gather_behind_gate(
            thread, lambda c: write_batch(c, large)[0], lambda c: write_batch(c, small)[0]
        )
        assert full.code == "unavailable"
        assert isinstance(fitting, HubbubError) or written(fitting[0]).claimed == 1
        with pytest.raises(HubbubError, match="no space left"):
            await thread.submit(lambda c: write_batch(c, large)[0])
        assert (await thread.submit(lambda c: write_batch(c, small)[0]))[0].message.seq == 1  # type: ignore[union-attr]
        connection.execute("PRAGMA max_page_count = 1000000")
        outcomes = await thread.submit(lambda c: write_batch(c, large)[0])
        assert [written(outcome).claimed for outcome in outcomes] == list(range(2, 42))
