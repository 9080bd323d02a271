"""The whole of presence without a loop: what is true, what watchers are told of it, and what that costs."""

from __future__ import annotations

import random
import time
import tracemalloc
from collections.abc import Sequence

import pytest

from hubbub.cluster.base import LEASE_MS, RENEW_MS, Announcement, Node, RoomReading, Status
from hubbub.domain.presence.core import share_of
from hubbub.domain.presence.holdings import GRACE_MS, Held
from hubbub.domain.presence.leases import BLIND_MS
from hubbub.domain.presence.watched import COUNT_WINDOW_MS, LIST_MOST, WINDOW_MS
from tests.support.presence import WALL, CoreNode, Replay, person
from tests.support.presencemodel import Model, ModelConnection

ROOMS = ["tea", "plans", "work", "attic"]
STATUSES: Sequence[Status] = ("online", "away", "busy", "invisible")


class TestWatchers:
    def test_a_reload_shows_neither_leave_nor_join(self) -> None:
        node = CoreNode()
        watcher = node.watch("tea")
        held = node.connect("ada", "tea")
        node.forward(1000)
        node.end(held)
        node.forward(2000)
        node.connect("ada", "tea")
        node.forward(60_000)
        assert [[face.person.id for face in diff.joined or ()] for diff in watcher.diffs] == [["ada"]]

    def test_a_second_device_shows_nothing(self) -> None:
        node = CoreNode()
        held = node.connect("ada", "tea")
        watcher = node.watch("tea")
        second = node.connect("ada", "tea")
        node.forward(1000)
        node.end(second, clean=True)
        node.end(held)
        node.forward(GRACE_MS - 1)
        assert watcher.diffs == []

    def test_a_clean_disconnect_of_the_last_connection_shows_within_one_window(self) -> None:
        node = CoreNode()
        held = node.connect("ada", "tea")
        watcher = node.watch("tea")
        node.end(held, clean=True)
        node.forward(WINDOW_MS)
        assert (watcher.count, node.gone) == (0, {"ada": WALL})

    def test_a_connection_that_breaks_shows_when_its_grace_is_over(self) -> None:
        """With a heartbeat that notices within 30 s, a pulled cable shows within 45 s and a window."""
        node = CoreNode()
        held = node.connect("ada", "tea")
        watcher = node.watch("tea")
        node.end(held)
        node.forward(GRACE_MS - 1)
        assert watcher.count == 1
        node.forward(1 + WINDOW_MS)
        assert watcher.count == 0

    def test_nothing_is_kept_of_a_room_that_nobody_watches(self) -> None:
        node = CoreNode()
        node.connect("ada", "tea")
        plain, admin = node.watch("tea"), node.watch("tea", admin=True)
        node.unwatch("tea", plain)
        assert node.core.is_watched("tea")
        node.connect("bob", "tea")
        node.unwatch("tea", admin, admin=True)
        node.forward(WINDOW_MS)
        assert (list(node.core.watched()), node.core.due()) == ([], None)

    def test_a_new_watch_of_the_same_room_hears_nothing_of_the_windows_of_the_old(self) -> None:
        node = CoreNode()
        first = node.watch("tea")
        node.connect("ada", "tea")
        node.unwatch("tea", first)
        second = node.watch("tea")
        assert second.count == 1
        node.forward(WINDOW_MS)
        assert second.diffs == []

    def test_administrators_see_who_is_invisible(self) -> None:
        node = CoreNode()
        held = node.connect("eve", "tea")
        plain, admin = node.watch("tea"), node.watch("tea", admin=True)
        node.status(held, "invisible", "shh")
        node.forward(WINDOW_MS)
        assert (plain.count, admin.count) == (0, 1)
        assert node.core.face("eve", admin=False) is None
        face = node.core.face("eve", admin=True)
        assert face is not None
        assert (face.status, face.text, face.hidden_at) == ("invisible", "shh", WALL)
        assert list(node.core.faces("tea", admin=False)) == []
        assert list(node.core.faces("tea", admin=True)) == [face]


class TestPages:
    def test_pages_have_everybody_once_and_whoever_is_hidden_in_none(self) -> None:
        node = CoreNode()
        users = [f"u{number:03}" for number in range(57)]
        for number, user in enumerate(users):
            held = node.connect(user, "tea")
            if number % 3 == 0 or number > 40:
                node.status(held, "invisible")
        for limit in (1, 10, 56, 57, 100):
            for admin in (False, True):
                found: list[str] = []
                more, after = True, ""
                while more:
                    faces, more = node.core.page("tea", after=after, limit=limit, admin=admin)
                    assert len(faces) == limit or not more
                    found += [face.person.id for face in faces]
                    after = found[-1]
                assert found == sorted(face.person.id for face in node.core.faces("tea", admin=admin))
        assert node.core.page("nowhere", after="", limit=1, admin=True) == ([], False)


class TestCosts:
    def test_a_thousand_who_join_within_a_second_are_a_message_per_window(self) -> None:
        node = CoreNode()
        watcher = node.watch("tea")
        for number in range(1000):
            node.connect(f"u{number}", "tea")
            node.forward(1)
        node.forward(COUNT_WINDOW_MS)
        assert watcher.count == 1000
        assert len(watcher.diffs) <= 1000 / WINDOW_MS + 2
        assert sum(len(diff.joined or ()) for diff in watcher.diffs) <= LIST_MOST

    def test_a_room_of_ten_thousand_costs_little(self) -> None:
        """The bounds are far above what was measured, 10 us a change and 600 bytes a user, and below what hurts."""
        node = CoreNode()
        tracemalloc.start()
        try:
            held = [node.connect(f"u{number}", "tea", device=f"d{number}") for number in range(10_000)]
            node.unsaid.clear()
            watcher = node.watch("tea")
            taken, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert (watcher.count, watcher.users) == (10_000, None)
        assert taken / 10_000 < 2048
        begun = time.process_time()
        for number in range(0, 10_000, 10):
            node.end(held[number], clean=True)
            node.forward(COUNT_WINDOW_MS if number % 100 == 0 else 1)
        spent = time.process_time() - begun
        node.forward(COUNT_WINDOW_MS)
        assert watcher.count == 9000
        assert all(diff.joined is None and diff.users is None for diff in watcher.diffs)
        assert spent / 1000 < 0.001

    def test_a_crowd_that_breaks_at_once_ends_in_slices(self) -> None:
        node = CoreNode()
        for held in [node.connect(f"u{number}", "tea") for number in range(1200)]:
            node.end(held)
        node.now += GRACE_MS
        node.core.tick(node.now, node.wall)
        assert (node.core.holdings.size, node.core.due()) == (700, GRACE_MS)
        node.forward(0)
        assert node.core.holdings.size == 0


class Story:
    """Random connects, drops, kills and pauses on one node, and the same in the model."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.node = CoreNode()
        self.model = Model()
        self.pairs: list[tuple[Held, ModelConnection]] = []
        self.devices = 0
        self.watchers: list[tuple[str, bool, Replay]] = []

    def step(self) -> None:
        actions = [self.connect, self.join, self.goodbye, self.breaks, self.set, self.leave, self.lapse]
        actions += [self.connect, self.join, self.join, self.pause, self.watch]
        self.random.choice(actions)()
        if self.random.random() < 0.001:
            self.kill()

    def connect(self) -> None:
        user = f"u{self.random.randrange(25)}"
        self.devices += 1
        for _ in range(self.random.choice([1, 1, 2])):
            held = self.node.connect(user, device=f"d{self.devices}")
            self.pairs.append((held, self.model.connect(user, f"d{self.devices}")))

    def join(self) -> None:
        if self.pairs:
            held, connection = self.random.choice(self.pairs)
            uid = self.random.choice(ROOMS)
            self.node.core.at(self.node.now)
            self.node.core.holdings.join(held, uid)
            connection.rooms.add(uid)

    def goodbye(self) -> None:
        if self.pairs:
            held, connection = self.pairs.pop(self.random.randrange(len(self.pairs)))
            self.node.end(held, clean=True)
            self.model.end(connection, clean=True)

    def breaks(self) -> None:
        if self.pairs:
            self._break({self.random.choice(self.pairs)[0].device})

    def kill(self) -> None:
        """Everybody's connection breaks."""
        self._break({held.device for held, _ in self.pairs})

    def _break(self, devices: set[str]) -> None:
        for pair in [pair for pair in self.pairs if pair[0].device in devices]:
            self.pairs.remove(pair)
            self.node.end(pair[0])
            self.model.end(pair[1], clean=False)

    def set(self) -> None:
        if self.pairs:
            held, connection = self.random.choice(self.pairs)
            status = self.random.choice(STATUSES)
            self.node.status(held, status)
            self.model.set(connection, status)

    def leave(self) -> None:
        user, uid = f"u{self.random.randrange(25)}", self.random.choice(ROOMS)
        self.node.core.at(self.node.now)
        self.node.core.holdings.leave(user, uid)
        self.model.leave(user, uid)

    def lapse(self) -> None:
        if self.pairs:
            held, connection = self.random.choice(self.pairs)
            uid = self.random.choice(ROOMS)
            self.node.core.at(self.node.now)
            self.node.core.holdings.lapse(held, uid, now=self.node.now)
            self.model.lapse(connection, uid)

    def pause(self) -> None:
        ms = self.random.choice([1, 50, WINDOW_MS, 1000, 7000, GRACE_MS])
        self.node.forward(ms)
        self.model.forward(ms)

    def watch(self) -> None:
        uid, admin = self.random.choice(ROOMS), self.random.random() < 0.5
        if len(self.watchers) < 12:
            self.watchers.append((uid, admin, self.node.watch(uid, admin=admin)))
        else:
            uid, admin, replay = self.watchers.pop(self.random.randrange(12))
            self.node.unwatch(uid, replay, admin=admin)

    def check(self) -> None:
        """What is known now is what the model says."""
        core = self.node.core
        for user in (f"u{number}" for number in range(25)):
            face = core.face(user, admin=True)
            assert (face.status if face is not None else None) == self.model.status(user)
            if face is None and user in self.model.last_seen:
                assert self.node.gone[user] == WALL + self.model.last_seen[user]
        for uid in ROOMS:
            for admin in (False, True):
                shown = {face.person.id: face.status for face in core.faces(uid, admin=admin)}
                assert shown == self.model.room(uid, admin=admin)
        for uid, admin, replay in self.watchers:
            assert replay.state == Replay(core.watch(uid, admin=admin)).state

    def settle(self) -> None:
        """Once all windows are over, watchers have been told what is so."""
        ms = COUNT_WINDOW_MS
        while ms:
            self.node.forward(ms)
            self.model.forward(ms)
            # A grace that ended meanwhile has begun another window.
            ms = WINDOW_MS if self.node.core._windows else 0
        self.check()
        for uid, admin, replay in self.watchers:
            assert replay.users is not None
            assert {user: face.status for user, face in replay.users.items()} == self.model.room(uid, admin=admin)


class TestTruth:
    @pytest.mark.parametrize("seed", [1, 2])
    def test_all_is_right_after_ten_thousand_connects_drops_kills_and_pauses(self, seed: int) -> None:
        story = Story(seed)
        for number in range(10_000):
            story.step()
            if number % 25 == 0:
                story.check()
            if number % 500 == 0:
                story.settle()
        story.settle()
        assert len(story.node.gone) == 25


class Nodes:
    """Two nodes, and what passes between them as a registry would pass it on: a renewal each 3 s, word at once. A node
    that is `dead` or `cut` says and renews nothing, and one that is `cut` hears nothing."""

    def __init__(self) -> None:
        self.a, self.b = CoreNode("a"), CoreNode("b")
        self.until: dict[Node, int] = {}
        self.said: dict[Node, dict[str, Announcement]] = {}
        self.silent: set[Node] = set()
        self.forward(0)

    def other(self, node: CoreNode) -> CoreNode:
        return self.b if node is self.a else self.a

    def reading(self, node: CoreNode, uid: str) -> RoomReading:
        other = self.other(node).node
        if self.until.get(other, 0) <= node.now:
            return RoomReading([], {})
        said = self.said.get(other, {})
        found = [(other, each) for each in said.values() if each.share is not None and uid in each.share.rooms]
        return RoomReading(found, {other: max((each.number for each in said.values()), default=0)})

    def watch(self, node: CoreNode, uid: str) -> Replay:
        node.core.expect(uid, self.reading(node, uid), node.now)
        return node.watch(uid)

    def forward(self, ms: int) -> None:
        for _ in range(max(ms // 100, 1)):
            for node in (self.a, self.b):
                node.forward(100 if ms else 0)
                self._speak(node)

    def _speak(self, node: CoreNode) -> None:
        if node.node in self.silent:
            if node.now % RENEW_MS == 0:
                node.core.leases.blind(node.now)
            return
        if node.now % RENEW_MS == 0:
            if self.until.get(node.node, 0) <= node.now:
                self._again(node)
            self.until[node.node] = node.now + LEASE_MS
            other = self.other(node).node
            left = self.until.get(other, 0) - node.now
            node.core.renewed({other: left} if left > 0 else {}, node.now)
            for uid in list(node.core.watched()):
                node.core.read(uid, self.reading(node, uid), node.now)
        for news in node.announce():
            self.said.setdefault(node.node, {})[news.announcement.user] = news.announcement
            other_node = self.other(node)
            if other_node.node not in self.silent:
                other_node.core.hear(news, other_node.now)

    def _again(self, node: CoreNode) -> None:
        self.said[node.node] = {}
        for user in node.core.holdings.users():
            node.unsaid.setdefault(user.person.id, frozenset())


class TestNodes:
    def test_users_of_both_are_in_the_room_of_each(self) -> None:
        nodes = Nodes()
        nodes.a.connect("ada", "tea")
        nodes.forward(100)
        watcher = nodes.watch(nodes.b, "tea")
        assert watcher.count == 1
        nodes.b.connect("bob", "tea")
        nodes.a.connect("cyd", "tea")
        nodes.forward(1000)
        assert sorted(watcher.users or ()) == ["ada", "bob", "cyd"]

    def test_a_user_who_moves_from_node_to_node_shows_nothing(self) -> None:
        nodes = Nodes()
        watcher = nodes.watch(nodes.b, "tea")
        held = nodes.a.connect("ada", "tea")
        nodes.forward(1000)
        nodes.a.end(held)
        nodes.forward(1000)
        nodes.b.connect("ada", "tea")
        nodes.forward(60_000)
        assert len(watcher.diffs) == 1

    def test_a_goodbye_on_one_node_ends_the_grace_on_the_other(self) -> None:
        nodes = Nodes()
        watchers = nodes.watch(nodes.a, "tea"), nodes.watch(nodes.b, "tea")
        nodes.a.end(nodes.a.connect("ada", "tea"))
        held = nodes.b.connect("ada", "tea")
        nodes.forward(1000)
        assert [each.count for each in watchers] == [1, 1]
        nodes.b.end(held, clean=True)
        nodes.forward(1000)
        assert [each.count for each in watchers] == [0, 0]

    def test_the_users_of_a_node_that_dies_go_within_15_seconds(self) -> None:
        nodes = Nodes()
        nodes.a.connect("ada", "tea")
        watcher = nodes.watch(nodes.b, "tea")
        nodes.forward(20_000)
        nodes.silent.add(nodes.a.node)
        begun = nodes.b.now
        while watcher.count and nodes.b.now - begun < 60_000:
            nodes.forward(100)
        assert LEASE_MS - RENEW_MS - WINDOW_MS <= nodes.b.now - begun <= 15_000

    def test_a_node_that_was_cut_off_briefly_was_never_away(self) -> None:
        nodes = Nodes()
        nodes.a.connect("ada", "tea")
        watchers = nodes.watch(nodes.a, "tea"), nodes.watch(nodes.b, "tea")
        nodes.forward(3000)
        nodes.b.connect("bob", "tea")
        nodes.forward(3000)
        nodes.silent.add(nodes.a.node)
        nodes.forward(6000)
        nodes.silent.clear()
        nodes.forward(20_000)
        assert [each.count for each in watchers] == [2, 2]
        assert sum(len(diff.left or ()) for each in watchers for diff in each.diffs) == 0

    def test_a_node_that_was_cut_off_for_long_is_back_with_all_that_changed_meanwhile(self) -> None:
        nodes = Nodes()
        held = nodes.a.connect("ada", "tea")
        nodes.b.connect("bob", "tea")
        watchers = nodes.watch(nodes.a, "tea"), nodes.watch(nodes.b, "tea")
        nodes.forward(3000)
        assert [each.count for each in watchers] == [2, 2]
        nodes.silent.add(nodes.a.node)
        nodes.forward(20_000)
        # To b the node a is gone; a does not know whether b is, and keeps what it knew for a while.
        assert [each.count for each in watchers] == [2, 1]
        nodes.forward(BLIND_MS)
        assert [each.count for each in watchers] == [1, 1]
        nodes.a.end(held, clean=True)
        nodes.a.connect("cyd", "tea")
        nodes.silent.clear()
        nodes.forward(6000)
        assert [sorted(each.users or ()) for each in watchers] == [["bob", "cyd"], ["bob", "cyd"]]

    def test_a_node_that_restarts_adopts_no_ghosts(self) -> None:
        nodes = Nodes()
        nodes.a.connect("ada", "tea")
        watcher = nodes.watch(nodes.b, "tea")
        nodes.forward(3000)
        nodes.a = CoreNode("a", "2")
        nodes.a.now = nodes.b.now
        nodes.a.connect("bob", "tea")
        nodes.forward(15_000)
        assert sorted(watcher.users or ()) == ["bob"]


class TestShares:
    def test_a_share_has_all_that_this_node_knows_of_a_user(self) -> None:
        node = CoreNode()
        held = node.connect("eve", "tea")
        node.forward(500)
        node.status(held, "invisible", "shh")
        node.core.holdings.join(held, "plans")
        user = node.core.holdings.user("eve")
        assert user is not None
        share = share_of(user)
        assert (share.user, share.name, share.guest) == ("eve", person("eve").name, False)
        assert (share.status, share.text, share.text_at, share.hidden_at) == (
            "invisible",
            "shh",
            WALL + 500,
            WALL + 500,
        )
        assert (share.live, share.rooms) == (True, frozenset({"tea", "plans"}))
        node.end(held)
        assert not share_of(user).live
