"""Small sets."""

from __future__ import annotations

from collections.abc import MutableSet

from hypothesis import given
from hypothesis import strategies as st

from hubbub.domain.few import Few


class TestFew:
    @given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"))))
    def test_it_holds_what_a_set_holds(self, steps: list[tuple[bool, str]]) -> None:
        few: MutableSet[str] = Few()
        true: set[str] = set()
        for adds, text in steps:
            for one in (few, true):
                (one.add if adds else one.discard)(text)
            assert few == true
            assert (sorted(few), len(few), bool(few)) == (sorted(true), len(true), bool(true))
            assert [item in few for item in "abc"] == [item in true for item in "abc"]
