"""What a store keeps beside rooms and messages: the control log, sanctions, the audit log, and which nodes live.

**The control log** has one numbered record for each change that every node has to take note of: how a user stands to a
room, what a room is like, that it is gone; and what administrators order for the whole service. Numbers are 1, 2, 3 …
without holes, and n + 1 is never seen before n. So a node follows the log by asking for what is behind the last number
that it has applied, and knows that it missed something if the first record is not the next one: what is old is pruned.

A record of a room says *what to look at*, never how it is: whoever applies it reads the store. So it harms nobody that
a record is applied twice, or in another order than the changes were made, and an older state never replaces a newer
one. Such records are written by the store itself, in the same step as the change or, where there is no such step, so
that the record comes whoever dies in between. All other records are appended, and say everything themselves.

**Sanctions** are what records of bans and revocations come to; they are kept apart from the log because they hold for
longer than a record is kept. Each bears the number of the record that it comes from, and a lower number replaces
nothing: so any node may write them, twice too, and the order does not matter.

All times are integer milliseconds since the Unix epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = [
    "AuditPage",
    "Audited",
    "Ban",
    "Beat",
    "Entry",
    "Ledger",
    "Record",
    "RecordKind",
    "Revocation",
    "Sanctions",
]

RecordKind = Literal[
    "standing", "room", "deleted", "ban", "unban", "revoke", "disconnect", "notice", "drain", "ask", "answer"
]
"""What a record is about, and what is in its `data`:

* `standing`: `{room: uid, user, why, was, role, text}`. How the user stands to the room has changed. `was` and `role`
  are the roles before and after it (None for none); `why` is `joined`, `left`, `kicked`, `invited`, `role`, `heir`,
  `muted`, `banned`, `unbanned` or `created`; `text` is what a moderator said about it, or empty. Written by the store.
* `room`: `{room: uid}`. What describes the room has changed. Written by the store.
* `deleted`: `{room: uid, id}`. The room is gone. Written by the store.
* `ban`: `{user, until, reason, by}`; `unban`: `{user, by}`.
* `revoke`: `{user, before, reason, by}`, of all tokens issued up to `before`, or `{jti, reason, by}`.
* `disconnect`: `{user, reason}` or `{connection, reason}`. Of connections that were there at the record's time.
* `notice`: `{room: uid | None, level, text}`.
* `drain`: `{node}`, by name. Of processes that were there at the record's time.
* `ask`: `{to, question, about}` and `answer`: `{to, asked, answer}`: between nodes, by `origin`; `asked` is a key.
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to be logged. `key` is unique: the same one twice is one record, as long as the first is kept."""

    kind: RecordKind
    key: str
    at: int
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """An entry in its place. `origin` is the process that logged it (`Ledger.origin`). What the store logged itself has
    a key of the store's making, and the time by the store's clock.
    """

    n: int
    kind: RecordKind
    key: str
    at: int
    origin: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ban:
    """A user is kept out of the service until a time (`FOREVER` without end; 0: the ban is over)."""

    user: str
    until: int
    reason: str
    by: str
    at: int
    n: int


@dataclass(frozen=True, slots=True)
class Revocation:
    """Tokens that hold no more: one by its `jti`, or all of a `user` that were issued up to `before`; the other is
    None.
    """

    user: str | None
    jti: str | None
    before: int
    reason: str
    by: str
    at: int
    n: int


@dataclass(frozen=True, slots=True)
class Sanctions:
    """All bans and revocations that are kept."""

    bans: Sequence[Ban] = ()
    revocations: Sequence[Revocation] = ()


@dataclass(frozen=True, slots=True)
class Audited:
    """Who did what to whom, when and why. `target` has some of `user`, `room`, `connection`, `node`, `jti`, `message`.
    `outcome` is `ok`, the code of an error, or `unknown` as long as nobody knows what became of it.
    """

    id: str
    at: int
    actor: str
    action: str
    target: Mapping[str, str]
    reason: str
    outcome: str


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Newest first."""

    entries: Sequence[Audited]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Beat:
    """A sign of life of a node: its name, the `origin` of its process, when it beat last, and what it tells of itself,
    as JSON.
    """

    name: str
    origin: str
    at: int
    about: Mapping[str, Any] = field(default_factory=dict)


class Ledger(Protocol):
    """Part of a `History`, with its errors; open as long as that is."""

    @property
    def origin(self) -> str:
        """This process, in the log: short random text, another at every start."""
        ...

    on_logged: Callable[[], None]
    """May be set: called on the event loop when this process has logged something that others may be waiting for. Where
    there are no others it is never called.
    """

    # -- the control log ---------------------------------------------------------------------------------------------

    async def head(self) -> int:
        """The last number; 0 for a log that never had a record."""
        ...

    async def read(self, *, after: int, limit: int) -> Sequence[Record]:
        """The records behind `after`, ascending, at most `limit`, and fewer if they are large (some hundred KB). If the
        first is not `after + 1`, those between were pruned.
        """
        ...

    async def append(self, entries: Sequence[Entry]) -> Sequence[int]:
        """Log these, durably, in this order; returns their numbers, of one that was there before its old one."""
        ...

    async def prune(self, *, before: int, keep: int) -> int:
        """Remove the oldest records, as far as they are from before this time and not among the newest `keep` (1 at
        least); a bounded number. Returns how many went. Several nodes may do so at once.
        """
        ...

    async def mend(self) -> None:
        """See to it that every change which was made has its record, also where a process died between the two.
        Nothing to do where a change and its record are one step. Cheap if there is nothing to mend; several nodes may
        do so at once.
        """

    # -- sanctions ---------------------------------------------------------------------------------------------------

    async def sanctions(self, *, now: int) -> Sanctions:
        """All that hold; of bans, those whose time is not over at `now`."""
        ...

    async def put_ban(self, ban: Ban) -> None:
        """Keep it, unless one of this user with a higher `n` is kept. With `until` 0 only its number matters."""

    async def put_revocation(self, revocation: Revocation) -> None:
        """Keep it, unless one of this user (or of this `jti`) with a higher `n` is kept."""

    # -- audit -------------------------------------------------------------------------------------------------------

    async def audit_begin(self, *, at: int, actor: str, action: str, target: Mapping[str, str], reason: str) -> str:
        """Record durably that this is about to be done, with the outcome `unknown`; returns its id."""
        ...

    async def audit_end(self, id: str, outcome: str) -> None:
        """Say what came of it: once, an outcome that is known stays as it is. Nothing else of an entry ever changes,
        and none is removed.
        """

    async def audit(self, *, limit: int, cursor: str | None) -> AuditPage:
        """A page, newest first. A cursor that was not made here raises `HubbubError("bad_request")`."""
        ...

    # -- nodes -------------------------------------------------------------------------------------------------------

    async def beat(self, beat: Beat) -> None:
        """Replaces the last one of this name and origin. Those that are more than an hour older than this one are
        removed by the way.
        """

    async def stop_beating(self) -> None:
        """This process ends, and has no beat any more."""

    async def beats(self, *, since: int) -> Sequence[Beat]:
        """The last beat of every process, as far as it is not older than `since`; by name and origin."""
        ...
