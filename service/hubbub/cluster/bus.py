"""The contract between a node and what carries the traffic of rooms to other nodes.

What goes over the bus is in the store already (`Offer`) or worthless when late (`Whisper`). So the bus may lose, repeat
and swap everything, and stop altogether: feeds put revisions in order, and read from the store what does not come. It
only hurries. All that it has to say about itself is when something may have been lost, and whether it hears at all.

A node listens to the rooms in which it has somebody, and gets no byte of others. Nothing comes back to the node that
said it. What was written for one client is sent to the others as it is: a document is encoded once, on the node that
took it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Bus", "Offer", "Take", "Whisper"]


@dataclass(slots=True)
class Offer:
    """A revision of a room that was claimed and is durable. `document` is the message document as JSON, with `rev` in
    it; the rest is what a node wants to know of it without reading that. `seq` is that of the message, `at` when it was
    created, in milliseconds since the Unix epoch. Nobody changes one; it is not frozen because one is made for every
    message of every other node, and that takes four times as long for what is.
    """

    rev: int
    seq: int
    sender: str
    at: int
    mentions: tuple[str, ...]
    document: memoryview


@dataclass(frozen=True, slots=True)
class Whisper:
    """An event that may be lost: `typing`, `read`. `user` is whose word it is; what `key` says is between those who say
    and who hear it.
    """

    event: str
    key: str
    user: str
    document: memoryview


class Take(Protocol):
    """What is told of a room, on the event loop, in the order in which it came. Must not raise."""

    def __call__(self, uid: str, offers: Sequence[Offer], whispers: Sequence[Whisper]) -> None: ...


class Bus(Protocol):
    """One node's way to the bus. Nothing here waits or raises, apart from what says so."""

    @property
    def is_lone(self) -> bool:
        """Whether there is no other node, and never will be."""
        ...

    @property
    def hears(self) -> bool:
        """Whether what other nodes say arrives, as far as can be known: word of this node's own comes back to it."""
        ...

    async def open(self, take: Take, *, on_lost: Callable[[], None], on_hurry: Callable[[], None]) -> None:
        """Begin. `on_lost` is called when something may have been lost and what is said from now on arrives: feeds are
        to be compared with the store. `on_hurry` when another node has put something into the control log.
        """

    async def close(self) -> None:
        """Say what was said, as far as it can be at once, and stop. Safe to call twice."""

    def listen(self, uid: str) -> None:
        """Be told of this room from now on. No error if that is so already."""

    def leave(self, uid: str) -> None:
        """Be told no more; at once, or after a while. No error if it was not listened to."""

    def offer(self, uid: str, offer: Offer) -> None:
        """Tell the others at the end of this turn of the loop, with whatever else there is of the room."""

    def whisper(self, uid: str, whisper: Whisper) -> None:
        """The same."""

    def hurry(self) -> None:
        """Have the others look at the control log."""
