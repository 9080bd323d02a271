"""The kinds of values of the wire contract."""

from __future__ import annotations

import unicodedata
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError, fields

from hubbub.fields import MAX_INTEGER, Emoji, Flag, Identifier, Text, Whole

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
"""Any code points, lone surrogates among them."""


def refusal(field: fields.Field[Any], value: object) -> str | None:
    """What is wrong with a value, None if nothing is."""
    try:
        field.deserialize(value)
    except ValidationError as error:
        return str(next(iter(error.messages)))
    return None


def is_broken(text: str) -> bool:
    return "\x00" in text or any(0xD800 <= ord(char) <= 0xDFFF for char in text)


class TestText:
    @given(ANY_TEXT)
    def test_what_passes_is_nfc_and_can_be_sent(self, text: str) -> None:
        assert (refusal(Text(), text) is None) is not is_broken(text)
        if not is_broken(text):
            clean = Text().deserialize(text)
            assert clean == unicodedata.normalize("NFC", text)
            orjson.dumps(clean)

    @given(ANY_TEXT)
    def test_cleaning_twice_changes_nothing_more(self, text: str) -> None:
        if not is_broken(text):
            clean = Text().deserialize(text)
            assert Text().deserialize(clean) == clean

    @pytest.mark.parametrize("value", [1, 1.5, True, None, [], {}, b"bytes"])
    def test_nothing_else_is_text(self, value: object) -> None:
        assert refusal(Text(), value) is not None

    def test_none_passes_where_it_is_allowed(self) -> None:
        assert Text(allow_none=True).deserialize(None) is None

    @pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\x00", "ü\x00"])
    def test_a_lone_surrogate_or_a_nul_is_refused(self, text: str) -> None:
        assert refusal(Text(), text) == "Holds a NUL or a lone surrogate."

    def test_length_is_counted_in_code_points_after_normalisation(self) -> None:
        field = Text(longest=2)
        assert field.deserialize("e\u0301" * 2) == "é" * 2
        assert refusal(field, "e\u0301" * 3) == "Longer than 2 characters."
        assert field.deserialize("😀😀") == "😀😀"
        assert refusal(field, "😀😀😀") is not None

    @pytest.mark.parametrize("text", ["a\nb", "\t", "\x7f", "\r"])
    def test_a_single_line_has_no_control_characters(self, text: str) -> None:
        assert refusal(Text(single_line=True), text) == "Holds a control character."
        assert refusal(Text(), text) is None

    @pytest.mark.parametrize("text", ["", " ", "\u2003\n"])
    def test_blank_text_is_refused_where_something_must_be_said(self, text: str) -> None:
        assert refusal(Text(blank=False), text) == "Is empty."
        assert refusal(Text(), text) is None

    def test_text_that_is_too_short_is_empty(self) -> None:
        assert refusal(Text(shortest=1), "") == "Is empty."

    def test_a_pattern_holds_for_all_of_the_text(self) -> None:
        field = Text(pattern="[a-z]+", expects="Lower case only.")
        assert field.deserialize("abc") == "abc"
        assert refusal(field, "abc\n") == "Lower case only."
        assert refusal(field, "abcD") == "Lower case only."
        assert refusal(Text(pattern="a"), "b") == "Does not have the form that is asked for."


class TestIdentifiers:
    def test_an_identifier_is_opaque(self) -> None:
        assert (
            Identifier().deserialize("https://id.example/ada@example.org#1") == "https://id.example/ada@example.org#1"
        )

    @pytest.mark.parametrize("value", ["", "a\nb", "a" * 129, 7, None])
    def test_it_is_one_line_of_bounded_length(self, value: object) -> None:
        assert refusal(Identifier(), value) is not None

    def test_it_is_required_unless_said_otherwise(self) -> None:
        assert Identifier().required
        assert not Identifier(required=False).required


class TestEmoji:
    @pytest.mark.parametrize("text", ["👍", "👍🏽", "👨‍👩‍👧‍👦", "🇩🇪", "❤️", "e\u0301", "x", "각"])
    def test_one_grapheme_passes(self, text: str) -> None:
        assert Emoji().deserialize(text) == unicodedata.normalize("NFC", text)

    @pytest.mark.parametrize("text", ["", " ", "ab", "👍👍", "👍 ", "🇩🇪🇫🇷", "\n", 1])
    def test_more_or_less_than_one_is_refused(self, text: object) -> None:
        assert refusal(Emoji(), text) is not None

    def test_a_grapheme_has_a_bounded_number_of_code_points(self) -> None:
        assert refusal(Emoji(), "a" + "\u0336" * 32) == "Longer than 32 characters."


class TestNumbers:
    @given(st.integers(min_value=-(2**60), max_value=2**60))
    def test_a_whole_number_is_in_its_range(self, number: int) -> None:
        assert (refusal(Whole(), number) is None) == (0 <= number <= MAX_INTEGER)

    @pytest.mark.parametrize("value", ["1", 1.0, True, False, None, [], 10**400])
    def test_what_merely_looks_like_one_is_refused(self, value: object) -> None:
        assert refusal(Whole(), value) is not None

    def test_the_bounds_belong_to_the_range(self) -> None:
        field = Whole(least=1, most=3)
        assert [n for n in range(5) if refusal(field, n) is None] == [1, 2, 3]


class TestFlags:
    def test_true_and_false_pass(self) -> None:
        assert Flag().deserialize(True) is True
        assert Flag().deserialize(False) is False

    @pytest.mark.parametrize("value", [0, 1, "true", "on", None, []])
    def test_what_merely_looks_like_one_is_refused(self, value: object) -> None:
        assert refusal(Flag(), value) is not None


class TestVisible:
    @pytest.mark.parametrize(
        "text", ["", " ", "\u200b", "\u3164", "\u2800", "\ufeff", "\ufe0f", "\U000e0041", "\u0301"]
    )
    def test_what_shows_nothing_is_empty(self, text: str) -> None:
        with pytest.raises(ValidationError, match="empty"):
            Text(blank=False).check(text)

    @pytest.mark.parametrize("text", [".", "é", "👍", "1\ufe0f\u20e3", "🇩🇪", "\u200bx", "日本"])
    def test_what_shows_something_is_text(self, text: str) -> None:
        assert Text(blank=False).check(text)
