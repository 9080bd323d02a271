"""A room as its watchers see it: a snapshot, and diffs that bring it up to date.

What is *shown* is what a watcher has who applied every diff. A snapshot is what is shown, never what is newer, so that
the next diff fits; changes wait for the end of the window, however many they are, and go out as one diff. One in which
nothing is left of them (somebody came and went) is none. The version rises by one with each.

A room with more than `LIST_MOST` users has a count and no list, until it has `LIST_AGAIN` or fewer. A diff says so by
what is in it: `joined`, `left` and `changed` are None from the diff on with which the list ends, and `users` is the
whole list in the one with which it is back. Who is shown is known all the same: an entry for each user, which is the
face that all rooms share.

Administrators see invisible users, and others do not: a room that both watch is two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hubbub.domain.presence.statuses import Face

__all__ = ["Diff", "Snapshot", "WatchedRoom"]

LIST_MOST: Final = 100
"""As `members_listed` of a join: a list that a person can look at."""

LIST_AGAIN: Final = 80
"""A room at the limit must not change to and fro with everybody who comes and goes, each time with a whole list."""

WINDOW_MS: Final = 300
"""How long changes are collected. It is hardly noticed, and a thousand who join within a second are three diffs."""

COUNT_WINDOW_MS: Final = 2_000
"""The same where only a count changes: in a room with ten thousand watchers each diff is ten thousand packets."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is shown. `users` is None in a room that has only a count."""

    version: int
    count: int
    users: Sequence[Face] | None


@dataclass(frozen=True, slots=True)
class Diff:
    """What brings a watcher from `version - 1` to `version`: the faces of those who joined or changed, and the ids of
    those who left. All three are None in a room that has only a count. With `users`, that is the list from here on.
    """

    version: int
    count: int
    joined: Sequence[Face] | None
    left: Sequence[str] | None
    changed: Sequence[Face] | None
    users: Sequence[Face] | None = None


class WatchedRoom:
    """See above. `admin`: its watchers see who is invisible."""

    __slots__ = ("_dirty", "_shown", "admin", "due", "is_list", "uid", "version")

    def __init__(self, uid: str, faces: Iterable[Face], *, admin: bool) -> None:
        self.uid = uid
        self.admin = admin
        self.version = 1
        self.due: int | None = None
        self._shown = {face.person.id: face for face in faces if self._shows(face)}
        self._dirty: dict[str, None] = {}
        self.is_list = len(self._shown) <= LIST_MOST

    def snapshot(self) -> Snapshot:
        return Snapshot(self.version, len(self._shown), list(self._shown.values()) if self.is_list else None)

    def shown(self) -> Iterable[str]:
        """The ids of those who are shown."""
        return self._shown

    def touch(self, user: str, now: int) -> int | None:
        """There may be news of a user. Returns when the window ends, if it begins with this."""
        self._dirty[user] = None
        if self.due is not None:
            return None
        self.due = now + (WINDOW_MS if self.is_list else COUNT_WINDOW_MS)
        return self.due

    def flush(self, find: Callable[[str], Face | None]) -> Diff | None:
        """The window is over: what has changed since, by the faces that `find` has of those who are in the room. None
        if nothing has that is shown.
        """
        joined: list[Face] = []
        left: list[str] = []
        changed: list[Face] = []
        count = len(self._shown)
        dirty, self._dirty, self.due = self._dirty, {}, None
        for user in dirty:
            before = self._shown.get(user)
            face = find(user)
            if face is None or not self._shows(face):
                if before is not None:
                    del self._shown[user]
                    left.append(user)
            elif before != face:
                self._shown[user] = face
                (joined if before is None else changed).append(face)
        return self._diff(count, joined, left, changed)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _shows(self, face: Face) -> bool:
        return self.admin or not face.is_hidden

    def _diff(self, before: int, joined: list[Face], left: list[str], changed: list[Face]) -> Diff | None:
        if not (joined or left or changed):
            return None
        count = len(self._shown)
        was_list = self.is_list
        self.is_list = count <= (LIST_MOST if was_list else LIST_AGAIN)
        if not was_list and not self.is_list and count == before:
            return None  # Others are there, or look different; nobody who has only a count sees that.
        self.version += 1
        if not self.is_list:
            return Diff(self.version, count, None, None, None)
        if not was_list:
            return Diff(self.version, count, [], [], [], list(self._shown.values()))
        return Diff(self.version, count, joined, left, changed)
