"""Every operation of plain HTTP, its schemas, and how it may fail: one place, as `hubbub.events` is for Socket.IO.

The routes, the validation, `GET /api/spec` and `docs/reference/rest.md` are made from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from marshmallow import EXCLUDE, Schema

from hubbub.errors import CATALOGUE, Code
from hubbub.events import HistoryFetch, MessageSend, RoomList
from hubbub.fields import Identifier, Request
from hubbub.http.guest import GuestRequest
from hubbub.http.spec import documents as doc
from hubbub.http.spec.documents import choice, each, mapping, nested, text
from hubbub.http.spec.shapes import MessagesPage, RoomAnswer, RoomsPage, Sent

__all__ = [
    "KEY",
    "OPERATIONS",
    "Alive",
    "Document",
    "Guest",
    "MessagePost",
    "MessagesQuery",
    "Operation",
    "Ready",
    "RoomPath",
    "SendHeaders",
    "Specification",
    "operation",
]

KEY: Final = "Idempotency-Key"
"""The header that stands for `key` in `message:send`."""


class RoomPath(Request):
    """The room's id in the path, where its `:` may stand as it is or as `%3A`."""

    id = Identifier()


class MessagesQuery(HistoryFetch):
    """What `history:fetch` takes, less what is in the path."""

    class Meta(HistoryFetch.Meta):
        exclude = ("room", "around")


class MessagePost(MessageSend):
    """What `message:send` takes, less what is in the path and the header."""

    class Meta(MessageSend.Meta):
        exclude = ("room", "key")


class _Key(Schema):
    class Meta:
        unknown = EXCLUDE


SendHeaders = _Key.from_dict({KEY: Identifier(longest=64)}, name="SendHeaders")
"""The key; of all other headers nothing is asked."""


class Guest(doc.Shape):
    """A new guest, and the token that makes its bearer this guest."""

    token = text("A JWT.")
    user = nested(doc.User)


class Specification(doc.Shape):
    """Both documents."""

    openapi = mapping(doc.anything(), "OpenAPI 3.1: plain HTTP.")
    asyncapi = mapping(doc.anything(), "AsyncAPI 3.0: Socket.IO.")


class Document(doc.Shape):
    """A document that describes the service."""


class Alive(doc.Shape):
    """The process answers."""

    status = choice("Always the same.", "alive")


class Ready(doc.Shape):
    """Whether the node takes clients."""

    status = choice("`ready` and `degraded` nodes do.", "starting", "ready", "degraded", "draining")
    reasons = each(text(""), "Why, for those who may know.", required=False)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path. `answers` are its documents by status, None for what is not JSON; `codes` are the errors
    that it may answer with. `token` says whether it asks for one.
    """

    name: str
    method: Literal["GET", "POST"]
    path: str
    meaning: str
    answers: Mapping[int, type[Schema] | None]
    codes: tuple[Code, ...] = ()
    token: bool = True
    path_schema: Schema | None = None
    query: Schema | None = None
    header: Schema | None = None
    body: Schema | None = None
    about: str = ""
    tag: str = "rest"

    @property
    def statuses(self) -> Mapping[int, tuple[Code, ...]]:
        """The codes of errors by their status, ascending."""
        statuses: dict[int, tuple[Code, ...]] = {}
        for code in sorted(self.codes, key=lambda code: CATALOGUE[code].http_status):
            status = CATALOGUE[code].http_status
            statuses[status] = (*statuses.get(status, ()), code)
        return statuses


_ASKED: Final[tuple[Code, ...]] = (
    "bad_request",
    "unauthorized",
    "token_expired",
    "forbidden",
    "banned",
    "rate_limited",
    "internal",
    "draining",
    "unavailable",
)
"""How everything may fail that asks for a token."""

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        "listRooms",
        "GET",
        "/api/rooms",
        "List the rooms that the caller may know, by id.",
        {200: RoomsPage},
        _ASKED,
        query=RoomList(),
        about="`query` is a part of the title or the id, `mine=true` leaves only rooms that the caller belongs to. A "
        "token that is limited to rooms sees those only.",
    ),
    Operation(
        "getRoom",
        "GET",
        "/api/rooms/{id}",
        "Read one room as the caller sees it.",
        {200: RoomAnswer},
        (*_ASKED, "not_found"),
        path_schema=RoomPath(),
    ),
    Operation(
        "listMessages",
        "GET",
        "/api/rooms/{id}/messages",
        "Read a page of a room's history by `seq`, ascending.",
        {200: MessagesPage},
        (*_ASKED, "not_found"),
        path_schema=RoomPath(),
        query=MessagesQuery(),
        about="At most one of `before` and `after`, both exclusive; with neither, the newest page. A page ends at "
        "`limit` messages or 256 KB of them: go on while `more_before`.",
    ),
    Operation(
        "sendMessage",
        "POST",
        "/api/rooms/{id}/messages",
        "Send a message, once per key.",
        {200: Sent, 201: Sent},
        (*_ASKED, "muted", "not_found", "conflict", "room_full", "too_large", "slow_mode"),
        path_schema=RoomPath(),
        header=SendHeaders(),
        body=MessagePost(),
        about="201 with a new message; 200 with the one that this user sent to this room under the same key before, "
        "whatever the body is now and whatever would refuse it by now. After 500, 503 or no answer the outcome is "
        "unknown: repeat it with the same key. Members may send. A token with the role `bot` becomes a member of a "
        "public room with its first message.",
    ),
    Operation(
        "createGuest",
        "POST",
        "/api/guest",
        "Get a token for a new guest, while guests are admitted.",
        {200: Guest},
        ("bad_request", "forbidden", "not_found", "too_large", "internal"),
        token=False,
        body=GuestRequest(),
    ),
    Operation(
        "getSpecification",
        "GET",
        "/api/spec",
        "Read both descriptions of this service.",
        {200: Specification},
        ("bad_request", "forbidden", "internal"),
        token=False,
        tag="about",
    ),
    Operation(
        "getOpenapi",
        "GET",
        "/api/spec/openapi.json",
        "Read the description of plain HTTP alone: OpenAPI 3.1.",
        {200: Document},
        ("bad_request", "forbidden", "internal"),
        token=False,
        tag="about",
    ),
    Operation(
        "getAsyncapi",
        "GET",
        "/api/spec/asyncapi.json",
        "Read the description of Socket.IO alone: AsyncAPI 3.0.",
        {200: Document},
        ("bad_request", "forbidden", "internal"),
        token=False,
        tag="about",
    ),
    Operation(
        "getHealth",
        "GET",
        "/healthz",
        "Ask whether the process lives.",
        {200: Alive},
        ("internal",),
        token=False,
        tag="operation",
    ),
    Operation(
        "getReadiness",
        "GET",
        "/readyz",
        "Ask whether the node takes clients.",
        {200: Ready, 503: Ready},
        ("internal",),
        about="It stays `ready` while writes wait for a slow store: `hubbub_writer_oldest_seconds`, and the alert "
        "`HubbubStoreSlow`, tell of that.",
        token=False,
        tag="operation",
    ),
    Operation(
        "getMetrics",
        "GET",
        "/metrics",
        "Read the metrics, in the format of Prometheus.",
        {200: None},
        ("not_found", "internal"),
        token=False,
        about="`not_found` to those who may not know of them.",
        tag="operation",
    ),
)

_BY_NAME: Final[Mapping[str, Operation]] = {one.name: one for one in OPERATIONS}


def operation(name: str) -> Operation:
    """The operation of this name; `KeyError` if there is none."""
    return _BY_NAME[name]
