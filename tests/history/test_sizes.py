"""A message is measured as long as its document on the wire is, about, and how pages are cut."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.domain.documents import message_document
from hubbub.history.base import Message, Sender
from hubbub.history.sizes import cut, document_bytes

USERS = tuple(f"user-{number:04}" for number in range(1000))
ASTRAL = "\U0001f642"

sides = st.lists(st.integers(0, 10), max_size=8)


def message(body: str = "hello", *, emojis: int = 0, mentions: int = 0) -> Message:
    sender = Sender("ada" * 40, "Ada")
    reactions = {f"{ASTRAL}{number}": USERS for number in range(emojis)}
    return Message(
        "u" * 26, 7, 9, "k" * 36, sender, body, None, USERS[:mentions], 1_800_000_000_000, None, False, reactions
    )


class TestSizes:
    @pytest.mark.parametrize(
        "sent",
        [
            message(""),
            message("a" * 16_000),
            message("\x01" * 16_000),
            message('"\n' * 4_000),
            message(ASTRAL * 16_000),
            message(emojis=20),
            message(mentions=20),
        ],
        ids=["empty", "long", "controls", "quotes", "astral", "reactions", "mentions"],
    )
    def test_a_document_is_as_long_as_it_was_measured(self, sent: Message) -> None:
        true = len(orjson.dumps(message_document("general", sent)))
        assert true <= document_bytes(sent) <= true * 1.05 + 150

    def test_users_of_a_reaction_who_are_not_shown_do_not_count(self) -> None:
        few = Message("u", 1, 1, "k", Sender("a", "A"), "b", None, (), 1, reactions={"+1": USERS[:20]})
        many = Message("u", 1, 1, "k", Sender("a", "A"), "b", None, (), 1, reactions={"+1": USERS})
        assert document_bytes(few) == document_bytes(many)

    def test_text_that_is_not_unicode_is_refused(self) -> None:
        with pytest.raises(TypeError):
            document_bytes(message("\ud800"))


class TestCut:
    @given(sides, sides, st.integers(0, 60))
    def test_it_takes_as_many_as_fit_from_the_middle_outwards(
        self, older: list[int], newer: list[int], most: int
    ) -> None:
        below = [(100 - index, size) for index, size in enumerate(older, 1)]
        above = [(100 + index, size) for index, size in enumerate(newer)]
        fewer, more = cut(below, above, most)
        total = sum(older[:fewer]) + sum(newer[:more])
        assert total <= most or fewer + more == 1
        assert (fewer + more > 0) == bool(older or newer)
        if fewer + more:
            assert fewer == len(older) or total + older[fewer] > most
            assert more == len(newer) or total + newer[more] > most

    def test_the_sides_take_turns(self) -> None:
        ones = [(number, 1) for number in range(9)]
        assert cut(ones, ones, 5) == (2, 3)
        assert cut(ones[:1], ones, 5) == (1, 4)
        assert cut(ones, [], 5) == (5, 0)
