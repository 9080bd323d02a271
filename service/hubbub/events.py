"""The wire contract: every event of `/chat`, `/presence` and `/admin`, its schema, and how it stands to other events.
One place; the schemas of `/admin` are beside it, in `events_admin`.

Validation, the reference (`docs/reference/events.md`) and later the AsyncAPI document and the TypeScript types are made
from these tables. The prose of the contract is in `docs/reference/wire.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from hubbub import events_admin as admin
from hubbub.fields import Emoji, Flag, Identifier, Text, Whole, quick_loader
from hubbub.fields import Request as _Request

__all__ = [
    "ADMIN",
    "ADMIN_CLIENT_EVENTS",
    "ADMIN_SERVER_EVENTS",
    "CHAT",
    "CLIENT_EVENTS",
    "NOTICE",
    "PRESENCE",
    "PRESENCE_CLIENT_EVENTS",
    "PRESENCE_SERVER_EVENTS",
    "PUBLIC_ROOM_ID",
    "SERVER_EVENTS",
    "AuthRefresh",
    "ClientEvent",
    "HistoryFetch",
    "HistorySearch",
    "HistorySync",
    "MessageEdit",
    "MessageOnly",
    "MessageReact",
    "MessageSend",
    "PresenceGet",
    "PresenceList",
    "PresenceRooms",
    "PresenceSet",
    "ReadMark",
    "RoomCreate",
    "RoomJoin",
    "RoomList",
    "RoomMembers",
    "RoomOnly",
    "RoomRole",
    "RoomUpdate",
    "RoomUser",
    "RoomUserReason",
    "RoomUserTimed",
    "ServerEvent",
    "Typing",
    "admin_event",
    "chat_event",
    "presence_event",
]

CHAT: Final = "/chat"
PRESENCE: Final = "/presence"
ADMIN: Final = "/admin"
PUBLIC_ROOM_ID: Final = r"[a-z0-9][a-z0-9._-]{0,63}"

_MAX_PAGE: Final = 500
_MOST_WATCHED: Final = 20
"""Rooms of one request: with a hundred users in each list their answer is about as large as a page of history."""

_MOST_USERS: Final = 50
_MONTHS_S: Final = 10 * 366 * 24 * 3600
"""The longest ban or mute that can be given in seconds: ten years; without `seconds` it has no end."""


class RoomCreate(_Request):
    id = Text(pattern=PUBLIC_ROOM_ID, expects="Not of the form [a-z0-9][a-z0-9._-]{0,63}.")
    title = Text(longest=100, single_line=True, blank=False)
    kind = fields.String(required=True, validate=validate.OneOf(["public", "private", "direct"]))
    topic = Text(longest=500)
    capacity = Whole(least=1)
    members = fields.List(Identifier(), validate=validate.Length(max=100))

    @validates_schema
    def fit_together(self, data: Mapping[str, Any], **kwargs: Any) -> None:
        kind = data.get("kind")
        if kind == "direct":
            if len(data.get("members", ())) != 1:
                raise ValidationError("A direct room has exactly one other member.", "members")
            for name in ("id", "capacity"):
                if name in data:
                    raise ValidationError("Not for direct rooms.", name)
        elif "title" not in data:
            raise ValidationError("Missing data for required field.", "title")
        elif kind == "private" and "id" in data:
            raise ValidationError("Only public rooms have an id of the client's choice.", "id")


class RoomList(_Request):
    query = Text(longest=100, single_line=True)
    mine = Flag()
    limit = Whole(least=1, most=_MAX_PAGE)
    cursor = Text(longest=1024, allow_none=True)


class RoomJoin(_Request):
    room = Identifier()
    since = Whole()
    epoch = Identifier(required=False)
    limit = Whole(least=1, most=_MAX_PAGE)

    @validates_schema
    def fit_together(self, data: Mapping[str, Any], **kwargs: Any) -> None:
        if data.get("since", 0) > 0 and "epoch" not in data:
            raise ValidationError("Needed with since > 0.", "epoch")


class RoomOnly(_Request):
    room = Identifier()


class RoomUpdate(_Request):
    room = Identifier()
    title = Text(longest=100, single_line=True, blank=False)
    topic = Text(longest=500)
    capacity = Whole(least=1)
    slow_mode_s = Whole(most=6 * 3600)


class RoomUser(_Request):
    room = Identifier()
    user = Identifier()


class RoomUserReason(RoomUser):
    reason = Text(longest=200, single_line=True)


class RoomUserTimed(RoomUserReason):
    seconds = Whole(most=_MONTHS_S)


class RoomRole(RoomUser):
    role = fields.String(required=True, validate=validate.OneOf(["owner", "moderator", "member"]))


class RoomMembers(_Request):
    room = Identifier()
    cursor = Text(longest=1024, allow_none=True)
    limit = Whole(least=1, most=_MAX_PAGE)


class MessageSend(_Request):
    room = Identifier()
    key = Identifier(longest=64)
    body = Text(required=True, blank=False)
    reply_to = Text(longest=128, allow_none=True)


class MessageEdit(_Request):
    room = Identifier()
    id = Identifier()
    body = Text(required=True, blank=False)
    rev = Whole(least=1)


class MessageOnly(_Request):
    room = Identifier()
    id = Identifier()


class MessageReact(_Request):
    room = Identifier()
    id = Identifier()
    emoji = Emoji()
    on = Flag(required=True)


class HistoryFetch(_Request):
    room = Identifier()
    before = Whole()
    after = Whole()
    around = Whole()
    limit = Whole(least=1, most=_MAX_PAGE)

    @validates_schema
    def fit_together(self, data: Mapping[str, Any], **kwargs: Any) -> None:
        given = [name for name in ("before", "after", "around") if name in data]
        if len(given) > 1:
            raise ValidationError("At most one of before, after and around.", given[1])


class HistorySync(_Request):
    room = Identifier()
    since = Whole(required=True)
    epoch = Identifier(required=False)
    limit = Whole(least=1, most=_MAX_PAGE)


class HistorySearch(_Request):
    query = Text(required=True, longest=200, blank=False, single_line=True)
    room = Identifier(required=False)
    limit = Whole(least=1, most=_MAX_PAGE)
    cursor = Text(longest=1024, allow_none=True)


class Typing(_Request):
    room = Identifier()
    on = Flag(required=True)


class ReadMark(_Request):
    room = Identifier()
    seq = Whole(required=True)


class AuthRefresh(_Request):
    token = Text(required=True, shortest=1, longest=16384)


class PresenceRooms(_Request):
    rooms = fields.List(Identifier(), required=True, validate=validate.Length(min=1, max=_MOST_WATCHED))


class PresenceSet(_Request):
    status = fields.String(required=True, validate=validate.OneOf(["online", "away", "busy", "invisible"]))
    text = Text(longest=100, single_line=True)


class PresenceGet(_Request):
    users = fields.List(Identifier(), required=True, validate=validate.Length(min=1, max=_MOST_USERS))


class PresenceList(_Request):
    room = Identifier()
    cursor = Text(longest=1024, allow_none=True)
    limit = Whole(least=1, most=_MAX_PAGE)


@dataclass(frozen=True, slots=True)
class ClientEvent:
    """An event that clients send. `pipelined` and `free` are the two exceptions to order (see
    `transport.admission`)."""

    name: str
    schema: Schema
    answer: str
    meaning: str
    pipelined: bool = False
    free: bool = False
    quick: Callable[[Mapping[str, Any]], dict[str, Any] | None] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "quick", quick_loader(self.schema, also=getattr(self.schema, "fit_together", None)))

    def load(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The request in `data`; raises marshmallow's `ValidationError`."""
        quick = self.quick(data)
        if quick is not None:
            return quick
        loaded: dict[str, Any] = self.schema.load(data)
        return loaded


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """An event that the server sends."""

    name: str
    document: str
    meaning: str


CLIENT_EVENTS: Final[tuple[ClientEvent, ...]] = (
    ClientEvent("room:create", RoomCreate(), "{room}", "Create a room; its creator becomes owner and member."),
    ClientEvent("room:list", RoomList(), "{rooms, cursor}", "List the rooms that the caller may know, by id."),
    ClientEvent(
        "room:join",
        RoomJoin(),
        "{room, messages, outcome, head, next, members}",
        "Become a member and subscribe this connection; with `since`, get what changed after it.",
    ),
    ClientEvent("room:leave", RoomOnly(), "{}", "End the membership, or decline an invitation."),
    ClientEvent("room:update", RoomUpdate(), "{room}", "Change what describes a room."),
    ClientEvent("room:delete", RoomOnly(), "{}", "Delete a room and its history."),
    ClientEvent("room:invite", RoomUserReason(), "{}", "Let a user know of a room and join it."),
    ClientEvent("room:kick", RoomUserReason(), "{}", "End somebody else's membership."),
    ClientEvent("room:ban", RoomUserTimed(), "{}", "Keep a user out, for some seconds or without end."),
    ClientEvent("room:unban", RoomUserReason(), "{}", "End a ban."),
    ClientEvent("room:mute", RoomUserTimed(), "{}", "Let a user read only; `seconds: 0` ends it."),
    ClientEvent("room:role", RoomRole(), "{}", "Make a member owner, moderator or plain member."),
    ClientEvent(
        "room:purge",
        RoomUserReason(),
        "{purged, more}",
        "Delete what a user has said in a room, the newest 500 first; `more`: ask again.",
    ),
    ClientEvent("room:members", RoomMembers(), "{members, cursor}", "List the members, longest-standing first."),
    ClientEvent("message:send", MessageSend(), "{message, duplicate}", "Send a message, once per key.", pipelined=True),
    ClientEvent("message:edit", MessageEdit(), "{message}", "Change the body of one's own message."),
    ClientEvent("message:delete", MessageOnly(), "{message}", "Empty a message; its place stays."),
    ClientEvent("message:react", MessageReact(), "{message}", "Give or take back a reaction."),
    ClientEvent(
        "history:fetch", HistoryFetch(), "{messages, more_before, more_after}", "Read a page of the history by seq."
    ),
    ClientEvent(
        "history:sync", HistorySync(), "{messages, outcome, next, head}", "Read what changed after a revision."
    ),
    ClientEvent("history:search", HistorySearch(), "{messages, cursor}", "Find messages by words and quoted phrases."),
    ClientEvent("typing", Typing(), "none", "Say that one is typing, or not any more. Volatile.", free=True),
    ClientEvent("read:mark", ReadMark(), "{read_seq, unread}", "Say how far one has read."),
    ClientEvent("auth:refresh", AuthRefresh(), "{user, expires_at}", "Replace the token of the whole connection."),
)

_BY_NAME: Final[Mapping[str, ClientEvent]] = {event.name: event for event in CLIENT_EVENTS}

SERVER_EVENTS: Final[tuple[ServerEvent, ...]] = (
    ServerEvent("hello", "{user, node, server_time, limits, version}", "The first event of a connection."),
    ServerEvent("message", "message", "A message, new or changed; one per revision of each joined room."),
    ServerEvent("room", "room without role, read_seq and unread", "A room document changed."),
    ServerEvent("room:added", "{room}", "The user was invited, or has a new direct room."),
    ServerEvent("room:removed", "{room, reason}", "The user is no member any more, or the room is gone."),
    ServerEvent("member", "{room, user, role | left: true}", "Somebody's membership changed."),
    ServerEvent("activity", "{room, seq, mention}", "A member's room that is not joined here has news. Coalesced."),
    ServerEvent("typing", "{room, user, on}", "Somebody types. Volatile."),
    ServerEvent("read", "{room, user, seq}", "Somebody has read up to seq. Volatile."),
    ServerEvent("notice", "{level, text}", "Word from the administrators: info, warning or critical."),
    ServerEvent(
        "gap",
        "{room, head}",
        "The room is suspended on this connection, which reads too slowly, until it is joined again.",
    ),
    ServerEvent("draining", "{reconnect_in_ms}", "This node is going away, and ends this connection about then."),
    ServerEvent("closing", "{code, message, reconnect, retry_after?}", "The server is about to end this connection."),
    ServerEvent("token:expiring", "{expires_at}", "The token is about to expire; send auth:refresh."),
)

NOTICE: Final = admin.NoticeSend(exclude=("room",))
"""What clients get as `notice`, whoever has said it: `{level, text}`, as `notice:send` of `/admin` takes them."""

PRESENCE_CLIENT_EVENTS: Final[tuple[ClientEvent, ...]] = (
    ClientEvent(
        "presence:watch",
        PresenceRooms(),
        "{rooms: {ROOM: {version, count, users}}}",
        "See who is in these rooms, and be told what changes; all of them, or none if one is refused.",
    ),
    ClientEvent("presence:unwatch", PresenceRooms(), "{}", "Be told of these rooms no more."),
    ClientEvent("presence:set", PresenceSet(), "{status, text}", "Say how one is, on this device."),
    ClientEvent("presence:get", PresenceGet(), "{users}", "Ask how users are, and when they were last seen."),
    ClientEvent("presence:list", PresenceList(), "{users, cursor}", "List who is in a room, by id."),
    ClientEvent("auth:refresh", AuthRefresh(), "{user, expires_at}", "Replace the token of the whole connection."),
)

_PRESENCE_BY_NAME: Final[Mapping[str, ClientEvent]] = {event.name: event for event in PRESENCE_CLIENT_EVENTS}

PRESENCE_SERVER_EVENTS: Final[tuple[ServerEvent, ...]] = (
    ServerEvent("hello", "{user, node, server_time, limits, version}", "The first event of a connection."),
    ServerEvent(
        "presence",
        "{room, version, count, joined, left, changed, users?}",
        "What changed in a watched room. Coalesced, volatile; `version` rises by one.",
    ),
    ServerEvent("room:removed", "{room, reason}", "A room is not watched any more: it is gone, or may not be read."),
    ServerEvent("draining", "{reconnect_in_ms}", "This node is going away, and ends this connection about then."),
    ServerEvent("closing", "{code, message, reconnect, retry_after?}", "The server is about to end this connection."),
    ServerEvent("token:expiring", "{expires_at}", "The token is about to expire; send auth:refresh."),
)

ADMIN_CLIENT_EVENTS: Final[tuple[ClientEvent, ...]] = (
    ClientEvent("stats:watch", admin.StatsWatch(), "{}", "Get `stats` every so often; `every_ms: 0` ends it."),
    ClientEvent("nodes:list", admin.NodesList(), "{nodes}", "List the nodes that live, with their figures."),
    ClientEvent("rooms:list", admin.RoomsList(), "{rooms, cursor}", "List public and private rooms, by id."),
    ClientEvent(
        "connections:list",
        admin.ConnectionsList(),
        "{connections, cursor, missing?}",
        "List connections by node and age; `missing` are nodes that did not answer in time.",
    ),
    ClientEvent("connection:disconnect", admin.ConnectionDisconnect(), "{}", "End one connection."),
    ClientEvent("user:disconnect", admin.UserDisconnect(), "{}", "End all connections of a user."),
    ClientEvent("user:ban", admin.UserBan(), "{}", "Keep a user out of the service, for some seconds or without end."),
    ClientEvent("user:unban", admin.UserUnban(), "{}", "End such a ban."),
    ClientEvent("bans:list", admin.BansList(), "{bans, cursor}", "List the bans in force, by user."),
    ClientEvent("token:revoke", admin.TokenRevoke(), "{}", "End a token, or all that a user was given until now."),
    ClientEvent("room:delete", admin.RoomDelete(), "{}", "Delete a room and its history."),
    ClientEvent("notice:send", admin.NoticeSend(), "{}", "Say something to everybody in `/chat`, or in a room."),
    ClientEvent("node:drain", admin.NodeDrain(), "{}", "Have a node let its clients go and end."),
    ClientEvent("audit:list", admin.AuditList(), "{entries, cursor}", "Read who did what and why, newest first."),
    ClientEvent("auth:refresh", AuthRefresh(), "{user, expires_at}", "Replace the token of the whole connection."),
)

_ADMIN_BY_NAME: Final[Mapping[str, ClientEvent]] = {event.name: event for event in ADMIN_CLIENT_EVENTS}

ADMIN_SERVER_EVENTS: Final[tuple[ServerEvent, ...]] = (
    ServerEvent("hello", "{user, node, server_time, limits, version}", "The first event of a connection."),
    ServerEvent("stats", "figures of the whole service", "How the service does, as `stats:watch` asked for it."),
    ServerEvent("draining", "{reconnect_in_ms}", "This node is going away, and ends this connection about then."),
    ServerEvent("closing", "{code, message, reconnect, retry_after?}", "The server is about to end this connection."),
    ServerEvent("token:expiring", "{expires_at}", "The token is about to expire; send auth:refresh."),
)


def admin_event(name: str) -> ClientEvent | None:
    """The event of `/admin` of this name, None if the contract has none."""
    return _ADMIN_BY_NAME.get(name)


def chat_event(name: str) -> ClientEvent | None:
    """The event of `/chat` of this name, None if the contract has none."""
    return _BY_NAME.get(name)


def presence_event(name: str) -> ClientEvent | None:
    """The event of `/presence` of this name, None if the contract has none."""
    return _PRESENCE_BY_NAME.get(name)
