"""Whatever a line may be wrong in is found, and named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from marshmallow import ValidationError

from hubbub.fields import quick_loader
from hubbub.history.base import Person
from hubbub.transfer.lines import message_line, person_line, room_line, standing_line
from hubbub.transfer.schemas import SCHEMAS
from tests.support.archives import counted_room

ROOM = counted_room("u1", 2)
DIGEST = "0" * 64
RIGHT: dict[str, dict[str, Any]] = {
    "header": {
        "hubbub": "export",
        "format": 1,
        "version": "0.1.0",
        "made_at": 1,
        "rooms": 0,
        "people": 0,
        "messages": 0,
    },
    "person": json.loads(person_line((Person("ann", "Ann"), 1))),
    "room": json.loads(room_line(ROOM.room)),
    "standing": json.loads(standing_line("u1", ROOM.standings[0])),
    "message": json.loads(message_line(ROOM.messages[0])),
    "room_end": {"room": "u1", "standings": 0, "messages": 0, "sha256": DIGEST},
    "end": {"rooms": 0, "people": 0, "standings": 0, "messages": 0, "sha256": DIGEST},
}
for _line in RIGHT.values():
    _line.pop("type", None)

WRONG: list[tuple[str, str, Any]] = [
    ("header", "hubbub", "import"),
    ("header", "format", 2),
    ("person", "id", ""),
    ("person", "id", "a\0b"),
    ("person", "name", None),
    ("person", "guest", 0),
    ("person", "seen_at", -1),
    ("room", "kind", "open"),
    ("room", "head", 2**36),
    ("room", "capacity", "3"),
    ("standing", "role", "king"),
    ("standing", "role", 1),
    ("standing", "knew", None),
    ("standing", "joined_at", 1.5),
    ("message", "seq", 0),
    ("message", "revs", []),
    ("message", "revs", [1, 1]),
    ("message", "revs", [2, 1]),
    ("message", "revs", [True]),
    ("message", "revs", [2**36]),
    ("message", "revs", 1),
    ("message", "key", ""),
    ("message", "sender", {"id": "a", "name": "A"}),
    ("message", "sender", {"id": "a", "name": "A", "guest": False, "age": 3}),
    ("message", "sender", {"id": "", "name": "A", "guest": False}),
    ("message", "sender", "ann"),
    ("message", "body", 5),
    ("message", "reply_to", 5),
    ("message", "mentions", "ann"),
    ("message", "mentions", [1]),
    ("message", "edited_at", "now"),
    ("message", "deleted", 1),
    ("message", "reactions", {}),
    ("message", "reactions", [["x"]]),
    ("message", "reactions", [[1, []]]),
    ("message", "reactions", [["x", [1]]]),
    ("message", "reactions", [["x", "ann"]]),
    ("message", "reactions", [["x", ["a"]], ["x", ["b"]]]),
    ("room_end", "sha256", "0" * 63),
    ("end", "sha256", "G" * 64),
    ("end", "messages", None),
]


class TestLines:
    @pytest.mark.parametrize("kind", RIGHT)
    def test_what_is_right_is_kept_as_it_is(self, kind: str) -> None:
        assert SCHEMAS[kind].load(RIGHT[kind]) == RIGHT[kind]
        assert quick_loader(SCHEMAS[kind])(RIGHT[kind]) == RIGHT[kind]

    @pytest.mark.parametrize(("kind", "field", "value"), WRONG)
    def test_what_is_wrong_is_named(self, kind: str, field: str, value: Any) -> None:
        with pytest.raises(ValidationError) as caught:
            SCHEMAS[kind].load(RIGHT[kind] | {field: value})
        assert [*caught.value.messages_dict] == [field]

    @pytest.mark.parametrize("kind", RIGHT)
    def test_every_field_has_to_be_there_and_no_other(self, kind: str) -> None:
        for name in RIGHT[kind]:
            with pytest.raises(ValidationError, match=name):
                SCHEMAS[kind].load({key: value for key, value in RIGHT[kind].items() if key != name})
        with pytest.raises(ValidationError, match="Unknown field"):
            SCHEMAS[kind].load(RIGHT[kind] | {"colour": "red"})

    @pytest.mark.parametrize("text", ["", "\0", "e\u0301", " \n", "x" * 100_000])
    def test_text_is_not_put_into_a_normal_form(self, text: str) -> None:
        assert SCHEMAS["message"].load(RIGHT["message"] | {"body": text})["body"] == text
