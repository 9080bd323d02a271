"""Places, and what a message is made of, there and back."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.history.base import Message, Sender
from hubbub.history.sizes import document_bytes
from hubbub.history.sqlite_rows import (
    clamp,
    encode_row,
    json_text,
    message_from,
    person_from,
    place_of,
    room_no_of,
    standing_from,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
messages = st.builds(
    Message,
    uid=st.just("uid"),
    seq=st.integers(1, 2**36 - 1),
    rev=st.integers(1, 2**36 - 1),
    key=texts,
    sender=st.builds(Sender, id=texts, name=texts, guest=st.booleans()),
    body=texts,
    reply_to=st.none() | texts,
    mentions=st.lists(texts, max_size=3).map(tuple),
    created_at=st.integers(0, 2**53 - 1),
    edited_at=st.none() | st.integers(0, 2**53 - 1),
    deleted=st.booleans(),
    reactions=st.dictionaries(texts, st.lists(texts, max_size=3).map(tuple), max_size=3),
)


class TestMessages:
    @given(messages, st.integers(1, 2**27 - 1))
    def test_a_message_comes_back_from_its_row(self, message: Message, no: int) -> None:
        place, rev, room, sender, key, deleted, created_at, size, doc = encode_row(no, message)
        assert (room, size) == (no, document_bytes(message))
        assert message_from("uid", [place, rev, sender, key, deleted, created_at, orjson.loads(doc)]) == message

    @given(st.integers(1, 2**27 - 1), st.integers(0, 2**36 - 1), st.integers(1, 2**27 - 1), st.integers(0, 2**36 - 1))
    def test_places_ascend_by_room_and_seq_and_fit_an_integer(self, no: int, seq: int, other: int, after: int) -> None:
        assert (place_of(no, seq) < place_of(other, after)) == ((no, seq) < (other, after))
        assert place_of(no, seq) < 2**63
        assert room_no_of(place_of(no, seq)) == no

    @given(st.integers())
    def test_no_position_reaches_into_the_next_room(self, seq: int) -> None:
        assert room_no_of(place_of(7, clamp(seq))) == 7


class TestJson:
    def test_text_that_is_not_unicode_is_called_so(self) -> None:
        with pytest.raises(UnicodeEncodeError):
            json_text({"a": ["\ud800"]})

    def test_what_is_no_json_is_not(self) -> None:
        with pytest.raises(TypeError):
            json_text([b"bytes"])


class TestOthers:
    def test_an_outer_join_that_found_nothing_is_no_standing(self) -> None:
        assert standing_from([None] * 7) is None

    def test_an_unknown_person_is_called_by_the_id(self) -> None:
        assert person_from([None, None], "ann").name == "ann"
        assert person_from(["Ann", 1], "ann").guest
