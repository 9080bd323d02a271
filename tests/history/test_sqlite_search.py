"""What the index is asked; what searching promises is in the contract's tests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.errors import HubbubError
from hubbub.history import sqlite_search
from hubbub.history.sqlite_search import match_expression
from tests.support.history import eventually, new_room, open_sqlite, say


class TestExpression:
    def test_rooms_and_phrases(self) -> None:
        expression = match_expression([3, 9], public=True, phrases=["big world", "hello"])
        assert expression == 'scope : (pub OR r3 OR r9) AND body : ("big world" AND "hello")'

    def test_private_rooms_alone(self) -> None:
        assert match_expression([3], public=False, phrases=["a"]) == 'scope : (r3) AND body : ("a")'

    @given(st.text())
    def test_a_phrase_cannot_end_its_quotes(self, phrase: str) -> None:
        expression = match_expression([1], public=False, phrases=[phrase])
        inner = expression.removeprefix('scope : (r1) AND body : ("').removesuffix('")')
        assert '"' not in inner.replace('""', "")
        assert "\0" not in inner


class TestSearching:
    async def test_a_user_of_many_rooms_finds_in_all_of_them(self, tmp_path: Path) -> None:
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            rooms = await asyncio.gather(*(new_room(history, kind="private") for _ in range(300)))
            await say(history, rooms[0].uid, "word")
            await say(history, rooms[299].uid, "word")

            async def found() -> int:
                uids = [room.uid for room in rooms] * 5
                page = await history.search(uids=uids, public=True, phrases=["word"], limit=9, cursor=None)
                return len(page.messages)

            await eventually(found, 2)

    async def test_a_bounded_number_waits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sqlite_search, "WAITING_MOST", 0)
        async with open_sqlite(tmp_path / "hubbub.db") as history:
            with pytest.raises(HubbubError, match="Too many searches"):
                await history.search(uids=[], public=True, phrases=["a"], limit=1, cursor=None)
