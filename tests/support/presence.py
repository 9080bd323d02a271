"""What tests of presence stand on: a node's core with a clock of its own, and a watcher who keeps what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hubbub.cluster.base import Announcement, News, Node
from hubbub.domain.presence.core import PresenceCore, share_of
from hubbub.domain.presence.holdings import Held
from hubbub.domain.presence.statuses import Face
from hubbub.domain.presence.watched import Diff, Snapshot
from hubbub.history.base import Person

__all__ = ["WALL", "CoreNode", "Replay", "person"]

WALL = 1_700_000_000_000
"""The time of day when the clocks of tests are at 0."""


def person(user: str) -> Person:
    return Person(user, user.title())


class Replay:
    """A watcher: a snapshot, and the diffs that followed. Fails if one does not fit."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.version = snapshot.version
        self.count = snapshot.count
        self.users = None if snapshot.users is None else {face.person.id: face for face in snapshot.users}
        self.diffs: list[Diff] = []

    def apply(self, diff: Diff) -> None:
        assert diff.version == self.version + 1
        self.version, self.count = diff.version, diff.count
        self.diffs.append(diff)
        if diff.users is not None:
            self.users = {face.person.id: face for face in diff.users}
        elif diff.joined is None:
            self.users = None
        else:
            self._change(diff)

    def _change(self, diff: Diff) -> None:
        assert self.users is not None
        for user in diff.left or ():
            del self.users[user]
        for face in diff.joined or ():
            assert face.person.id not in self.users
            self.users[face.person.id] = face
        for face in diff.changed or ():
            assert self.users[face.person.id] != face
            self.users[face.person.id] = face
        assert self.count == len(self.users)

    @property
    def state(self) -> tuple[int, int, Mapping[str, Face] | None]:
        return self.version, self.count, self.users


class CoreNode:
    """A node without loop, wire and store. `now` is its clock; `shares` is what it has to announce."""

    def __init__(self, name: str = "n", boot: str = "1") -> None:
        self.node = Node(name, boot)
        self.now = 0
        self.gone: dict[str, int] = {}
        self.watchers: dict[tuple[str, bool], list[Replay]] = {}
        self.numbers = 0
        self.unsaid: dict[str, frozenset[str]] = {}
        self.core = PresenceCore(
            on_diff=self._on_diff, on_share=self._on_share, on_gone=lambda who, at: self.gone.update({who.id: at})
        )

    @property
    def wall(self) -> int:
        return WALL + self.now

    def connect(self, user: str, *rooms: str, device: str = "") -> Held:
        self.core.at(self.now)
        held = self.core.holdings.connect(person(user), device or f"{user}-{self.numbers}", wall=self.wall)
        self.numbers += 1
        for uid in rooms:
            self.core.holdings.join(held, uid)
        return held

    def end(self, held: Held, *, clean: bool = False) -> None:
        self.core.at(self.now)
        self.core.holdings.disconnect(held, clean=clean, now=self.now, wall=self.wall)

    def status(self, held: Held, status: Any, text: str | None = None) -> None:
        self.core.at(self.now)
        self.core.holdings.set_status(held, status, text, wall=self.wall)

    def watch(self, uid: str, *, admin: bool = False) -> Replay:
        replay = Replay(self.core.watch(uid, admin=admin))
        self.watchers.setdefault((uid, admin), []).append(replay)
        return replay

    def unwatch(self, uid: str, replay: Replay, *, admin: bool = False) -> None:
        self.watchers[uid, admin].remove(replay)
        if not self.watchers[uid, admin]:
            del self.watchers[uid, admin]
            self.core.unwatch(uid, admin=admin)

    def forward(self, ms: int) -> None:
        """Let time pass, and whatever is due happen when it is."""
        end = self.now + ms
        while (due := self.core.due()) is not None and due <= end:
            self.now = max(self.now, due)
            self.core.tick(self.now, self.wall)
        self.now = end
        self.core.tick(self.now, self.wall)

    def announce(self) -> list[News]:
        """What this node has to say since it said something last."""
        said: list[News] = []
        for user, left in self.unsaid.items():
            self.numbers += 1
            local = self.core.holdings.user(user)
            share = share_of(local) if local is not None else None
            said.append(News(self.node, Announcement(self.numbers, user, share, left)))
        self.unsaid.clear()
        return said

    def _on_diff(self, uid: str, admin: bool, diff: Diff) -> None:
        for replay in self.watchers[uid, admin]:
            replay.apply(diff)

    def _on_share(self, user: str, left: frozenset[str]) -> None:
        self.unsaid[user] = self.unsaid.get(user, frozenset()) | left
