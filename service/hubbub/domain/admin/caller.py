"""Who is in `/admin`, and what their token lets them do there.

The table says for every event what an administrator may do whose token is limited to rooms: `all` events that are about
the whole service are closed to them; in those about a `room`, rooms that the token does not cover are not there; a
`scoped` event is about a room if one is named, else about the whole service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from hubbub.domain.identity import Identity
from hubbub.domain.ports import Outlet
from hubbub.domain.roster import Client, User
from hubbub.errors import HubbubError

__all__ = ["SCOPES", "Administrator", "check_admin", "check_scope"]

_Scope = Literal["all", "room", "scoped", "list", "self"]

SCOPES: Final[Mapping[str, _Scope]] = {
    "stats:watch": "all",
    "nodes:list": "all",
    "rooms:list": "list",
    "connections:list": "scoped",
    "connection:disconnect": "all",
    "user:disconnect": "all",
    "user:ban": "all",
    "user:unban": "all",
    "bans:list": "all",
    "token:revoke": "all",
    "room:delete": "room",
    "notice:send": "scoped",
    "node:drain": "all",
    "audit:list": "all",
    "auth:refresh": "self",
}
"""Of every event of `/admin`. `list` has what the token covers, `self` is about the caller's own connection."""


@dataclass(slots=True, eq=False)
class Administrator:
    """One connection in `/admin`. It is no presence in chat: the roster does not know of it."""

    outlet: Outlet
    identity: Identity

    @property
    def client(self) -> Client:
        """The same for services of chat: somebody who stands to no room, with the rights of their token."""
        return Client(self.outlet, User(self.identity.person), self.identity)


def check_admin(identity: Identity) -> None:
    """Raise `forbidden` unless the token has the role `admin`."""
    if not identity.is_admin:
        raise HubbubError("forbidden", "The token does not have the role admin.")


def check_scope(identity: Identity, event: str, room: str | None) -> None:
    """Raise `forbidden` for an event about the whole service if the token is limited to rooms. Whether it covers the
    room is asked where the room is looked for.
    """
    scope = SCOPES[event]
    if identity.rooms is not None and (scope == "all" or (scope == "scoped" and room is None)):
        raise HubbubError("forbidden", "The token is limited to rooms.")
