"""A room of a few lines: what clients must come to hold, whatever way the changes take to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hubbub.history.base import Message, MessagePage
from tests.support.domain import message_of

__all__ = ["Held", "RoomModel", "applied", "held_at"]

Held = dict[str, dict[str, Any]]
"""What a client holds: documents by id."""


class RoomModel:
    """All revisions of one room, each with the message that it made."""

    def __init__(self, uid: str = "uid") -> None:
        self.uid = uid
        self.revisions: list[Message] = []

    @property
    def head(self) -> int:
        return len(self.revisions)

    def send(self) -> Message:
        return self._claim(message_of(self.uid, self.head + 1))

    def change(self, choice: int, *, deleted: bool = False) -> Message:
        """Edit or delete one of the messages that are there; send one if there is none."""
        alive = [message for message in self.state(self.head).values() if not message.deleted]
        if not alive:
            return self.send()
        before = alive[choice % len(alive)]
        body = "" if deleted else f"edited at {self.head + 1}"
        return self._claim(replace(before, rev=self.head + 1, body=body, deleted=deleted))

    def _claim(self, message: Message) -> Message:
        self.revisions.append(message)
        return message

    def state(self, head: int) -> dict[int, Message]:
        """The messages by their place, as they stood at a head."""
        return {message.seq: message for message in self.revisions[:head]}

    def changes(self, since: int, *, limit: int, head: int | None = None, floor: int | None = 0) -> MessagePage:
        """As `History.changes` answered when the room stood at `head`."""
        at = self.head if head is None else head
        changed = sorted((each for each in self.state(at).values() if each.rev > since), key=lambda each: each.rev)
        return MessagePage(changed[:limit], at, more_after=len(changed) > limit, floor=floor)

    def between(self, after: int, upto: int) -> list[tuple[int, Message]]:
        """The revisions in `(after, upto]`, as a feed delivers them."""
        return [(rev, self.revisions[rev - 1]) for rev in range(after + 1, upto + 1)]


def held_at(model: RoomModel, head: int, document: Any) -> Held:
    """What a client holds that knows everything up to a head."""
    return {message.id: document(message) for message in model.state(head).values()}


def applied(held: Mapping[str, dict[str, Any]], documents: Iterable[dict[str, Any]]) -> Held:
    """The rule of the contract: a document is applied if its revision is higher than the one held."""
    after = dict(held)
    for document in documents:
        if document["id"] not in after or document["rev"] > after[document["id"]]["rev"]:
            after[document["id"]] = document
    return after
