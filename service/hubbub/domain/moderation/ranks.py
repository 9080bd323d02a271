"""Upon whom a moderator may act."""

from __future__ import annotations

from hubbub.domain.activerooms import ActiveRoom
from hubbub.domain.house import House
from hubbub.domain.permissions import RANK, rank, relation
from hubbub.domain.roster import Client
from hubbub.errors import HubbubError

__all__ = ["require_above"]


async def require_above(house: House, client: Client, room: ActiveRoom, user: str) -> None:
    """`forbidden` unless the user, upon whom the caller wants to act, ranks below the caller. Whoever is not in the
    room has no rank.
    """
    if user == client.user.person.id:
        raise HubbubError("forbidden", "Not upon oneself.")
    now = house.clock()
    kind = room.record.kind
    target = await house.standing(room.uid, user)
    own = client.user.standings.get(room.uid)
    target_rank = RANK.get(relation(kind, target, now), 0)
    if target_rank >= rank(kind, own, client.identity, now):
        raise HubbubError("forbidden", "Only upon members of a lower role.")
