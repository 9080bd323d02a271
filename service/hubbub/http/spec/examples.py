"""Examples for `GET /api/spec`, made from the schemas: a value for each name, put together as a schema says.

So there is one for every request and document, and none can be of an older version than its schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from marshmallow import Schema, fields, validate

from hubbub import events, events_admin
from hubbub.fields import Flag, Whole
from hubbub.http.spec import documents, shapes

__all__ = ["example_of"]

_AT: Final = 1_795_608_000_000
"""2026-11-25, noon."""

_ROOM: Final = "tea"
_UID: Final = "mfrggzdfmztwq2lk"

_VALUES: Final[Mapping[str, Any]] = {
    "room": _ROOM,
    "title": "Tea time",
    "kind": "public",
    "topic": "Leaves and water",
    "query": "tea",
    "mine": True,
    "limit": 50,
    "cursor": None,
    "since": 41,
    "epoch": f"{_UID}.1",
    "capacity": 10_000,
    "slow_mode_s": 0,
    "user": "u-17",
    "users": ["u-17"],
    "members": 2,
    "reason": "Spam.",
    "seconds": 3600,
    "role": "member",
    "key": "5f2c7b0e-1",
    "Idempotency-Key": "5f2c7b0e-1",
    "body": "Hello, Ada.",
    "reply_to": None,
    "emoji": "👍",
    "on": True,
    "seq": 42,
    "rev": 42,
    "before": 42,
    "token": "eyJhbGciOiJIUzI1NiJ9.e30.sig",
    "rooms": [_ROOM],
    "status": "online",
    "text": "Back at noon.",
    "created_at": _AT,
    "edited_at": None,
    "deleted": False,
    "mentions": [],
    "head": 42,
    "next": 42,
    "read_seq": 42,
    "unread": 0,
    "name": "Ada",
    "guest": False,
    "last_seen": None,
    "node": "node-1",
    "nodes": ["node-1"],
    "missing": ["node-2"],
    "version": "0.1.0",
    "server_time": _AT,
    "expires_at": _AT + 3_600_000,
    "at": _AT,
    "until": _AT + 3_600_000,
    "started_at": _AT,
    "muted_until": 0,
    "outcome": "full",
    "code": "rate_limited",
    "message": "Too many requests; wait `retry_after` seconds.",
    "retryable": True,
    "retry_after": 1.5,
    "fields": {"body": ["Is empty."]},
    "reconnect": True,
    "reconnect_in_ms": 1500,
    "duplicate": False,
    "more_before": True,
    "more_after": False,
    "purged": 12,
    "more": False,
    "mention": True,
    "left": ["u-18"],
    "level": "info",
    "every_ms": 2000,
    "jti": "0b7f4f6e",
    "by": "u-1",
    "actor": "u-1",
    "action": "user:ban",
    "target": {"user": "u-17"},
    "namespaces": ["/chat"],
    "transport": "websocket",
    "address": "192.0.2.7",
    "store": "up",
    "connections": {"/chat": 120},
    "uptime_s": 86_400,
    "memory_bytes": 150_000_000,
    "reasons": ["the store does not answer"],
    "openapi": {"openapi": "3.1.0"},
    "asyncapi": {"asyncapi": "3.0.0"},
}

_WHOLE: Final[Mapping[type[Schema], Mapping[str, Any]]] = {
    events.RoomCreate: {"id": _ROOM, "title": "Tea time", "kind": "public"},
    events.HistoryFetch: {"room": _ROOM, "before": 42, "limit": 50},
    events.HistorySearch: {"query": 'green "tea leaves"', "room": _ROOM},
    events_admin.TokenRevoke: {"user": "u-17", "reason": "The laptop was stolen."},
    events_admin.NoticeSend: {"level": "info", "text": "The service is updated at noon."},
    documents.Limits: {
        "body": 8192,
        "packet_bytes": 131_072,
        "page": 500,
        "page_default": 50,
        "rooms_per_user": 1000,
        "capacity": 10_000,
        "capacity_max": 100_000,
        "members_listed": 100,
        "mentions": 20,
        "reactions": 20,
        "reactors": 1000,
    },
    shapes.MemberChanged: {
        "room": _ROOM,
        "user": {
            "id": "u-17",
            "name": "Ada",
            "guest": False,
            "status": "online",
            "text": "",
            "last_seen": None,
        },
        "role": "member",
    },
}
"""Of schemas whose fields do not all go together, or whose names mean something else."""

_OPTIONAL: Final = frozenset({"limit", "retry_after", "Idempotency-Key"})
"""What may be left out and is shown all the same."""


def example_of(schema: type[Schema]) -> dict[str, Any]:
    """A document that fits."""
    whole = _WHOLE.get(schema)
    if whole is not None:
        return dict(whole)
    named = {field.data_key or name: field for name, field in schema().fields.items()}
    return {name: _value(name, field) for name, field in named.items() if field.required or name in _OPTIONAL}


def _value(name: str, field: fields.Field[Any]) -> Any:
    match field:
        case fields.Nested():
            return example_of(type(field.schema))
        case fields.List(inner=fields.Nested() as inner):
            return [example_of(type(inner.schema))]
        case fields.Dict(value_field=fields.Nested() as inner):
            return {_ROOM: example_of(type(inner.schema))}
    known = _VALUES.get(name)
    if known is not None and _is_of(field, known):
        return known
    if name == "id":
        return f"{_UID}-42"
    if field.allow_none:
        return None
    return _any(field)


def _is_of(field: fields.Field[Any], value: Any) -> bool:
    match field:
        case Whole() | fields.Integer():
            return type(value) is int
        case Flag() | fields.Boolean():
            return type(value) is bool
        case fields.List():
            return isinstance(value, list)
        case fields.Dict():
            return isinstance(value, dict)
        case fields.Float():
            return isinstance(value, float)
    choices = _choices(field)
    return isinstance(value, str) and (not choices or value in choices)


def _any(field: fields.Field[Any]) -> Any:
    match field:
        case Whole():
            return max(field.least, 1)
        case fields.Integer():
            return 1
        case Flag() | fields.Boolean():
            return True
        case fields.List():
            return []
        case fields.Dict():
            return {}
        case fields.Float():
            return 0.5
    choices = _choices(field)
    return choices[0] if choices else "…"


def _choices(field: fields.Field[Any]) -> list[str]:
    return [each for check in field.validators if isinstance(check, validate.OneOf) for each in check.choices]
