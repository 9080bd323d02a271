"""The contract by which a history is read and written as a whole: to export it, to import it, to move it elsewhere.

It stands beside `hubbub.history.base`, whose methods serve users: there a message shows itself as it is now, here with
all revisions that it ever claimed; there a standing comes about by joining, here it is put as it was. Whoever writes
through this contract does so alone: no service may run on the store (SQLite refuses the second process; with MongoDB it
is the operator who sees to it).

**What every adapter promises**

1. Everything is read in pages by the order of a key that never changes: people by id, rooms by uid, the standings of a
   room by user, its messages by seq. Texts are compared by code points, which is the order of their UTF-8 bytes.
2. A page that was put is on the disk when the call returns. Putting it again changes nothing.
3. A room that is being brought in is seen by nobody before `finish`: a service that starts on a half-written store does
   not know it, so it cannot number messages in it. What has arrived of it stays for the next attempt.
4. SQLite reads one state of the store from `open` to `close`. MongoDB reads each page as of its moment.

Every method may raise `HubbubError("unavailable")`; `open` raises `StoreError` where only the operator can help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from hubbub.history.base import Message, Person, Room, Standing
from hubbub.history.mongo_documents import stub_of

__all__ = ["Archive", "ArchivedMessage", "ArchivedRoom", "KnownPerson", "Size", "stub_of"]

PAGE_ROWS: Final = 1000
"""How many rows a page has at most: enough that the way to the store does not count, few enough to be held."""

PAGE_BYTES: Final = 8 * 2**20
"""And how many bytes of messages, about. One message alone may be longer."""

SEQ_MOST: Final = 2**36 - 1
"""The last place that any store has for a message."""

KnownPerson = tuple[Person, int]
"""What is known of a user, and when they were last remembered."""

ArchivedMessage = tuple[Message, tuple[int, ...]]
"""A message as it stands, and all revisions that it claimed, ascending, its seq first and its `rev` last. One that
retention has emptied is as `deleted` messages are.
"""


@dataclass(frozen=True, slots=True)
class ArchivedRoom:
    """A room, and how far retention has emptied it: messages whose seq is at most `floor` are stubs."""

    room: Room
    floor: int = 0


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is, about: for progress bars."""

    rooms: int
    people: int
    messages: int


class Archive(Protocol):
    """A whole history. `where` names the store in sentences, without a password."""

    where: str

    # -- life --------------------------------------------------------------------------------------------------------

    async def open(self, *, writable: bool) -> None:
        """To read alone, from a store that must be there and may be in use; or to write as well: then the store is made
        if there is none, and brought to this version.
        """

    async def close(self) -> None:
        """Safe to call twice, and after a failed `open`."""

    # -- reading -----------------------------------------------------------------------------------------------------

    async def size(self) -> Size: ...

    async def uids(self, *, after: str) -> Sequence[str]:
        """A page of the rooms' uids; an empty one is the end."""

    async def room(self, uid: str) -> ArchivedRoom | None:
        """With its head as of now. None if there is none, or if it is still being brought in."""

    async def standings(self, uid: str, *, after: str) -> Sequence[Standing]: ...

    async def messages(self, uid: str, *, after: int, upto: int) -> Sequence[ArchivedMessage]:
        """A page of those with `after < seq <= upto`."""

    async def people(self, *, after: str) -> Sequence[KnownPerson]: ...

    # -- what a target is asked before it is written to --------------------------------------------------------------

    async def people_of(self, ids: Sequence[str]) -> Mapping[str, KnownPerson]: ...

    async def held(self, uid: str, *, first: int, last: int) -> Mapping[int, Message]:
        """By seq, the messages from `first` to `last` that the room has, in a room that is being brought in as well."""

    # -- writing -----------------------------------------------------------------------------------------------------

    async def begin(self, room: ArchivedRoom) -> int:
        """Make way for a room that is not there, or go on with one that is being brought in. Answers with the highest
        seq that has arrived. `conflict` if there is another room of this id.
        """

    async def hide(self, uid: str) -> None:
        """Make a room that is there one that is being brought in, with all that is in it."""

    async def put_messages(self, room: ArchivedRoom, messages: Sequence[ArchivedMessage]) -> None:
        """Insert these, or put them in the place of those with their seq. The room was begun.
        `conflict` if a key or a revision is another message's.
        """

    async def drop_messages(self, uid: str, seqs: Sequence[int]) -> None:
        """Only in a room that is being brought in: remains of another attempt."""

    async def put_standings(self, uid: str, standings: Sequence[Standing]) -> None: ...

    async def drop_standings(self, uid: str, users: Sequence[str]) -> None: ...

    async def finish(self, room: ArchivedRoom) -> None:
        """Show the room, with as many members as there are standings of members."""

    async def put_people(self, people: Sequence[KnownPerson]) -> None: ...

    async def delete(self, uid: str) -> None:
        """The room and all that is in it."""
