"""A cursor is taken back to the letter, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.errors import HubbubError
from hubbub.history.cursors import LONGEST, decode_cursor, encode_cursor


class TestCursors:
    @given(st.text(max_size=50), st.integers(0, 2**63 - 1))
    def test_what_went_in_comes_out(self, text: str, number: int) -> None:
        cursor = encode_cursor("kind", text, number)
        assert decode_cursor(cursor, "kind", str, int) == [text, number]
        assert cursor.replace("-", "").replace("_", "").isalnum()

    @given(st.text())
    def test_any_other_text_is_refused(self, text: str) -> None:
        with pytest.raises(HubbubError) as caught:
            decode_cursor(text, "kind", str)
        assert caught.value.code == "bad_request"
        assert caught.value.fields is not None
        assert list(caught.value.fields) == ["cursor"]

    @pytest.mark.parametrize(
        "cursor",
        [
            encode_cursor("other", "a"),
            encode_cursor("kind", 1),
            encode_cursor("kind", "a", "b"),
            encode_cursor("kind"),
            encode_cursor("kind", "a") + "=",
            encode_cursor("kind", "a") + "\n",
            "WyAia2luZCIsICJhIl0",  # The same list, written with spaces.
            "W3RydWUsImEiXQ",
            encode_cursor("kind", "a" * 2000),
        ],
    )
    def test_what_is_nearly_right_is_refused(self, cursor: str) -> None:
        with pytest.raises(HubbubError):
            decode_cursor(cursor, "kind", str)

    def test_a_truth_value_is_no_number(self) -> None:
        with pytest.raises(HubbubError):
            decode_cursor("WyJraW5kIix0cnVlXQ", "kind", int)

    @pytest.mark.parametrize("number", [-1, -(2**63), 2**63, 2**64 - 1])
    def test_a_number_beyond_what_the_store_counts_is_refused(self, number: int) -> None:
        with pytest.raises(HubbubError) as caught:
            decode_cursor(encode_cursor("members", number, "a"), "members", int, str)
        assert caught.value.code == "bad_request"

    @pytest.mark.parametrize("character", ["\U0001f642", '"', "\\", "é"])
    def test_the_longest_ids_fit(self, character: str) -> None:
        cursor = encode_cursor("members", 2**63 - 1, character * 128)
        assert len(cursor) <= LONGEST
        assert decode_cursor(cursor, "members", int, str) == [2**63 - 1, character * 128]
