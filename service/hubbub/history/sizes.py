"""How many bytes a message takes on the wire, about: what a page is measured by.

Kept in each message's row, so that a page is measured without reading it. Escapes count (a control character is six
bytes of JSON), and so do reactions, which are many more bytes than the body when a room is fond of a message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from hubbub.history.base import Message

__all__ = ["cut", "document_bytes"]

REST_BYTES: Final = 300
"""The names of a document's fields, its room, id and numbers: 250 to 350 bytes, as long as the room's id is."""

REACTION_BYTES: Final = 32
"""The names of the fields of one reaction, and its count."""

REACTORS_COUNTED: Final = 20
"""A document names this many users of each reaction, and counts the others."""


def document_bytes(message: Message) -> int:
    """Bytes of the message's document as JSON. Raises `TypeError` for text that is not Unicode."""
    shown = {emoji: users[:REACTORS_COUNTED] for emoji, users in message.reactions.items()} if message.reactions else {}
    sender = message.sender
    text = orjson.dumps((message.key, sender.id, sender.name, message.body, message.reply_to, message.mentions, shown))
    return REST_BYTES + REACTION_BYTES * len(shown) + len(text)


def cut(below: Sequence[Sequence[int]], above: Sequence[Sequence[int]], max_bytes: int) -> tuple[int, int]:
    """How many of the older and of the newer messages fit, taken in turn from where they meet outwards.

    Each is a list of (place, bytes, …), nearest first. One message fits always; a side ends at the first that does not.
    """
    taken = [0, 0]
    total = 0
    ended = [not below, not above]
    while not all(ended):
        for side, messages in ((1, above), (0, below)):
            if ended[side]:
                continue
            size = messages[taken[side]][1]
            if any(taken) and total + size > max_bytes:
                ended[side] = True
                continue
            total += size
            taken[side] += 1
            ended[side] = taken[side] == len(messages)
    return taken[0], taken[1]
