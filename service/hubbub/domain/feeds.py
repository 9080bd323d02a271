"""One room's changes in order: a pure state machine.

A feed knows the last revision that went out to the room's local subscribers (`delivered`). It is *offered* revisions as
they become known, in any order, possibly twice or not at all, and answers with those that may go out now: always
`delivered + 1`, `delivered + 2`, … What comes too early is held back; what was there before is dropped. A hole (`hole`)
is filled by its owner from the store (`fill`).

While nobody listens there is nothing to keep in order: the owner calls `advance` with whatever head it knows.
The last revisions that went out are kept (`backlog`) for a subscriber whose snapshot is a moment old, until the owner
drops them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice

from hubbub.cluster.bus import Offer
from hubbub.history.base import Message

__all__ = ["Feed", "Revision", "Shown"]

Shown = Message | Offer
"""A message as it stood at a revision or later; or what another node tells of that revision, with its document."""

Revision = tuple[int, Shown]
"""A revision and the message that it changed."""


class Feed:
    """`keep` is how many delivered revisions the backlog holds, `hold` how many early ones are held back; what would
    exceed that is dropped, since a fill brings it back.
    """

    def __init__(self, delivered: int, *, keep: int = 1024, hold: int = 256) -> None:
        self.delivered = delivered
        self._head = delivered
        self._hold = hold
        self._early: dict[int, Shown] = {}
        self._recent: deque[Revision] = deque(maxlen=keep)

    @property
    def hole(self) -> tuple[int, int] | None:
        """The revisions `(after, upto]` that are known to exist, but have not come; None if nothing is missing."""
        return (self.delivered, self._head) if self._head > self.delivered else None

    @property
    def known(self) -> int:
        """The highest revision that is known to exist, delivered or not."""
        return self._head

    def offer(self, rev: int, message: Shown) -> Sequence[Revision]:
        """A revision became known. Returns what goes out now, in order."""
        if rev > self._head:
            self._head = rev
        if rev == self.delivered + 1 and not self._early:
            self.delivered = rev
            revision = (rev, message)
            self._recent.append(revision)
            return [revision]
        is_next = rev == self.delivered + 1
        if rev > self.delivered and (is_next or len(self._early) < self._hold or rev in self._early):
            self._early[rev] = message
        return self._deliver(self._ready())

    def know(self, head: int) -> None:
        """The store's head was seen to be `head`: everything up to it exists."""
        self._head = max(self._head, head)

    def drop_held(self, upto: int) -> None:
        """A fill up to `upto` begins: it brings newer documents than those that are held for these revisions."""
        if self._early:
            self._early = {rev: message for rev, message in self._early.items() if rev > upto}

    def fill(self, revisions: Iterable[Revision]) -> Sequence[Revision]:
        """Revisions came from the store. They replace what was held for them. Returns what goes out now, in order."""
        for rev, message in revisions:
            self._head = max(self._head, rev)
            if rev > self.delivered:
                self._early[rev] = message
        return self._deliver(self._ready())

    def advance(self, head: int) -> None:
        """Nobody listens, and the head is at least `head`: go there."""
        self._head = self.delivered = max(self.delivered, self._head, head)
        self._early.clear()
        self._recent.clear()

    def backlog(self, after: int) -> Sequence[Revision] | None:
        """The delivered revisions above `after`; None if the backlog does not reach back that far."""
        if after >= self.delivered:
            return []
        skipped = after + 1 - self._recent[0][0] if self._recent else -1
        return list(islice(self._recent, skipped, None)) if skipped >= 0 else None

    def drop_backlog(self) -> None:
        """Nobody is joining: what went out is needed no more."""
        self._recent.clear()

    def _ready(self) -> list[Revision]:
        ready: list[Revision] = []
        rev = self.delivered + 1
        while rev in self._early:
            ready.append((rev, self._early.pop(rev)))
            rev += 1
        return ready

    def _deliver(self, ready: list[Revision]) -> list[Revision]:
        if ready:
            self.delivered = ready[-1][0]
            self._recent.extend(ready)
        return ready
