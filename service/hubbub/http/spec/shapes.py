"""What the answers and the pushed events of each namespace hold: one schema for every event of `hubbub.events`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from marshmallow import Schema, fields

from hubbub.events import ADMIN, CHAT, PRESENCE
from hubbub.http.spec import documents as doc
from hubbub.http.spec.documents import Shape, choice, count, each, flag, mapping, nested, text, time_ms

__all__ = [
    "ANSWERS",
    "PUSHED",
    "AuditPage",
    "BansPage",
    "Changed",
    "ConnectionsPage",
    "Draining",
    "Expiring",
    "Found",
    "Gap",
    "Hello",
    "Joined",
    "Marked",
    "MemberChanged",
    "MembersPage",
    "MessagesPage",
    "News",
    "Nodes",
    "Nothing",
    "Notice",
    "OwnStatus",
    "PresenceChanged",
    "Purged",
    "Refreshed",
    "Removed",
    "RoomAnswer",
    "RoomsPage",
    "RoomsPublicPage",
    "Sent",
    "SomebodyRead",
    "SomebodyTypes",
    "Synced",
    "Users",
    "UsersPage",
    "Watched",
]

_CURSOR: Final = "Hand it back for the next page; null at the end."


class Nothing(Shape):
    """Nothing to say."""


class RoomAnswer(Shape):
    """A room."""

    room = nested(doc.Room)


class RoomsPage(Shape):
    """A page of rooms, by id."""

    rooms = each(doc.Room, "The rooms.")
    cursor = text(_CURSOR, null=True)


class RoomsPublicPage(Shape):
    """A page of rooms, by id, as they are for everybody."""

    rooms = each(doc.RoomPushed, "The rooms.")
    cursor = text(_CURSOR, null=True)


class Joined(Shape):
    """The room, and what the client needs to go on from."""

    room = nested(doc.Room)
    messages = each(doc.Message, "The newest page; with `since`, what changed after it, by `rev`.")
    outcome = choice("Whether that is all of it.", "full", "partial", "reset")
    head = count("The first event is the revision after this one.")
    next = count("Where `history:sync` goes on from, if the outcome is `partial`.")
    members = each(doc.Member, "Who is a member; null of a large room.", null=True)


class Purged(Shape):
    """What was deleted."""

    purged = count("How many messages were deleted.")
    more = flag("Whether there are more: ask again.")


class MembersPage(Shape):
    """A page of members, longest-standing first."""

    members = each(doc.Member, "The members.")
    cursor = text(_CURSOR, null=True)


class Sent(Shape):
    """The message under this key."""

    message = nested(doc.Message)
    duplicate = flag("Whether it had been stored before.")


class Changed(Shape):
    """The message as it is now."""

    message = nested(doc.Message)


class MessagesPage(Shape):
    """A page of a room's history, ascending by `seq`."""

    messages = each(doc.Message, "The messages.")
    more_before = flag("Whether there are older ones.")
    more_after = flag("Whether there are newer ones.")


class Synced(Shape):
    """What changed after a revision."""

    messages = each(doc.Message, "By `rev`, ascending.")
    outcome = choice("Whether that is all of it.", "full", "partial", "reset")
    next = count("Where to go on from.")
    head = count("The last revision.")


class Found(Shape):
    """A page of messages that match."""

    messages = each(doc.Message, "The messages.")
    cursor = text(_CURSOR, null=True)


class Marked(Shape):
    """How far one has read."""

    read_seq = count("Up to here.")
    unread = count("Messages by others after it.")


class Refreshed(Shape):
    """The new token counts."""

    user = nested(doc.User)
    expires_at = time_ms("When the new token expires")


class Watched(Shape):
    """Who is in the rooms now."""

    rooms = mapping(fields.Nested(doc.Snapshot), "By the rooms' ids.")


class OwnStatus(Shape):
    """How the user is, with all devices."""

    status = choice("As others see it.", "online", "away", "busy", "invisible")
    text = text("What they say about it.")


class Users(Shape):
    """How users are."""

    users = each(doc.User, "Without those who share no readable room with the caller.")


class UsersPage(Shape):
    """A page of those who are in a room, by id."""

    users = each(doc.User, "Who is here.")
    cursor = text(_CURSOR, null=True)


class Nodes(Shape):
    """The nodes that live."""

    nodes = each(doc.NodeEntry, "The nodes.")


class ConnectionsPage(Shape):
    """A page of connections."""

    connections = each(doc.ConnectionEntry, "By node and age.")
    cursor = text(_CURSOR, null=True)
    missing = each(fields.String(), "Nodes that did not answer in time.", required=False)


class BansPage(Shape):
    """A page of bans, by user."""

    bans = each(doc.BanEntry, "Those in force.")
    cursor = text(_CURSOR, null=True)


class AuditPage(Shape):
    """A page of the audit log, newest first."""

    entries = each(doc.AuditEntry, "Who did what.")
    cursor = text(_CURSOR, null=True)


class Hello(Shape):
    """The first event of a connection."""

    user = nested(doc.User)
    node = text("The node's name.")
    server_time = time_ms("The server's time")
    limits = nested(doc.Limits)
    version = text("The server's version.")


class Removed(Shape):
    """The user is no member any more, or the room is gone."""

    room = text("The room's id.")
    reason = text("`left`, `kicked`, `banned`, `deleted`, `token`, or what else ended it.")
    text = text("What the moderator said about it.", required=False)


class MemberChanged(Shape):
    """Somebody's membership changed: they have a role now, or left."""

    room = text("The room's id.")
    user = nested(doc.User)
    role = choice("What they are now.", "owner", "moderator", "member", required=False)
    left = flag("true if they are a member no more.", required=False)


class News(Shape):
    """A member's room that is not joined on this connection has news."""

    room = text("The room's id.")
    seq = count("The newest message.")
    mention = flag("Whether the user is mentioned.")


class SomebodyTypes(Shape):
    """Somebody types, or does no more."""

    room = text("The room's id.")
    user = text("Their id.")
    on = flag("Whether they type.")


class SomebodyRead(Shape):
    """Somebody has read."""

    room = text("The room's id.")
    user = text("Their id.")
    seq = count("Up to here.")


class Notice(Shape):
    """Word from the administrators."""

    level = choice("How grave it is.", "info", "warning", "critical")
    room = text("The room that it is for, if it is not for all.", required=False)
    text = text("What they say.")


class Gap(Shape):
    """The room is suspended on this connection until it is joined again."""

    room = text("The room's id.")
    head = count("The last revision when that was.")


class Draining(Shape):
    """This node is going away."""

    reconnect_in_ms = count("It ends this connection about then.")


class Expiring(Shape):
    """The token is about to expire."""

    expires_at = time_ms("When it does")


class PresenceChanged(Shape):
    """What changed in a watched room."""

    room = text("The room's id.")
    version = count("One more than before, or something was lost.")
    count = count("How many users are here now.")
    joined = each(doc.User, "Who came; null in a large room.", null=True)
    left = each(fields.String(), "The ids of those who went; null in a large room.", null=True)
    changed = each(doc.User, "Who changed; null in a large room.", null=True)
    users = each(doc.User, "A whole new list.", required=False, null=True)


ANSWERS: Final[Mapping[str, Mapping[str, type[Schema] | None]]] = {
    CHAT: {
        "room:create": RoomAnswer,
        "room:list": RoomsPage,
        "room:join": Joined,
        "room:leave": Nothing,
        "room:update": RoomAnswer,
        "room:delete": Nothing,
        "room:invite": Nothing,
        "room:kick": Nothing,
        "room:ban": Nothing,
        "room:unban": Nothing,
        "room:mute": Nothing,
        "room:role": Nothing,
        "room:purge": Purged,
        "room:members": MembersPage,
        "message:send": Sent,
        "message:edit": Changed,
        "message:delete": Changed,
        "message:react": Changed,
        "history:fetch": MessagesPage,
        "history:sync": Synced,
        "history:search": Found,
        "typing": None,
        "read:mark": Marked,
        "auth:refresh": Refreshed,
    },
    PRESENCE: {
        "presence:watch": Watched,
        "presence:unwatch": Nothing,
        "presence:set": OwnStatus,
        "presence:get": Users,
        "presence:list": UsersPage,
        "auth:refresh": Refreshed,
    },
    ADMIN: {
        "stats:watch": Nothing,
        "nodes:list": Nodes,
        "rooms:list": RoomsPublicPage,
        "connections:list": ConnectionsPage,
        "connection:disconnect": Nothing,
        "user:disconnect": Nothing,
        "user:ban": Nothing,
        "user:unban": Nothing,
        "bans:list": BansPage,
        "token:revoke": Nothing,
        "room:delete": Nothing,
        "notice:send": Nothing,
        "node:drain": Nothing,
        "audit:list": AuditPage,
        "auth:refresh": Refreshed,
    },
}
"""From namespace and event to what `data` in its ack is; None if it is not acknowledged."""

_EVERYWHERE: Final[Mapping[str, type[Schema]]] = {
    "hello": Hello,
    "draining": Draining,
    "closing": doc.Closing,
    "token:expiring": Expiring,
}

PUSHED: Final[Mapping[str, Mapping[str, type[Schema]]]] = {
    CHAT: {
        **_EVERYWHERE,
        "message": doc.Message,
        "room": doc.RoomPushed,
        "room:added": RoomAnswer,
        "room:removed": Removed,
        "member": MemberChanged,
        "activity": News,
        "typing": SomebodyTypes,
        "read": SomebodyRead,
        "notice": Notice,
        "gap": Gap,
    },
    PRESENCE: {
        **_EVERYWHERE,
        "presence": PresenceChanged,
        "room:removed": Removed,
    },
    ADMIN: {
        **_EVERYWHERE,
        "stats": doc.Stats,
    },
}
"""From namespace and event to the document that the server sends."""
