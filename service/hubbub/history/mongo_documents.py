"""A message as a document of MongoDB, and back.

`_id` is the message's public id, `<room uid>.<seq>`, so that a message is found by it and a seq is taken once.
Reactions are pairs, because an emoji can be no field name everywhere. `bytes` is the size of the message as it goes
over the wire (`hubbub.history.sizes`), and `words` and `scope` what the search finds it by.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hubbub.history.base import Message, Sender
from hubbub.history.sizes import document_bytes
from hubbub.history.words import words_of

__all__ = ["changes_of", "document_of", "message_of", "scope_of", "stub_of"]


def document_of(message: Message, *, public: bool, revs: Sequence[int] = ()) -> dict[str, Any]:
    """The document of a message with its revisions; of a new one, `revs` is its own. `public` says whether its room is.
    Raises `TypeError` or `UnicodeError` for text that is not Unicode.
    """
    sender = message.sender
    return {
        "_id": message.id,
        "room": message.uid,
        "seq": message.seq,
        "rev": message.rev,
        "revs": list(revs) or [message.rev],
        "sender": sender.id,
        "key": message.key,
        "name": sender.name,
        "guest": sender.guest,
        "at": message.created_at,
        "scope": scope_of(message.uid, public=public),
        **changes_of(message),
    }


def scope_of(uid: str, *, public: bool) -> str:
    """By which scope the messages of a room are found: all public rooms have the same, each other one has its own."""
    return "" if public else uid


def changes_of(message: Message) -> dict[str, Any]:
    """What of a message a change may change, apart from its revision."""
    return {
        "body": message.body,
        "words": words_of(message.body),
        "reply_to": message.reply_to,
        "mentions": list(message.mentions),
        "edited_at": message.edited_at,
        "gone": message.deleted,
        "reactions": [[emoji, list(users)] for emoji, users in message.reactions.items()],
        "bytes": document_bytes(message),
    }


def message_of(document: Mapping[str, Any]) -> Message:
    """The message of a document."""
    return Message(
        document["room"],
        document["seq"],
        document["rev"],
        document["key"],
        Sender(document["sender"], document["name"], document["guest"]),
        document["body"],
        document["reply_to"],
        tuple(document["mentions"]),
        document["at"],
        document["edited_at"],
        document["gone"],
        {emoji: tuple(users) for emoji, users in document["reactions"]},
    )


def stub_of(message: Message) -> Message:
    """A message that retention has emptied: as one that was deleted."""
    return Message(
        message.uid,
        message.seq,
        message.rev,
        message.key,
        message.sender,
        "",
        None,
        (),
        message.created_at,
        message.edited_at,
        True,
        {},
    )
