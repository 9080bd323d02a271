"""The whole of presence without a loop, a wire or a store: what happens goes in, diffs come out.

What this node holds (`holdings`) and what others say (`others`) make a face of each user in a room; a room that is
watched collects whose face may have changed, and tells its watchers at the end of its window (`watched`). Everything
that waits for a time is in one place: `tick` does what is due, `due` says when it is to be called.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Final

from hubbub.cluster.base import News, Node, RoomReading, Share
from hubbub.domain.presence.holdings import Holdings, LocalUser
from hubbub.domain.presence.leases import Leases
from hubbub.domain.presence.others import Others
from hubbub.domain.presence.statuses import Face, face_of
from hubbub.domain.presence.watched import Diff, Snapshot, WatchedRoom
from hubbub.history.base import Person

__all__ = ["PresenceCore", "share_of"]

ENDS_AT_ONCE: Final = 500
"""Graces that end in one tick. Ten thousand clients may leave at the same moment, and the loop has others to serve."""

PRUNE_MS: Final = 60_000


def share_of(user: LocalUser) -> Share:
    """What this node says of one of its users."""
    face = user.face
    return Share(
        user.person.id,
        user.person.name,
        user.person.guest,
        face.status,
        user.text,
        user.text_at,
        face.hidden_at,
        user.is_live,
        user.rooms(),
    )


class PresenceCore:
    """`on_diff(uid, admin, diff)` is told what the watchers of a room are to be told. `on_share(user, left)` is told of
    a user of whom this node has to say something new, and which rooms were left on purpose. `on_gone(person, at)` is
    told of a user who is not on this node any more, and when they were last seen.

    `now` is monotonic, `wall` since the Unix epoch, both in integer milliseconds.
    """

    def __init__(
        self,
        *,
        on_diff: Callable[[str, bool, Diff], None],
        on_share: Callable[[str, frozenset[str]], None],
        on_gone: Callable[[Person, int], None],
    ) -> None:
        self.holdings = Holdings(on_change=self._on_local, on_gone=on_gone)
        self.leases = Leases()
        self._others = Others(on_change=self._touch)
        self._on_diff = on_diff
        self._on_share = on_share
        self._rooms: dict[str, dict[bool, WatchedRoom]] = {}
        self._windows: list[tuple[int, int, WatchedRoom]] = []
        self._order = count()
        self._now = 0
        self._pruned_at = 0

    # -- watching ----------------------------------------------------------------------------------------------------

    def watch(self, uid: str, *, admin: bool) -> Snapshot:
        """What the watchers of a room have been shown. Whoever gets the snapshot and every later diff sees the same."""
        rooms = self._rooms.setdefault(uid, {})
        room = rooms.get(admin)
        if room is None:
            self._others.watch(uid)
            faces = (face for user in self._users_in(uid) if (face := self.face_in(uid, user)) is not None)
            room = rooms[admin] = WatchedRoom(uid, faces, admin=admin)
        return room.snapshot()

    def unwatch(self, uid: str, *, admin: bool) -> bool:
        """Nobody watches the room any more in this way. Returns whether nobody does in any."""
        rooms = self._rooms.get(uid, {})
        rooms.pop(admin, None)
        if rooms:
            return False
        self._rooms.pop(uid, None)
        self._others.unwatch(uid)
        return True

    def is_watched(self, uid: str) -> bool:
        return uid in self._rooms

    def watched(self) -> Iterable[str]:
        """The uids of the rooms that are watched."""
        return self._rooms

    # -- looking -----------------------------------------------------------------------------------------------------

    def face(self, user: str, *, admin: bool) -> Face | None:
        """How a user of this node looks; None if they are not here, or are not shown."""
        local = self.holdings.user(user)
        return None if local is None or (local.face.is_hidden and not admin) else local.face

    def face_in(self, uid: str, user: str) -> Face | None:
        """How a user looks by the word of all nodes who have them in this room; None if none has. Of other nodes only
        what they say of watched rooms is known.
        """
        local = self.holdings.room(uid).get(user)
        others = self._others.shares(uid, user)
        if not others:
            return local.face if local is not None else None
        return face_of([share_of(local), *others] if local is not None else others)

    def faces(self, uid: str, *, admin: bool) -> Iterable[Face]:
        """All who are shown in a room now."""
        faces = (self.face_in(uid, user) for user in self._users_in(uid))
        return (face for face in faces if face is not None and (admin or not face.is_hidden))

    def page(self, uid: str, *, after: str, limit: int, admin: bool) -> tuple[Sequence[Face], bool]:
        """The first `limit` who are shown in a room and whose ids are above `after`, by id; and whether there are more.
        Only these are looked at more closely: there may be ten thousand.
        """
        users = self._users_in(uid)
        found: list[Face] = []
        while True:
            ids = heapq.nsmallest(limit + 1, (user for user in users if user > after))
            for user in ids:
                face = self.face_in(uid, user)
                if face is not None and (admin or not face.is_hidden):
                    found.append(face)
            if len(found) > limit:
                return found[:limit], True
            if len(ids) <= limit:
                return found, False
            after = ids[-1]

    # -- word of other nodes -----------------------------------------------------------------------------------------

    def hear(self, news: News, now: int) -> None:
        """Another node announced something."""
        self._now = now
        self.leases.heard(news.node, now)
        self._others.hear(news, now)
        if news.announcement.left:
            self.holdings.void(news.announcement.user, news.announcement.left)

    def read(self, uid: str, reading: RoomReading, now: int) -> bool:
        """A watched room was read from the registry. Returns False if it has to be read again soon."""
        self._now = now
        if uid not in self._rooms:
            return True
        for node in reading.as_of:
            self.leases.heard(node, now)
        return self._others.read(uid, reading, now)

    def expect(self, uid: str, reading: RoomReading, now: int) -> None:
        """A room that is about to be watched was read, so that its first snapshot has what other nodes say."""
        self._others.watch(uid)
        for node in reading.as_of:
            self.leases.heard(node, now)
        self._others.read(uid, reading, now)

    def renewed(self, living: Mapping[Node, int], now: int) -> None:
        """The registry knows of these nodes."""
        self.leases.renewed(living, now)

    # -- time --------------------------------------------------------------------------------------------------------

    def at(self, now: int) -> None:
        """What happens next happens now: windows begin at this time."""
        self._now = now

    def tick(self, now: int, wall: int) -> None:
        """Do what is due. A part of much is left for the next tick, which is due at once then."""
        self._now = now
        self.holdings.expire(now, wall, most=ENDS_AT_ONCE)
        for node in self.leases.expire(now):
            self._others.drop(node)
        if now - self._pruned_at >= PRUNE_MS:
            self._pruned_at = now
            self._others.prune(now)
        while self._windows and self._windows[0][0] <= now:
            _, _, room = heapq.heappop(self._windows)
            if self._rooms.get(room.uid, {}).get(room.admin) is room:
                diff = room.flush(lambda user, uid=room.uid: self.face_in(uid, user))  # type: ignore[misc]
                if diff is not None:
                    self._on_diff(room.uid, room.admin, diff)

    def due(self) -> int | None:
        """When `tick` has something to do next; None if it is not known to. Leases are looked at with each renewal."""
        times = [self._windows[0][0]] if self._windows else []
        end = self.holdings.due()
        if end is not None:
            times.append(end)
        return min(times, default=None)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _users_in(self, uid: str) -> Iterable[str]:
        local = self.holdings.room(uid)
        return [*local, *(user for user in self._others.room(uid) if user not in local)]

    def _on_local(self, user: LocalUser, rooms: Iterable[str], left: frozenset[str]) -> None:
        self._on_share(user.person.id, left)
        for uid in rooms:
            if uid in self._rooms:
                self._touch(user.person.id, uid)

    def _touch(self, user: str, uid: str) -> None:
        for room in self._rooms.get(uid, {}).values():
            due = room.touch(user, self._now)
            if due is not None:
                heapq.heappush(self._windows, (due, next(self._order), room))
