"""A message comes back from its document as it went in."""

from __future__ import annotations

import bson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.history.base import Message, Sender
from hubbub.history.mongo_documents import changes_of, document_of, message_of, stub_of
from hubbub.history.sizes import document_bytes

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
times = st.integers(0, 2**53 - 1)

messages = st.builds(
    Message,
    texts,
    times,
    times,
    texts,
    st.builds(Sender, texts, texts, st.booleans()),
    texts,
    st.none() | texts,
    st.lists(texts, max_size=3).map(tuple),
    times,
    st.none() | times,
    st.booleans(),
    st.dictionaries(texts, st.lists(texts, min_size=1, max_size=3).map(tuple), max_size=3),
)


class TestDocuments:
    @given(messages)
    def test_a_message_survives_the_way_there_and_back(self, message: Message) -> None:
        document = bson.decode(bson.encode(document_of(message, public=True)))
        assert message_of(document) == message
        assert document["_id"] == message.id
        assert document["revs"] == [message.rev]
        assert document["bytes"] == document_bytes(message)

    @given(messages, st.lists(times, min_size=1, max_size=5))
    def test_a_message_that_moves_here_keeps_its_revisions(self, message: Message, revs: list[int]) -> None:
        assert document_of(message, public=True, revs=revs)["revs"] == revs

    @given(messages)
    def test_a_change_touches_nothing_of_what_a_message_keeps_for_ever(self, message: Message) -> None:
        assert not {"_id", "room", "seq", "rev", "revs", "sender", "key", "name", "guest", "at"} & {
            *changes_of(message)
        }

    @given(messages)
    def test_a_stub_says_who_and_when_and_nothing_of_what(self, message: Message) -> None:
        stub = stub_of(message)
        assert (stub.id, stub.seq, stub.rev, stub.key, stub.sender) == (
            message.id,
            message.seq,
            message.rev,
            message.key,
            message.sender,
        )
        assert (stub.body, stub.mentions, stub.reactions, stub.reply_to, stub.deleted) == ("", (), {}, None, True)

    def test_text_that_is_not_unicode_is_refused(self) -> None:
        with pytest.raises(TypeError):
            document_of(Message("u", 1, 1, "k", Sender("a", "A"), "\ud800", None, (), 1), public=True)
