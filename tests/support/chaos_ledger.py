"""What all clients of a run were told, and whether the store agrees in the end: pure, apart from counting.

Every send is repeated with its key until it has an ack, and every other change is repeated until its outcome is known,
as a client does. So when the run ends there is no doubt left: the store must hold the sends, each once, and no other
message; of each message the last body that its author was acknowledged, unless it was deleted; of each reaction what
its user was last acknowledged.

A **fact** is a document in an ack or in a page. Unlike an event's, its content belongs to its `rev`, so two facts of
the same message at the same revision must be equal, whoever was told and when.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hubbub.domain.documents import message_document
from hubbub.history.base import Message
from tests.support.chaos_replica import Document, Violation

__all__ = ["Ledger", "Send", "StoredRoom"]

_FIRST_ONLY: Final = ("id", "seq", "key", "sender", "created_at", "reply_to")


@dataclass(slots=True)
class Send:
    """One send: what was said first under its key, and the message that the ack had, None as long as there was none."""

    body: str
    message_id: str | None = None


@dataclass(frozen=True, slots=True)
class StoredRoom:
    """A room as the store has it, read without the service: the head, and each revision with its message."""

    id: str
    head: int
    revisions: Sequence[tuple[int, Message]]


class Ledger:
    """Shared by all clients of a run. `acks` counts those with `ok: true` that changed or could have changed a room."""

    def __init__(self) -> None:
        self.sends: dict[tuple[str, str, str], Send] = {}
        """By (room, user, key)."""
        self.owed: list[tuple[str, str, int]] = []
        """(room, message id, revision): the message must have been changed again behind that revision."""
        self.acks = 0
        self.refusals = 0
        self.repeats = 0
        self._facts: dict[tuple[str, int], Document] = {}
        self._bodies: dict[str, str] = {}
        self._deleted: set[str] = set()
        self._reactions: dict[tuple[str, str, str], bool] = {}
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    # -- while the run goes on ---------------------------------------------------------------------------------------

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Return when this is so; it is looked at with each ack and whenever `nudge` is called."""
        if not condition():
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((condition, future))
            await future

    def nudge(self) -> None:
        """Something changed that somebody may wait for."""
        for condition, future in self._waiting:
            if not future.done() and condition():
                future.set_result(None)
        self._waiting = [each for each in self._waiting if not each[1].done()]

    def fact(self, document: Document) -> None:
        """A document came in an ack or a page."""
        key = document["id"], document["rev"]
        known = self._facts.setdefault(key, document)
        if known is not document and known != document:
            raise Violation(f"two documents of {key[0]} at revision {key[1]}: {known} and {document}")

    def sending(self, room: str, user: str, key: str, body: str) -> None:
        self.sends[room, user, key] = Send(body)

    def sent(self, room: str, user: str, key: str, document: Document, *, duplicate: bool, first_try: bool) -> None:
        """A send was acknowledged, its first or a repeated one."""
        send = self.sends[room, user, key]
        if (document["room"], document["sender"]["id"], document["key"]) != (room, user, key):
            raise Violation(f"the send of {user} in {room} with the key {key} was answered with {document}")
        if send.message_id is not None:
            self.repeats += 1
            if not duplicate or document["id"] != send.message_id:
                raise Violation(f"a repeat of {send.message_id} with the key {key} was answered with {document}")
        elif first_try and duplicate:
            raise Violation(f"the first send with the key {key} is called a duplicate: {document}")
        elif document["body"] != send.body:
            raise Violation(f"{send.body!r} was sent with the key {key}, but {document} is there")
        send.message_id = document["id"]
        self._acknowledged(document)

    def edited(self, document: Document, body: str) -> None:
        self._bodies[document["id"]] = body
        self._acknowledged(document)
        if document["body"] != body:
            raise Violation(f"an edit to {body!r} was answered with {document}")

    def deleted(self, document: Document) -> None:
        self._deleted.add(document["id"])
        self._acknowledged(document)
        if not document["deleted"] or document["body"] or document["reactions"]:
            raise Violation(f"a deletion was answered with {document}")

    def reacted(self, document: Document, user: str, emoji: str, *, on: bool) -> None:
        self._reactions[document["id"], emoji, user] = on
        self._acknowledged(document)

    def gone(self, message_id: str) -> None:
        """A change was refused because the message was deleted; then that must be so."""
        self._deleted.add(message_id)

    def _acknowledged(self, document: Document) -> None:
        self.fact(document)
        self.acks += 1
        self.nudge()

    # -- at the end --------------------------------------------------------------------------------------------------

    def check(self, rooms: Iterable[StoredRoom]) -> None:
        """Raises `Violation` unless the store agrees with everything above."""
        messages: dict[str, Message] = {}
        revisions: dict[str, list[int]] = {}
        for room in rooms:
            self._check_room(room, messages, revisions)
        for key, send in self.sends.items():
            if send.message_id is None:
                raise Violation(f"the send {key} never had an ack")
            if send.message_id not in messages:
                raise Violation(f"lost: {send.message_id} of {key} was acknowledged")
        self._check_facts(messages, revisions)
        self._check_changes(messages)
        for _, message_id, head in self.owed:
            if revisions.get(message_id, [0])[-1] <= head:
                raise Violation(f"{message_id} was not shown as it is at {head}, and was not changed again behind it")

    def _check_room(self, room: StoredRoom, messages: dict[str, Message], revisions: dict[str, list[int]]) -> None:
        if [rev for rev, _ in room.revisions] != list(range(1, room.head + 1)):
            raise Violation(f"the revisions of {room.id} are not 1 to {room.head}")
        keys: dict[tuple[str, str], str] = {}
        for rev, message in room.revisions:
            revisions.setdefault(message.id, []).append(rev)
            messages[message.id] = message
        for message_id in dict.fromkeys(message.id for _, message in room.revisions):
            message, claimed = messages[message_id], revisions[message_id]
            if (message.seq, message.rev) != (claimed[0], claimed[-1]):
                raise Violation(f"{message_id} claimed {claimed}, but is at {message.seq} and {message.rev}")
            other = keys.setdefault((message.sender.id, message.key), message_id)
            if other != message_id:
                raise Violation(f"twice: {other} and {message_id} have the same key of the same sender")
            send = self.sends.get((room.id, message.sender.id, message.key))
            if send is None or send.message_id != message_id:
                raise Violation(f"{message_id} is there, but nobody was told: {send}")
            document = message_document(room.id, message)
            self.fact(document)

    def _check_facts(self, messages: Mapping[str, Message], revisions: Mapping[str, Sequence[int]]) -> None:
        claimed = {message_id: frozenset(revs) for message_id, revs in revisions.items()}
        for (message_id, rev), document in self._facts.items():
            if rev not in claimed.get(message_id, ()):
                raise Violation(f"lost: a change of {message_id} at revision {rev} was shown: {document}")
            stored = message_document(document["room"], messages[message_id])
            if any(stored[name] != document[name] for name in _FIRST_ONLY):
                raise Violation(f"{document} has become {stored}")

    def _check_changes(self, messages: Mapping[str, Message]) -> None:
        for message_id in self._deleted:
            if not messages[message_id].deleted:
                raise Violation(f"lost: the deletion of {message_id}")
        for send in self.sends.values():
            assert send.message_id is not None
            message = messages[send.message_id]
            body = self._bodies.get(message.id, send.body)
            if message.deleted != (message.id in self._deleted) or (not message.deleted and message.body != body):
                raise Violation(f"{body!r} was acknowledged last, but there is {message}")
        for (message_id, emoji, user), on in self._reactions.items():
            message = messages[message_id]
            if not message.deleted and (user in message.reactions.get(emoji, ())) != on:
                raise Violation(f"lost: the reaction {emoji} of {user} to {message_id} was set to {on}")
