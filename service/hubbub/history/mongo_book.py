"""What is known of a room while a batch of changes of its members is worked out: pure, and in memory.

The changes are applied one after the other, each to what those before it left, as if each had been alone; the store
then takes what came of all of them in one step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from hubbub.history import standing_rules as rules
from hubbub.history.base import MEMBER_ROLES, Left, Person, Role, Standing

__all__ = ["Book", "Changed", "Told", "Why"]

Why = Literal["joined", "left", "kicked", "invited", "role", "heir", "muted", "banned", "unbanned", "created"]


@dataclass(frozen=True, slots=True)
class Told:
    """What a record of the control log says of a change: see `RecordKind`, `standing`."""

    user: str
    why: Why
    was: Role | None
    role: Role | None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Changed:
    """A standing as it shall be. `is_new`: nothing was recorded of this user before. `marks`: `read_seq` is a part of
    the change, because a membership began or ended. Elsewhere it must be left alone: read marks rise beside us.
    """

    standing: Standing
    is_new: bool
    marks: bool


class Book:
    """A room's members as far as a batch needs them.

    `standings` are those of the users whom the batch is about, as far as there are any. `line` are those who may come
    to own the room: with `n` changes in the batch, `n + 1` of its owners, and the first `2 n + 1` of its moderators and
    of its plain members in the order (joined_at, user). A change touches two standings at most (somebody's, and their
    heir's), so the first in line that is left is among them. `newest` is the room's newest `seq`.
    """

    def __init__(
        self,
        *,
        members: int,
        capacity: int,
        standings: Iterable[Standing],
        line: Iterable[Standing] = (),
        newest: int = 0,
    ) -> None:
        self.members = members
        """How many members the room has by now."""
        self.people: dict[str, tuple[Person, int]] = {}
        """Who is to be remembered, by id, and when they were seen."""
        self.told: list[Told] = []
        """What the log is to be told, in the order of the changes."""
        self._capacity = capacity
        self._newest = newest
        self._before = {standing.user: standing for standing in (*line, *standings)}
        self._now = dict(self._before)

    def changed(self) -> list[Changed]:
        """The standings that are not as they were."""
        return [
            Changed(
                standing,
                is_new=standing.user not in self._before,
                marks=_is_member(before) != _is_member(standing) or before.joined_at != standing.joined_at,
            )
            for standing in self._now.values()
            if (before := self._before.get(standing.user, Standing(standing.user))) != standing
        ]

    # -- changes, each as the method of `History` of its name --------------------------------------------------------

    def join(self, person: Person, *, at: int, role: Role, need_invite: bool) -> tuple[Standing, bool, int]:
        before = self._standing(person.id)
        if _is_member(before):
            return before, False, self.members
        standing = rules.joined(
            before,
            at=at,
            role=role,
            need_invite=need_invite,
            members=self.members,
            capacity=self._capacity,
            newest=lambda: self._newest,
        )
        self._change(before, standing, "joined")
        self.people[person.id] = person, at
        self.members += 1
        return standing, True, self.members

    def leave(self, user: str, *, kicked: bool = False, text: str = "") -> Left:
        before = self._standing(user)
        if before.role is None:
            return Left(self.members, standing=rules.said(before))
        after = rules.left(before)
        self._change(before, after, "kicked" if kicked else "left", text)
        heir = self._end_membership(before)
        return Left(self.members, before.role, rules.said(after), heir)

    def invite(self, person: Person, *, at: int) -> Standing | None:
        before = self._standing(person.id)
        invited = rules.invited(before, at=at)
        if invited is not None:
            self._change(before, invited, "invited")
            self.people[person.id] = person, at
        return invited

    def set_role(self, user: str, role: Role) -> Standing:
        before = self._standing(user)
        standing = rules.with_role(before, role, owned_without=lambda: self._is_owned_without(user))
        return self._change(before, standing, "role")

    def mute(self, user: str, *, until: int) -> Standing:
        before = self._standing(user)
        return self._change(before, replace(before, muted_until=until), "muted")

    def ban(self, user: str, *, until: int, text: str = "") -> tuple[Standing, bool, int, Standing | None]:
        before = self._standing(user)
        standing = self._change(before, rules.banned(before, until=until), "banned" if until else "unbanned", text)
        if until == 0 or not _is_member(before):
            return standing, False, self.members, None
        heir = self._end_membership(before)
        return standing, True, self.members, heir

    # -- inside ------------------------------------------------------------------------------------------------------

    def _standing(self, user: str) -> Standing:
        return self._now.get(user) or Standing(user)

    def _change(self, before: Standing, standing: Standing, why: Why, text: str = "") -> Standing:
        if standing != before:
            self.told.append(Told(standing.user, why, before.role, standing.role, text))
        self._now[standing.user] = standing
        return standing

    def _end_membership(self, before: Standing) -> Standing | None:
        """Count somebody out who was a member; the new owner, if one is needed and there is anybody."""
        if not _is_member(before):
            return None
        self.members -= 1
        if before.role != "owner" or self._is_owned_without(before.user):
            return None
        line = [standing for standing in self._now.values() if _is_member(standing)]
        if not line:
            return None
        heir = min(line, key=_place_in_line)
        return self._change(heir, replace(heir, role="owner"), "heir")

    def _is_owned_without(self, user: str) -> bool:
        return any(standing.role == "owner" and standing.user != user for standing in self._now.values())


def _is_member(standing: Standing) -> bool:
    return standing.role in MEMBER_ROLES


def _place_in_line(standing: Standing) -> tuple[bool, int, bytes]:
    """Moderators come first, then who has been here longest; of two at once, by the bytes of their ids."""
    return standing.role != "moderator", standing.joined_at, standing.user.encode()
