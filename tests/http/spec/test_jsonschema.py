"""marshmallow's schemas and their JSON Schemas agree on what fits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator
from marshmallow import Schema, ValidationError, fields

from hubbub import events
from hubbub.http.spec.asyncapi import NAMESPACES
from hubbub.http.spec.documents import Message
from hubbub.http.spec.jsonschema import Components, field_schema, name_of

REQUESTS = {name_of(type(event.schema)): event.schema for namespace in NAMESPACES for event in namespace.client}


def validators(schema: type[Schema]) -> tuple[Draft7Validator, Draft202012Validator]:
    """Both dialects, because both documents have the schema."""
    components = Components()
    document = components.ref(schema) | {"components": {"schemas": components.schemas}}
    return Draft7Validator(document), Draft202012Validator(document)


def is_taken(schema: Schema, data: dict[str, Any]) -> bool:
    try:
        schema.load(data)
    except ValidationError:
        return False
    return True


VALUES = st.one_of(
    st.sampled_from(["", " ", "tea", "a:b", "x" * 200, "a\nb", "a\x00b", "direct", "public", "private", "owner"]),
    st.sampled_from([-1, 0, 1, 500, 501, 2**53 - 1, 2**53, 1.5]),
    st.booleans(),
    st.none(),
    st.lists(st.sampled_from(["ada", "", 1]), max_size=3),
)


class TestRequests:
    """Whatever the service takes fits what it says it takes."""

    @pytest.mark.parametrize("name", sorted(REQUESTS))
    @given(data=st.data())
    def test_what_is_taken_fits(self, name: str, data: st.DataObject) -> None:
        schema = REQUESTS[name]
        names = st.sampled_from([*schema.fields, "what"])
        request = data.draw(st.dictionaries(names, VALUES, max_size=len(schema.fields) + 1))
        if is_taken(schema, request):
            assert all(each.is_valid(request) for each in validators(type(schema)))

    @pytest.mark.parametrize(
        ("schema", "request_"),
        [
            (events.RoomOnly, {}),
            (events.RoomOnly, {"room": ""}),
            (events.RoomOnly, {"room": "x" * 129}),
            (events.RoomOnly, {"room": "a\nb"}),
            (events.RoomOnly, {"room": 1}),
            (events.RoomOnly, {"room": "tea", "what": 1}),
            (events.RoomCreate, {"kind": "public"}),
            (events.RoomCreate, {"kind": "public", "title": "T", "id": "Tea"}),
            (events.RoomCreate, {"kind": "private", "title": "T", "id": "tea"}),
            (events.RoomCreate, {"kind": "direct"}),
            (events.RoomCreate, {"kind": "direct", "members": ["a", "b"]}),
            (events.RoomCreate, {"kind": "direct", "members": ["a"], "capacity": 2}),
            (events.RoomJoin, {"room": "tea", "since": 1}),
            (events.HistoryFetch, {"room": "tea", "before": 1, "after": 1}),
            (events.MessageSend, {"room": "tea", "key": "k", "body": " "}),
            (events.PresenceRooms, {"rooms": []}),
            (events.PresenceRooms, {"rooms": ["r"] * 21}),
            (events.ReadMark, {"room": "tea", "seq": 2**53}),
            (events.ReadMark, {"room": "tea", "seq": True}),
            (events.PresenceSet, {"status": "gone"}),
        ],
    )
    def test_what_is_refused_for_its_form_does_not_fit(self, schema: type[Schema], request_: dict[str, Any]) -> None:
        assert not is_taken(schema(), request_)
        assert not any(each.is_valid(request_) for each in validators(schema))


class TestMapping:
    """How a schema becomes a document."""

    def test_documents_are_open_and_requests_are_not(self) -> None:
        components = Components()
        components.ref(Message)
        components.ref(events.RoomOnly)
        assert "additionalProperties" not in components.schemas["Message"]
        assert components.schemas["RoomOnly"]["additionalProperties"] is False
        assert {"Sender", "Reaction"} <= components.schemas.keys()

    def test_two_schemas_of_one_name_are_refused(self) -> None:
        components = Components()
        components.ref(Message)
        with pytest.raises(ValueError, match="Message"):
            components.ref(Schema.from_dict({}, name="Message"))

    def test_a_field_that_is_not_known_is_refused(self) -> None:
        with pytest.raises(TypeError, match="UUID"):
            field_schema(fields.UUID(), Components().ref)
        with pytest.raises(TypeError, match="Decimal"):
            field_schema(fields.Decimal(), Components().ref)
