"""What the administrators' services need of the layers around them, as protocols."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

__all__ = ["Line", "Lines", "Place"]


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


class Line(Protocol):
    """One client's transport with all its namespaces, by name. `opened_at` is in milliseconds since the Unix epoch, and
    no two lines of a node have the same. `state` has the `identity` of whoever came in with a token, and is None before
    that.
    """

    @property
    def opened_at(self) -> int: ...

    @property
    def handshake(self) -> _Handshake: ...

    @property
    def connections(self) -> Mapping[str, Place]: ...

    @property
    def state(self) -> Any: ...


class Lines(Protocol):
    """The lines of this node. What is returned is the caller's own, and does not change under its hands."""

    def count(self) -> int:
        """How many there are."""
        ...

    def by_age(self) -> Sequence[Line]:
        """All, the oldest first."""
        ...

    def of_user(self, user: str) -> Sequence[Line]:
        """Those of a user, in any order."""
        ...

    def in_room(self, uid: str) -> int:
        """How many are subscribed to a room."""
        ...

    def of_room(self, uid: str) -> Iterable[Line]:
        """Those that are subscribed to a room, in any order."""
        ...
