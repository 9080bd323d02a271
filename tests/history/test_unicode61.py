"""The tables of SQLite's tokenizer, character by character against SQLite's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from hubbub.history.unicode61 import TABLE

PLANES = (range(1, 0x30000), range(0xE0000, 0xE1000), range(0xF0000, 0xF0100))
"""Where Unicode has characters. Beyond them all are alike: nothing is assigned there, or only for private use."""


@pytest.fixture(scope="module")
def tokenizer() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE VIRTUAL TABLE f USING fts5 (body, tokenize='unicode61 remove_diacritics 2')")
    connection.execute("CREATE VIRTUAL TABLE terms USING fts5vocab (f, 'instance')")
    yield connection
    connection.close()


class TestTable:
    @pytest.mark.parametrize("plane", PLANES, ids=lambda plane: f"{plane.start:x}")
    def test_every_character_is_taken_as_sqlite_takes_it(self, tokenizer: sqlite3.Connection, plane: range) -> None:
        """In the middle of a word, where one that is left out is told from one that ends the word."""
        text = " ".join(f"q{chr(number)}q" for number in plane if not 0xD800 <= number < 0xE000)
        tokenizer.execute("DELETE FROM f")
        tokenizer.execute("INSERT INTO f (body) VALUES (?)", (text,))
        words = [term for (term,) in tokenizer.execute("SELECT term FROM terms ORDER BY offset")]
        assert text.translate(TABLE).split() == words

    def test_beyond_them_nothing_is_listed(self) -> None:
        assert [number for number in TABLE if number and not any(number in plane for plane in PLANES)] == []

    def test_a_nul_ends_a_word(self) -> None:
        assert TABLE[0] == " "
