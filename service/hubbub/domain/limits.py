"""The bounds that clients are told of in `hello`, and that the domain keeps."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache

__all__ = ["PAGE_BYTES", "Limits"]

PAGE_BYTES = 256 * 1024
"""A page of history ends at this many bytes of bodies (WIRE, "Rooms")."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Counts unless the name says otherwise; `body` in code points. A frame of more than `packet_bytes` is refused
    unread.

    `reactions` is how many different emoji a message takes, `reactors` how many users each; both keep a message's
    document, which is written anew at each reaction, small.
    """

    body: int = 8192
    packet_bytes: int = 131_072
    page: int = 500
    page_default: int = 50
    rooms_per_user: int = 1000
    capacity: int = 10_000
    capacity_max: int = 100_000
    members_listed: int = 100
    mentions: int = 20
    reactions: int = 20
    reactors: int = 1000

    def document(self) -> dict[str, int]:
        """As in `hello`; the same one for all."""
        return _document(self)


@cache
def _document(limits: Limits) -> dict[str, int]:
    return asdict(limits)
