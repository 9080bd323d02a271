"""The words of a message: those that SQLite's tokenizer finds, in their order."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.history.words import WORD_MOST, WORDS_MOST, contains, split_words, words_of


@pytest.fixture(scope="module")
def tokenizer() -> Iterator[sqlite3.Connection]:
    """The tokenizer of SQLite's search index, and what it makes of each text."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE VIRTUAL TABLE f USING fts5 (body, tokenize='unicode61 remove_diacritics 2')")
    connection.execute("CREATE VIRTUAL TABLE terms USING fts5vocab (f, 'instance')")
    yield connection
    connection.close()


def split_by(tokenizer: sqlite3.Connection, text: str) -> list[str]:
    tokenizer.execute("DELETE FROM f")
    tokenizer.execute("INSERT INTO f (body) VALUES (?)", (text,))
    return [term for (term,) in tokenizer.execute("SELECT term FROM terms ORDER BY offset")]


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
plain = st.text(st.sampled_from("aÀéß́̈ .,ΣςİıЙй한a1²-_'’😀"), max_size=30)


class TestSplitting:
    @given(st.one_of(texts, plain))
    def test_words_are_those_of_sqlite(self, tokenizer: sqlite3.Connection, text: str) -> None:
        assert split_words(text) == split_by(tokenizer, text)

    def test_a_nul_ends_a_word(self) -> None:
        assert split_words("a\0b") == ["a", "b"]


class TestKeeping:
    def test_each_word_is_kept_once(self) -> None:
        assert words_of("Two and TWO and twö") == ["two", "and"]

    def test_long_words_and_long_texts_are_bounded(self) -> None:
        assert words_of("x" * 9000) == ["x" * WORD_MOST]
        assert words_of(" ".join(map(str, range(5000)))) == [str(n) for n in range(WORDS_MOST)]

    def test_nothing_has_no_words(self) -> None:
        assert words_of("") == words_of("... !") == []


class TestPhrases:
    @pytest.mark.parametrize(
        ("phrase", "expected"),
        [("b c", True), ("a b c d", True), ("a c", False), ("d", True), ("c b", False), ("a b c d e", False)],
    )
    def test_words_have_to_follow_each_other(self, phrase: str, expected: bool) -> None:
        assert contains(["a", "b", "c", "d"], phrase.split()) is expected
