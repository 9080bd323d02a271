"""The control log in MongoDB under competition, cuts and outages. What every log promises is in
`tests/contract/test_ledger.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from hubbub.errors import HubbubError
from hubbub.history import mongo_log
from hubbub.history.base import Entry
from hubbub.history.mongo_log import Log
from hubbub.history.mongo_server import MongoServer
from tests.support.mongo_members import Commands, Cut


@pytest.fixture
async def server(mongo_uri: str) -> AsyncIterator[MongoServer]:
    server = MongoServer(mongo_uri, origin="here")
    await server.connect()
    yield server
    await server.close()


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
        assert sorted(await keys_of(server.log)) == ["a", "b"]

    async def test_the_origin_is_that_of_whoever_made_the_change(self, server: MongoServer) -> None:
        await server.log.append(entries("own"))
        await server.log.append(entries("mended"), origin="dead")
        assert [record.origin for record in await server.log.read(after=0, limit=9)] == ["here", "dead"]
