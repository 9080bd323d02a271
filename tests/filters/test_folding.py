"""What readers take for the same text is compared as the same, and places are found in what was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.filters.folding import Folded, fold, masked, words_in

TEXTS = st.text(
    st.sampled_from("aBß ſ\u0301\u200bⓑ𝐝ﬁ.ΣςİÄé한\u1100\u1161Ａ・ｶﾞ\n") | st.characters(exclude_categories=["Cs"])
)


class TestFolding:
    @pytest.mark.parametrize(
        ("text", "folded"),
        [
            ("BaD", "bad"),
            ("b\u200ba\u00add", "bad"),
            ("ⓑⓐⓓ", "bad"),
            ("𝐛𝐚𝐝", "bad"),
            ("ＢＡＤ", "bad"),
            ("STRASSE", "strasse"),
            ("Straße", "strasse"),
            ("Cafe\u0301", "café"),
            ("ΣΟΦΟΣ", "σοφοσ"),
            ("schon", "schon"),
            ("schön", "schön"),
        ],
    )
    def test_what_looks_the_same_is_the_same(self, text: str, folded: str) -> None:
        assert fold(text) == folded

    @given(TEXTS)
    def test_case_makes_no_difference_to_ascii_and_its_length_stays(self, text: str) -> None:
        plain = text.encode("ascii", "ignore").decode()
        assert fold(plain) == fold(plain.upper())
        assert len(fold(plain)) == len(plain)

    @given(TEXTS)
    def test_words_have_no_white_space_and_nothing_unseen(self, text: str) -> None:
        for word in words_in(fold(text)):
            assert word
            assert not any(each.isspace() or each == "\u200b" for each in word)


class TestPlaces:
    @given(TEXTS)
    def test_the_whole_of_what_was_folded_is_the_whole_of_the_text(self, text: str) -> None:
        seen = Folded(text)
        folded, starts, places = seen.mapped
        assert len(starts) == len(places)
        assert places == sorted(places)
        if folded:
            start, end = seen.original(0, len(folded))
            assert fold(text[start:end]) == fold(text)

    @given(TEXTS)
    def test_a_word_is_found_where_it_was_written(self, text: str) -> None:
        seen = Folded(text)
        for word, start, end in seen.places_of_words():
            first, last = seen.original(start, end)
            assert 0 <= first < last <= len(text)
            assert word in Folded(text[first:last]).mapped[0]


class TestMasking:
    def test_a_mask_of_one_character_stands_for_each(self) -> None:
        assert masked("a bad day", [(2, 5)], "*") == "a *** day"
        assert masked("a b d", [(0, 5)], "*") == "* * *"
        assert masked("Ae\u0301👨‍👩‍👧", [(1, 8)], "*") == "A**"

    def test_another_stands_for_the_whole(self) -> None:
        assert masked("a bad day", [(2, 5)], "[…]") == "a […] day"
        assert masked("a bad day", [(2, 6)], "") == "a day"

    def test_stretches_may_overlap_and_come_in_any_order(self) -> None:
        assert masked("abcdef", [(3, 5), (1, 4), (2, 3)], "*") == "a****f"

    @given(TEXTS, st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30))))
    def test_the_rest_stays_as_it_is(self, text: str, pairs: list[tuple[int, int]]) -> None:
        stretches = [(min(pair), max(pair)) for pair in pairs if max(pair) <= len(text)]
        kept = "".join(each for at, each in enumerate(text) if not any(start <= at < end for start, end in stretches))
        assert masked(text, stretches, "") == kept
