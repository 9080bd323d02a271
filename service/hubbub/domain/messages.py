"""What a message is and how it changes: pure functions, which the store may run more than once.

An `Edit` (see `history.base`) gets the message as it stands and returns it as it shall stand, None if nothing
changes, or raises the refusal. Whoever makes one has checked the caller's permission in the room; what depends on the
message itself (its author, its revision) is checked in the edit, against the message that is really there.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

import regex

from hubbub.domain.limits import Limits
from hubbub.errors import Code, HubbubError
from hubbub.history.base import Edit, Message, Person, Sender

__all__ = ["deleting", "draft", "editing", "mention_candidates", "mentioned", "parse_message_id", "reacting"]

_MENTION = regex.compile(r"(?<![\p{L}\p{N}_])@([^\s@][^\s]{0,127})")
_WORD_END = regex.compile(r"(?<=[\p{L}\p{N}])[^\p{L}\p{N}\p{M}._@+-]")
_TRAILING: Final = frozenset(".,:;!?)]}>\"'*_~-")
_SHORTENINGS: Final = 8


def draft(
    *,
    uid: str,
    person: Person,
    key: str,
    body: str,
    reply_to: str | None,
    mentions: tuple[str, ...],
    now: int,
) -> Message:
    """A message that has no place yet."""
    return Message(
        uid=uid,
        seq=0,
        rev=0,
        key=key,
        sender=Sender(person.id, person.name, person.guest),
        body=body,
        reply_to=reply_to,
        mentions=mentions,
        created_at=now,
    )


def parse_message_id(uid: str, message_id: str) -> int | None:
    """The `seq` in a message's id if it belongs to this room, else None."""
    room, _, digits = message_id.rpartition(".")
    if room != uid or not digits.isascii() or not digits.isdecimal() or len(digits) > 15 or digits[0] == "0":
        return None
    return int(digits)


def mention_candidates(body: str, *, most: int) -> list[list[str]]:
    """For each `@…` in the body, up to `most`: the user ids it may mean, longest first.

    User ids are opaque, so a run of characters after `@` is tried whole, then without each closing punctuation mark,
    then up to each character that ids of people do not hold (`@bob's`).
    """
    if "@" not in body:
        return []
    found: list[list[str]] = []
    for match in _MENTION.finditer(body, concurrent=False):
        text = match.group(1)
        options = [text]
        while len(options) <= _SHORTENINGS and len(text) > 1 and text[-1] in _TRAILING:
            text = text[:-1]
            options.append(text)
        ends = [end.start() for end in _WORD_END.finditer(text, concurrent=False) if end.start() > 0]
        options.extend(text[:end] for end in reversed(ends[:_SHORTENINGS]))
        found.append(options)
        if len(found) == most:
            break
    return found


def mentioned(candidates: list[list[str]], members: Collection[str]) -> tuple[str, ...]:
    """The members that the candidates mean, in the order in which they stand, each once."""
    found: dict[str, None] = {}
    for options in candidates:
        for option in options:
            if option in members:
                found[option] = None
                break
    return tuple(found)


def editing(*, author: str, body: str, mentions: tuple[str, ...], expected_rev: int | None, now: int) -> Edit:
    """Change the body: the author's right alone."""

    def edit(message: Message) -> Message | None:
        if message.sender.id != author:
            raise HubbubError("forbidden", "Only its author can edit a message.")
        if message.deleted:
            raise HubbubError("conflict", "The message was deleted.")
        if expected_rev is not None and message.rev != expected_rev:
            raise HubbubError("conflict", f"The message is at revision {message.rev} now.")
        if message.body == body:
            return None
        return replace(message, body=body, mentions=mentions, edited_at=now)

    return edit


def deleting(*, user: str, own: Code | None, others: Code | None) -> Edit:
    """Empty a message. `own` and `others` are the refusals for the caller's own messages and for those of others."""

    def edit(message: Message) -> Message | None:
        refusal = own if message.sender.id == user else others
        if refusal is not None:
            raise HubbubError(refusal)
        if message.deleted:
            return None
        return replace(message, body="", mentions=(), reactions={}, deleted=True)

    return edit


def reacting(*, user: str, emoji: str, on: bool, limits: Limits) -> Edit:
    """Give or take back one reaction of one user."""

    def edit(message: Message) -> Message | None:
        if message.deleted:
            raise HubbubError("conflict", "The message was deleted.")
        users = message.reactions.get(emoji, ())
        if (user in users) == on:
            return None
        reactions = dict(message.reactions)
        if on:
            if emoji not in reactions and len(reactions) >= limits.reactions:
                raise HubbubError("conflict", f"A message takes at most {limits.reactions} different reactions.")
            if len(users) >= limits.reactors:
                raise HubbubError("conflict", f"A reaction is counted for at most {limits.reactors} users.")
            reactions[emoji] = (*users, user)
        else:
            reactions[emoji] = tuple(each for each in users if each != user)
            if not reactions[emoji]:
                del reactions[emoji]
        return replace(message, reactions=reactions)

    return edit
