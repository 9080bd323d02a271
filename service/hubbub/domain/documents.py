"""The documents of the contract, made from what the store keeps (WIRE, "Documents")."""

from __future__ import annotations

from typing import Any, Final

from hubbub.domain.presence.statuses import Face
from hubbub.history.base import MEMBER_ROLES, Message, Person, Room, RoomView, Standing

__all__ = ["member_document", "message_document", "room_document", "room_view_document", "user_document"]

REACTORS_SHOWN: Final = 20


def message_document(room_id: str, message: Message, *, rev: int | None = None) -> dict[str, Any]:
    """`message`. `rev` overrides the message's own, for the event of an older revision."""
    sender = message.sender
    return {
        "id": message.id,
        "room": room_id,
        "seq": message.seq,
        "rev": message.rev if rev is None else rev,
        "key": message.key,
        "sender": {"id": sender.id, "name": sender.name, "guest": sender.guest},
        "body": message.body,
        "reply_to": message.reply_to,
        "mentions": list(message.mentions),
        "reactions": [
            {"emoji": emoji, "count": len(users), "users": list(users[:REACTORS_SHOWN])}
            for emoji, users in message.reactions.items()
        ],
        "created_at": message.created_at,
        "edited_at": message.edited_at,
        "deleted": message.deleted,
    }


def room_document(room: Room, *, epoch: str) -> dict[str, Any]:
    """`room` as it is for everybody: without the asking user's `role`, `read_seq` and `unread`."""
    return {
        "id": room.id,
        "title": room.title,
        "kind": room.kind,
        "topic": room.topic,
        "capacity": room.capacity,
        "slow_mode_s": room.slow_mode_s,
        "created_at": room.created_at,
        "epoch": epoch,
        "head": room.head,
        "members": room.members,
    }


def room_view_document(view: RoomView, *, epoch: str) -> dict[str, Any]:
    """`room` as one user sees it."""
    standing = view.standing
    return {
        **room_document(view.room, epoch=epoch),
        "role": standing.role if standing is not None else None,
        "read_seq": standing.read_seq if standing is not None and standing.role in MEMBER_ROLES else 0,
        "unread": view.unread,
    }


def user_document(person: Person, face: Face | None, *, last_seen: int | None = None) -> dict[str, Any]:
    """`user`. `face` is how they look to whoever gets this; None if they are not here, as far as that one may know.

    `last_seen` is null of whoever is here, of whoever never was, and where nobody asked (`presence:get` does).
    """
    return {
        "id": person.id,
        "name": person.name,
        "guest": person.guest,
        "status": "offline" if face is None else face.status,
        "text": "" if face is None else face.text,
        "last_seen": last_seen,
    }


def member_document(standing: Standing, user: dict[str, Any]) -> dict[str, Any]:
    """One entry of a list of members; `muted_until` is 0 if never muted, 2^53-1 if without end."""
    return {"user": user, "role": standing.role, "muted_until": standing.muted_until}
