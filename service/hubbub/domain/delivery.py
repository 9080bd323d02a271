"""From changes of rooms to the events that subscribers get.

This is the one place where a change of a room becomes an event. What the writer reports goes through the room's feed,
so that every subscriber gets every revision once and in order; what the feed misses is read from the store (`fills`),
and what nobody ever announced is found there (`headcheck`).

Only what has a revision goes this way. What is worthless when it is late (typing, read marks, presence) is published
directly, and never waits for a hole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import structlog

from hubbub.cluster.bus import Bus, Offer
from hubbub.domain.activerooms import ActiveRoom, ActiveRooms
from hubbub.domain.activity import Activity
from hubbub.domain.documents import message_document
from hubbub.domain.feeds import Feed, Revision, Shown
from hubbub.domain.fills import Fills
from hubbub.domain.headcheck import HeadCheck
from hubbub.domain.ports import Channel
from hubbub.history.base import History, Message, Written

__all__ = ["Delivery", "offer_of"]

_log = structlog.get_logger("hubbub.feeds")


class Delivery:
    """Puts what becomes known of rooms in order, and publishes it. `on_gone` is told of a room that was deleted without
    a word, `on_filled` of how many revisions had to be read from the store. Other nodes are told by way of `bus`; None
    if there are none.
    """

    def __init__(
        self,
        history: History,
        rooms: ActiveRooms,
        channel: Channel,
        activity: Activity,
        bus: Bus | None = None,
        *,
        on_gone: Callable[[ActiveRoom], None],
        on_filled: Callable[[int], None] | None = None,
    ) -> None:
        self._rooms = rooms
        self._channel = channel
        self._activity = activity
        self._bus = bus
        self._fills = Fills(history, channel, emit=self._emit, on_filled=on_filled)
        self._check = HeadCheck(
            history, rooms, channel, know=self._know_behind, on_gone=on_gone, on_ahead=self.start_over
        )

    def start(self) -> None:
        """Compare the feeds with the store from now on. The store is open."""
        self._check.start()

    def refill_all(self) -> None:
        """Announcements were lost, or may have been: compare all feeds with the store soon, in one query."""
        self._check.hurry()

    def written(self, uid: str, written: Written) -> None:
        """A revision was claimed and is durable. Called in commit order."""
        message = written.message
        if written.claimed == message.seq:
            self._activity.touch(uid, message.seq, message.sender.id, message.mentions)
        room = self._rooms.by_uid(uid)
        if room is None:
            return  # Other nodes find it in the store.
        if self._bus is None or message.rev != written.claimed:
            # A message that was changed again since is left to be found by the others, too: what pages keep of an offer
            # has to be the message as it was at that revision.
            self._arrive(room, written.claimed, message, written=written)
            return
        written.shown = document = message_document(room.id, message)
        offer = offer_of(message, document)
        self._arrive(room, written.claimed, offer)
        self._bus.offer(uid, offer)

    def hear(self, uid: str, offers: Sequence[Offer]) -> None:
        """Another node tells of revisions of a room: once, twice, late, in any order."""
        room = self._rooms.by_uid(uid)
        for offer in offers:
            if offer.rev == offer.seq:
                self._activity.touch(uid, offer.seq, offer.sender, offer.mentions)
            if room is not None:
                self._arrive(room, offer.rev, offer)

    def _arrive(self, room: ActiveRoom, rev: int, message: Shown, *, written: Written | None = None) -> None:
        """A revision became known."""
        feed = room.feed
        is_next = rev == feed.delivered + 1
        if self._channel.size(room.uid) == 0 and not (room.joining > 0 and is_next):
            feed.advance(rev)
        else:
            ready = feed.offer(rev, message)
            if written is not None and is_next and len(ready) == 1:
                # By far the most: nothing was missing. The sender's ack shows the same document.
                written.shown = document = message_document(room.id, written.message, rev=rev)
                self._channel.publish(room.uid, "message", document)
                if room.joining == 0:
                    feed.drop_backlog()
            else:
                self._emit(room, ready)
            if feed.hole is not None:
                self._fills.soon(room)
        room.wake()

    def know(self, room: ActiveRoom, head: int) -> None:
        """The store's head was read: what is missing up to it is there, and is filled at once."""
        feed = room.feed
        if self._channel.size(room.uid) == 0:
            if head > feed.delivered or feed.hole is not None:
                feed.advance(head)
            room.wake()
        else:
            feed.know(head)
            if feed.hole is not None:
                self._fills.now(room)

    def expect(self, room: ActiveRoom, head: int) -> None:
        """As `know`, of what is most likely on its way here: filled if it does not come within a moment."""
        if self._channel.size(room.uid) == 0:
            self.know(room, head)
        else:
            room.feed.know(head)
            if room.feed.hole is not None:
                self._fills.soon(room)

    def start_over(self, room: ActiveRoom, head: int) -> None:
        """The store does not have what the feed has delivered, or must have to go on: data were lost beneath the
        service, or put back from a copy. Whoever listens gets `gap`, joins again, and is told what the store has now.
        """
        _log.error("feed.started_over", room=room.uid, head=head, delivered=room.feed.delivered)
        room.feed = Feed(head)
        self._channel.suspend(room.uid)
        room.wake()

    def _know_behind(self, room: ActiveRoom, head: int) -> None:
        """The regular check found the feed behind. Where the store says that it has more, and has not what comes next,
        there is no way to go on.
        """
        if self._fills.is_stuck(room):
            self.start_over(room, head)
        else:
            self.know(room, head)

    def stop(self) -> None:
        """Read nothing more."""
        self._check.stop()
        self._fills.stop()

    def _emit(self, room: ActiveRoom, revisions: Sequence[Revision]) -> None:
        is_slow = room.record.slow_mode_s > 0
        for rev, shown in revisions:
            if isinstance(shown, Offer):
                if is_slow and rev == shown.seq:
                    room.note_sent(shown.sender, shown.at)
                self._channel.publish(room.uid, "message", shown.document)
            else:
                if is_slow and rev == shown.seq:
                    room.note_sent(shown.sender.id, shown.created_at)
                self._channel.publish(room.uid, "message", message_document(room.id, shown, rev=rev))
        if room.joining == 0:
            room.feed.drop_backlog()


def offer_of(message: Message, document: Mapping[str, Any]) -> Offer:
    """What other nodes are told of a message's latest revision."""
    return Offer(
        message.rev,
        message.seq,
        message.sender.id,
        message.created_at,
        message.mentions,
        memoryview(orjson.dumps(document)),
    )
