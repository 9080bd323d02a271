"""The language of searches."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.domain.phrases import phrases_of


class TestPhrases:
    @pytest.mark.parametrize(
        ("query", "phrases"),
        [
            ("lunch", ["lunch"]),
            ("  lunch   noon ", ["lunch", "noon"]),
            ('lunch "at noon"', ["lunch", "at noon"]),
            ('"at noon', ["at noon"]),
            ('say"at noon"now', ["say", "at noon", "now"]),
            ('""', []),
            ('"', []),
            ('" "', []),
            ("", []),
            ("!? - *", []),
            ("AND OR NOT NEAR(a b)", ["AND", "OR", "NOT", "NEAR(a", "b)"]),
            ("body:x* ^y", ["body:x*", "^y"]),
            ("日本 žába", ["日本", "žába"]),
            ("c++ #1", ["c++", "#1"]),
        ],
    )
    def test_a_query_is_words_and_quoted_phrases(self, query: str, phrases: list[str]) -> None:
        assert phrases_of(query) == phrases

    def test_no_more_than_sixteen_are_looked_at(self) -> None:
        assert phrases_of(" ".join(f"w{n}" for n in range(50))) == [f"w{n}" for n in range(16)]

    @given(st.text(st.sampled_from('ab1é日½!"*-_ \t\n'), max_size=60))
    def test_every_phrase_stands_in_the_query_and_holds_a_word(self, query: str) -> None:
        for phrase in phrases_of(query):
            assert phrase in query
            assert '"' not in phrase
            assert phrase == phrase.strip()
            assert any(char.isalnum() for char in phrase)
