"""From changes of rooms to the events that subscribers get.

This is the one place where a change of a room becomes an event. What the writer reports goes through the room's feed,
so that every subscriber gets every revision once and in order; what the feed misses is read from the store (`fills`),
and what nobody ever announced is found there (`headcheck`).

Only what has a revision goes this way. What is worthless when it is late (typing, read marks, presence) is published
directly, and never waits for a hole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from hubbub.domain.activerooms import ActiveRoom, ActiveRooms
from hubbub.domain.activity import Activity
from hubbub.domain.documents import message_document
from hubbub.domain.feeds import Feed, Revision
from hubbub.domain.fills import Fills
from hubbub.domain.headcheck import HeadCheck
from hubbub.domain.ports import Channel
from hubbub.history.base import History, Written

__all__ = ["Delivery"]

_log = structlog.get_logger("hubbub.feeds")


class Delivery:
    """Puts what becomes known of rooms in order, and publishes it. `on_gone` is told of a room that was deleted without
    a word, `on_filled` of how many revisions had to be read from the store.
    """

    def __init__(
        self,
        history: History,
        rooms: ActiveRooms,
        channel: Channel,
        activity: Activity,
        *,
        on_gone: Callable[[ActiveRoom], None],
        on_filled: Callable[[int], None] | None = None,
    ) -> None:
        self._rooms = rooms
        self._channel = channel
        self._activity = activity
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
            self._activity.touch(uid, message)
        room = self._rooms.by_uid(uid)
        if room is None:
            return
        feed = room.feed
        is_next = written.claimed == feed.delivered + 1
        if self._channel.size(uid) == 0 and not (room.joining > 0 and is_next):
            feed.advance(written.claimed)
        else:
            ready = feed.offer(written.claimed, message)
            if is_next and len(ready) == 1:
                # By far the most: nothing was missing. The sender's ack shows the same document.
                written.shown = document = message_document(room.id, message, rev=written.claimed)
                self._channel.publish(uid, "message", document)
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
        for rev, message in revisions:
            if is_slow and rev == message.seq:
                room.note_sent(message.sender.id, message.created_at)
            self._channel.publish(room.uid, "message", message_document(room.id, message, rev=rev))
        if room.joining == 0:
            room.feed.drop_backlog()
