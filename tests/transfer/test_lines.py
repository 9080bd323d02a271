"""A line has one form, and what was written is read back."""

from __future__ import annotations

import json

from hypothesis import given

from hubbub.transfer.lines import (
    dump,
    message_from_line,
    message_line,
    person_from_line,
    person_line,
    room_from_line,
    room_line,
    standing_from_line,
    standing_line,
)
from tests.support.archives import Whole, counted_room, histories


class TestForm:
    def test_a_line_is_one_object_and_its_end(self) -> None:
        assert dump({"a": 1, "b": "ü\n"}) == '{"a":1,"b":"ü\\n"}\n'.encode()

    def test_the_fields_of_a_message_have_their_order(self) -> None:
        line = message_line(counted_room("u1", 1).messages[0])
        assert [*json.loads(line)] == [
            *("type", "room", "seq", "revs", "key", "sender", "body", "reply_to", "mentions", "created_at"),
            *("edited_at", "deleted", "reactions"),
        ]

    def test_how_many_members_there_are_is_not_in_it(self) -> None:
        assert b"members" not in room_line(counted_room("u1", 1).room)


class TestThereAndBack:
    @given(whole=histories())
    def test_nothing_is_lost(self, whole: Whole) -> None:
        for known in whole.people:
            assert person_from_line(json.loads(person_line(known))) == known
        for room in whole.rooms:
            assert room_from_line(json.loads(room_line(room.room))) == room.room
            for standing in room.standings:
                assert standing_from_line(json.loads(standing_line(room.uid, standing))) == standing
            for archived in room.messages:
                assert message_from_line(json.loads(message_line(archived))) == archived
