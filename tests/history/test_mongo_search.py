"""Searching in MongoDB: what the server is asked, and what it is spared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from pymongo.monitoring import CommandListener, CommandStartedEvent

from hubbub.errors import HubbubError
from hubbub.history import mongo_search
from hubbub.history.base import Room
from hubbub.history.mongo import MongoHistory
from hubbub.history.mongo_search import Searcher
from hubbub.history.mongo_server import INDEXES, MongoServer
from tests.support.history import deleting, editing, new_room, say


class Aggregations(CommandListener):
    """The stages of all aggregations over messages."""

    def __init__(self) -> None:
        self.seen: list[list[dict[str, Any]]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command.get("aggregate") == "messages":
            self.seen.append([dict(stage) for stage in event.command["pipeline"]])

    def succeeded(self, event: object) -> None: ...

    def failed(self, event: object) -> None: ...


@pytest.fixture
def aggregations() -> Aggregations:
    return Aggregations()


@pytest.fixture
async def history(mongo_uri: str, aggregations: Aggregations) -> AsyncIterator[MongoHistory]:
    history = MongoHistory(mongo_uri, listeners=[aggregations])
    await history.open()
    yield history
    await history.close()


@pytest.fixture
async def server(mongo_uri: str, history: MongoHistory) -> AsyncIterator[MongoServer]:
    """The same database, beneath the history."""
    server = MongoServer(mongo_uri)
    yield server
    await server.close()


async def found(history: MongoHistory, *phrases: str, rooms: Sequence[Room] = (), public: bool = True) -> list[str]:
    page = await history.search(
        uids=[room.uid for room in rooms], public=public, phrases=phrases, limit=100, cursor=None
    )
    return [message.body for message in page.messages]


class TestWhatIsAsked:
    async def test_hits_in_rooms_of_others_are_not_looked_at(
        self, history: MongoHistory, aggregations: Aggregations
    ) -> None:
        public, mine, other = [await new_room(history, kind=kind) for kind in ("public", "private", "private")]
        for room in (public, mine, other):
            await say(history, room.uid, "word")
        assert len(await found(history, "word", rooms=[mine])) == 2
        assert len(await found(history, "word", rooms=[mine], public=False)) == 1
        assert len(await found(history, "word", rooms=[public], public=False)) == 1
        first = [stages[0]["$match"] for stages in aggregations.seen]
        assert first == [
            {"words": "word", "scope": {"$in": ["", mine.uid]}},
            {"words": "word", "scope": mine.uid},
            {"words": "word", "scope": ""},
        ]

    async def test_the_rarest_word_comes_first(self, history: MongoHistory, aggregations: Aggregations) -> None:
        room = await new_room(history)
        await say(history, room.uid, *["frequent word"] * 3, "frequent rare word")
        assert await found(history, "frequent", "rare") == ["frequent rare word"]
        (stages,) = aggregations.seen
        assert stages[0]["$match"]["words"] == "rare"

    async def test_of_words_that_are_alike_the_longest_comes_first(
        self, history: MongoHistory, aggregations: Aggregations
    ) -> None:
        await found(history, "a", "longest of all", "a")
        (stages,) = aggregations.seen
        assert stages[0]["$match"]["words"] == "longest"
        assert stages[1] == {"$match": {"$and": [{"words": {"$all": ["all", "of", "a"]}}]}}

    async def test_the_order_of_the_answer_is_that_of_the_index(self, aggregations: Aggregations) -> None:
        (index,) = [dict(model.document["key"]) for model in INDEXES["messages"] if "words" in model.document["key"]]
        assert dict([*index.items()][2:]) == mongo_search.ORDER

    async def test_rooms_that_are_nowhere_are_not_searched(
        self, history: MongoHistory, aggregations: Aggregations
    ) -> None:
        page = await history.search(uids=["nowhere"], public=False, phrases=["a"], limit=9, cursor=None)
        assert (page.messages, page.cursor, aggregations.seen) == ([], None, [])


class TestWords:
    async def test_they_go_with_the_text(self, history: MongoHistory, server: MongoServer) -> None:
        room = await new_room(history)
        await say(history, room.uid, "Old Wörds", "gone")
        await history.commit([editing(room.uid, 1, "new"), deleting(room.uid, 2)])
        rows = await server.messages.find({}, {"_id": False, "words": True, "scope": True}).sort("seq").to_list()
        assert rows == [{"words": ["new"], "scope": ""}, {"words": [], "scope": ""}]

    async def test_a_long_word_is_found_by_all_of_it(self, history: MongoHistory) -> None:
        room = await new_room(history)
        await say(history, room.uid, "x" * 100 + "a", "x" * 100 + "b")
        assert await found(history, "x" * 100 + "b") == ["x" * 100 + "b"]
        assert await found(history, "x" * 64) == []


class TestPaging:
    async def test_phrases_are_found_among_many_that_have_their_words(
        self, history: MongoHistory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mongo_search, "PHRASES_READ", 10)
        room = await new_room(history)
        await say(history, room.uid, "at noon", *["noon at"] * 100, "at noon")
        seen: list[int] = []
        cursor: str | None = None
        pages = 0
        while pages == 0 or cursor is not None:
            page = await history.search(uids=[], public=True, phrases=["at noon"], limit=9, cursor=cursor)
            seen += [message.seq for message in page.messages]
            cursor, pages = page.cursor, pages + 1
        assert seen == [102, 1]
        assert pages == 3

    async def test_what_is_of_one_millisecond_is_told_apart(self, history: MongoHistory) -> None:
        rooms = [await new_room(history) for _ in range(3)]
        for room in rooms:
            await say(history, room.uid, *["word"] * 4, at=lambda _: 77)
        seen: list[str] = []
        cursor: str | None = None
        for _ in range(12):
            page = await history.search(uids=[], public=True, phrases=["word"], limit=1, cursor=cursor)
            seen += [message.id for message in page.messages]
            cursor = page.cursor
        assert cursor is None
        assert len(set(seen)) == 12
        assert [int(id.rpartition(".")[2]) for id in seen] == [4] * 3 + [3] * 3 + [2] * 3 + [1] * 3

    async def test_what_is_left_of_a_deleted_room_is_passed_over(
        self, history: MongoHistory, server: MongoServer
    ) -> None:
        gone, room = await new_room(history), await new_room(history)
        await say(history, room.uid, "word", "word")
        await say(history, gone.uid, "word", "word")
        await server.rooms.delete_one({"uid": gone.uid})
        page = await history.search(uids=[], public=True, phrases=["word"], limit=2, cursor=None)
        assert [message.uid for message in page.messages] == [room.uid] * 2


class TestCrowds:
    async def test_searches_beyond_the_bound_are_refused(
        self, server: MongoServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mongo_search, "WAITING_MOST", 2)
        searcher = Searcher(server)
        searches = [searcher.search(uids=[], public=True, phrases=["a"], limit=1, cursor=None) for _ in range(5)]
        outcomes = await asyncio.gather(*searches, return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, HubbubError)]
        assert [error.code for error in refused] == ["unavailable"] * 3
        await searcher.search(uids=[], public=True, phrases=["a"], limit=1, cursor=None)
