"""The ledger in MongoDB while commands fail, while nodes compete, and when processes are killed. What every ledger
promises is in `tests/contract/test_ledger.py` and `test_ledger_sanctions.py`.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import pytest

from hubbub.errors import HubbubError
from hubbub.history import mongo_log
from hubbub.history.base import FOREVER, Audited, Ban, Beat, History, Ledger, Revocation
from hubbub.history.mongo import MongoHistory
from tests.support.control_log import entry, records_after
from tests.support.failover import FAULTS, NO_RETRIES, at_each_command, behind, insist_on, opened
from tests.support.history import child
from tests.support.mongo_members import Commands
from tests.support.mongo_proxy import Exchange, Rule, running_proxy
from tests.support.mongodb import MongoProcess, with_database
from tests.support.patience import HASTY_MS, calls_within

APPENDER: Final = """
import asyncio, sys
from hubbub.history.base import Entry
from hubbub.history.mongo import MongoHistory

async def go_on(ledger, name):
    for number in range(10**9):
        keys = [f"{name}.{number}.{each}" for each in range(1 + number % 3)]
        numbers = await ledger.append([Entry("notice", key, 1, {}) for key in keys])
        print(*(f"{key}={n}" for key, n in zip(keys, numbers, strict=True)), flush=True)

async def main():
    history = MongoHistory(sys.argv[1])
    await history.open()
    await asyncio.gather(*(go_on(history.ledger, f"{sys.argv[2]}-{number}") for number in range(4)))

asyncio.run(main())
"""


@pytest.fixture
async def truth(mongo_uri: str) -> AsyncIterator[History]:
    """The store, past every proxy."""
    async with opened(mongo_uri) as history:
        yield history


async def live(ledger: Ledger, name: str) -> dict[str, int]:
    """All that can be done to a ledger, each step until it has an answer; the number of each record."""
    numbers: dict[str, int] = {}
    for keys in (["a", "b", "c"], ["d"], ["b", "e", "a"], ["c"]):
        entries = [entry(f"{name}.{key}") for key in keys]
        found = await insist_on(lambda entries=entries: ledger.append(entries))  # type: ignore[misc]
        assert not isinstance(found, HubbubError)
        for each, number in zip(entries, found, strict=True):
            assert numbers.setdefault(each.key, number) == number
    for n in (2, 3, 1):
        await insist_on(lambda n=n: ledger.put_ban(Ban(name, FOREVER, f"{n}", "ann", n, n)))  # type: ignore[misc]
        await insist_on(lambda n=n: ledger.put_revocation(Revocation(name, None, n, "", "ann", n, n)))  # type: ignore[misc]
    id = await insist_on(lambda: ledger.audit_begin(at=1, actor=name, action="ban", target={}, reason="spam"))
    assert isinstance(id, str)
    await insist_on(lambda: ledger.audit_end(id, "ok"))
    await insist_on(lambda: ledger.audit_end(id, "forbidden"))
    await insist_on(lambda: ledger.beat(Beat(name, ledger.origin, 5, {"connections": 1})))
    await insist_on(ledger.mend)
    return numbers


async def check(truth: Ledger, name: str, numbers: dict[str, int], origin: str) -> None:
    """It is all there, once; of the audit only an attempt that nobody was told of may be there besides."""
    records = [record for record in await records_after(truth, 0) if record.key.startswith(f"{name}.")]
    assert {record.key: record.n for record in records} == numbers
    assert len(records) == 5
    assert all(record.origin == origin for record in records)
    kept = await truth.sanctions(now=1)
    assert [ban.n for ban in kept.bans if ban.user == name] == [3]
    assert [(one.n, one.before) for one in kept.revocations if one.user == name] == [(3, 3)]
    outcomes = [one.outcome for one in (await truth.audit(limit=1000, cursor=None)).entries if one.actor == name]
    assert sorted(outcomes)[0] == "ok"
    assert sorted(outcomes)[1:] in ([], ["unknown"])
    assert [beat for beat in await truth.beats(since=0) if beat.name == name] == [
        Beat(name, origin, 5, {"connections": 1})
    ]


class TestFaults:
    """The sessions have one log, and compete for its numbers besides."""

    @pytest.mark.parametrize("options", ["", NO_RETRIES], ids=["the driver retries", "it does not"])
    @pytest.mark.parametrize("fault", FAULTS)
    async def test_what_is_repeated_stands_once_whatever_command_failed(
        self, mongo_uri: str, truth: History, fault: str, options: str
    ) -> None:
        count = iter(range(10_000))

        async def session(rule: Rule) -> None:
            name = f"s{next(count)}"
            async with running_proxy(mongo_uri) as proxy, behind(proxy, mongo_uri, options) as history:
                proxy.rules.append(rule)
                numbers = await live(history.ledger, name)
                origin = history.ledger.origin
            await check(truth.ledger, name, numbers, origin)

        await at_each_command(fault, session)

    async def test_without_a_primary_it_is_unavailable_and_then_goes_on(self, mongo_uri: str, truth: History) -> None:
        await truth.ledger.append([entry("before")])
        with calls_within(HASTY_MS):
            async with running_proxy(mongo_uri) as proxy, behind(proxy, mongo_uri) as history:
                ledger = history.ledger
                await insist_on(lambda: ledger.append([entry("first")]))
                proxy.primary = False
                calls = [ledger.append([entry(f"k{number}")]) for number in range(5)]
                for call in (*calls, ledger.head(), ledger.read(after=0, limit=1), ledger.beats(since=0)):
                    with pytest.raises(HubbubError, match="unavailable"):
                        await call
                proxy.heal()
                await insist_on(lambda: ledger.append([entry(f"k{number}") for number in range(5)]))
        keys = [record.key for record in await records_after(truth.ledger, 0)]
        assert sorted(keys) == ["before", "first", *(f"k{number}" for number in range(5))]

    async def test_all_who_wait_for_a_server_that_hangs_are_told_in_time(
        self, mongo_uri: str, truth: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those too that came when a batch was on its way: nobody waits for one batch after the other to fail."""
        monkeypatch.setattr(mongo_log, "BATCH_MOST", 1)
        with calls_within(HASTY_MS):
            async with running_proxy(mongo_uri) as proxy, behind(proxy, mongo_uri) as history:
                ledger = history.ledger
                await insist_on(lambda: ledger.append([entry("first")]))
                proxy.freeze()
                loop = asyncio.get_running_loop()
                began = loop.time()
                waiting = [asyncio.ensure_future(ledger.append([entry("k0")]))]
                await asyncio.sleep(0)
                waiting += [asyncio.ensure_future(ledger.append([entry(f"k{number}")])) for number in range(1, 9)]
                outcomes = await asyncio.gather(*waiting, return_exceptions=True)
                assert loop.time() - began < 4 * HASTY_MS / 1000
                assert [one.code for one in outcomes if isinstance(one, HubbubError)] == ["unavailable"] * 9
                proxy.heal()
                await insist_on(lambda: ledger.append([entry("last")]))
        keys = [record.key for record in await records_after(truth.ledger, 0)]
        assert len(keys) == len(set(keys))
        assert {"first", "last"} <= set(keys)


class TestKilled:
    def test_what_processes_were_told_is_there_and_there_is_no_hole(self, mongo_uri: str) -> None:
        """Two at a time compete, and are killed in the midst of it."""
        told: dict[str, int] = {}
        for life in range(2):
            with child(APPENDER, mongo_uri, f"{life}a") as one, child(APPENDER, mongo_uri, f"{life}b") as two:
                for process in (one, two):
                    assert process.stdout is not None
                    lines = [process.stdout.readline() for _ in range(20 + 30 * life)]
                    process.send_signal(signal.SIGKILL)
                    lines += process.stdout.readlines()
                    pairs = [pair.rpartition("=") for line in lines if line.endswith("\n") for pair in line.split()]
                    told |= {key: int(number) for key, _, number in pairs}
        assert len(told) > 100
        asyncio.run(self.check(mongo_uri, told))

    async def check(self, uri: str, told: dict[str, int]) -> None:
        async with opened(uri) as history:
            records = await records_after(history.ledger, 0)  # Which finds no hole.
            assert await history.ledger.head() == len(records)
            assert len({record.key for record in records}) == len(records)
            assert told.items() <= {record.key: record.n for record in records}.items()
            assert await history.ledger.append([entry("next")]) == [len(records) + 1]

    async def test_what_was_told_outlives_the_server(self, mongo_server: MongoProcess) -> None:
        async with opened(with_database(mongo_server.uri, "killed")) as history:
            ledger = history.ledger
            numbers = await ledger.append([entry(f"k{number}") for number in range(30)])
            await ledger.put_ban(Ban("eve", FOREVER, "", "ann", 1, 30))
            id = await ledger.audit_begin(at=1, actor="ann", action="ban", target={"user": "eve"}, reason="spam")
            await asyncio.to_thread(mongo_server.kill)
            await asyncio.to_thread(mongo_server.start)
            await insist_on(ledger.head)
            assert [record.n for record in await records_after(ledger, 0)] == list(numbers)
            assert (await ledger.sanctions(now=1)).bans == [Ban("eve", FOREVER, "", "ann", 1, 30)]
            entries = (await ledger.audit(limit=9, cursor=None)).entries
            assert entries == [Audited(id, 1, "ann", "ban", {"user": "eve"}, "spam", "unknown")]
            assert await insist_on(lambda: ledger.append([entry("k0"), entry("next")])) == [1, 31]


class TestSanctions:
    async def test_many_nodes_in_any_order_leave_the_newest(self, mongo_uri: str, truth: History) -> None:
        """The first of all makes the document, and may run into another that makes it: each of these is a new one."""
        async with opened(mongo_uri) as other:
            ledgers = [truth.ledger, other.ledger]
            for user in (f"u{number}" for number in range(12)):
                bans = [Ban(user, 0 if n == 7 else FOREVER, f"{n}", "ann", n, n) for n in range(1, 9)] * 2
                gone = [Revocation(None, user, 0, f"{n}", "ann", n, n) for n in range(1, 9)] * 2
                random.shuffle(bans)
                random.shuffle(gone)
                await asyncio.gather(
                    *(ledgers[at % 2].put_ban(ban) for at, ban in enumerate(bans)),
                    *(ledgers[at % 2].put_revocation(one) for at, one in enumerate(gone)),
                )
        kept = await truth.ledger.sanctions(now=1)
        assert {(ban.n, ban.reason) for ban in kept.bans} == {(8, "8")}
        assert {(one.n, one.reason) for one in kept.revocations} == {(8, "8")}
        assert len(kept.bans) == len(kept.revocations) == 12

    async def test_whoever_comes_to_an_older_one_that_was_being_made_replaces_it(
        self, mongo_uri: str, truth: History
    ) -> None:
        """Of two that make the document at once, the server refuses the slower: also if it has the higher number."""

        async def somebody_is_quicker(exchange: Exchange) -> Mapping[str, Any]:
            await truth.ledger.put_ban(Ban("bob", FOREVER, "older", "ann", 1, 1))
            refusal = {"index": 0, "code": 11000, "errmsg": "E11000", "keyPattern": {"_id": 1}}
            return {"ok": 1.0, "n": 0, "nModified": 0, "writeErrors": [refusal]}

        async with running_proxy(mongo_uri) as proxy, behind(proxy, mongo_uri) as history:
            rule = proxy.rule(somebody_is_quicker, "update", where=lambda body: bool(body["update"] == "bans"))
            await history.ledger.put_ban(Ban("bob", FOREVER, "newer", "ann", 2, 2))
        assert rule.hits == 1
        assert [ban.reason for ban in (await truth.ledger.sanctions(now=1)).bans] == ["newer"]

    async def test_a_revocation_of_nobody_is_a_fault(self, truth: History) -> None:
        for user, jti in ((None, None), ("bob", "j")):
            with pytest.raises(HubbubError, match="internal"):
                await truth.ledger.put_revocation(Revocation(user, jti, 1, "", "ann", 1, 1))
        assert (await truth.ledger.sanctions(now=1)).revocations == []


class TestAudit:
    async def test_those_of_a_millisecond_stand_as_they_came(self, truth: History) -> None:
        ids = [await truth.ledger.audit_begin(at=5, actor="ann", action="x", target={}, reason="") for _ in range(20)]
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = await truth.ledger.audit(limit=3, cursor=cursor)
            found += [one.id for one in page.entries]
            cursor = page.cursor
            if cursor is None:
                break
            await truth.ledger.audit_begin(at=5, actor="bob", action="later", target={}, reason="")
        assert found == [*reversed(ids)]


class TestCommands:
    async def test_what_they_cost(self, mongo_uri: str) -> None:
        """A poll is one command, and so is an append, once it is known where the log ends."""
        commands = Commands()
        history = MongoHistory(mongo_uri, listeners=[commands])
        await history.open()
        ledger = history.ledger
        await ledger.append([entry("first")])
        costs: dict[str, int] = {}
        for name, call in (
            ("append", lambda: ledger.append([entry("a"), entry("b")])),
            ("append again", lambda: ledger.append([entry("a"), entry("b")])),
            ("read", lambda: ledger.read(after=0, limit=500)),
            ("head", ledger.head),
            ("sanctions", lambda: ledger.sanctions(now=1)),
            ("beat", lambda: ledger.beat(Beat("n", "o", 1))),
            ("mend", ledger.mend),
        ):
            commands.names.clear()
            await call()
            costs[name] = len(commands.names)
        await history.close()
        assert costs == {
            "append": 1, "append again": 2, "read": 1, "head": 1, "sanctions": 2, "beat": 2, "mend": 3
        }  # fmt: skip
