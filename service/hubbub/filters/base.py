"""The contract with the authors of filters: what a filter sees of a message, and what it may say to it.

A filter is a callable that takes a `Draft` and returns a `Verdict`, or None to let the message through, or an awaitable
of either. It is called for every message that is about to be stored, new or edited, on the event loop's thread: what
computes has to be quick, and what waits has to be awaited. `hubbub.filters.gate` says what becomes of one that fails.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

__all__ = ["Draft", "Filter", "Reviewer", "Room", "Sender", "Verdict", "allow", "refuse", "replace"]


@dataclass(frozen=True, slots=True)
class Room:
    """The room that a message is meant for. `kind` is `public`, `private` or `direct`."""

    id: str
    kind: Literal["public", "private", "direct"]
    title: str


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends a message. `roles` are those of the token (`admin`, `moderator`, `bot`), `role` is the one in the room
    (`owner`, `moderator`, `member`).
    """

    id: str
    name: str
    guest: bool
    roles: frozenset[str]
    role: str | None


@dataclass(frozen=True, slots=True)
class Draft:
    """A message as it would be stored.

    `body` is text in NFC, with something to see in it. `reply_to` is the id of the message that is answered; None for
    an edit, which does not touch that. `edits` is the id of the message whose body this is to become; None for a new
    one. A message that is sent again under its key may be shown again: it is stored once, whatever is said then.
    """

    room: Room
    sender: Sender
    body: str
    reply_to: str | None = None
    edits: str | None = None

    @property
    def is_edit(self) -> bool:
        return self.edits is not None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a filter says. Made by `allow`, `replace` and `refuse`."""

    action: Literal["allow", "replace", "refuse"]
    text: str = ""

    def __post_init__(self) -> None:
        """Raises `TypeError` or `ValueError` where the verdict is made, so that its author sees the place."""
        if not isinstance(self.text, str):
            raise TypeError(f"A verdict says a text, not {type(self.text).__name__}.")
        if self.action == "refuse":
            if not self.text.strip():
                raise ValueError("Whoever is refused has to be told why.")
            self.text.encode()  # A lone surrogate cannot be sent.


_ALLOW = Verdict("allow")


def allow() -> Verdict:
    """Let the message through as it is. Returning None says the same."""
    return _ALLOW


def replace(body: str) -> Verdict:
    """Store this body in place of the sender's. It has the same limits, and mentions are looked for in it."""
    return Verdict("replace", body)


def refuse(message: str) -> Verdict:
    """Do not store the message. `message` is one sentence for its sender, who gets the code `forbidden`."""
    return Verdict("refuse", message)


Filter = Callable[[Draft], "Verdict | Awaitable[Verdict | None] | None"]


class Reviewer(Protocol):
    """What the domain asks before it stores a message: all filters, one after the other."""

    async def review(self, draft: Draft) -> str:
        """The body as it shall be stored; raises the `HubbubError` that refuses it."""
