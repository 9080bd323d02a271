"""What authors of filters make: a verdict that cannot be told is found where it is made."""

from __future__ import annotations

from typing import Any, cast

import pytest

from hubbub.filters import Draft, Room, Sender, allow, refuse, replace


class TestVerdicts:
    def test_each_says_what_it_is_for(self) -> None:
        assert (allow().action, allow().text) == ("allow", "")
        assert (replace("clean").action, replace("clean").text) == ("replace", "clean")
        assert (refuse("Not here.").action, refuse("Not here.").text) == ("refuse", "Not here.")

    @pytest.mark.parametrize("make", [replace, refuse])
    @pytest.mark.parametrize("text", [5, None, b"bytes", ["a"]])
    def test_a_text_is_a_text(self, make: Any, text: object) -> None:
        with pytest.raises(TypeError, match="A verdict says a text, not"):
            make(cast(str, text))

    @pytest.mark.parametrize("text", ["", " \n", "\ud800"])
    def test_a_refusal_can_be_told(self, text: str) -> None:
        with pytest.raises(ValueError):
            refuse(text)


class TestDrafts:
    def test_a_draft_with_the_id_of_a_message_is_an_edit(self) -> None:
        room, sender = Room("tea", "public", "Tea"), Sender("ada", "Ada", False, frozenset(), "member")
        draft = Draft(room, sender, "hello", None, None)
        assert not draft.is_edit
        assert Draft(room, sender, "hello", None, "m.1").is_edit
