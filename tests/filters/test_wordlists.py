"""Words are found whole, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.filters.folding import Folded, fold, masked, words_in
from hubbub.filters.wordlists import WordList

LIST = WordList(["bad", "very ugly", "can't", "very", "Straße", "very ugly thing"])
LETTERS = st.text(st.sampled_from("abBäßⓐ𝐛\u200b\u0301 ,."), max_size=40)


def mask(text: str, words: WordList = LIST) -> str:
    return masked(text, words.stretches(Folded(text)), "*")


class TestFinding:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("a bad day", "a *** day"),
            ("BAD!", "***!"),
            ("b\u200bad", "***"),
            ("ⓑⓐⓓ", "***"),
            ("_bad_", "_***_"),
            ("so VERY,  ugly it", "so *****  **** it"),
            ("a very ugly thing indeed", "a **** **** ***** indeed"),
            ("you can't", "you *****"),
            ("STRASSE und strasse", "******* und *******"),
        ],
    )
    def test_it_is_found_and_masked(self, text: str, shown: str) -> None:
        assert LIST.hits(Folded(text))
        assert mask(text) == shown

    @pytest.mark.parametrize("text", ["", "badly", "not bád", "ugly", "ugly bald", "cant", "b a d"])
    def test_another_is_not(self, text: str) -> None:
        assert not LIST.hits(Folded(text))
        assert mask(text) == text

    @pytest.mark.parametrize("entry", ["", " ", "!?", "🖕"])
    def test_an_entry_has_letters(self, entry: str) -> None:
        with pytest.raises(ValueError, match="neither letters nor digits"):
            WordList(["fine", entry])

    @given(st.lists(st.text(st.sampled_from("ab "), min_size=1).filter(str.strip), min_size=1, max_size=4), LETTERS)
    def test_it_is_found_if_and_only_if_its_words_are_there_in_a_row(self, entries: list[str], text: str) -> None:
        there = f" {' '.join(words_in(fold(text)))} "
        expected = any(f" {' '.join(words_in(fold(entry)))} " in there for entry in entries)
        assert WordList(entries).hits(Folded(text)) == expected

    @given(st.lists(st.text(st.sampled_from("abä"), min_size=1), min_size=1, max_size=4), LETTERS)
    def test_nothing_of_it_is_left_when_it_was_masked(self, entries: list[str], text: str) -> None:
        words = WordList(entries)
        if words.hits(Folded(text)) and words.stretches(Folded(text)):
            assert not words.hits(Folded(mask(text, words)))
