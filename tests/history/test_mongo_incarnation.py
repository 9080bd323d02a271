"""What is asked of MongoDB for the incarnation; that it works is in the contract's tests."""

from __future__ import annotations

import pytest

from hubbub.errors import StoreError
from hubbub.history.mongo_incarnation import read_incarnation, say_restored
from hubbub.history.mongo_server import MongoServer


class TestSayingSo:
    async def test_a_database_without_a_history_is_refused_and_gets_nothing(self, mongo_uri: str) -> None:
        with pytest.raises(StoreError, match="There is no history in the database"):
            await say_restored(mongo_uri)
        server = MongoServer(mongo_uri)
        assert await server.database.list_collection_names() == []
        await server.close()

    async def test_each_time_it_is_another(self, mongo_uri: str) -> None:
        server = MongoServer(mongo_uri)
        await server.connect()
        assert await read_incarnation(server) == ""
        names = [await say_restored(mongo_uri) for _ in range(2)]
        assert names[0] != names[1]
        assert await read_incarnation(server) == names[1]
        await server.close()

    async def test_a_server_that_is_away_is_told_without_its_password(self) -> None:
        with pytest.raises(StoreError) as raised:
            await say_restored("mongodb://ann:secret@127.0.0.1:9/chat?serverSelectionTimeoutMS=100")
        assert "127.0.0.1:9" in str(raised.value)
        assert "secret" not in str(raised.value)
