"""Who somebody is, as their token says."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from hubbub.history.base import Person

__all__ = ["Identity", "Person"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What a verified token says of its bearer (WIRE, "Connecting").

    `rooms` are the patterns of room ids that the token is limited to (`*`, `?` and `[…]` as in a shell), None for no
    limit. Times are integer milliseconds since the Unix epoch.
    """

    person: Person
    roles: frozenset[str]
    issued_at: int
    expires_at: int
    rooms: tuple[str, ...] | None = None
    jti: str | None = None

    @property
    def user(self) -> str:
        return self.person.id

    @property
    def is_admin(self) -> bool:
        return "admin" in self.roles

    @property
    def is_moderator(self) -> bool:
        return "moderator" in self.roles

    def covers(self, room: str) -> bool:
        """Whether the token reaches this room id at all."""
        return self.rooms is None or any(fnmatchcase(room, pattern) for pattern in self.rooms)
