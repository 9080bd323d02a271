"""How pages are cut, and that every reading goes by an index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.history import sqlite_messages
from hubbub.history.sqlite_file import open_database
from hubbub.history.sqlite_messages import cut
from tests.support.history import walks

PARAMETERS: Final = (
    "uid", "seq", "sender", "key", "split", "older", "newer", "low", "high", "since", "most", "no", "after", "upto",
    "places", "uids",
)  # fmt: skip

sides = st.lists(st.integers(0, 10), max_size=8)


class TestCut:
    @given(sides, sides, st.integers(0, 60))
    def test_it_takes_as_many_as_fit_from_the_middle_outwards(
        self, older: list[int], newer: list[int], most: int
    ) -> None:
        below = [(100 - index, size) for index, size in enumerate(older, 1)]
        above = [(100 + index, size) for index, size in enumerate(newer)]
        fewer, more = cut(below, above, most)
        total = sum(older[:fewer]) + sum(newer[:more])
        assert total <= most or fewer + more == 1
        assert (fewer + more > 0) == bool(older or newer)
        if fewer + more:
            assert fewer == len(older) or total + older[fewer] > most
            assert more == len(newer) or total + newer[more] > most

    def test_the_sides_take_turns(self) -> None:
        ones = [(number, 1) for number in range(9)]
        assert cut(ones, ones, 5) == (2, 3)
        assert cut(ones[:1], ones, 5) == (1, 4)
        assert cut(ones, [], 5) == (5, 0)


class TestPlans:
    @pytest.fixture
    def connection(self, tmp_path: Path) -> Iterator[sqlite3.Connection]:
        connection = open_database(tmp_path / "hubbub.db")
        yield connection
        connection.close()

    @pytest.mark.parametrize(
        "name", ["BY_SEQ", "BY_KEY", "AROUND", "BETWEEN", "CHANGES", "AT", "REVISIONS", "HEAD_OF", "HEADS_OF"]
    )
    def test_no_query_walks_over_a_table_or_sorts(self, connection: sqlite3.Connection, name: str) -> None:
        query: str = getattr(sqlite_messages, name)
        parameters = dict.fromkeys(PARAMETERS, 1) | {"places": "[1]", "uids": "[1]"}
        assert walks(connection, query, parameters) == []
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
        assert [step for step in plan if "TEMP B-TREE FOR ORDER BY" in step] == []
