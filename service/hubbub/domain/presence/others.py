"""What other nodes say of the rooms that are watched here.

Word of shares may be lost, repeated or late; a reading of the room puts that right. Of two shares by one node of one
user the one with the higher number holds, and a reading says up to which number it is complete. So the order in
which these arrive does not matter, and after a reading that nothing overtakes the room is as the registry has it.

A user who left a room on purpose on one node may have a grace in it on another one, which does not outlast that: such
word also ends what shares without a live connection say of that user and room.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from hubbub.cluster.base import Announcement, News, Node, RoomReading, Share

__all__ = ["Others"]


@dataclass(slots=True)
class _Word:
    """The newest that a node said of a user. `share` is None for who is gone: the number outlasts them, so that older
    word does not bring them back; until `kept_until`."""

    number: int
    share: Share | None
    kept_until: int


class Others:
    """`on_change(user, uid)` is told of a user of whom there is news in a room. `now` is monotonic, in milliseconds."""

    KEEP_MS = 60_000
    """Word that is older than this does not arrive any more."""

    def __init__(self, *, on_change: Callable[[str, str], None]) -> None:
        self._on_change = on_change
        self._words: dict[Node, dict[str, _Word]] = {}
        self._rooms: dict[str, dict[str, dict[Node, None]]] = {}
        """By room and user: the nodes whose share has that user in that room. Only rooms that are watched."""

    # -- looking -----------------------------------------------------------------------------------------------------

    def shares(self, uid: str, user: str) -> list[Share]:
        """What other nodes say of a user in a watched room."""
        nodes = self._rooms.get(uid, {}).get(user, ())
        return [share for node in nodes if (share := self._words[node][user].share) is not None]

    def room(self, uid: str) -> Iterable[str]:
        """The users whom other nodes have in a watched room."""
        return self._rooms.get(uid, {})

    # -- rooms -------------------------------------------------------------------------------------------------------

    def watch(self, uid: str) -> None:
        """Word of this room counts from now on; so does what is known of it by way of other rooms."""
        if uid in self._rooms:
            return
        users: dict[str, dict[Node, None]] = {}
        self._rooms[uid] = users
        for node, words in self._words.items():
            for user, word in words.items():
                if word.share is not None and uid in word.share.rooms:
                    users.setdefault(user, {})[node] = None

    def unwatch(self, uid: str) -> None:
        """Forget a room, and whoever is in no other one that is watched."""
        for user, nodes in self._rooms.pop(uid, {}).items():
            for node in nodes:
                share = self._words[node][user].share
                if share is not None and share.rooms.isdisjoint(self._rooms):
                    del self._words[node][user]

    # -- word --------------------------------------------------------------------------------------------------------

    def hear(self, news: News, now: int) -> None:
        """Another node announced something."""
        announcement = news.announcement
        self._take(news.node, announcement, now)
        for uid in announcement.left:
            for node in list(self._rooms.get(uid, {}).get(announcement.user, ())):
                word = self._words[node][announcement.user]
                if node != news.node and word.share is not None and not word.share.live:
                    rest = replace(word.share, rooms=word.share.rooms - {uid})
                    self._put(node, announcement.user, _Word(word.number, rest, word.kept_until))

    def read(self, uid: str, reading: RoomReading, now: int) -> bool:
        """A room was read. What it does not have, though the number was below the reading's, is over. Returns whether
        the reading told of everybody: it does not if what is known here is newer, as after a loss of the registry,
        until each node has announced its users anew.
        """
        is_whole = True
        for node, announcement in reading.announcements:
            self._take(node, announcement, now)
        found = {(node, announcement.user) for node, announcement in reading.announcements}
        for user, nodes in list(self._rooms.get(uid, {}).items()):
            for node in list(nodes):
                if (node, user) in found:
                    continue
                if self._words[node][user].number <= reading.as_of.get(node, 0):
                    self._lose(node, user, uid)
                else:
                    is_whole = False
        return is_whole

    def drop(self, node: Node) -> None:
        """A node's lease is over."""
        for user in list(self._words.get(node, ())):
            word = self._words[node][user]
            self._put(node, user, _Word(word.number, None, word.kept_until))
        self._words.pop(node, None)

    def prune(self, now: int) -> None:
        """Forget what was said long ago of those who are gone, or in no room that is watched."""
        for node, words in list(self._words.items()):
            kept = {user: each for user, each in words.items() if each.kept_until > now or self._watched(each.share)}
            if kept:
                self._words[node] = kept
            else:
                del self._words[node]

    # -- inside ------------------------------------------------------------------------------------------------------

    def _take(self, node: Node, announcement: Announcement, now: int) -> None:
        known = self._words.get(node, {}).get(announcement.user)
        if known is None or known.number < announcement.number:
            word = _Word(announcement.number, announcement.share, now + self.KEEP_MS)
            self._put(node, announcement.user, word)

    def _lose(self, node: Node, user: str, uid: str) -> None:
        """A node has a user in this room no more; in others it may."""
        word = self._words[node][user]
        if word.share is not None:
            rest = replace(word.share, rooms=word.share.rooms - {uid})
            self._put(node, user, _Word(word.number, rest, word.kept_until))

    def _put(self, node: Node, user: str, word: _Word) -> None:
        words = self._words.setdefault(node, {})
        before = words.get(user)
        words[user] = word
        was = self._watched(before.share if before is not None else None)
        now = self._watched(word.share)
        for uid in was.keys() - now.keys():
            nodes = self._rooms[uid][user]
            nodes.pop(node, None)
            if not nodes:
                del self._rooms[uid][user]
        for uid in now:
            self._rooms[uid].setdefault(user, {})[node] = None
        for uid in was | now:
            self._on_change(user, uid)

    def _watched(self, share: Share | None) -> dict[str, None]:
        """The rooms of a share that are watched here."""
        return {uid: None for uid in share.rooms if uid in self._rooms} if share is not None else {}
