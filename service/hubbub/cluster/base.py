"""The contract between a node and whatever tells it of the other nodes: the registry of who is where.

One interface, several adapters (`memory`, later Redis), one body of tests over all of them
(`tests/contract/test_registry.py`). Nothing above this package knows which adapter is behind it.

A node says of each user who is connected to it one thing, a **share**: whole, and numbered. The shares of a node are
numbered 1, 2, 3 … in the order in which they are announced, and of two that tell of the same user the higher number
holds. So it harms nobody that word is lost, repeated, or overtaken by other word: who holds a number ignores what is
lower, and whoever missed something reads the room (`Registry.room`), which says up to where each node's word is in it.

**What every adapter promises**

1. A node is known by its name and its *boot*, which is new at every start. What it announced belongs to both, so that a
   node that comes back under its old name adopts no ghosts.
2. It holds for as long as the node's *lease*: `LEASE_MS` from the last `renew`. Then it is gone by itself, all of it at
   once, for whoever reads, also if no process of the cluster is alive to remove it. A node that was away for longer is
   told so when it renews (`Renewal.lapsed`), and announces everything anew.
3. At most one boot holds a name: `open` is refused while another one's lease runs. One that was closed
   (`Registry.close`) hands its name over after `HANDOVER_MS`: who takes it takes the place of what the other said.
4. A share that was announced is in every later answer of `room` and `users`, on every node.
5. Word of a share (`News`) goes to the nodes that watch one of its rooms, or one of those in the share that it
   replaces. It may be lost, repeated, late or out of order. A node gets no word of its own shares.
6. A node that watches no room gets no word at all.

All times are in milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

__all__ = [
    "Announcement",
    "News",
    "Node",
    "Registry",
    "Renewal",
    "RoomReading",
    "Share",
    "Status",
]

LEASE_MS: Final = 10_000
"""How long what a node said holds without a renewal. With the time that passes until the others look (`RENEW_MS`) a
crashed node's users are gone within 15 seconds.
"""

RENEW_MS: Final = 3_000
"""How often a node renews: two may fail, and the third is still in time."""

PARTING_MS: Final = 15_000
"""The lease of a node that was closed: whoever was let go last has as long to come back elsewhere as after any other
break, without anybody seeing them leave.
"""

HANDOVER_MS: Final = 3_500
"""When the name of a node that was closed is free for its successor. By then the others have renewed once (`RENEW_MS`),
and know how long the word of the one that ended holds; so it holds for them though its place is taken.
"""

Status = Literal["online", "away", "busy", "invisible"]


@dataclass(frozen=True, slots=True)
class Node:
    """A node as it runs now. `boot` is made at its start, and never used again."""

    name: str
    boot: str


@dataclass(frozen=True, slots=True)
class Share:
    """What one node knows of one user.

    `status` is merged from the user's devices on that node, and `text` what they set last, at `text_at`. `rooms` are
    the uids of the rooms in which they are. `live` says that a connection is open; if not, all of them broke and have
    their grace. `hidden_at` is when the user became invisible, 0 if they are not. The two times are integer
    milliseconds since the Unix epoch.
    """

    user: str
    name: str
    guest: bool
    status: Status
    text: str = ""
    text_at: int = 0
    hidden_at: int = 0
    live: bool = True
    rooms: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Announcement:
    """The newest share of a user; None if the user is not here any more. `number` is above that of every earlier one.

    `left` are rooms in which the user was and which they left on purpose (a clean disconnect, `room:leave`), with no
    connection of this node left in them: there no grace on any other node outlasts it.
    """

    number: int
    user: str
    share: Share | None
    left: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class News:
    """An announcement of another node."""

    node: Node
    announcement: Announcement


@dataclass(frozen=True, slots=True)
class Renewal:
    """`lapsed`: the lease had run out, and nothing that was announced before is known any more. `living` are the other
    nodes with a lease, and how many milliseconds of it are left. `missed`: word may have been lost on its way here
    since the renewal before.
    """

    lapsed: bool
    living: Mapping[Node, int]
    missed: bool = False


@dataclass(frozen=True, slots=True)
class RoomReading:
    """Who is in a room by the word of all other nodes with a lease: announcements whose share has the room.

    `as_of` is the number of the last announcement of each of these nodes that is in the reading: a share with a lower
    number that is not in it is over.
    """

    announcements: Sequence[tuple[Node, Announcement]]
    as_of: Mapping[Node, int]


class Registry(Protocol):
    """One node's way to the registry.

    Every method may raise `HubbubError("unavailable")`; then nobody knows whether it happened, and it may be repeated.
    """

    @property
    def node(self) -> Node: ...

    @property
    def is_lone(self) -> bool:
        """Whether there is no other node, and never will be. Then nobody has to be told anything, or to renew."""
        ...

    async def open(self, on_news: Callable[[News], None]) -> None:
        """Take the lease. `on_news` is called on the event loop, and must not raise. `conflict` if another boot holds
        the name: once its lease is over, the name is free.
        """

    async def close(self) -> None:
        """Get no more word, and say that this node ends. What was announced is left to a lease of `PARTING_MS`, so that
        its users have time to come back elsewhere; the name is its successor's to take after `HANDOVER_MS`. Safe to
        call twice, and after a failed `open`; what cannot be said to the registry is left unsaid.
        """

    async def withdraw(self) -> None:
        """Everything that was announced is over now, and so is the lease: for a node that ends with nobody on it."""

    async def renew(self) -> Renewal:
        """Begin the lease anew."""
        ...

    async def announce(self, announcements: Sequence[Announcement]) -> None:
        """Say what is new of these users, in ascending order of `number`. What is not above the last number that is
        known of this node changes nothing, so that whoever does not know what became of it may say it again. Does not
        renew the lease; without one, nothing is kept.
        """

    async def watch(self, uid: str) -> None:
        """Get word of this room from now on. No error if that is so already."""

    async def unwatch(self, uid: str) -> None:
        """Get no more word of this room. No error if it was not watched."""

    async def room(self, uid: str) -> RoomReading: ...

    async def users(self, ids: Sequence[str]) -> Mapping[str, Sequence[Share]]:
        """The shares of these users by other nodes with a lease. Users whom no other node knows are missing."""
        ...
