"""Every reading goes by an index."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from hubbub.history import sqlite_messages
from hubbub.history.sqlite_file import open_database
from tests.support.history import walks

PARAMETERS: Final = (
    "uid", "seq", "sender", "key", "split", "older", "newer", "low", "high", "since", "most", "no", "after", "upto",
    "places", "uids",
)  # fmt: skip


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

    def test_what_a_sender_has_said_is_found_in_the_index_of_keys(self, connection: sqlite3.Connection) -> None:
        """Sorted, since there is no order of places in it; but no row is looked up that is not wanted."""
        parameters = dict.fromkeys((*PARAMETERS, "below"), 1)
        query = sqlite_messages.SEQS_OF
        assert walks(connection, query, parameters) == []
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", parameters)]
        assert "SEARCH k USING COVERING INDEX messages_by_key (room=? AND sender=?)" in plan
