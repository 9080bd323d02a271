"""Searching: the index says where, the database what.

The rooms are part of the question that the index is asked, so that a hit in a room that the caller may not read is
never even found. What is found is then read from the database: a message that was deleted or edited since is dropped.
"""

# ruff: noqa: S608 - Queries are put together from constants; what comes from outside is always a parameter.
from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from hubbub.errors import HubbubError
from hubbub.history.base import Message, SearchPage
from hubbub.history.cursors import decode_cursor, encode_cursor
from hubbub.history.sqlite_errors import RETRY_AFTER_S, as_hubbub_error, is_damage
from hubbub.history.sqlite_file import connect
from hubbub.history.sqlite_indexer import Indexer
from hubbub.history.sqlite_rows import MASK, MESSAGE, fetch, json_text, message_from

__all__ = ["Searcher", "match_expression"]

WAITING_MOST: Final = 200
"""How many searches may wait for the one thread that searches; more are refused."""

ROUNDS_MOST: Final = 5
"""How often the index is asked again when hits turned out to be stale; a page may then be short, but has a cursor."""

BEYOND: Final = 2**63 - 1

NUMBERS: Final = """
    SELECT json_group_array(r.no) FROM json_each(:uids) j CROSS JOIN rooms r ON r.uid = j.value"""

HITS: Final = """
    SELECT json_group_array(json_array(d.id, d.place, d.body)) FROM (
        SELECT rowid FROM fts WHERE fts MATCH :match AND rowid < :below ORDER BY rowid DESC LIMIT :most) f
    CROSS JOIN docs d ON d.id = f.rowid"""

FRESH: Final = f"""
    SELECT json_group_array(json_array(r.uid, r.id, {MESSAGE}))
    FROM json_each(:places) j CROSS JOIN messages m ON m.place = j.value CROSS JOIN rooms r ON r.no = m.room
    WHERE m.deleted = 0 AND m.place & {MASK} > r.floor
      AND (:public AND r.kind = 'public' OR r.no IN (SELECT value FROM json_each(:numbers)))"""


def match_expression(numbers: Sequence[int], *, public: bool, phrases: Sequence[str]) -> str:
    """What the index is asked. Phrases are quoted, whatever is in them, so that none of it is syntax."""
    scopes = [*(["pub"] if public else []), *(f"r{no}" for no in numbers)]
    quoted = [f'"{phrase}"' for phrase in (text.replace("\0", " ").replace('"', '""') for text in phrases)]
    return f"scope : ({' OR '.join(scopes)}) AND body : ({' AND '.join(quoted)})"


class Searcher:
    """One thread with its own connections, so that slow searches keep no other read waiting."""

    def __init__(self, database: Path, *, index: Path, indexer: Indexer) -> None:
        self._index_path = index
        self._indexer = indexer
        self._database = connect(database, read_only=True)
        self._index: sqlite3.Connection | None = None
        self._generation = 0
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history-search")

    async def search(
        self, *, uids: Sequence[str], public: bool, phrases: Sequence[str], limit: int, cursor: str | None
    ) -> SearchPage:
        """As `History.search`."""
        below = BEYOND if cursor is None else int(decode_cursor(cursor, "search", int)[0])
        if not phrases or not (uids or public):
            return SearchPage((), (), None)
        if self._waiting >= WAITING_MOST:
            raise HubbubError("unavailable", "Too many searches are waiting.", retry_after=RETRY_AFTER_S)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, self._search, uids, public, phrases, limit, min(below, BEYOND)
            )
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Finish what was begun. Blocks."""
        self._thread.shutdown(wait=True)
        self._database.close()
        if self._index is not None:
            self._index.close()

    # -- on the thread -----------------------------------------------------------------------------------------------

    def _search(self, uids: Sequence[str], public: bool, phrases: Sequence[str], limit: int, below: int) -> SearchPage:
        try:
            return self._pages(uids, public, phrases, limit, below)
        except Exception as error:
            raise as_hubbub_error(error) from error

    def _pages(self, uids: Sequence[str], public: bool, phrases: Sequence[str], limit: int, below: int) -> SearchPage:
        numbers = fetch(self._database, NUMBERS, {"uids": json_text([*uids])})
        if not numbers and not public:
            return SearchPage((), (), None)
        match = match_expression(numbers, public=public, phrases=phrases)
        found: list[tuple[Message, str]] = []
        more = False
        for _ in range(ROUNDS_MOST):
            want = limit - len(found)
            hits = self._hits(match, below=below, most=want + 1)
            more = len(hits) > want
            if hits:
                below = hits[:want][-1][0]
                found += self._fresh(hits[:want], numbers, public)
            if not more or len(found) == limit:
                break
        cursor = encode_cursor("search", below) if more else None
        return SearchPage([message for message, _ in found], [room for _, room in found], cursor)

    def _hits(self, match: str, *, below: int, most: int) -> list[tuple[int, int, str]]:
        """What the index finds: (id, place, body), newest first."""
        try:
            rows = fetch(self._current_index(), HITS, {"match": match, "below": below, "most": most})
        except sqlite3.DatabaseError as error:
            if is_damage(error):
                self._indexer.rebuild()
            raise
        return sorted(((id, place, body) for id, place, body in rows), reverse=True)

    def _fresh(self, hits: Sequence[Any], numbers: Sequence[int], public: bool) -> list[tuple[Message, str]]:
        """The hits that still stand as they were indexed, in their order."""
        places = json_text([place for _, place, _ in hits])
        rows = fetch(self._database, FRESH, {"places": places, "numbers": json_text([*numbers]), "public": public})
        messages = {row[0]: (message_from(uid, row), id) for uid, id, row in rows}
        return [messages[place] for _, place, body in hits if place in messages and messages[place][0].body == body]

    def _current_index(self) -> sqlite3.Connection:
        if self._index is None or self._generation != self._indexer.generation:
            if self._index is not None:
                self._index.close()
            self._generation = self._indexer.generation
            self._index = connect(self._index_path, read_only=True)
        return self._index
