"""The contract between Hubbub and whatever keeps its history.

One interface, several adapters (`sqlite`, later `mongo`), one body of tests over all of them
(`tests/contract/test_history.py`). Nothing above this package knows which adapter is behind it.

**What every adapter promises**

1. A write that returned survives `kill -9` and power loss. One that raised `HubbubError("unavailable")` may or may not
   have happened: the caller must treat its outcome as unknown.
2. Every change of a room's messages claims the room's next revision: 1, 2, 3 … without holes. A message's `seq` is the
   revision at which it was created, and its place in the room for ever.
3. `(room uid, sender, key)` is unique for ever. A repeated `Insert` yields the message as it now stands, and claims
   nothing.
4. Every read sees one state of the store: the `head` in its answer and the documents in it belong together. A store
   without snapshots gives what comes to the same for whoever reads on from `head`: a message that was changed while a
   page was read may be missing in it, and is among the changes behind `head`; none is ever older than the page's head.
5. Reads never wait for writes, nor writes for reads, longer than a moment.
6. Retention (`expire`) empties a prefix of a room: what it has emptied are the messages up to the room's *floor*. Such
   a message is a *stub*: body, mentions, reply_to and reactions are gone, but its place, its sender, its key and its
   revisions are kept for ever. So the head never falls, a revision that is asked for is there, and a repeated key
   still finds its message. A stub shows itself as deleted where it has to be shown (`message_by_key`, `revisions`, an
   `Insert` with its key), and `changes` shows it only if `seq <= since < rev`: to a reader who may hold an older
   state of it. To everything else (`message`, `page`, `landing`, `search`, what is unread) it is not there, so a page
   has no `more_before` at the floor. A `Change` of a stub is `not_found`. Reading a stub is the same before and
   after it was emptied. The newest message of a room is never a stub.

A room is known to the store by its **uid**, made when the room is made and never used again; a room that is deleted and
made anew under the same id has another uid, and so another epoch. A store that was put back from a copy has the uids
that it had, and will give revisions away again that clients know already; so the *incarnation* of the store is in the
epoch as well. All times are integer milliseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from hubbub.history.ledger import (
    Audited,
    AuditPage,
    Ban,
    Beat,
    Entry,
    Ledger,
    Record,
    RecordKind,
    Revocation,
    Sanctions,
)
from hubbub.history.records import (
    FOREVER,
    MEMBER_ROLES,
    Arrival,
    Change,
    Edit,
    Insert,
    Landing,
    Left,
    Message,
    MessagePage,
    Outcome,
    Person,
    Role,
    Room,
    RoomKind,
    RoomPage,
    RoomView,
    SearchPage,
    Sender,
    Standing,
    StandingPage,
    Views,
    Written,
)

__all__ = [
    "FOREVER",
    "MEMBER_ROLES",
    "Arrival",
    "AuditPage",
    "Audited",
    "Ban",
    "Beat",
    "Change",
    "Edit",
    "Entry",
    "History",
    "Insert",
    "Landing",
    "Ledger",
    "Left",
    "Message",
    "MessagePage",
    "Outcome",
    "Person",
    "Record",
    "RecordKind",
    "Revocation",
    "Role",
    "Room",
    "RoomKind",
    "RoomPage",
    "RoomView",
    "Sanctions",
    "SearchPage",
    "Sender",
    "Standing",
    "StandingPage",
    "Views",
    "Written",
]


class History(Protocol):
    """What keeps rooms, standings and messages.

    Every method may raise `HubbubError("unavailable")`, and `internal` for a fault of the adapter itself, which is
    logged. Text that is not Unicode (a lone surrogate) is `bad_request`. `head`, `page` and `changes` raise `not_found`
    if there is no such room. Nothing else is raised, unless a method says so.
    """

    # -- life --------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open, lock and migrate. Raises `StoreError` with one sentence for the operator."""

    async def close(self) -> None:
        """Finish what was begun, then release everything. Safe to call twice, and after a failed `open`."""

    async def check(self) -> None:
        """Answer if the store can be read and written now, within two seconds; else raise `unavailable`."""

    @property
    def incarnation(self) -> str:
        """Which life of the store this is, known once it was opened: empty in the first, else a short text without
        white space that no other life has. It stays over a restart, and is another after the store was put back from a
        copy, as far as the adapter can tell, or once the operator has said so (`hubbub restored`). An export does not
        take it along, and an import leaves the target's as it is.
        """

    @property
    def ledger(self) -> Ledger:
        """The control log and what belongs to it. Changes of rooms and standings are logged by the methods below,
        each under a kind of record; a change that changes nothing is not.
        """
        ...

    # -- messages ----------------------------------------------------------------------------------------------------

    def lane(self, uid: str) -> str:
        """Which queue the writes of a room wait in. The writer has one batch per lane in flight."""

    async def commit(self, batch: Sequence[Insert | Change]) -> Sequence[Outcome]:
        """Write a batch of one lane, in its order, in one durable step. One outcome per write, in the same order.

        A room that is unknown (or was deleted) yields `not_found` for each of its writes. The same `(sender, key)`
        twice in one batch: the second is a duplicate of the first. Called by the writer alone.
        """

    async def message(self, uid: str, seq: int) -> Message | None: ...

    async def message_by_key(self, uid: str, sender: str, key: str) -> Message | None: ...

    async def page(
        self,
        uid: str,
        *,
        before: int | None = None,
        after: int | None = None,
        around: int | None = None,
        limit: int,
        max_bytes: int,
    ) -> MessagePage:
        """A page by `seq`, ascending. At most one of the three is given; none means the newest page.

        `before` and `after` are exclusive; `around` is in the middle of the page, included if it exists. A page ends
        before the documents in it, as JSON, exceed `max_bytes` (about: see `hubbub.history.sizes`), but has at least
        one message if there is one; the end that is cut is the one away from the anchor (the oldest for `before` and
        newest pages).
        """

    async def changes(self, uid: str, *, since: int, limit: int, max_bytes: int) -> MessagePage:
        """The messages whose latest revision is above `since`, ascending by that revision; `max_bytes` as in `page`."""

    async def revisions(self, uid: str, *, after: int, upto: int) -> Sequence[tuple[int, Message]]:
        """For each revision in `(after, upto]`, ascending: the revision and its message as it stands now."""

    async def head(self, uid: str) -> int: ...

    async def heads(self, uids: Sequence[str]) -> Mapping[str, int]:
        """The heads of these rooms by uid, in one query, however many they are. Rooms that are gone are missing, and
        no other is: whoever asks takes a missing room for deleted.
        """

    async def seqs_of(self, uid: str, sender: str, *, below: int, limit: int) -> Sequence[int]:
        """The seqs of the sender's messages in a room that are not deleted and have a `seq` below this one, newest
        first.
        """
        ...

    async def search(
        self, *, uids: Sequence[str], public: bool, phrases: Sequence[str], limit: int, cursor: str | None
    ) -> SearchPage:
        """Messages that contain all `phrases` (each a word, or words in this order), in the rooms `uids`, and in
        all public rooms as well if `public`. The index may lag by a second, but a hit is a message as it stands now,
        never deleted. A cursor that was not made here raises `HubbubError("bad_request")`.
        """

    async def expire(self, *, before: int | None, keep: int | None) -> int:
        """Do one slice of what retention asks for, in whatever rooms it is; returns how many messages were emptied.
        0 means that nothing is left to do now.

        `before` is a time: messages created earlier are emptied. `keep` is how many messages a room keeps, its newest.
        None asks for nothing; if both are None, only what was begun is finished. A room is emptied from its oldest
        message on, as far as each is one that either rule asks for, and its newest message stays. So a message is
        never emptied early; one behind a message whose clock was ahead is emptied with that one. A slice is bounded;
        what it did is durable, and what a crash interrupts is finished by the next call on any node. Several nodes may
        do this at once.
        """
        ...

    # -- rooms -------------------------------------------------------------------------------------------------------

    async def create_room(self, room: Room, members: Sequence[tuple[Standing, Person]]) -> Room:
        """Raises `HubbubError("conflict")` if the id is taken (for direct rooms the caller then reads it)."""

    async def room(self, id: str) -> Room | None: ...

    async def rooms_at(self, uids: Sequence[str]) -> Mapping[str, Room]:
        """These rooms by uid, in one query, however many they are; those that are gone are missing. Their heads need
        not be the newest.
        """
        ...

    async def update_room(
        self,
        uid: str,
        *,
        title: str | None = None,
        topic: str | None = None,
        capacity: int | None = None,
        slow_mode_s: int | None = None,
    ) -> Room:
        """Change what is not None. `HubbubError("not_found")` if the room is gone; `conflict` if the capacity would be
        below the number of members, decided in the same step.
        """

    async def delete_room(self, uid: str) -> bool:
        """The room, its standings and its messages are gone at once for every reader; space may come back later."""

    async def rooms(
        self, *, user: str, query: str | None, mine: bool, everything: bool, limit: int, cursor: str | None
    ) -> RoomPage:
        """Rooms that `user` may know, ascending by id: public ones and those in which they have a role; with `mine`
        only the latter; with `everything` (an administrator) private ones too, but not direct ones of others.
        Rooms that ban the user at this moment are listed only if public.
        `query` is searched for in id and title, without regard to case. Cursors as in `search`.
        """

    async def view(self, uid: str, user: str) -> RoomView | None: ...

    async def views(self, uid: str, users: Sequence[str], *, members_most: int) -> Views | None:
        """`view` for many users, with `members` if the room has at most `members_most`; all in one state of the store,
        at a cost that hardly grows with the number of users. None if there is no such room.
        """

    async def landing(
        self, uid: str, user: str, *, since: int | None, limit: int, max_bytes: int, members_most: int
    ) -> Landing | None:
        """As `changes` from `since`, or the newest `page` if that is None or above the head; with `view`, and with
        `members` if the room has at most `members_most`. All in one state of the store. None if there is no such room.
        """

    # -- standings ---------------------------------------------------------------------------------------------------

    async def standing(self, uid: str, user: str) -> Standing | None: ...

    async def standings_at(self, pairs: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Standing]:
        """`standing` of these pairs of a room's uid and a user, in one query, however many they are; those of whom
        nothing is recorded are missing.
        """
        ...

    async def standings_of(self, user: str) -> Mapping[str, Standing]:
        """All standings of a user, by room uid."""

    async def arrival(self, user: str) -> Arrival:
        """`standings_of` and `people` of one user, in one state of the store."""

    async def members(self, uid: str, *, limit: int, cursor: str | None) -> StandingPage: ...

    async def member_ids(self, uid: str, candidates: Sequence[str]) -> frozenset[str]:
        """Those of the candidates who are members."""

    async def join(
        self, uid: str, person: Person, *, at: int, role: Role = "member", need_invite: bool = False
    ) -> tuple[Standing, bool, int]:
        """Make the person a member, unless they are; returns the standing, whether it is new, and the member count.

        `read_seq` of a new member is the newest `seq`. Raises `room_full` (capacity reached, checked in the same
        step), `banned` (a ban is in force at `at`), `not_found` (no such room, or `need_invite` and no invitation).
        A mute survives leaving and joining. Who joins a room that everybody left becomes its owner, whatever `role`
        says: no room with members is without one.
        """

    async def leave(self, uid: str, user: str, *, kicked: bool = False, text: str = "") -> Left:
        """End a membership or an invitation; a mute or a ban stays. The record says `kicked` or `left`, and `text`. If
        the last owner left and members remain, the new owner is the longest-standing moderator, else the
        longest-standing member. No error if the user was no member or there is no such room.
        """

    async def invite(self, uid: str, person: Person, *, at: int) -> Standing | None:
        """Record an invitation; returns the standing that results, in which a mute is kept, or None if the user is a
        member or invited already. `conflict` if banned at `at`.
        """

    async def set_role(self, uid: str, user: str, role: Role) -> Standing:
        """`not_found` if the user is no member; `conflict` if that would leave the room without an owner."""

    async def mute(self, uid: str, user: str, *, until: int) -> Standing:
        """0 ends it. May precede membership."""

    async def ban(
        self, uid: str, user: str, *, until: int, text: str = ""
    ) -> tuple[Standing, bool, int, Standing | None]:
        """Ban, and end the membership or invitation. Returns the standing, whether they were a member, the member
        count, and the new owner as `leave` does. `until=0` ends the ban.
        """

    async def mark_read(self, uid: str, user: str, seq: int) -> tuple[int, int]:
        """Raise the read mark (never lower it; never above the newest `seq`); returns `(read_seq, unread)`.
        `not_found` if the user is no member.
        """

    # -- people ------------------------------------------------------------------------------------------------------

    async def remember(self, person: Person, *, at: int) -> None:
        """Record a person's name; a second name replaces the first."""

    async def people(self, ids: Sequence[str]) -> Mapping[str, tuple[Person, int]]:
        """What is known of these users: the person, and when they were last remembered."""
