"""Socket.IO as an AsyncAPI 3.0 document: a channel for each namespace.

AsyncAPI has no words for Socket.IO, so this is what they mean here. A message's `name` is the event's name and its
payload the event's only argument. What the service receives it answers with an acknowledgement, which is the reply of
the operation: one argument too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from marshmallow import Schema

from hubbub.events import (
    ADMIN,
    ADMIN_CLIENT_EVENTS,
    ADMIN_SERVER_EVENTS,
    CHAT,
    CLIENT_EVENTS,
    PRESENCE,
    PRESENCE_CLIENT_EVENTS,
    PRESENCE_SERVER_EVENTS,
    SERVER_EVENTS,
    ClientEvent,
    ServerEvent,
)
from hubbub.http.spec.documents import Error
from hubbub.http.spec.examples import example_of
from hubbub.http.spec.jsonschema import Components
from hubbub.http.spec.shapes import ANSWERS, PUSHED
from hubbub.version import VERSION

__all__ = ["NAMESPACES", "Namespace", "ack_schema", "asyncapi_document"]

_Json = dict[str, Any]

_ABOUT: Final = (
    "Socket.IO protocol 5 over Engine.IO 4; stock clients connect as they are. Each channel is a namespace. The name "
    "of a message is the event's name, its payload the event's only argument, and the reply of an operation the "
    "acknowledgement's only argument. A connection brings its token as `token` in the `auth` payload of the CONNECT "
    "packet, or as for HTTP. Plain HTTP is described in `openapi.json`, beside this."
)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace and its events."""

    name: str
    about: str
    client: Sequence[ClientEvent]
    server: Sequence[ServerEvent]


NAMESPACES: Final = (
    Namespace(CHAT, "Rooms, messages, and what was read of them.", CLIENT_EVENTS, SERVER_EVENTS),
    Namespace(PRESENCE, "Who is here, and how they are.", PRESENCE_CLIENT_EVENTS, PRESENCE_SERVER_EVENTS),
    Namespace(ADMIN, "For tokens with the role `admin`.", ADMIN_CLIENT_EVENTS, ADMIN_SERVER_EVENTS),
)


def asyncapi_document(namespaces: Sequence[Namespace] = NAMESPACES) -> _Json:
    """The document, of JSON's types alone."""
    components = Components()
    channels: _Json = {}
    operations: _Json = {}
    for namespace in namespaces:
        key = namespace.name.lstrip("/")
        channels[key] = {
            "address": namespace.name,
            "title": namespace.name,
            "description": namespace.about,
            "messages": _messages(namespace, components),
        }
        operations |= _operations(namespace, key)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Hubbub over Socket.IO", "version": VERSION, "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {
            "this": {
                "host": "{host}",
                "protocol": "ws",
                "protocolVersion": "13",
                "pathname": "/socket.io/",
                "description": "The service that this document came from. `wss` where TLS ends before it.",
                "variables": {"host": {"description": "Its host and port.", "default": "localhost:8080"}},
                "security": [{"$ref": "#/components/securitySchemes/token"}],
            }
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "schemas": components.schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The same token as `token` in the `auth` payload.",
                }
            },
        },
    }


def ack_schema(data: type[Schema], components: Components) -> _Json:
    """What an event is acknowledged with: `data`, or an error."""
    done: _Json = {
        "type": "object",
        "properties": {"ok": {"const": True}, "data": components.ref(data)},
        "required": ["ok", "data"],
    }
    failed: _Json = {
        "type": "object",
        "properties": {"ok": {"const": False}, "error": components.ref(Error)},
        "required": ["ok", "error"],
    }
    return {"oneOf": [done, failed]}


def _messages(namespace: Namespace, components: Components) -> _Json:
    messages: _Json = {}
    for event in namespace.client:
        schema = type(event.schema)
        messages[_key(event.name)] = _message(event.name, event.meaning, components.ref(schema), example_of(schema))
        data = ANSWERS[namespace.name][event.name]
        if data is not None:
            example = {"ok": True, "data": example_of(data)}
            about = f"The acknowledgement of {event.name}."
            messages[_ack(event.name)] = _message(f"{event.name} (ack)", about, ack_schema(data, components), example)
    for pushed in namespace.server:
        document = PUSHED[namespace.name][pushed.name]
        messages[_pushed(pushed.name)] = _message(
            pushed.name, pushed.meaning, components.ref(document), example_of(document)
        )
    return messages


def _message(name: str, about: str, payload: _Json, example: _Json) -> _Json:
    return {"name": name, "summary": about, "payload": payload, "examples": [{"payload": example}]}


def _operations(namespace: Namespace, key: str) -> _Json:
    channel = {"$ref": f"#/channels/{key}"}
    operations: _Json = {}
    for event in namespace.client:
        operation: _Json = {
            "action": "receive",
            "channel": channel,
            "summary": event.meaning,
            "messages": [{"$ref": f"#/channels/{key}/messages/{_key(event.name)}"}],
        }
        if ANSWERS[namespace.name][event.name] is not None:
            reply = {"$ref": f"#/channels/{key}/messages/{_ack(event.name)}"}
            operation["reply"] = {"channel": channel, "messages": [reply]}
        operations[f"{key}.{_key(event.name)}"] = operation
    for pushed in namespace.server:
        operations[f"{key}.{_pushed(pushed.name)}"] = {
            "action": "send",
            "channel": channel,
            "summary": pushed.meaning,
            "messages": [{"$ref": f"#/channels/{key}/messages/{_pushed(pushed.name)}"}],
        }
    return operations


def _key(event: str) -> str:
    """An event's name as a key: these have no colon."""
    return event.replace(":", ".")


def _ack(event: str) -> str:
    return f"{_key(event)}.ack"


def _pushed(event: str) -> str:
    """`typing` goes both ways, and is two messages."""
    return f"{_key(event)}.event"
