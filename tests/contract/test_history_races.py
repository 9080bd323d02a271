"""Several writers of one room, each a process of its own, some of them killed in the middle.

A store that many nodes share takes them all; SQLite is one process's, and refuses the second.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest

from hubbub.history.base import History
from tests.support.history import Op, draft, editing, new_room, written
from tests.support.history_worker import READY, REFUSED, Worker
from tests.support.ledger import Ledger, insist, random_op, reacting
from tests.support.stores import SQLITE, Stores

BATCHES = 40
ROUNDS, ROUNDS_FULL = 3, 30
ROUNDS_OF_A_ROOM = 5
"""A room that grows without end would show how slow the test server reads, and nothing else."""

StartWorker = Callable[..., Worker]


@pytest.fixture
async def worker(stores: Stores) -> AsyncIterator[StartWorker]:
    """Makes a process that writes to a room of the store; all are gone at the end."""
    workers: list[Worker] = []

    def make(uid: str, user: str, seed: str, batches: int = BATCHES) -> Worker:
        workers.append(Worker(stores.address, uid, user, seed, batches))
        return workers[-1]

    yield make
    for each in workers:
        await each.end()


@pytest.fixture
def seed() -> str:
    """Printed when a test fails, so that it can be tried again with the same."""
    seed = f"{random.SystemRandom().getrandbits(32):x}"
    print(f"seed {seed}")
    return seed


class TestWritersThatRace:
    async def test_two_processes_write_to_one_room(
        self, stores: Stores, history: History, worker: StartWorker, seed: str
    ) -> None:
        ledger = Ledger((await new_room(history)).uid)
        workers = [worker(ledger.uid, user, f"{seed}-{user}") for user in ("bob", "eve")]
        first = await asyncio.gather(*(each.start() for each in workers))
        if stores.address.startswith(SQLITE):
            assert first == [REFUSED] * 2  # The file is this process's.
            await insist(history, [draft(ledger.uid, "a")], ledger)
            assert await ledger.check(history) == 1
            return
        assert first == [READY] * 2
        mine = self.write(history, ledger, random.Random(seed))
        *done, _ = await asyncio.gather(*(each.write(ledger) for each in workers), mine)
        assert done == [True, True]
        assert await ledger.check(history) >= BATCHES

    async def write(self, history: History, ledger: Ledger, chance: random.Random) -> None:
        """This process writes, too, as the third."""
        for _ in range(BATCHES):
            head = max(ledger.newest.values(), default=0)
            await insist(history, [random_op(ledger.uid, chance, "ann", head) for _ in range(3)], ledger)

    async def test_two_stores_that_are_open_send_the_same_keys(self, stores: Stores, history: History) -> None:
        """Whoever repeats a send may be at another node by then."""
        ledger = Ledger((await new_room(history)).uid)
        async with stores.another() as other:
            for number in range(30):
                ops = [draft(ledger.uid, f"{number}-{each}") for each in range(3)]
                both = await asyncio.gather(history.commit(ops), other.commit([*reversed(ops)]))
                for op, mine, its in zip(ops, both[0], reversed(both[1]), strict=True):
                    assert written(mine).message == written(its).message
                    assert sorted([written(mine).claimed, written(its).claimed])[0] == 0
                    ledger.take([op, op], [mine, its])
        assert await ledger.check(history) == 90

    async def test_two_stores_that_are_open_edit_one_message(self, stores: Stores, history: History) -> None:
        ledger = Ledger((await new_room(history)).uid)
        await insist(history, [draft(ledger.uid, "a")], ledger)
        async with stores.another() as other:
            for number in range(30):
                ops: list[Op] = [editing(ledger.uid, 1, f"{number}-{each}") for each in range(3)]
                both = await asyncio.gather(history.commit(ops), other.commit(ops))
                for outcomes in both:
                    assert ledger.take(ops, outcomes) == []
        assert await ledger.check(history) == 1 + 30 * 6


class TestKilledWriters:
    async def test_what_a_killed_process_was_told_is_there(
        self, stores: Stores, history: History, worker: StartWorker, seed: str, pytestconfig: pytest.Config
    ) -> None:
        chance = random.Random(seed)
        ledger = Ledger("")
        for number in range(ROUNDS_FULL if pytestconfig.getoption("--full") else ROUNDS):
            if number % ROUNDS_OF_A_ROOM == 0:
                ledger = Ledger((await new_room(history)).uid)
            await history.close()
            workers = [worker(ledger.uid, user, f"{seed}-{user}-{number}", 10**6) for user in ("bob", "eve")]
            if stores.address.startswith(SQLITE):
                del workers[1:]
            assert {await each.start() for each in workers} == {READY}
            done = await asyncio.gather(*(each.write(ledger, kill_after=chance.randint(1, 150)) for each in workers))
            assert not any(done)
            history = await stores.reopen()
            head = await ledger.check(history)
            again: list[Op] = [draft(ledger.uid, f"after {number}"), reacting(ledger.uid, 1, f"user {number}", "👍")]
            await insist(history, again, ledger)
            assert await ledger.check(history) in (head + 1, head + 2)  # The first message may have been deleted.
