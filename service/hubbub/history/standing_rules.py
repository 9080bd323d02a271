"""How a user's standing to a room may change, whatever keeps it: from what is recorded to what shall be.

Pure. What costs a query is asked for by a call, and only where it decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hubbub.errors import HubbubError
from hubbub.history.base import MEMBER_ROLES, Role, Standing

__all__ = ["banned", "invited", "joined", "left", "said", "with_role"]


def said(standing: Standing) -> Standing | None:
    """A standing as it is recorded: one that says nothing is none."""
    return None if standing == Standing(standing.user) else standing


def joined(
    before: Standing,
    *,
    at: int,
    role: Role,
    need_invite: bool,
    members: int,
    capacity: int,
    newest: Callable[[], int],
) -> Standing:
    """As somebody stands who joins and was no member, as `History.join` says; `newest` is the room's newest `seq`."""
    if before.banned_until > at:
        raise HubbubError("banned")
    if need_invite and before.role != "invited":
        raise HubbubError("not_found", "There is no such room.")
    if members >= capacity:
        raise HubbubError("room_full")
    return replace(
        before,
        role=role if members else "owner",
        joined_at=at,
        banned_until=0,
        knew=False,
        read_seq=newest(),
    )


def left(before: Standing) -> Standing:
    """As somebody stands who was a member or invited, and is no more."""
    return replace(before, role=None, joined_at=0, read_seq=0)


def invited(before: Standing, *, at: int) -> Standing | None:
    """As somebody stands who is invited; None if an invitation says nothing new."""
    if before.banned_until > at:
        raise HubbubError("conflict", "The user is banned from the room.")
    if before.role is not None:
        return None
    return replace(before, role="invited", banned_until=0, knew=False)


def with_role(before: Standing, role: Role, *, owned_without: Callable[[], bool]) -> Standing:
    """As a member stands in another role; `owned_without` says whether the room has an owner beside this member."""
    if before.role not in MEMBER_ROLES:
        raise HubbubError("not_found", "The user is no member of the room.")
    if before.role == "owner" and role != "owner" and not owned_without():
        raise HubbubError("conflict", "The room would be left without an owner.")
    return replace(before, role=role)


def banned(before: Standing, *, until: int) -> Standing:
    """As somebody stands who is banned until then; 0 lifts the ban and leaves the rest."""
    if until == 0:
        return replace(before, banned_until=0, knew=False)
    knew = before.role is not None or (before.banned_until > 0 and before.knew)
    return replace(left(before), banned_until=until, knew=knew)
