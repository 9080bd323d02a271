"""For how long what another node said is believed.

A node is believed until its lease ends, by what was known of it last. Who cannot reach the registry knows nothing of
the others: then nobody's lease ends, for the registry may be away for all. Once it answers again each of them has a
whole lease to be heard of, because they need that time to announce themselves anew. This is not for ever: who has been
cut off for `BLIND_MS` speaks for itself alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from hubbub.cluster.base import LEASE_MS, Node

__all__ = ["Leases"]

BLIND_MS: Final = 60_000
"""A registry that fails over is back by then; and a list that is a minute old is worth nothing."""


class Leases:
    """`now` is monotonic, in milliseconds."""

    def __init__(self) -> None:
        self._until: dict[Node, int] = {}
        self._blind_since: int | None = None

    def __contains__(self, node: Node) -> bool:
        return node in self._until

    def renewed(self, living: Mapping[Node, int], now: int) -> None:
        """The registry answered: these have so much left of their leases. A lease that was known to be longer stays."""
        if self._blind_since is not None:
            self._blind_since = None
            self._until = {node: max(until, now + LEASE_MS) for node, until in self._until.items()}
        for node, left in living.items():
            self._until[node] = max(self._until.get(node, 0), now + left)

    def heard(self, node: Node, now: int) -> None:
        """There was word of a node that is not known yet: it is believed until the next renewal says for how long."""
        self._until.setdefault(node, now + LEASE_MS)

    def blind(self, now: int) -> None:
        """The registry does not answer."""
        if self._blind_since is None:
            self._blind_since = now

    def expire(self, now: int) -> list[Node]:
        """The nodes whose leases are over; they are forgotten."""
        if self._blind_since is None:
            ended = [node for node, until in self._until.items() if until <= now]
        elif now - self._blind_since >= BLIND_MS:
            ended = list(self._until)
        else:
            return []
        for node in ended:
            del self._until[node]
        return ended
