"""The start: what kind of server it is, its indexes, its schema, and what is asked of it ever after."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from collections.abc import AsyncIterator

import pytest
from pymongo import AsyncMongoClient, ReadPreference, WriteConcern
from pymongo.read_concern import ReadConcern

from hubbub.errors import HubbubError, StoreError
from hubbub.history.mongo_server import INDEXES, POOL_MOST, SCHEMA_VERSION, MongoServer, place


@pytest.fixture
async def server(mongo_uri: str) -> AsyncIterator[MongoServer]:
    server = MongoServer(mongo_uri)
    yield server
    await server.close()


class TestConnecting:
    async def test_it_makes_the_indexes_and_says_its_version(self, server: MongoServer) -> None:
        await server.connect()
        await server.connect()  # As each restart does.
        for name, models in INDEXES.items():
            found = await server.database[name].index_information()
            assert len(found) == len(models) + 1, found
        schema = await server.meta.find_one({"_id": "schema"})
        assert schema == {"_id": "schema", "version": SCHEMA_VERSION}

    async def test_every_unique_index_begins_with_the_shard_key(self) -> None:
        for name, models in INDEXES.items():
            for model in models:
                # The control log has one order for the whole service: it is small, and stays on one shard.
                if model.document.get("unique") and name != "log":
                    assert next(iter(model.document["key"])) == "room"

    async def test_every_collection_asks_for_majority_and_the_journal_whatever_the_address_says(
        self, mongo_uri: str
    ) -> None:
        server = MongoServer(f"{mongo_uri}?w=1&journal=false&readPreference=secondary&readConcernLevel=local")
        for name in ("rooms", "messages", "standings", "people", "graveyard", "meta"):
            collection = getattr(server, name)
            assert collection.write_concern == WriteConcern(w="majority", j=True)
            assert collection.read_concern == ReadConcern("majority")
            assert collection.read_preference == ReadPreference.PRIMARY
        await server.close()

    @pytest.mark.parametrize(("option", "most"), [("", POOL_MOST), ("?maxPoolSize=7", 7), ("?maxpoolsize=200", 200)])
    async def test_its_connections_are_few_unless_the_address_says_how_many(
        self, mongo_uri: str, option: str, most: int
    ) -> None:
        server = MongoServer(mongo_uri + option)
        assert server.client.options.pool_options.max_pool_size == most
        await server.close()

    async def test_a_store_of_a_newer_version_is_left_alone(self, server: MongoServer) -> None:
        await server.meta.insert_one({"_id": "schema", "version": SCHEMA_VERSION + 1})
        with pytest.raises(StoreError, match="newer version"):
            await server.connect()

    async def test_documents_that_break_an_index_are_named_and_not_shown(self, server: MongoServer) -> None:
        await server.messages.insert_many([{"room": "u", "seq": 1, "body": "private words"} for _ in range(2)])
        with pytest.raises(StoreError, match="unique index") as raised:
            await server.connect()
        assert "private" not in str(raised.value)

    async def test_an_index_of_the_same_name_and_another_kind_is_found_out(
        self, server: MongoServer, mongo_uri: str
    ) -> None:
        async with AsyncMongoClient[dict[str, object]](mongo_uri) as client:
            await client.get_default_database()["messages"].create_index([("room", 1), ("seq", 1)])
        with pytest.raises(StoreError, match="index"):
            await server.connect()

    async def test_a_server_that_is_not_there_may_come_yet(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("hubbub.history.mongo_server.CALL_TIMEOUT_MS", 100)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        server = MongoServer(f"mongodb://127.0.0.1:{port}/hubbub")
        with pytest.raises(HubbubError) as raised:
            await server.connect()
        assert raised.value.code == "unavailable"
        await server.close()

    async def test_clients_that_are_closed_while_they_connect_leave_no_sockets(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the driver forgets is closed (`tests/support/driver.py`); what is left would be a warning, and fail."""
        monkeypatch.setattr("hubbub.history.mongo_server.CALL_TIMEOUT_MS", 100)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]

        async def come_and_go(share: float) -> None:
            server = MongoServer(f"mongodb://127.0.0.1:{port}/hubbub")
            with contextlib.suppress(TimeoutError, HubbubError):
                async with asyncio.timeout(share * 0.2):
                    await server.connect()
            await server.close()

        await asyncio.gather(*(come_and_go(number / 100) for number in range(100)))
        gc.collect()

    @pytest.mark.parametrize("uri", ["mongodb://host:99999/", "mongodb://host/?noSuchOption=%zz", "mongodb://"])
    async def test_an_address_that_is_none_ends_the_start_without_its_password(self, uri: str) -> None:
        with pytest.raises(StoreError) as raised:
            MongoServer(uri.replace("host", "user:hunter2@host"))
        assert "hunter2" not in str(raised.value)


class TestPlace:
    def test_it_is_shown_without_who_comes_in_with_what(self) -> None:
        assert place("mongodb://user:hunter2@a:1,b:2/chat?tls=true") == "a:1,b:2"
        assert place("mongodb://host") == "host"
