"""From marshmallow's schemas to JSON Schema, in words that draft 7 (AsyncAPI) and 2020-12 (OpenAPI) both know.

What a field of ours checks beyond what JSON Schema can say (NFC, graphemes, what is visible) is left out or said less
sharply. So a document that fits may still be refused, and what the service takes always fits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from marshmallow import RAISE, Schema, fields, validate

from hubbub import events, events_admin
from hubbub.fields import Emoji, Flag, Text, Whole
from hubbub.http.guest import GuestRequest

__all__ = ["Components", "field_schema", "name_of"]

_SINGLE_LINE: Final = r"^[^\u0000-\u001f\u007f]*$"
_NO_NUL: Final = r"^[^\u0000]*$"
_SOMETHING: Final = r"\S"
_NAME: Final = "1 to 64 characters, all visible, when white space around them is taken off."

_Json = dict[str, Any]

_TOGETHER: Final[Mapping[type[Schema], _Json]] = {
    GuestRequest: {"properties": {"name": {"minLength": 1, "pattern": _SOMETHING, "description": _NAME}}},
    events.RoomJoin: {
        "if": {"properties": {"since": {"minimum": 1}}, "required": ["since"]},
        "then": {"required": ["epoch"]},
    },
    events.RoomCreate: {
        "if": {"properties": {"kind": {"const": "direct"}}},
        "then": {
            "required": ["members"],
            "properties": {"members": {"minItems": 1, "maxItems": 1}, "id": False, "capacity": False},
        },
        "else": {
            "required": ["title"],
            "if": {"properties": {"kind": {"const": "private"}}},
            "then": {"properties": {"id": False}},
        },
    },
    events.HistoryFetch: {
        "allOf": [
            {"not": {"required": [one, other]}}
            for one, other in (("before", "after"), ("before", "around"), ("after", "around"))
        ],
    },
    events_admin.TokenRevoke: {"oneOf": [{"required": ["user"]}, {"required": ["jti"]}]},
    events_admin.StatsWatch: {"properties": {"every_ms": {"anyOf": [{"const": 0}, {"minimum": 500}]}}},
}
"""How fields fit together, of the schemas that look at that (`fit_together`), and what is looked at behind a schema."""


def name_of(schema: type[Schema]) -> str:
    """What a schema is called in a document."""
    return schema.__name__.lstrip("_")


class Components:
    """The schemas of a document, each once: what is asked for is collected in `schemas`."""

    def __init__(self) -> None:
        self.schemas: dict[str, _Json] = {}
        self._types: dict[str, type[Schema]] = {}

    def ref(self, schema: type[Schema]) -> _Json:
        """A reference to a schema, which is put in if it is not there."""
        name = name_of(schema)
        if self._types.setdefault(name, schema) is not schema:
            raise ValueError(f"Two schemas are called {name}.")
        if name not in self.schemas:
            self.schemas[name] = {}
            self.schemas[name] = self._object(schema)
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, schema: type[Schema]) -> _Json:
        instance = schema()
        named = {field.data_key or name: field for name, field in instance.fields.items()}
        document: _Json = {"type": "object"}
        about = _sentence(schema)
        if about:
            document["description"] = about
        document["properties"] = {name: field_schema(field, self.ref) for name, field in named.items()}
        required = [name for name, field in named.items() if field.required]
        if required:
            document["required"] = required
        if instance.unknown == RAISE:
            document["additionalProperties"] = False
        for name, more in _TOGETHER.get(schema, {}).items():
            if name == "properties":
                for field_name, narrower in more.items():
                    document["properties"][field_name] |= narrower
            else:
                document[name] = more
        return document


def field_schema(field: fields.Field[Any], ref: Callable[[type[Schema]], _Json]) -> _Json:
    """The JSON Schema of one field. `ref` refers to the schemas of other documents. Raises `TypeError` for a kind of
    field that it does not know.
    """
    document = _kind(field, ref)
    about = field.metadata.get("description")
    if about and "$ref" not in document:
        document["description"] = about
    if field.allow_none and document:
        document = _nullable(document)
    return document


def _nullable(document: _Json) -> _Json:
    if "type" in document and "enum" not in document:
        return {**document, "type": [document["type"], "null"]}
    about = {"description": document.pop("description")} if "description" in document else {}
    return {**about, "oneOf": [document, {"type": "null"}]}


def _kind(field: fields.Field[Any], ref: Callable[[type[Schema]], _Json]) -> _Json:
    match field:
        case Text():
            return _text(field)
        case Whole():
            return {"type": "integer", "minimum": field.least, "maximum": field.most}
        case Flag() | fields.Boolean():
            return {"type": "boolean"}
        case fields.List():
            return {"type": "array", "items": field_schema(field.inner, ref), **_length(field)}
        case fields.Dict():
            assert field.value_field is not None
            return {"type": "object", "additionalProperties": field_schema(field.value_field, ref)}
        case fields.Nested():
            return ref(type(field.schema))
        case fields.Integer():
            return {"type": "integer", **_range(field)}
        case fields.Float():
            return {"type": "number", **_range(field)}
        case fields.String():
            choices = [
                each for check in field.validators if isinstance(check, validate.OneOf) for each in check.choices
            ]
            return {"type": "string", **({"enum": choices} if choices else {})}
        case _ if type(field) is fields.Raw:
            return {}
    raise TypeError(f"There is no JSON Schema for {type(field).__name__}.")


def _text(field: Text) -> _Json:
    document: _Json = {"type": "string"}
    shortest = max(field.shortest, 0 if field.blank else 1)
    if shortest:
        document["minLength"] = shortest
    if field.longest is not None:
        document["maxLength"] = field.longest
    if field.pattern is not None:
        document["pattern"] = f"^{field.pattern.pattern}$"
    elif isinstance(field, Emoji):
        document["description"] = "One character as a reader sees it."
    else:
        document["pattern"] = _SINGLE_LINE if field.single_line else _NO_NUL
        if not field.blank:
            document["allOf"] = [{"pattern": _SOMETHING}]
    return document


def _length(field: fields.List[Any]) -> _Json:
    bounds: _Json = {}
    for check in field.validators:
        if isinstance(check, validate.Length):
            bounds |= {} if check.min is None else {"minItems": check.min}
            bounds |= {} if check.max is None else {"maxItems": check.max}
    return bounds


def _range(field: fields.Field[Any]) -> _Json:
    bounds: _Json = {}
    for check in field.validators:
        if isinstance(check, validate.Range):
            bounds |= {} if check.min is None else {"minimum": check.min}
            bounds |= {} if check.max is None else {"maximum": check.max}
    return bounds


def _sentence(schema: type[Schema]) -> str:
    """What the schema's docstring says first."""
    text = schema.__dict__.get("__doc__") or ""
    return " ".join(text.strip().partition("\n\n")[0].split())
