"""The documents of the contract as schemas (WIRE, "Documents"): what the service sends, for those who read it.

They validate nothing here, since what they describe is made by the service itself; tests hold what it sends against
them. They describe what there is: a reader has to put up with fields that a later version adds.
"""

from __future__ import annotations

from typing import Any

from marshmallow import INCLUDE, Schema, fields, validate

from hubbub.errors import CATALOGUE
from hubbub.fields import MAX_INTEGER

__all__ = [
    "AuditEntry",
    "BanEntry",
    "Closing",
    "ConnectionEntry",
    "Error",
    "Figures",
    "Limits",
    "Member",
    "Message",
    "NodeEntry",
    "Reaction",
    "Room",
    "RoomPushed",
    "Sender",
    "Shape",
    "Snapshot",
    "Stats",
    "User",
    "anything",
    "choice",
    "count",
    "each",
    "flag",
    "mapping",
    "nested",
    "number",
    "text",
    "time_ms",
]


class Shape(Schema):
    """What the service sends. A later version may send more."""

    class Meta:
        unknown = INCLUDE


def text(about: str, *, null: bool = False, required: bool = True) -> fields.String:
    """A string."""
    return fields.String(required=required, allow_none=null, metadata={"description": about})


def choice(about: str, *choices: str, null: bool = False, required: bool = True) -> fields.String:
    """One of a few words."""
    return fields.String(
        required=required, allow_none=null, validate=validate.OneOf(choices), metadata={"description": about}
    )


def count(about: str, *, null: bool = False, required: bool = True) -> fields.Integer:
    """A whole number that JSON carries exactly."""
    bounds = validate.Range(min=0, max=MAX_INTEGER)
    return fields.Integer(required=required, allow_none=null, validate=bounds, metadata={"description": about})


def time_ms(about: str, *, null: bool = False, required: bool = True) -> fields.Integer:
    """A time, in milliseconds since the Unix epoch, UTC."""
    return count(f"{about}; in milliseconds since the Unix epoch, UTC.", null=null, required=required)


def number(about: str, *, null: bool = False, required: bool = True) -> fields.Float:
    """A number that need not be whole."""
    return fields.Float(required=required, allow_none=null, metadata={"description": about})


def flag(about: str, *, required: bool = True) -> fields.Boolean:
    """true or false."""
    return fields.Boolean(required=required, metadata={"description": about})


def nested(schema: type[Schema], *, null: bool = False, required: bool = True) -> fields.Nested:
    """Another document."""
    return fields.Nested(schema, required=required, allow_none=null)


def each(
    inner: fields.Field[Any] | type[Schema], about: str, *, null: bool = False, required: bool = True
) -> fields.List[Any]:
    """A list of documents or values."""
    item = inner if isinstance(inner, fields.Field) else fields.Nested(inner)
    return fields.List(item, required=required, allow_none=null, metadata={"description": about})


def mapping(values: fields.Field[Any], about: str, *, required: bool = True) -> fields.Dict:
    """An object whose names are ids."""
    return fields.Dict(keys=fields.String(), values=values, required=required, metadata={"description": about})


def anything() -> fields.Field[Any]:
    """Any value."""
    return fields.Raw(allow_none=True)


class Error(Shape):
    """A failure. What to do about it depends on its `code`; `message` is a sentence for developers and may change."""

    code = choice("What kind of failure it is.", *CATALOGUE)
    message = text("One sentence in English.")
    retryable = flag("Whether the very same request can succeed later.")
    retry_after = number("When to ask again, in seconds.", required=False)
    fields_ = mapping(
        fields.List(fields.String()),
        "What is wrong with the request: dotted paths of fields to sentences.",
        required=False,
    )
    fields_.data_key = "fields"


class Sender(Shape):
    """Who sent a message, as they were called then."""

    id = text("The user's id.")
    name = text("The name that they had.")
    guest = flag("Whether they were a guest.")


class Reaction(Shape):
    """All reactions to a message with the same emoji."""

    emoji = text("One character as a reader sees it.")
    count = count("How many users gave it.")
    users = each(fields.String(), "The ids of the first 20 of them.")


class Message(Shape):
    """A message as it stands. Apply it if its `rev` is higher than that of the one held for its `id`."""

    id = text("Opaque.")
    room = text("The room's id.")
    seq = count("The revision at which it was created, and its place in the room for ever.")
    rev = count("Its latest revision.")
    key = text("What its sender chose, so that it is stored once.")
    sender = nested(Sender)
    body = text("Empty if it was deleted.")
    reply_to = text("The id of the message that it answers.", null=True)
    mentions = each(fields.String(), "The ids of members that the service found in the body.")
    reactions = each(Reaction, "What others think of it.")
    created_at = time_ms("When it was sent")
    edited_at = time_ms("When its body was changed last", null=True)
    deleted = flag("A deleted message keeps its place.")


class RoomPushed(Shape):
    """A room as it is for everybody."""

    id = text("What it is called in requests.")
    title = text("What people call it.")
    kind = choice("Who may know of it.", "public", "private", "direct")
    topic = text("What it is about.")
    capacity = count("How many members it may have.")
    slow_mode_s = count("Seconds between two messages of a plain member; 0 is off.")
    created_at = time_ms("When it was made")
    epoch = text("What its revisions count in; another one means that all that is held of it is void.")
    head = count("Its last revision.")
    members = count("How many members it has.")


class Room(RoomPushed):
    """A room as the asking user sees it."""

    role = choice("The asking user's.", "owner", "moderator", "member", "invited", null=True)
    read_seq = count("How far the asking user has read.")
    unread = count('Messages by others after `read_seq` that are not deleted; 1000 means "or more".')


class User(Shape):
    """A user as others see them."""

    id = text("Opaque.")
    name = text("What others call them.")
    guest = flag("Whether they are a guest.")
    status = choice(
        "How they are; `invisible` is seen by themselves and by administrators.",
        "online", "away", "busy", "invisible", "offline",
    )  # fmt: skip
    text = text("What they say about it.")
    last_seen = time_ms("When they were here last; null of whoever is here, and where nobody asked", null=True)


class Member(Shape):
    """Somebody in a room."""

    user = nested(User)
    role = choice("How they stand to the room.", "owner", "moderator", "member", "invited", null=True)
    muted_until = time_ms("Until when they may only read; 0 if they may write, 2^53-1 if without end")


class Snapshot(Shape):
    """Who is in a room."""

    version = count("The next `presence` event of the room has one more.")
    count = count("How many users are here.")
    users = each(User, "Who they are; null in a large room.", null=True)


class Limits(Shape):
    """The bounds of this service."""

    body = count("Characters of a message.")
    packet_bytes = count("Bytes of a frame.")
    page = count("Entries of a page, at most.")
    page_default = count("Entries of a page, unless `limit` says otherwise.")
    rooms_per_user = count("Rooms that one user is a member of or invited to.")
    capacity = count("Members of a room, unless it is made with another capacity.")
    capacity_max = count("Members of a room, at most.")
    members_listed = count("Members that a join lists.")
    mentions = count("Mentions in a message that count.")
    reactions = count("Different emoji on a message.")
    reactors = count("Users who give the same one.")


class Closing(Shape):
    """Why the server is about to end the connection."""

    code = text("The code of an error, or the name of what the client did.")
    message = text("One sentence in English.")
    reconnect = flag("Whether to come back.")
    retry_after = number("When, in seconds.", required=False)


class Figures(Shape):
    """How a node does. Rates are over the last seconds."""

    connections = mapping(fields.Integer(), "Connections by namespace.")
    users = count("Users with a connection.")
    rooms = count("Rooms in memory.")
    messages_per_s = number("New messages.")
    deliveries_per_s = number("Events to clients.")
    events_per_s = number("Requests of clients.")
    refusals_per_s = number("Those of them that were refused.")
    memory_bytes = count("Memory of the process.")
    cpu_share = number("Of one core.")


class Stats(Figures):
    """How the whole service does; figures of nodes are added up."""

    at = time_ms("When that was so")
    node = text("The node that says it.")
    nodes = each(fields.String(), "The names of the nodes that live.")
    store = text("How that node's store is.")
    version = text("That node's version.")
    uptime_s = count("How long that node has been running.")


class NodeEntry(Figures):
    """A node that lives."""

    node = text("Its name.")
    at = time_ms("When it said this")
    own = flag("Whether it is the one that answers.")
    status = text("Whether it is ready, degraded, starting or draining.")
    store = text("How its store is.")
    version = text("Its version.")
    started_at = time_ms("When it was started")
    uptime_s = count("How long it has been running.")


class _WhoIsIt(Shape):
    """A user by name."""

    id = text("Opaque.")
    name = text("What others call them.")
    guest = flag("Whether they are a guest.")


class ConnectionEntry(Shape):
    """A connection of a client, with all its namespaces."""

    id = text("What `connection:disconnect` takes.")
    user = nested(_WhoIsIt)
    node = text("The node that it is connected to.")
    namespaces = each(fields.String(), "Those that it is in.")
    transport = text("`websocket` or `polling`.")
    address = text("Where it comes from.", null=True)
    since = time_ms("When it was opened")
    rooms = each(fields.String(), "The ids of rooms that it has joined.")


class BanEntry(Shape):
    """A ban from the service that is in force."""

    user = text("Who is kept out.")
    until = time_ms("Until when; 2^53-1 if without end")
    reason = text("Why.")
    by = text("Who ordered it.")
    at = time_ms("When")


class AuditEntry(Shape):
    """What an administrator or a moderator did."""

    at = time_ms("When it was begun")
    actor = text("Who did it.")
    action = text("The event.")
    target = mapping(fields.String(), "Whom or what it was done to: `user`, `room`, `connection`, `node` or `jti`.")
    reason = text("Why.")
    outcome = text("`ok`, the code of an error, or `unknown` if the node died meanwhile.")
