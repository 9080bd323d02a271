"""Searching in MongoDB: each message carries its words, and an index of ours finds it by them.

The words are those that SQLite's index would have (`hubbub.history.words`), written with the message itself: so what is
found is a message as it stands, and an edit, a deletion or retention takes old words away in the same step. The reasons
against MongoDB's own text index are in `docs/decisions/0008-search-in-mongodb.md`.

`scope` says who may find a message: it is empty in public rooms, and else the room's uid. It stands behind the word in
the index, so a hit in a room that the caller may not read is never even looked at; then comes the order of the answer,
the newest first. Phrases are looked for by their words; whether these follow each other is seen in what was read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from hubbub.errors import HubbubError
from hubbub.history.base import Message, SearchPage
from hubbub.history.cursors import decode_cursor, encode_cursor
from hubbub.history.mongo_documents import message_of, scope_of
from hubbub.history.mongo_errors import RETRY_AFTER_S
from hubbub.history.mongo_server import Documents, MongoServer
from hubbub.history.words import WORD_MOST, contains, split_words

__all__ = ["Searcher"]

ORDER: Final = {"at": -1, "seq": -1, "room": -1}
"""The newest first; what is of the same millisecond by its place, and then by its room. The end of the index."""

AT_ONCE: Final = 4
"""How many searches a node has at the server: they walk over more than other reads do, and must not crowd them out."""

WAITING_MOST: Final = 200
"""How many may wait for that; more are refused."""

ROUNDS_MOST: Final = 5
"""How often more is read when hits turned out to be none; a page may then be short, but has a cursor."""

LOOKED_AT: Final = 500
"""Up to how many messages of each word are counted, to begin with the rarest: beyond that all are frequent."""

WEIGHED_MOST: Final = 8
"""How many words are counted, the longest: of so many, one is rare."""

PHRASES_READ: Final = 200
"""How many messages that have the words of a phrase are read at once, at the least, to find those that have the phrase.
"""

UNSEARCHED: Final = {"words": False, "revs": False}


_Place = tuple[int, int, str]
"""Where a message is in the order of the answer: its time, its seq, its room's uid."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What is looked for: `words` by the index, the rarest first, and `phrases` in what it finds.
    `rooms` is None if the scopes say all.
    """

    words: Sequence[str]
    phrases: Sequence[Sequence[str]]
    scopes: Sequence[str]
    rooms: Sequence[str] | None

    def stages(self, below: _Place | None, limit: int) -> list[dict[str, Any]]:
        """The server puts both `$match` together; a simpler one takes its index by what is in the first."""
        first, *others = self.words
        by_index = self.of_word(first)
        rest: list[dict[str, Any]] = []
        if others:
            rest.append({"words": {"$all": others}})
        if self.rooms is not None:
            rest.append({"room": {"$in": [*self.rooms]}})
        if below is not None:
            at, seq, room = below
            by_index["at"] = {"$lte": at}
            rest.append({"$or": [{"at": {"$lt": at}}, {"seq": {"$lt": seq}}, {"seq": seq, "room": {"$lt": room}}]})
        residual = [{"$match": {"$and": rest}}] if rest else []
        return [{"$match": by_index}, *residual, {"$sort": ORDER}, {"$limit": limit}, {"$project": UNSEARCHED}]

    def of_word(self, word: str) -> dict[str, Any]:
        """The messages with this word in these scopes: the beginning of the index."""
        return {"words": word, "scope": self.scopes[0] if len(self.scopes) == 1 else {"$in": [*self.scopes]}}

    def fits(self, body: str) -> bool:
        """Whether the phrases are in a message that has the words."""
        words = split_words(body) if self.phrases else ()
        return all(contains(words, phrase) for phrase in self.phrases)


class Searcher:
    """The searching of `History`. `search` raises what the driver raises."""

    def __init__(self, server: MongoServer) -> None:
        self._rooms: Documents = server.rooms
        self._messages: Documents = server.messages
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def search(
        self, *, uids: Sequence[str], public: bool, phrases: Sequence[str], limit: int, cursor: str | None
    ) -> SearchPage:
        """As `History.search`."""
        below = None if cursor is None else _place_of(cursor)
        asked = [split_words(phrase) for phrase in phrases]
        if not asked or not all(asked) or not (uids or public):
            return SearchPage((), (), None)
        if self._waiting >= WAITING_MOST:
            raise HubbubError("unavailable", "Too many searches are waiting.", retry_after=RETRY_AFTER_S)
        self._waiting += 1
        try:
            async with self._turn:
                question = await self._question(asked, uids, public=public)
                return await self._answer(question, below, limit)
        finally:
            self._waiting -= 1

    async def _question(self, phrases: Sequence[Sequence[str]], uids: Sequence[str], *, public: bool) -> _Question:
        words = dict.fromkeys(word[:WORD_MOST] for phrase in phrases for word in phrase)
        is_public = {
            each["uid"]: each["kind"] == "public"
            async for each in self._rooms.find({"uid": {"$in": [*uids]}}, {"_id": False, "uid": True, "kind": True})
        }
        scopes = {scope_of(uid, public=each) for uid, each in is_public.items()} | ({""} if public else set())
        question = _Question(
            sorted(words, key=len, reverse=True),
            [phrase for phrase in phrases if len(phrase) > 1 or len(phrase[0]) >= WORD_MOST],
            sorted(scopes),
            None if public or not any(is_public.values()) else [*is_public],
        )
        return await self._rarest_first(question) if scopes and len(words) > 1 else question

    async def _rarest_first(self, question: _Question) -> _Question:
        """The server has no idea which word is rare before it has tried, and remembers what it tried with others."""
        weighed = question.words[:WEIGHED_MOST]
        counts = await asyncio.gather(*(self._count(question.of_word(word)) for word in weighed))
        rarest = weighed[counts.index(min(counts))]  # The longest of those that are alike.
        return replace(question, words=[rarest, *(word for word in question.words if word != rarest)])

    async def _count(self, query: Mapping[str, Any]) -> int:
        return len(await self._messages.find(query, {"_id": False, "at": True}).limit(LOOKED_AT).to_list())

    async def _answer(self, question: _Question, below: _Place | None, limit: int) -> SearchPage:
        found: list[tuple[Message, str]] = []
        more = bool(question.scopes)
        for _ in range(ROUNDS_MOST):
            if not more or len(found) == limit:
                break
            most = limit - len(found) + 1
            if question.phrases:
                most = max(most, PHRASES_READ)
            hits = await (await self._messages.aggregate(question.stages(below, most))).to_list()
            ids = await self._rooms_of(hits)
            more = len(hits) == most
            for hit in hits:
                if len(found) == limit or (more and hit is hits[-1]):
                    more = True  # This one is the next page's; so there is something behind the cursor.
                    break
                below = hit["at"], hit["seq"], hit["room"]
                id, floor = ids.get(hit["room"], ("", 0))
                if id and hit["seq"] > floor and question.fits(hit["body"]):
                    found.append((message_of(hit), id))
        cursor = encode_cursor("search", *below) if more and below is not None else None
        return SearchPage([message for message, _ in found], [id for _, id in found], cursor)

    async def _rooms_of(self, hits: Sequence[Mapping[str, Any]]) -> Mapping[str, tuple[str, int]]:
        """The public ids and the floors of the rooms that are still there, by uid."""
        uids = [*{hit["room"] for hit in hits}]
        return {
            each["uid"]: (each["_id"], int(each.get("floor", 0)))
            async for each in self._rooms.find({"uid": {"$in": uids}}, {"uid": True, "floor": True})
        }


def _place_of(cursor: str) -> _Place:
    at, seq, room = decode_cursor(cursor, "search", int, int, str)
    return int(at), int(seq), str(room)
