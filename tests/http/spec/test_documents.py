"""What the service makes has the fields that are described, and no others."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from marshmallow import Schema, fields, validate

from hubbub.domain.documents import message_document, room_document, user_document
from hubbub.domain.limits import Limits
from hubbub.errors import CATALOGUE, HubbubError
from hubbub.history.base import Person
from hubbub.http.spec import documents as doc
from hubbub.http.spec.documents import choice, count, each, mapping, nested, text, time_ms
from tests.support.domain import message_of, room_of


def names(schema: type[Schema]) -> list[str]:
    return [field.data_key or name for name, field in schema().fields.items()]


class TestDocuments:
    """Beside each other: the document and its schema."""

    @pytest.mark.parametrize(
        ("document", "schema"),
        [
            (message_document("tea", message_of("uid", 1)), doc.Message),
            (room_document(room_of(), epoch="uid"), doc.RoomPushed),
            (user_document(Person("u", "U"), None), doc.User),
            (asdict(Limits()), doc.Limits),
            (HubbubError("slow_mode", retry_after=1, fields={"body": ["Is empty."]}).document(), doc.Error),
        ],
    )
    def test_they_have_the_same_fields(self, document: dict[str, object], schema: type[Schema]) -> None:
        assert list(document) == names(schema)

    def test_every_code_is_listed(self) -> None:
        field = doc.Error().fields["code"]
        field.deserialize("muted")
        choices = [check.choices for check in field.validators if isinstance(check, validate.OneOf)]
        assert [list(codes) for codes in choices] == [list(CATALOGUE)]


class TestFields:
    """The kinds of fields."""

    def test_each_says_what_it_is(self) -> None:
        made: list[fields.Field[Any]] = [
            text("T."),
            choice("C.", "a"),
            count("N."),
            each(doc.User, "L."),
            mapping(text(""), "M."),
        ]
        assert [field.metadata["description"] for field in made] == ["T.", "C.", "N.", "L.", "M."]
        assert "milliseconds" in time_ms("When").metadata["description"]
        assert nested(doc.User, null=True).allow_none
