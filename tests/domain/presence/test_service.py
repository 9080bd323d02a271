"""Presence with a loop and a registry: several nodes of one process, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from hubbub.cluster.base import LEASE_MS, RENEW_MS, Announcement, News, Node, Renewal, RoomReading, Share
from hubbub.cluster.memory import Exchange, LoneRegistry, MemoryRegistry
from hubbub.domain.presence.holdings import GRACE_MS, Held
from hubbub.domain.presence.service import Presence
from hubbub.domain.presence.watched import COUNT_WINDOW_MS, WINDOW_MS, Diff
from hubbub.errors import HubbubError
from hubbub.history.base import History, Person
from tests.support.presence import WALL, Replay, person
from tests.support.virtualtime import run_in_virtual_time


class Store:
    """Keeps when users were seen."""

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}

    async def remember(self, who: Person, *, at: int) -> None:
        self.seen[who.id] = at


class FlakyRegistry:
    """A registry that does not answer while it `is_away`, and loses word while it `is_deaf`, which it tells once it is
    not. It takes `room_s` to read a room.
    """

    def __init__(self, inner: MemoryRegistry) -> None:
        self.inner = inner
        self.is_away = False
        self.is_deaf = False
        self.has_missed = False
        self.room_s = 0.0
        self.calls: list[str] = []

    is_lone = False

    @property
    def node(self) -> Node:
        return self.inner.node

    def _ask(self, name: str) -> None:
        self.calls.append(name)
        if self.is_away:
            raise HubbubError("unavailable")

    async def open(self, on_news: Callable[[News], None]) -> None:
        self._ask("open")
        await self.inner.open(lambda news: None if self.is_deaf or self.is_away else on_news(news))

    async def close(self) -> None:
        if not self.is_away:
            await self.inner.close()

    async def withdraw(self) -> None:
        await self.inner.withdraw()

    async def renew(self) -> Renewal:
        self._ask("renew")
        missed, self.has_missed = self.has_missed, False
        return replace(await self.inner.renew(), missed=missed)

    async def announce(self, announcements: Sequence[Announcement]) -> None:
        self._ask("announce")
        await self.inner.announce(announcements)

    async def watch(self, uid: str) -> None:
        self._ask("watch")
        await self.inner.watch(uid)

    async def unwatch(self, uid: str) -> None:
        self._ask("unwatch")
        await self.inner.unwatch(uid)

    async def room(self, uid: str) -> RoomReading:
        self._ask("room")
        await asyncio.sleep(self.room_s)
        return await self.inner.room(uid)

    async def users(self, ids: Sequence[str]) -> Mapping[str, Sequence[Share]]:
        self._ask("users")
        return await self.inner.users(ids)


def loop_ms() -> int:
    return round(asyncio.get_running_loop().time() * 1000)


class PresentNode:
    """A node: the service, and whoever watches at it."""

    def __init__(self, exchange: Exchange, name: str, boot: str = "1") -> None:
        self.registry = FlakyRegistry(MemoryRegistry(exchange, Node(name, boot)))
        self.store = Store()
        self.presence = Presence(cast(History, self.store), self.registry, lambda: WALL + loop_ms())
        self.presence.told = self._told
        self.presence.start()
        self.presence.start()
        self.watchers: dict[str, Replay] = {}

    def _told(self, uid: str, admin: bool, diff: Diff) -> None:
        self.watchers[uid].apply(diff)

    def connect(self, user: str, *rooms: str) -> Held:
        held = self.presence.connect(person(user), f"{user}'s tab")
        for uid in rooms:
            self.presence.join(held, uid)
        return held

    async def watch(self, uid: str) -> Replay:
        await self.presence.prepare(uid)
        replay = self.watchers[uid] = Replay(self.presence.watch(uid, admin=False))
        return replay

    def unwatch(self, uid: str) -> None:
        del self.watchers[uid]
        self.presence.unwatch(uid, admin=False)


def on_nodes(story: Callable[..., Coroutine[Any, Any, None]], *names: str) -> None:
    """Run a story with nodes of these names that have found each other."""

    async def run() -> None:
        exchange = Exchange(loop_ms)
        nodes = [PresentNode(exchange, name) for name in names]
        await asyncio.sleep(RENEW_MS / 1000 + 0.1)
        try:
            await story(*nodes)
        finally:
            for node in nodes:
                await node.presence.close()

    run_in_virtual_time(run())


SETTLED_S = (COUNT_WINDOW_MS + WINDOW_MS) / 1000


class TestAlone:
    def test_windows_and_graces_end_by_themselves(self) -> None:
        async def story(node: PresentNode) -> None:
            watcher = await node.watch("tea")
            held = node.connect("ada", "tea")
            await asyncio.sleep(WINDOW_MS / 1000 + 0.01)
            assert watcher.count == 1
            node.presence.disconnect(held, clean=False)
            await asyncio.sleep(GRACE_MS / 1000 - 0.1)
            assert watcher.count == 1
            await asyncio.sleep(0.2 + WINDOW_MS / 1000)
            assert watcher.count == 0
            assert node.store.seen == {"ada": WALL + 3110 + WINDOW_MS}

        on_nodes(story, "a")

    def test_a_node_that_is_alone_for_good_has_no_task_and_says_nothing(self) -> None:
        async def run() -> None:
            presence = Presence(cast(History, Store()), LoneRegistry(Node("n", "1")), lambda: WALL + loop_ms())
            presence.start()
            held = presence.connect(person("ada"), "tab")
            presence.disconnect(held, clean=True)
            await presence.prepare("tea")
            assert presence.watch("tea", admin=False).count == 0
            presence.unwatch("tea", admin=False)
            assert (presence._task, presence._unsaid) == (None, {})
            await presence.close()

        run_in_virtual_time(run())

    def test_a_node_that_is_alone_reads_nothing(self) -> None:
        async def story(node: PresentNode) -> None:
            await node.watch("tea")
            await node.presence.prepare("plans")
            node.presence.release("plans")
            node.unwatch("tea")
            await node.presence.faces(["ada"])
            await asyncio.sleep(60)
            assert set(node.registry.calls) == {"open", "renew"}

        on_nodes(story, "a")

    def test_a_crowd_that_broke_at_once_ends_in_turns_of_the_loop(self) -> None:
        async def story(node: PresentNode) -> None:
            watcher = await node.watch("tea")
            for held in [node.connect(f"u{number}", "tea") for number in range(1700)]:
                node.presence.disconnect(held, clean=False)
            await asyncio.sleep(GRACE_MS / 1000 + 0.001)
            await asyncio.sleep(SETTLED_S)
            assert (watcher.count, len(node.store.seen)) == (0, 1700)

        on_nodes(story, "a")

    def test_the_end_writes_when_those_were_here_who_are(self) -> None:
        async def story(node: PresentNode) -> None:
            node.connect("ada")
            node.presence.set_status(node.connect("eve"), "invisible", None)
            held = node.connect("bob")
            await asyncio.sleep(10)
            node.presence.disconnect(held, clean=False)
            await asyncio.sleep(1)
            now = WALL + loop_ms()
            await node.presence.close()
            assert node.store.seen == {"ada": now, "bob": now - 1000, "eve": now - 11_000}

        on_nodes(story, "a")


class TestTogether:
    def test_users_of_all_nodes_are_seen_and_gone_everywhere(self) -> None:
        async def story(a: PresentNode, b: PresentNode) -> None:
            held = a.connect("ada", "tea")
            await asyncio.sleep(1)
            watcher = await b.watch("tea")
            assert watcher.count == 1
            a.connect("cyd", "tea")
            b.connect("bob", "tea")
            await asyncio.sleep(1)
            assert sorted(watcher.users or ()) == ["ada", "bob", "cyd"]
            a.presence.disconnect(held, clean=True)
            await asyncio.sleep(0.1 + WINDOW_MS / 1000)
            assert sorted(watcher.users or ()) == ["bob", "cyd"]
            b.unwatch("tea")
            await asyncio.sleep(1)
            assert b.registry.inner._watched == set()

        on_nodes(story, "a", "b")

    def test_a_burst_of_joins_is_one_announcement(self) -> None:
        async def story(a: PresentNode, b: PresentNode) -> None:
            a.registry.calls.clear()
            held = a.connect("ada")
            for number in range(20):
                a.presence.join(held, f"room{number}")
                await asyncio.sleep(0.001)
            await asyncio.sleep(1)
            assert a.registry.calls.count("announce") == 1
            assert (await b.presence.faces(["ada"])).keys() == {"ada"}

        on_nodes(story, "a", "b")

    def test_users_of_other_nodes_can_be_asked_for(self) -> None:
        async def story(a: PresentNode, b: PresentNode) -> None:
            a.presence.set_status(a.connect("ada"), "away", "out")
            b.connect("ada")
            b.connect("bob")
            await asyncio.sleep(1)
            faces = await b.presence.faces(["ada", "bob", "nobody"])
            assert {user: (face.status, face.text) for user, face in faces.items()} == {
                "ada": ("online", "out"), "bob": ("online", ""),
            }  # fmt: skip
            b.registry.is_away = True
            assert (await b.presence.faces(["ada", "nobody"])).keys() == {"ada"}

        on_nodes(story, "a", "b")

    def test_word_that_was_lost_is_made_up_for(self) -> None:
        async def story(a: PresentNode, b: PresentNode) -> None:
            watcher = await b.watch("tea")
            b.registry.is_deaf = True
            a.connect("ada", "tea")
            await asyncio.sleep(40)
            assert watcher.count == 1

        on_nodes(story, "a", "b")

    def test_word_that_is_known_to_be_lost_is_made_up_for_after_the_next_renewal(self) -> None:
        async def story(a: PresentNode, b: PresentNode) -> None:
            watcher = await b.watch("tea")
            ada = a.connect("ada", "tea")
            await asyncio.sleep(SETTLED_S)
            assert watcher.count == 1
            b.registry.is_deaf = True
            a.presence.disconnect(ada, clean=True)
            await asyncio.sleep(SETTLED_S)
            b.registry.is_deaf = False
            b.registry.has_missed = True
            assert watcher.count == 1
            await asyncio.sleep(RENEW_MS / 1000 + SETTLED_S)
            assert watcher.count == 0

        on_nodes(story, "a", "b")

    def test_rooms_are_read_for_a_while_and_the_others_after_the_next_renewals(self) -> None:
        async def story(a: PresentNode, b: PresentNode) -> None:
            for number in range(25):
                await b.watch(f"room-{number}")
            b.registry.room_s = 0.1
            b.registry.has_missed = True
            b.registry.calls.clear()
            await asyncio.sleep(4 * RENEW_MS / 1000)
            turns = " ".join(b.registry.calls).split("renew")
            assert [turn.count("room") for turn in turns] == [0, 10, 10, 5, 0]

        on_nodes(story, "a", "b")

    def test_a_node_that_comes_later_is_seen_by_who_watches_already(self) -> None:
        async def run() -> None:
            exchange = Exchange(loop_ms)
            first = PresentNode(exchange, "a")
            await asyncio.sleep(1)
            watcher = await first.watch("tea")
            second = PresentNode(exchange, "b")
            second.connect("bob", "tea")
            await asyncio.sleep(RENEW_MS / 1000 + SETTLED_S)
            assert watcher.count == 1
            second.connect("cyd", "tea")
            await asyncio.sleep(SETTLED_S)
            assert watcher.count == 2
            for node in (first, second):
                await node.presence.close()

        run_in_virtual_time(run())


class TestFailures:
    def test_the_users_of_a_node_that_dies_go_within_15_seconds(self) -> None:
        async def story(a: PresentNode, b: PresentNode) -> None:
            watcher = await b.watch("tea")
            a.connect("ada", "tea")
            await asyncio.sleep(2.9)
            begun = loop_ms()
            a.registry.is_away = True
            await a.presence.close()
            async with asyncio.timeout(15):
                while watcher.count:
                    await asyncio.sleep(0.1)
            assert loop_ms() - begun >= LEASE_MS - RENEW_MS

        on_nodes(story, "a", "b")

    @pytest.mark.parametrize("back_after_s", [1.0, 14.5])
    def test_who_comes_back_from_a_node_that_is_deployed_is_not_seen_leaving(self, back_after_s: float) -> None:
        async def run() -> None:
            exchange = Exchange(loop_ms)
            a, b = PresentNode(exchange, "a"), PresentNode(exchange, "b")
            await asyncio.sleep(RENEW_MS / 1000 + 0.1)
            a.connect("ada", "tea")
            watcher = await b.watch("tea")
            await asyncio.sleep(SETTLED_S)
            assert watcher.count == 1
            seen = len(watcher.diffs)
            await a.presence.close()
            await asyncio.sleep(back_after_s / 2)
            again = PresentNode(exchange, "a", "2")
            await asyncio.sleep(back_after_s / 2)
            b.connect("ada", "tea")
            await asyncio.sleep(30)
            assert watcher.count == 1
            assert [diff for diff in watcher.diffs[seen:] if diff.joined or diff.left] == []
            for node in (again, b):
                await node.presence.close()

        run_in_virtual_time(run())

    def test_who_does_not_come_back_from_it_goes_within_20_seconds(self) -> None:
        async def story(a: PresentNode, b: PresentNode) -> None:
            watcher = await b.watch("tea")
            a.connect("ada", "tea")
            await asyncio.sleep(SETTLED_S)
            await a.presence.close()
            async with asyncio.timeout(20):
                while watcher.count:
                    await asyncio.sleep(0.1)

        on_nodes(story, "a", "b")

    def test_a_registry_that_is_away_for_a_while_changes_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        async def story(a: PresentNode, b: PresentNode) -> None:
            a.connect("ada", "tea")
            watcher = await b.watch("tea")
            await asyncio.sleep(1)
            for node in (a, b):
                node.registry.is_away = True
            await asyncio.sleep(30)
            b.connect("bob", "tea")
            other = await b.watch("plans")
            await asyncio.sleep(1)
            assert (watcher.count, other.count) == (2, 0)
            for node in (a, b):
                node.registry.is_away = False
            a.connect("cyd", "plans")
            await asyncio.sleep(RENEW_MS / 1000 + SETTLED_S)
            assert (watcher.count, other.count) == (2, 1)
            assert sum(len(diff.left or ()) for diff in watcher.diffs) == 0

        on_nodes(story, "a", "b")
        told = capsys.readouterr()
        assert (told.out + told.err).count("presence.registry_away") == 2

    def test_a_registry_that_is_away_at_the_start_is_found_later(self) -> None:
        async def run() -> None:
            exchange = Exchange(loop_ms)
            a, b = PresentNode(exchange, "a"), PresentNode(exchange, "b")
            a.registry.is_away = True
            a.connect("ada", "tea")
            await asyncio.sleep(10)
            watcher = await b.watch("tea")
            assert watcher.count == 0
            a.registry.is_away = False
            await asyncio.sleep(3 * RENEW_MS / 1000)
            assert watcher.count == 1
            for node in (a, b):
                await node.presence.close()

        run_in_virtual_time(run())

    def test_a_node_that_restarts_under_its_name_adopts_no_ghosts(self) -> None:
        async def run() -> None:
            exchange = Exchange(loop_ms)
            a, b = PresentNode(exchange, "a"), PresentNode(exchange, "b")
            await asyncio.sleep(RENEW_MS / 1000 + 0.1)
            a.connect("ada", "tea")
            watcher = await b.watch("tea")
            await asyncio.sleep(1)
            await a.presence.close()
            again = PresentNode(exchange, "a", "2")
            again.connect("bob", "tea")
            await asyncio.sleep(20)
            assert sorted(watcher.users or ()) == ["bob"]
            for node in (again, b):
                await node.presence.close()

        run_in_virtual_time(run())
