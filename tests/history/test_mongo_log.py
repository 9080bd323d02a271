"""The control log in MongoDB under competition, cuts and outages. What every log promises is in
`tests/contract/test_ledger.py`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from hubbub.errors import HubbubError
from hubbub.history import mongo_log
from hubbub.history.base import Entry
from hubbub.history.mongo_log import Log
from hubbub.history.mongo_server import MongoServer
from tests.support.mongo_members import Commands, Cut
from tests.support.mongo_proxy import Exchange, MongoProxy, Snapshot, delayed, running_proxy
from tests.support.mongodb import with_database


@pytest.fixture
async def server(mongo_uri: str) -> AsyncIterator[MongoServer]:
    server = MongoServer(mongo_uri, origin="here")
    await server.connect()
    yield server
    await server.close()


class Inserts(CommandListener):
    """When each insert was sent, and when its answer came."""

    def __init__(self) -> None:
        self.times: list[tuple[float, float]] = []
        self._began = 0.0

    def started(self, event: CommandStartedEvent) -> None:
        self._began = time.monotonic()

    def succeeded(self, event: CommandSucceededEvent) -> None:
        if event.command_name == "insert":
            self.times.append((self._began, time.monotonic()))

    def failed(self, event: CommandFailedEvent) -> None: ...


@asynccontextmanager
async def node_behind(proxy: MongoProxy, uri: str) -> AsyncIterator[MongoServer]:
    """Another node, behind the proxy."""
    name = uri.partition("?")[0].rpartition("/")[2]
    server = MongoServer(with_database(proxy.uri, name), origin="behind")
    await server.connect()
    try:
        yield server
    finally:
        proxy.heal()
        await server.close()


async def nothing_yet(exchange: Exchange) -> Mapping[str, Any]:
    """A query finds nothing of what is there."""
    reply = await exchange.forward()
    return {**reply, "cursor": {**reply["cursor"], "firstBatch": []}}


def entries(*keys: str) -> list[Entry]:
    return [Entry("notice", key, 1, {"text": key}) for key in keys]


async def keys_of(log: Log) -> list[str]:
    """All keys, in the order of their numbers, which have no hole."""
    records = await log.read(after=0, limit=10_000)
    assert [record.n for record in records] == list(range(1, len(records) + 1))
    return [record.key for record in records]


class TestCompetition:
    async def test_many_nodes_number_without_a_hole_and_each_keeps_its_order(self, server: MongoServer) -> None:
        logs = [Log(server.database["log"], origin=f"n{number}") for number in range(4)]

        async def append(name: str, log: Log) -> None:
            for at in range(10):
                first, second = await log.append(entries(f"{name}.{at}.a", f"{name}.{at}.b"))
                assert first < second

        await asyncio.gather(*(append(f"{number}{log.origin}", log) for number in range(3) for log in logs))
        found = await keys_of(server.log)
        assert len(found) == len(set(found)) == 4 * 3 * 10 * 2
        for name in {key.rpartition(".")[0].rpartition(".")[0] for key in found}:
            own = [key for key in found if key.startswith(f"{name}.")]
            assert own == sorted(own)

    async def test_what_two_nodes_both_say_is_said_once(self, server: MongoServer) -> None:
        other = Log(server.database["log"], origin="there")
        keys = [f"k{number}" for number in range(50)]
        numbers = await asyncio.gather(
            *(log.append(entries(key)) for key in keys for log in (server.log, other)),
        )
        assert sorted(await keys_of(server.log)) == sorted(keys)
        assert all(one == two for one, two in zip(numbers[::2], numbers[1::2], strict=True))

    async def test_what_waits_goes_together(self, mongo_uri: str) -> None:
        commands = Commands()
        server = MongoServer(mongo_uri, listeners=[commands], origin="here")
        await server.connect()
        await server.log.append(entries("first"))
        commands.names.clear()
        await asyncio.gather(*(server.log.append(entries(f"k{number}")) for number in range(200)))
        assert len(commands.names) <= 4, commands.names
        await server.close()

    async def test_more_than_may_wait_is_refused(self, server: MongoServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mongo_log, "WAITING_MOST", 3)
        outcomes = await asyncio.gather(
            *(server.log.append(entries(f"k{number}")) for number in range(10)), return_exceptions=True
        )
        refused = [each for each in outcomes if isinstance(each, HubbubError)]
        assert [each.code for each in refused] == ["unavailable"] * len(refused)
        assert 0 < len(refused) < 10
        assert len(await keys_of(server.log)) == 10 - len(refused)

    async def test_a_busy_node_leaves_others_their_turn(self, server: MongoServer) -> None:
        """Its appends are one command each; those of another begin with a look at where the log ends."""
        other = Log(server.database["log"], origin="other")
        is_done = asyncio.Event()

        async def be_busy(name: str) -> None:
            number = 0
            while not is_done.is_set():
                await server.log.append(entries(f"{name}.{number}"))
                number += 1

        tasks = [asyncio.ensure_future(be_busy(f"busy{number}")) for number in range(4)]
        for number in range(20):
            await other.append(entries(f"other.{number}"))
        is_done.set()
        await asyncio.gather(*tasks)
        found = await keys_of(server.log)
        assert [key for key in found if key.startswith("other")] == [f"other.{number}" for number in range(20)]

    async def test_between_two_batches_is_the_time_of_a_command(self, mongo_uri: str) -> None:
        inserts = Inserts()
        server = MongoServer(mongo_uri, listeners=[inserts], origin="here")
        await server.connect()
        for number in range(30):
            await server.log.append(entries(f"k{number}"))
        await server.close()
        assert len(inserts.times) == 30
        for (began, ended), (next_began, _) in pairwise(inserts.times):
            assert next_began - ended >= 0.9 * min(ended - began, mongo_log.LONGEST_COURTESY_S)

    async def test_a_reader_that_has_fallen_behind_numbers_nothing_twice(
        self, mongo_uri: str, server: MongoServer
    ) -> None:
        """What a majority has may be behind what the primary has, for a while."""
        stale = Snapshot()
        async with running_proxy(mongo_uri) as proxy, node_behind(proxy, mongo_uri) as other:
            await server.log.append(entries("a"))
            proxy.rule(stale.remember, "find", times=2)
            # The second looks for it from the first on, as all do that follow.
            assert [await other.log.head() for _ in range(2)] == [1, 1]
            await server.log.append(entries("b", "c"))
            rule = proxy.rule(stale.repeat, "find", times=5)
            assert await other.log.append(entries("d")) == [4]
            assert rule.hits == 5
            # Nor are keys found that are there already, at first.
            rule = proxy.rule(nothing_yet, "find", times=3)
            assert await other.log.append(entries("e", "c", "f")) == [5, 3, 6]
            assert rule.hits == 3
        assert await keys_of(server.log) == ["a", "b", "c", "d", "e", "f"]

    async def test_of_a_key_that_comes_twice_the_first_stands(self, server: MongoServer) -> None:
        twice = [Entry("notice", "k", at, {"text": f"{at}"}) for at in (1, 2)]
        outcomes = await asyncio.gather(server.log.append(twice), *(server.log.append([each]) for each in twice))
        assert outcomes == [[1, 1], [1], [1]]
        assert [record.data for record in await server.log.read(after=0, limit=9)] == [{"text": "1"}]

    async def test_what_comes_again_is_found_at_once(self, mongo_uri: str) -> None:
        commands = Commands()
        server = MongoServer(mongo_uri, listeners=[commands], origin="here")
        await server.connect()
        keys = [f"k{number}" for number in range(200)]
        numbers = await server.log.append(entries(*keys))
        commands.names.clear()
        assert await server.log.append(entries(*keys)) == numbers
        assert commands.names == ["insert", "find"]
        await server.close()


class TestCuts:
    @pytest.mark.parametrize("happens", [True, False])
    async def test_what_was_cut_is_appended_again_and_stands_once(self, server: MongoServer, happens: bool) -> None:
        await server.log.append(entries("a"))
        dying = Log(Cut(0, happens=happens).around(server.database["log"]), origin="dying")
        with pytest.raises(HubbubError, match="unavailable"):
            await dying.append(entries("b", "c"))
        await server.log.append(entries("d"))
        numbers = await server.log.append(entries("b", "c"))
        found = await keys_of(server.log)
        assert sorted(found) == ["a", "b", "c", "d"]
        assert [found[number - 1] for number in numbers] == ["b", "c"]

    async def test_a_caller_that_goes_away_takes_nothing_of_the_others_along(self, server: MongoServer) -> None:
        going = asyncio.ensure_future(server.log.append(entries("a")))
        staying = asyncio.ensure_future(server.log.append(entries("b")))
        await asyncio.sleep(0)
        going.cancel()
        await staying
        assert await keys_of(server.log) == ["b"]
        assert await server.log.append(entries("a")) == [2]

    async def test_what_its_caller_left_on_its_way_stands(self, mongo_uri: str, server: MongoServer) -> None:
        async with running_proxy(mongo_uri) as proxy, node_behind(proxy, mongo_uri) as other:
            await other.log.append(entries("a"))
            go = asyncio.Event()
            rule = proxy.rule(delayed(go), "insert")
            going = asyncio.ensure_future(other.log.append(entries("b")))
            while not rule.hits:
                await asyncio.sleep(0.001)
            going.cancel()
            staying = asyncio.ensure_future(other.log.append(entries("c")))
            go.set()
            assert await staying == [3]
        assert await keys_of(server.log) == ["a", "b", "c"]

    async def test_a_fault_of_ours_is_told_to_all_and_the_log_goes_on(
        self, server: MongoServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(mongo_log, "_first_refused", None)
            await server.log.append(entries("a"))
            outcomes = await asyncio.gather(
                *(server.log.append(entries(key)) for key in ("b", "a", "c")), return_exceptions=True
            )
            assert [one.code for one in outcomes if isinstance(one, HubbubError)] == ["internal"] * 3
        assert sorted(await server.log.append(entries("b", "c"))) == [2, 3]
        assert await keys_of(server.log) == ["a", "b", "c"]

    async def test_the_origin_is_that_of_whoever_made_the_change(self, server: MongoServer) -> None:
        await server.log.append(entries("own"))
        await server.log.append(entries("mended"), origin="dead")
        assert [record.origin for record in await server.log.read(after=0, limit=9)] == ["here", "dead"]


class TestBounds:
    @pytest.mark.parametrize(
        ("bad", "code"),
        [
            (Entry("notice", "bad", 1, {"text": "x" * 13_000_000}), "too_large"),
            (Entry("notice", "x" * 13_000_000, 1, {}), "too_large"),
            (Entry("notice", "bad", 2**63, {}), "bad_request"),
            (Entry("notice", "bad", 1, {"number": 2**64}), "bad_request"),
        ],
        ids=["data", "key", "time", "number"],
    )
    async def test_what_cannot_be_stored_fails_alone(self, server: MongoServer, bad: Entry, code: str) -> None:
        calls = [server.log.append(entries("a")), server.log.append([bad]), server.log.append(entries("b"))]
        first, refused, second = await asyncio.gather(*calls, return_exceptions=True)
        assert (first, second) == ([1], [2])
        assert isinstance(refused, HubbubError)
        assert refused.code == code

    async def test_batches_are_bounded(self, server: MongoServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mongo_log, "BATCH_MOST", 5)
        numbers = await asyncio.gather(
            *(server.log.append(entries(*(f"{number}.{each}" for each in range(number)))) for number in range(9))
        )
        assert [len(each) for each in numbers] == [*range(9)]
        assert len(await keys_of(server.log)) == 36


class TestHoles:
    async def test_one_that_opens_while_a_page_is_read_is_in_front_of_the_next(self, server: MongoServer) -> None:
        """A query that takes long sees what is pruned meanwhile, and what was read before."""
        await server.log.append(entries(*"abcdef"))
        await server.database["log"].delete_many({"n": {"$in": [3, 4]}})
        assert [record.n for record in await server.log.read(after=0, limit=9)] == [1, 2]
        assert [record.n for record in await server.log.read(after=2, limit=9)] == [5, 6]

    async def test_there_is_none_behind_a_copy_that_was_put_back(self, server: MongoServer) -> None:
        await server.log.append(entries(*"abcdef"))
        await server.database["log"].delete_many({"n": {"$gt": 2}})
        assert await server.log.head() == 2
        assert await server.log.append(entries("g")) == [3]
        await server.database["log"].delete_many({})
        assert await server.log.head() == 0
        assert await server.log.append(entries("h")) == [1]

    async def test_what_is_old_goes_in_slices(self, server: MongoServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(mongo_log, "PRUNE_MOST", 10)
        await server.log.append(entries(*(f"k{number}" for number in range(33))))
        assert [await server.log.prune(before=9, keep=10) for _ in range(4)] == [10, 10, 3, 0]
        assert [record.n for record in await server.log.read(after=0, limit=99)] == [*range(24, 34)]
