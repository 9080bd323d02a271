"""A stretch of a room's history in memory, as JSON: what one read of the store brought, for all who ask for part of it.

A stretch holds the messages whose latest revision is in `(low, high]`, as the room stood at revision `head`, ascending
by that revision. It is *complete* if `high` is `head`: then nothing is missing up to there. `advance` takes it to later
heads without asking the store: a message that changes leaves its place, and has a new one at the end. `append` and
`prepend` make it longer by what was read next to it.

Whoever asks for what changed after `since` gets a cut of it. A cut may be older than the room: a message that changed
behind the cut's end is not in it, and comes with its later revision, as an event or in the next cut. So old state,
cuts and events together are always the same as a fresh fetch, whenever each of them was read.

Pure: no store, no clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import Final, NamedTuple

import orjson

from hubbub.cluster.bus import Offer
from hubbub.domain.documents import message_document
from hubbub.domain.feeds import Revision, Shown
from hubbub.history.base import Message, MessagePage

__all__ = ["Cut", "Newest", "Stretch", "encoded"]

_CUTS: Final = 64
"""How many are remembered until the stretch changes: those who come back together ask for the same ones."""


class Cut(NamedTuple):
    """Messages in their order, as the content of a JSON array: empty, or one view of documents with commas between.

    Up to revision `end` nothing is missing. `is_partial` says whether there is more between there and the head for
    which the cut was made.
    """

    messages: list[memoryview]
    end: int
    is_partial: bool


def encoded(room_id: str, message: Message, *, rev: int | None = None) -> bytes:
    """The document of a message as JSON; `rev` as in `message_document`."""
    return orjson.dumps(message_document(room_id, message, rev=rev))


class Stretch:
    """See above. `page` was read by `History.changes(since=low)`; `size` is in bytes."""

    def __init__(self, room_id: str, page: MessagePage, *, low: int) -> None:
        self.low = low
        self.head = page.head
        self.high = page.messages[-1].rev if page.more_after else page.head
        self._floor = page.floor
        self._room_id = room_id
        self._revs = [message.rev for message in page.messages]
        self._documents = [encoded(room_id, message) for message in page.messages]
        self._rev_of = {message.seq: message.rev for message in page.messages}
        self.size = sum(map(len, self._documents))
        self._text: memoryview | None = None
        self._ends: list[int] = []
        self._cuts: dict[tuple[int, int, int, int], Cut] = {}

    @property
    def is_complete(self) -> bool:
        return self.high == self.head

    def covers(self, since: int) -> bool:
        """Whether it begins early enough for this `since`, and ends behind it.

        What retention has emptied is shown to those who may hold an older state of it, which depends on `since`: there
        one cannot be given what was read for another.
        """
        is_exact = since == self.low or (since > self.low and self._floor is not None and self._floor <= self.low)
        return is_exact and (since < self.high or since == self.high == self.head)

    def outdoes(self, other: Stretch) -> bool:
        """Whether it can be given to everybody to whom the other can."""
        return self.covers(other.low) and other.high <= self.high and other.head <= self.head

    def behind(self, since: int) -> tuple[int, int]:
        """How many messages it has behind `since`, and how many bytes they are."""
        text, ends = self._joined()
        first = bisect_right(self._revs, since)
        return len(self._revs) - first, len(text) - (ends[first - 1] if first else 0)

    def advance(self, revisions: Iterable[Revision]) -> None:
        """Go to a later head. The revisions follow the head without a hole; those that do not are known already.

        A revision may come with its message as it is at a later one. An event may show that, but in a cut a content
        belongs to its revision, so such a message waits for the later one, which follows.
        """
        for rev, message in revisions:
            if rev > self.head:
                self._take_out(message.seq)
                if self.is_complete:
                    if message.rev == rev:
                        self._append(rev, message)
                    self.high = rev
                self.head = rev

    def append(self, page: MessagePage) -> bool:
        """Take in what was read behind it (`since=high`); whether that could be done.

        What it has may be older than the page: then it has messages that were changed behind the page's end. Whoever
        gets one gets its later revision too.
        """
        if not self._may_grow(page, self.low):
            return False
        for message in page.messages:
            self._take_out(message.seq)
            self._append(message.rev, message)
        self.high = page.messages[-1].rev if page.more_after else page.head
        self.head = max(self.head, page.head)
        self._cuts.clear()  # Also where there was nothing to append.
        return True

    def prepend(self, page: MessagePage, *, low: int) -> bool:
        """Take in what was read before it (`since=low`); whether that could be done.

        The page is the later reading. A message that has left its place there since is in neither, if it changed behind
        this stretch's head: it comes with its later revision.
        """
        reaches = not page.more_after or page.messages[-1].rev >= self.low
        if not reaches or low >= self.low or not self._may_grow(page, low):
            return False
        fresh = [each for each in page.messages if each.rev <= self.low and each.seq not in self._rev_of]
        documents = [encoded(self._room_id, message) for message in fresh]
        self._revs[:0] = [message.rev for message in fresh]
        self._documents[:0] = documents
        self._rev_of.update((message.seq, message.rev) for message in fresh)
        self.size += sum(map(len, documents))
        self.low = low
        self._text = None
        return True

    def _may_grow(self, page: MessagePage, low: int) -> bool:
        """What is below the room's floor is not the same for all, and cannot be put together from parts."""
        floors = (self._floor, page.floor)
        if any(floor is None or floor > low for floor in floors):
            return False
        self._floor = page.floor
        return True

    def cut(self, since: int, *, upto: int, limit: int, max_bytes: int) -> Cut:
        """What changed after `since`, which it covers, as a room stood at revision `upto`, which is no later than its
        head; at most `limit` messages, and about `max_bytes` of JSON, but at least one message if there is one.
        """
        asked = (since, upto, limit, max_bytes)
        cut = self._cuts.get(asked) if self._text is not None else None
        if cut is None:
            cut = self._cut(*asked)
            if len(self._cuts) >= _CUTS:
                self._cuts.clear()
            self._cuts[asked] = cut
        return cut

    # -- inside ------------------------------------------------------------------------------------------------------

    def _cut(self, since: int, upto: int, limit: int, max_bytes: int) -> Cut:
        text, ends = self._joined()
        first, stop = bisect_right(self._revs, since), bisect_right(self._revs, upto)
        last = min(stop, first + limit)
        if first == last:
            end = min(self.high, upto)
            return Cut([], end, end < upto)
        start = ends[first - 1] + 1 if first else 0
        last = max(bisect_right(ends, start + max_bytes, first, last), first + 1)
        end = self._revs[last - 1] if last < stop else min(self.high, upto)
        return Cut([self._view(text, start, ends[last - 1])], end, end < upto)

    def _append(self, rev: int, message: Shown) -> None:
        document = bytes(message.document) if isinstance(message, Offer) else encoded(self._room_id, message, rev=rev)
        self._revs.append(rev)
        self._documents.append(document)
        self._rev_of[message.seq] = rev
        self.size += len(document)
        self._text = None

    def _take_out(self, seq: int) -> None:
        rev = self._rev_of.pop(seq, None)
        if rev is not None:
            place = bisect_left(self._revs, rev)
            del self._revs[place]
            self.size -= len(self._documents.pop(place))
            self._text = None

    def _joined(self) -> tuple[memoryview, list[int]]:
        """All documents in one piece, and where each of them ends."""
        if self._text is None:
            self._text = memoryview(b",".join(self._documents))
            self._ends = [end - 1 for end in accumulate(len(document) + 1 for document in self._documents)]
            self._cuts.clear()
        return self._text, self._ends

    def _view(self, text: memoryview, start: int, end: int) -> memoryview:
        """A part of the text. A small one is a copy: it may wait long for a slow reader, and must not keep the rest."""
        if (end - start) * 2 >= len(text):
            return text[start:end]
        return memoryview(bytes(text[start:end]))


class Newest:
    """A room's newest page as it stood at `head`, ascending by `seq`: for those who come anew, and after a reset."""

    def __init__(self, room_id: str, page: MessagePage) -> None:
        self.head = page.head
        self._revs = [message.rev for message in page.messages]
        self._documents = [encoded(room_id, message) for message in page.messages]
        self.size = sum(map(len, self._documents))
        self._latest = max(self._revs, default=0)
        self._whole = [memoryview(b",".join(self._documents))] if self._documents else []

    def cut(self, upto: int) -> Cut:
        """As it stood at revision `upto`, which is no later than its head. What changed since comes later."""
        if self._latest <= upto:
            return Cut(self._whole, upto, is_partial=False)
        kept = [document for rev, document in zip(self._revs, self._documents, strict=True) if rev <= upto]
        return Cut([memoryview(b",".join(kept))] if kept else [], upto, is_partial=False)
