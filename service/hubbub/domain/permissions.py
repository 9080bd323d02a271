"""Who may do what in a room: one table, from which the test matrix and `docs/reference/permissions.md` are made.

Three things decide: what kind of room it is, how the caller stands to it, and the action. The answer is None
(allowed) or the code of the refusal. Two rules stand above the table:

* Nobody learns of a private or direct room that they have no standing in: the answer is `not_found`, as if it were not
  there. Whoever was banned while they knew of the room is told `banned`; whoever was not, `not_found`.
* `muted` takes the place of "allowed" for actions that write, whatever the role.

The table's columns are the standings, and two roles that a token gives. An administrator (token role `admin`) governs
public and private rooms as an owner does, member or not, and cannot be kept out by a ban; but posting needs
membership like everybody's, and direct rooms of others stay closed. The role `moderator` makes its bearer `staff` in
public rooms that they are no member of, and a moderator where they are one. A guest is no different from any other
user.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from hubbub.domain.identity import Identity
from hubbub.errors import Code
from hubbub.history.base import RoomKind, Standing

__all__ = ["RANK", "TABLE", "WRITES", "Action", "Relation", "decide", "is_banned", "is_muted", "rank", "relation"]


class Action(StrEnum):
    """What can be done to a room. `DELETE_OWN` and `DELETE_ANY` are both `message:delete`."""

    JOIN = "room:join"
    LEAVE = "room:leave"
    UPDATE = "room:update"
    DELETE_ROOM = "room:delete"
    INVITE = "room:invite"
    KICK = "room:kick"
    BAN = "room:ban"
    UNBAN = "room:unban"
    MUTE = "room:mute"
    ROLE = "room:role"
    PURGE = "room:purge"
    MEMBERS = "room:members"
    READ = "history"
    SEND = "message:send"
    EDIT = "message:edit"
    REACT = "message:react"
    DELETE_OWN = "message:delete (own)"
    DELETE_ANY = "message:delete (others')"
    TYPING = "typing"
    MARK = "read:mark"


class Relation(StrEnum):
    """How a caller stands to a room. `STAFF` is the service's moderator who is no member of it."""

    OWNER = "owner"
    MODERATOR = "moderator"
    MEMBER = "member"
    INVITED = "invited"
    STRANGER = "stranger"
    BANNED = "banned"
    ADMIN = "admin"
    STAFF = "staff"


WRITES: Final = frozenset({Action.SEND, Action.EDIT, Action.REACT, Action.TYPING, Action.INVITE})
"""What a muted member may not do."""

_CODES: Final[Mapping[str, Code | None]] = {
    "yes": None,
    "no": "forbidden",
    "none": "not_found",
    "ban": "banned",
}

_HEAD: Final = ["owner", "moderator", "member", "invited", "stranger", "banned", "admin", "staff"]

_PUBLIC: Final = """
    room:join                yes  yes  yes  yes  yes  ban  yes  yes
    room:leave               yes  yes  yes  yes  yes  ban  yes  yes
    room:update              yes  yes  no   no   no   ban  yes  yes
    room:delete              yes  no   no   no   no   ban  yes  no
    room:invite              yes  yes  yes  no   no   ban  yes  yes
    room:kick                yes  yes  no   no   no   ban  yes  yes
    room:ban                 yes  yes  no   no   no   ban  yes  yes
    room:unban               yes  yes  no   no   no   ban  yes  yes
    room:mute                yes  yes  no   no   no   ban  yes  yes
    room:role                yes  no   no   no   no   ban  yes  no
    room:purge               yes  yes  no   no   no   ban  yes  yes
    room:members             yes  yes  yes  yes  yes  ban  yes  yes
    history                  yes  yes  yes  yes  yes  ban  yes  yes
    message:send             yes  yes  yes  no   no   ban  no   no
    message:edit             yes  yes  yes  no   no   ban  no   no
    message:react            yes  yes  yes  no   no   ban  no   no
    message:delete (own)     yes  yes  yes  yes  yes  ban  yes  yes
    message:delete (others') yes  yes  no   no   no   ban  yes  yes
    typing                   yes  yes  yes  no   no   ban  no   no
    read:mark                yes  yes  yes  no   no   ban  no   no
"""

_PRIVATE: Final = """
    room:join                yes  yes  yes  yes  none ban  yes  none
    room:leave               yes  yes  yes  yes  none ban  yes  none
    room:update              yes  yes  no   no   none ban  yes  none
    room:delete              yes  no   no   no   none ban  yes  none
    room:invite              yes  yes  no   no   none ban  yes  none
    room:kick                yes  yes  no   no   none ban  yes  none
    room:ban                 yes  yes  no   no   none ban  yes  none
    room:unban               yes  yes  no   no   none ban  yes  none
    room:mute                yes  yes  no   no   none ban  yes  none
    room:role                yes  no   no   no   none ban  yes  none
    room:purge               yes  yes  no   no   none ban  yes  none
    room:members             yes  yes  yes  no   none ban  yes  none
    history                  yes  yes  yes  no   none ban  yes  none
    message:send             yes  yes  yes  no   none ban  no   none
    message:edit             yes  yes  yes  no   none ban  no   none
    message:react            yes  yes  yes  no   none ban  no   none
    message:delete (own)     yes  yes  yes  no   none ban  yes  none
    message:delete (others') yes  yes  no   no   none ban  yes  none
    typing                   yes  yes  yes  no   none ban  no   none
    read:mark                yes  yes  yes  no   none ban  no   none
"""

_DIRECT: Final = """
    room:join                yes  yes  yes  yes  none none none none
    room:leave               no   no   no   no   none none none none
    room:update              no   no   no   no   none none none none
    room:delete              no   no   no   no   none none none none
    room:invite              no   no   no   no   none none none none
    room:kick                no   no   no   no   none none none none
    room:ban                 no   no   no   no   none none none none
    room:unban               no   no   no   no   none none none none
    room:mute                no   no   no   no   none none none none
    room:role                no   no   no   no   none none none none
    room:purge               no   no   no   no   none none none none
    room:members             yes  yes  yes  yes  none none none none
    history                  yes  yes  yes  yes  none none none none
    message:send             yes  yes  yes  yes  none none none none
    message:edit             yes  yes  yes  yes  none none none none
    message:react            yes  yes  yes  yes  none none none none
    message:delete (own)     yes  yes  yes  yes  none none none none
    message:delete (others') no   no   no   no   none none none none
    typing                   yes  yes  yes  yes  none none none none
    read:mark                yes  yes  yes  yes  none none none none
"""


def _read(text: str) -> dict[Action, dict[Relation, Code | None]]:
    rows: dict[Action, dict[Relation, Code | None]] = {}
    for line in text.strip().splitlines():
        name, *cells = line.rsplit(maxsplit=len(_HEAD))
        rows[Action(name.strip())] = {Relation(head): _CODES[cell] for head, cell in zip(_HEAD, cells, strict=True)}
    return rows


TABLE: Final[Mapping[RoomKind, Mapping[Action, Mapping[Relation, Code | None]]]] = {
    "public": _read(_PUBLIC),
    "private": _read(_PRIVATE),
    "direct": _read(_DIRECT),
}

RANK: Final[Mapping[Relation, int]] = {
    Relation.ADMIN: 4,
    Relation.OWNER: 3,
    Relation.MODERATOR: 2,
    Relation.STAFF: 2,
    Relation.MEMBER: 1,
}
"""Kicks, bans and mutes reach only those of lower rank; whoever is not listed has rank 0."""


_BY_ROLE: Final[Mapping[str, Relation]] = {each.value: each for each in Relation}


def is_muted(standing: Standing | None, now: int) -> bool:
    """Whether a mute is in force at `now` (ms)."""
    return standing is not None and standing.muted_until > now


def is_banned(standing: Standing | None, now: int) -> bool:
    """Whether a ban is in force at `now` (ms)."""
    return standing is not None and standing.banned_until > now


def relation(kind: RoomKind, standing: Standing | None, now: int) -> Relation:
    """How somebody stands to a room of this kind by what is recorded, at `now` (ms)."""
    if standing is None:
        return Relation.STRANGER
    if is_banned(standing, now):
        told = standing.knew or kind == "public"
        return Relation.BANNED if told else Relation.STRANGER
    if standing.role is None:
        return Relation.STRANGER
    return _BY_ROLE[standing.role]


def rank(kind: RoomKind, standing: Standing | None, identity: Identity, now: int) -> int:
    """The rank of a caller, with what their token adds."""
    return max(RANK.get(each, 0) for each in _relations(kind, standing, identity, now))


def decide(action: Action, kind: RoomKind, standing: Standing | None, identity: Identity, *, now: int) -> Code | None:
    """None if the caller may do this, else the code of the refusal."""
    row = TABLE[kind][action]
    if identity.roles:
        answers = [row[each] for each in _relations(kind, standing, identity, now)]
    else:
        answers = [row[relation(kind, standing, now)]]
    if None not in answers:
        # Whoever may know of the room for any reason is told why they may not do this.
        return next((answer for answer in answers if answer != "not_found"), "not_found")
    if action in WRITES and is_muted(standing, now):
        return "muted"
    return None


def _relations(kind: RoomKind, standing: Standing | None, identity: Identity, now: int) -> list[Relation]:
    """The relation by the record first, since it decides which refusal is given; then what the token adds."""
    own = relation(kind, standing, now)
    relations = [own]
    if identity.is_admin:
        relations.append(Relation.ADMIN)
    if identity.is_moderator and own is not Relation.BANNED:
        if own in (Relation.OWNER, Relation.MODERATOR, Relation.MEMBER):
            relations.append(Relation.MODERATOR)
        elif kind == "public":
            relations.append(Relation.STAFF)
    return relations
