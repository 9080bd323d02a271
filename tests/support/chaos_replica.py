"""What one client knows of one room, and whether it is what it was promised: pure, so that each check can be tried.

**Order.** On a connection, the first event of a room behind the ack of a join is `head + 1`, and each event is one
higher than the one before. None comes before the join or after a `gap`, until the next join.

**Cuts.** `synced` is the revision up to which nothing is missing; a resume asks for what is behind it. A cut is the
state at one revision. It is compared with a fresh fetch of the whole room, which pages `history:sync` from 0 until
`next >= head`: whatever changes in between comes again in a later page, so the pages together are the room as it stood
at the last page's head, `H`. The client's own state goes on meanwhile. It remembers what it replaced since the fetch
began, waits until `synced` has reached `H`, and takes back what came behind it. What it has then must be the same
documents with the same revisions and the same contents.

One difference is allowed by the contract, to messages that were changed again behind `H`, and to no others: an event's
content may be newer than its `rev`, and a page may lack such a message or have it as it is later, since its change
comes to everybody behind `H`. Whether it was changed again cannot be known at the cut; it is noted, and the store's own
list of revisions decides at the end of the run (`Ledger.owed`). At the last cut, when nothing is in flight, no such
debt can be paid, so there every room is the same to the letter. What never changes of a message never differs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Comparison", "Document", "Replica", "Violation"]

Document = dict[str, Any]

_CHANGING: Final = frozenset({"rev", "body", "mentions", "reactions", "edited_at", "deleted"})


class Violation(AssertionError):  # noqa: N818 - It is what was violated that counts, and it is raised as a failure.
    """A promise was broken."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A cut that is as it should be. `owed` are the ids of messages that must have been changed behind `head`."""

    head: int
    documents: int
    owed: Sequence[str]


class Replica:
    """One room in one client. `name` is for the words of a violation."""

    def __init__(self, name: str, room: str) -> None:
        self.name = name
        self.room = room
        self.epoch: str | None = None
        self.synced = 0
        self.documents: dict[str, Document] = {}
        self.expected: int | None = None
        """The revision of the next event on this connection; None while the room is not joined on it."""
        self.events = 0
        self._paging = False
        self._replaced: list[tuple[int, str, Document | None]] | None = None

    # -- the connection ----------------------------------------------------------------------------------------------

    def lost(self) -> None:
        """The connection is gone. What was being paged is resumed from where it was."""
        self.expected = None
        self._replaced = None

    def event(self, document: Document) -> None:
        """A `message` event of this room."""
        rev = document["rev"]
        if self.expected is None:
            raise self._violation(f"revision {rev} came though the room is not joined")
        if rev != self.expected:
            kind = "a gap" if rev > self.expected else "a repeat or a swap"
            raise self._violation(f"{kind}: revision {rev} came in the place of {self.expected}")
        self.expected = rev + 1
        self.events += 1
        self._apply(document, rev)
        if not self._paging:
            self.synced = max(self.synced, rev)

    def gap(self, head: int) -> None:
        """A `gap` event: the room is suspended on this connection."""
        if self.expected is None:
            raise self._violation("gap came though the room is not joined")
        if head < self.expected - 1:
            raise self._violation(f"gap says that the head is {head}, but {self.expected - 1} was delivered")
        self.expected = None

    # -- resuming ----------------------------------------------------------------------------------------------------

    def joined(self, data: Mapping[str, Any], *, since: int) -> None:
        """The ack of `room:join {since}`. `synced` says from where to page on, `is_paging` whether."""
        epoch, head = data["room"]["epoch"], data["head"]
        if self.epoch is not None and epoch != self.epoch:
            raise self._violation(f"the epoch changed from {self.epoch} to {epoch}")
        self.epoch = epoch
        self.expected = head + 1
        self._page(data, since)

    def paged(self, data: Mapping[str, Any], *, since: int) -> None:
        """The ack of `history:sync {since}`, while paging."""
        self._page(data, since)

    @property
    def is_paging(self) -> bool:
        """Whether there is more to be fetched before nothing is missing."""
        return self._paging

    def _page(self, data: Mapping[str, Any], since: int) -> None:
        outcome, head, following = data["outcome"], data["head"], data["next"]
        if outcome == "reset":
            raise self._violation(f"reset though revisions up to {since} were delivered; the head is {head}")
        check_page(data, since, self._violation)
        for document in data["messages"]:
            self._apply(document, document["rev"])
        self._paging = following < head
        # Events that came while pages were missing count from when none is.
        self.synced = following if self._paging else max(following, (self.expected or 1) - 1)

    # -- cuts --------------------------------------------------------------------------------------------------------

    def begin_cut(self) -> None:
        """From now on what is replaced is remembered. The room must be joined, with nothing left to page."""
        assert self.expected is not None
        assert not self._paging
        self._replaced = []

    def end_cut(self, fresh: Mapping[str, Document], head: int) -> Comparison:
        """Compare with a fetch that began after `begin_cut` and ended at `head`, which `synced` has reached."""
        assert self._replaced is not None
        assert self.synced >= head
        cut = dict(self.documents)
        for rev, message_id, before in reversed(self._replaced):
            if rev > head:
                if before is None:
                    del cut[message_id]
                else:
                    cut[message_id] = before
        self._replaced = None
        owed = list(cut.keys() ^ fresh.keys())
        for message_id in cut.keys() & fresh.keys():
            held, document = cut[message_id], fresh[message_id]
            if held == document:
                continue
            different = {name for name in document.keys() | held.keys() if document.get(name) != held.get(name)}
            if not different <= _CHANGING:
                raise self._violation(f"at {head} {held} is held, but it is {document}")
            owed.append(message_id)
        return Comparison(head, len(fresh), owed)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _apply(self, document: Document, rev: int) -> None:
        message_id = document["id"]
        held = self.documents.get(message_id)
        if held is None or document["rev"] > held["rev"]:
            if self._replaced is not None:
                self._replaced.append((rev, message_id, held))
            self.documents[message_id] = document

    def _violation(self, what: str) -> Violation:
        return Violation(f"{self.name} in {self.room}: {what}")


def check_page(data: Mapping[str, Any], since: int, violation: Any) -> None:
    """A page by revision: ascending, behind `since`, and with an end that says whether there is more."""
    outcome, head, following = data["outcome"], data["head"], data["next"]
    revisions = [document["rev"] for document in data["messages"]]
    if any(later <= earlier for earlier, later in zip([since, *revisions], revisions, strict=False)):
        raise violation(f"a page since {since} has the revisions {revisions[:20]}")
    if head < since:
        raise violation(f"the head {head} is behind {since}, which was delivered")
    if not (since < following < head if outcome == "partial" else following == head):
        raise violation(f"a page since {since} that is {outcome}, with the head {head}, says next {following}")
