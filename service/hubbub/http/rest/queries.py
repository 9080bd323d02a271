"""What a request says in its URL and its headers, checked by the same schemas as what events say in JSON.

There everything is text. It becomes what the field of its name takes, if it looks exactly like that; else it stays
text, and the schema says what is wrong with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from marshmallow import Schema, ValidationError

from hubbub.errors import HubbubError
from hubbub.fields import Flag, Whole
from hubbub.pipeline.validation import flatten

__all__ = ["read_header", "read_path", "read_query", "refuse_query"]

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_FLAGS: Final = {"true": True, "false": False}


def read_query(request: web.Request, schema: Schema) -> dict[str, Any]:
    """The query as `schema` loads it; `bad_request` names what is wrong. What is given twice is wrong."""
    values: dict[str, Any] = {}
    for name, text in request.query.items():
        if name in values:
            raise _twice(name)
        values[name] = _typed(schema, name, text)
    return _load(schema, values)


def refuse_query(request: web.Request) -> None:
    """For what takes no query: whatever is in one is wrong, and named."""
    if request.query:
        raise HubbubError("bad_request", fields=flatten({name: ["Unknown field."] for name in request.query}))


def read_path(request: web.Request, schema: Schema) -> dict[str, Any]:
    """What is in the path, decoded once."""
    return _load(schema, dict(request.match_info))


def read_header(request: web.Request, schema: Schema) -> dict[str, Any]:
    """The headers that `schema` has fields for; all others are left alone. What is given twice is wrong."""
    given: dict[str, Any] = {}
    for name in schema.fields:
        texts = request.headers.getall(name, [])
        if len(texts) > 1:
            raise _twice(name)
        if texts:
            given[name] = texts[0]
    return _load(schema, given)


def _twice(name: str) -> HubbubError:
    return HubbubError("bad_request", fields=flatten({name: ["Given more than once."]}))


def _typed(schema: Schema, name: str, text: str) -> object:
    field = schema.fields.get(name)
    if isinstance(field, Whole) and _INTEGER.fullmatch(text):
        return int(text)
    if isinstance(field, Flag):
        return _FLAGS.get(text, text)
    return text


def _load(schema: Schema, values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(values)
    except ValidationError as error:
        messages = error.messages if isinstance(error.messages, dict) else {"": error.messages}
        raise HubbubError("bad_request", fields=flatten(messages)) from None
    return loaded
