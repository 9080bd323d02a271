"""Connections for the administrators' list, without a wire: links as the transport makes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hubbub.domain.identity import Identity
from hubbub.domain.roster import Client, User
from hubbub.transport.base import Handshake, Link
from tests.support.connections import LooseConnection
from tests.support.domain import identity_of

__all__ = ["Crowd", "InAs"]


@dataclass(slots=True)
class InAs:
    """What a link's `state` is to the layers above, as far as lists look at it."""

    identity: Identity


class Crowd:
    """The lines of a node named `node`; as `domain.admin.ports.Lines`."""

    def __init__(self, node: str = "n1") -> None:
        self.node = node
        self.links: dict[str, Link] = {}
        self._number = 0

    def add(
        self,
        user: str,
        *,
        rooms: Iterable[str] = (),
        namespaces: Sequence[str] = ("/chat",),
        address: str = "192.0.2.7",
    ) -> Link:
        """One more, younger than all; `rooms` are uids."""
        self._number += 1
        link = Link(f"secret-{self._number}", Handshake({}, {}, {}, address), opened_at=1000 + self._number)
        identity = identity_of(user)
        link.state = InAs(identity)
        for namespace in namespaces:
            connection = LooseConnection(link, namespace)
            connection.id = f"{self.node}.{self._number}{namespace.replace('/', '-')}"
            client = Client(connection, User(identity.person), identity)
            client.joined |= set(rooms)
            connection.state = client
        self.links[link.id] = link
        return link

    def remove(self, link: Link) -> None:
        del self.links[link.id]
        for connection in list(link.connections.values()):
            connection.disconnect()

    def count(self) -> int:
        return len(self.links)

    def by_age(self) -> Sequence[Any]:
        return list(self.links.values())

    def of_user(self, user: str) -> Sequence[Any]:
        return [link for link in self._shuffled() if link.state.identity.user == user]

    def in_room(self, uid: str) -> int:
        return len(list(self.of_room(uid)))

    def of_room(self, uid: str) -> Iterable[Any]:
        """In an order of its own, as a room's subscribers come."""
        return (
            link
            for link in self._shuffled()
            if any(uid in connection.state.joined for connection in link.connections.values())
        )

    def _shuffled(self) -> list[Link]:
        """All, in an order that is neither that of age nor its reverse."""
        return sorted(self.links.values(), key=lambda link: (link.opened_at * 7919) % 10_007)
