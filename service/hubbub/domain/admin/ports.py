"""What the administrators' services need of the layers around them, as protocols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from hubbub.domain.identity import Identity

__all__ = ["Line", "LineLink", "Lines", "Place"]


class _Handshake(Protocol):
    @property
    def address(self) -> str: ...


class Place(Protocol):
    """One namespace of a line. What is not open was not let in yet."""

    @property
    def id(self) -> str: ...

    @property
    def is_open(self) -> bool: ...

    @property
    def state(self) -> Any: ...

    @property
    def transport(self) -> str: ...


class LineLink(Protocol):
    """What carries a line: the address of the client, and the namespaces by name."""

    @property
    def handshake(self) -> _Handshake: ...

    @property
    def connections(self) -> Mapping[str, Place]: ...


class Line(Protocol):
    """One client that came in with a token: all namespaces of one transport. `opened_at` is in milliseconds since the
    Unix epoch, and no two lines of a node have the same.
    """

    @property
    def identity(self) -> Identity: ...

    @property
    def opened_at(self) -> int: ...

    @property
    def link(self) -> LineLink: ...


class Lines(Protocol):
    """The lines of this node. What is returned is the caller's own, and does not change under its hands."""

    def by_age(self) -> Sequence[Line]:
        """All, the oldest first."""
        ...

    def of_user(self, user: str) -> Sequence[Line]:
        """Those of a user, in any order."""
        ...

    def of_room(self, uid: str) -> Iterable[Line]:
        """Those that are subscribed to a room, in any order."""
        ...
