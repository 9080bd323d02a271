"""Elections, lost replies and stale readers: whatever happens to a command, a write that is repeated as a client would
repeat it is there once.

The faults are played by a proxy (`tests/support/mongo_proxy.py`) in front of a real server. What is true in the end is
asked of the server itself, past the proxy.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Final

import pytest

from hubbub.errors import HubbubError
from hubbub.history.base import Outcome
from hubbub.history.mongo import MongoHistory
from tests.support.failover import FAULTS, NO_RETRIES, WRITES, at_each_command, behind, opened
from tests.support.history import Op, deleting, draft, editing, new_room, written
from tests.support.history_worker import READY, Worker
from tests.support.ledger import Ledger, insist, reacting
from tests.support.mongo_proxy import (
    Action,
    MongoProxy,
    Rule,
    Snapshot,
    after,
    before,
    concern,
    not_primary,
    running_proxy,
)
from tests.support.mongodb import MongoProcess, with_database
from tests.support.patience import HASTY_MS, calls_within


@pytest.fixture
async def proxy(mongo_uri: str) -> AsyncIterator[MongoProxy]:
    async with running_proxy(mongo_uri) as proxy:
        yield proxy


@asynccontextmanager
async def hasty(proxy: MongoProxy, mongo_uri: str, options: str = "") -> AsyncIterator[MongoHistory]:
    """The store through the proxy, giving up soon. What it does answer is repeated until it does."""
    with calls_within(HASTY_MS):
        async with behind(proxy, mongo_uri, options) as history:
            yield history


@pytest.fixture
async def truth(mongo_uri: str) -> AsyncIterator[MongoHistory]:
    """The store, past the proxy."""
    async with opened(mongo_uri) as history:
        yield history


def steps(uid: str) -> list[list[Op]]:
    """Batches of every kind of write, each of which may be repeated: mixed, with a key that comes again."""
    return [
        [draft(uid, "a"), draft(uid, "b"), draft(uid, "c", sender="bob")],
        [editing(uid, 1, "edited"), draft(uid, "d"), reacting(uid, 2, "eve", "👍")],
        [draft(uid, "a", body="again"), draft(uid, "e"), draft(uid, "e", body="again"), editing(uid, 2, "edited too")],
        [deleting(uid, 3), reacting(uid, 1, "eve", "👍"), reacting(uid, 1, "bob", "👍")],
        [draft(uid, "f")],
    ]


KEYS: Final = 6
"""How many different keys there are in `steps`."""


async def check_steps(ledger: Ledger, truth: MongoHistory) -> None:
    """All of `steps` took effect, each send once."""
    await ledger.check(truth)
    assert len(ledger.keys) == KEYS
    first, second, third = [await truth.message(ledger.uid, seq) for seq in sorted(ledger.keys.values())[:3]]
    assert first is not None
    assert second is not None
    assert third is not None
    assert (first.body, set(first.reactions["👍"])) == ("edited", {"eve", "bob"})
    assert (second.body, second.reactions) == ("edited too", {"👍": ("eve",)})
    assert third.deleted


class TestEveryCommand:
    """A command is met by a fault, each command of a session in turn. The sessions are tried at the same time: the
    driver looks for a lost primary once in half a second, so that most of it is waiting.
    """

    @pytest.mark.parametrize("options", ["", NO_RETRIES], ids=["the driver retries", "it does not"])
    @pytest.mark.parametrize("fault", FAULTS)
    async def test_what_is_repeated_is_there_once(
        self, mongo_uri: str, truth: MongoHistory, fault: str, options: str
    ) -> None:
        unavailable = await at_each_command(fault, lambda rule: session(mongo_uri, truth, rule, options))
        assert len(unavailable) > len(steps(""))
        if options or "timed out" in fault:
            assert sum(unavailable) >= len(unavailable)  # The driver could not hide them, so the client was told.

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_two_commands_in_a_row(self, mongo_uri: str, truth: MongoHistory, fault: str) -> None:
        rules = [Rule(FAULTS[fault], WRITES, nth, times=2) for nth in range(1, 6)]
        unavailable = await asyncio.gather(*(session(mongo_uri, truth, rule, NO_RETRIES) for rule in rules))
        assert min(unavailable) > 0


async def session(mongo_uri: str, truth: MongoHistory, rule: Rule, options: str) -> int:
    """All of `steps` in a room of its own, while the rule holds. Returns how often a client was told to come again."""
    ledger = Ledger((await new_room(truth)).uid)
    async with running_proxy(mongo_uri) as proxy, behind(proxy, mongo_uri, options) as history:
        proxy.rules.append(rule)
        for ops in steps(ledger.uid):
            await insist(history, ops, ledger)
    assert rule.hits == rule.times
    await check_steps(ledger, truth)
    return ledger.unavailable


class TestElection:
    async def test_without_a_primary_writes_and_reads_are_unavailable_and_then_go_on(
        self, proxy: MongoProxy, mongo_uri: str, truth: MongoHistory
    ) -> None:
        ledger = Ledger((await new_room(truth)).uid)
        async with hasty(proxy, mongo_uri) as history:
            await insist(history, [draft(ledger.uid, "before")], ledger)
            proxy.primary = False
            ops = await check_unavailable(history, ledger.uid)
            proxy.heal()
            await insist(history, ops, ledger)
        assert await ledger.check(truth) == 3

    async def test_a_short_election_is_not_noticed(
        self, proxy: MongoProxy, mongo_uri: str, truth: MongoHistory
    ) -> None:
        ledger = Ledger((await new_room(truth)).uid)
        async with behind(proxy, mongo_uri) as history:
            await insist(history, [draft(ledger.uid, "before")], ledger)
            proxy.primary = False
            met = proxy.rule(not_primary, "insert", times=float("inf"))
            sending = asyncio.ensure_future(history.commit([draft(ledger.uid, "a")]))
            async with asyncio.timeout(60):
                while not met.hits:
                    await asyncio.sleep(0.001)
            proxy.heal()
            assert written((await sending)[0]).claimed == 2

    async def test_refused_connections_are_unavailable(
        self, proxy: MongoProxy, mongo_uri: str, truth: MongoHistory
    ) -> None:
        ledger = Ledger((await new_room(truth)).uid)
        async with hasty(proxy, mongo_uri) as history:
            await insist(history, [draft(ledger.uid, "before")], ledger)
            await proxy.close()
            ops = await check_unavailable(history, ledger.uid)
            await proxy.listen()
            await insist(history, ops, ledger)
        assert await ledger.check(truth) == 3

    async def test_a_server_that_freezes_is_unavailable_in_time(
        self, proxy: MongoProxy, mongo_uri: str, truth: MongoHistory
    ) -> None:
        ledger = Ledger((await new_room(truth)).uid)
        async with hasty(proxy, mongo_uri) as history:
            await insist(history, [draft(ledger.uid, "a")], ledger)
            proxy.freeze()
            async with asyncio.timeout(20):
                ops = await check_unavailable(history, ledger.uid)
            proxy.heal()
            await insist(history, ops, ledger)
        assert await ledger.check(truth) == 3  # Also if commands that hung have gone through since.

    async def test_a_write_that_hung_and_then_took_effect_is_found_by_its_repeat(
        self, proxy: MongoProxy, mongo_uri: str, truth: MongoHistory
    ) -> None:
        ledger = Ledger((await new_room(truth)).uid)
        async with hasty(proxy, mongo_uri, NO_RETRIES) as history:
            await insist(history, [draft(ledger.uid, "a")], ledger)
            released = asyncio.Event()
            done = asyncio.Event()

            async def late(exchange: object) -> None:
                await released.wait()
                await after(exchange)  # type: ignore[arg-type]
                done.set()

            proxy.rule(late, "insert")
            await check_refused(history.commit([draft(ledger.uid, "b")]))
            released.set()
            await insist(history, [draft(ledger.uid, "c"), draft(ledger.uid, "b")], ledger)
        assert await ledger.check(truth) == 3


async def check_unavailable(history: MongoHistory, uid: str) -> list[Op]:
    """Writes and a read say that the store is not there, and when to come again. Returns the writes, for who does: both
    have one revision, however often they are repeated.
    """
    ops: list[Op] = [draft(uid, "meanwhile"), reacting(uid, 1, "eve", "👍")]
    await check_refused(history.head(uid))
    await check_refused(history.commit(ops))
    return ops


async def check_refused(call: Awaitable[object]) -> None:
    with pytest.raises(HubbubError) as caught:
        await call
    assert caught.value.code == "unavailable"
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 0


class TestStaleReads:
    """A primary that was deposed and does not know it yet may answer from the past."""

    @pytest.mark.parametrize("reads", [("find",), ("aggregate",), ("find", "aggregate")], ids=str)
    async def test_a_stale_head_makes_no_duplicate_and_no_hole(
        self, proxy: MongoProxy, mongo_uri: str, truth: MongoHistory, reads: tuple[str, ...]
    ) -> None:
        ledger = Ledger((await new_room(truth)).uid)
        for fault in (before, after, not_primary, concern(64)):
            async with behind(proxy, mongo_uri, NO_RETRIES) as history:
                snapshot = Snapshot()
                proxy.rule(snapshot.remember, *reads, times=float("inf"))
                await self.provoke(history, proxy, ledger, fault, "fresh")
                proxy.heal()
                await insist(truth, [draft(ledger.uid, f"ahead {fault}"), editing(ledger.uid, 1, str(fault))], ledger)
                proxy.rule(snapshot.repeat, *reads, times=2)
                await self.provoke(history, proxy, ledger, fault, "stale")
                assert snapshot.repeated or reads == ("aggregate",)
            await ledger.check(truth)

    async def provoke(self, history: MongoHistory, proxy: MongoProxy, ledger: Ledger, fault: Action, name: str) -> None:
        """Have the store forget what it knew of the room, so that it must read the head."""
        rule = proxy.rule(fault, "insert")
        await insist(history, [draft(ledger.uid, f"{name} {fault}"), draft(ledger.uid, "the same")], ledger)
        assert rule.hits == 1

    async def test_messages_read_in_the_past_are_not_changed_from_there(
        self, proxy: MongoProxy, mongo_uri: str, truth: MongoHistory
    ) -> None:
        ledger = Ledger((await new_room(truth)).uid)
        uid = ledger.uid

        def changes(text: str) -> list[Op]:
            return [editing(uid, 1, text), reacting(uid, 2, text, "👍"), draft(uid, text)]

        async with behind(proxy, mongo_uri) as history:
            snapshot = Snapshot()
            proxy.rule(snapshot.remember, "find", times=float("inf"))
            await insist(history, [draft(uid, "a"), draft(uid, "b")], ledger)
            await insist(history, changes("past"), ledger)
            proxy.heal()
            await insist(truth, changes("meanwhile"), ledger)
            proxy.rule(snapshot.repeat, "find", times=3)
            await insist(history, changes("now"), ledger)
            assert snapshot.repeated > 0
        assert await ledger.check(truth) == 11
        second = await truth.message(uid, 2)
        assert second is not None
        assert second.reactions == {"👍": ("past", "meanwhile", "now")}

    async def test_a_reader_that_stays_behind_is_told_so_and_writes_nothing_wrong(
        self, proxy: MongoProxy, mongo_uri: str, truth: MongoHistory
    ) -> None:
        ledger = Ledger((await new_room(truth)).uid)
        async with behind(proxy, mongo_uri) as history:
            snapshot = Snapshot()
            proxy.rule(snapshot.remember, "find", "aggregate", times=float("inf"))
            await history.head(ledger.uid)
            await insist(history, [draft(ledger.uid, "a")], ledger)
            proxy.heal()
            await insist(truth, [draft(ledger.uid, "b"), draft(ledger.uid, "c")], ledger)
            proxy.rule(snapshot.repeat, "find", "aggregate", times=float("inf"))
            proxy.rule(before, "insert")
            ops: list[Op] = [draft(ledger.uid, "d"), draft(ledger.uid, "b")]
            outcomes: list[Outcome] = list(await history.commit(ops))
            waiting = ledger.take(ops, outcomes)
            proxy.heal()
            await insist(history, [*waiting, draft(ledger.uid, "e")], ledger)
        assert await ledger.check(truth) == 5


async def wait_for_claims(ledger: Ledger, more: int) -> None:
    """Until this many further revisions were acknowledged to somebody."""
    goal = len(ledger.claims) + more
    async with asyncio.timeout(60):
        while len(ledger.claims) < goal:
            await asyncio.sleep(0.001)


class TestServerKilled:
    """The server's process itself, not the proxy."""

    async def test_kill_9_between_commands_loses_nothing(self, mongo_server: MongoProcess) -> None:
        address = with_database(mongo_server.uri, "hubbub")
        async with opened(address) as truth:
            ledger = Ledger((await new_room(truth)).uid)
            with calls_within(HASTY_MS):
                async with opened(address) as history:
                    for number, ops in enumerate(steps(ledger.uid)):
                        if number % 2:
                            mongo_server.kill()
                            await check_refused(history.commit([draft(ledger.uid, f"lost {number}")]))
                            await asyncio.to_thread(mongo_server.start)
                        await insist(history, ops, ledger)
            await ledger.check(truth)
            assert len(ledger.keys) == KEYS

    async def test_kill_9_while_two_processes_write(
        self, mongo_server: MongoProcess, pytestconfig: pytest.Config
    ) -> None:
        seed = f"{random.SystemRandom().getrandbits(32):x}"
        print(f"seed {seed}")
        chance = random.Random(seed)
        address = with_database(mongo_server.uri, "hubbub")
        async with opened(address) as history:
            ledger = Ledger((await new_room(history)).uid)
            workers = [Worker(address, ledger.uid, user, f"{seed}-{user}", 10**6) for user in ("bob", "eve")]
            assert [await worker.start() for worker in workers] == [READY] * 2
            writing = [asyncio.create_task(worker.write(ledger)) for worker in workers]
            for _ in range(20 if pytestconfig.getoption("--full") else 4):
                await wait_for_claims(ledger, chance.randint(1, 60))
                mongo_server.kill()
                await asyncio.to_thread(mongo_server.start)
            await wait_for_claims(ledger, 20)
            for worker in workers:
                worker.kill()
            await asyncio.gather(*writing)
            head = await ledger.check(history)
            await insist(history, [draft(ledger.uid, "goes on")], ledger)
            assert await ledger.check(history) == head + 1

    async def test_a_frozen_server_is_unavailable_and_goes_on_when_it_thaws(self, mongo_server: MongoProcess) -> None:
        address = with_database(mongo_server.uri, "hubbub")
        async with opened(address) as truth:
            ledger = Ledger((await new_room(truth)).uid)
            with calls_within(HASTY_MS):
                async with opened(address) as history:
                    await insist(history, [draft(ledger.uid, "a")], ledger)
                    mongo_server.freeze()
                    async with asyncio.timeout(20):
                        await check_refused(history.commit([draft(ledger.uid, "b")]))
                    mongo_server.thaw()
                    await insist(history, [draft(ledger.uid, "b")], ledger)
            assert await ledger.check(truth) == 2
