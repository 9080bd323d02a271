"""Figures that come by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable
from typing import Any

from hubbub.domain.admin.watches import StatsWatches
from tests.domain.admin.test_stats import Cluster, Node, service
from tests.support.domain import RecordingOutlet
from tests.support.virtualtime import run_in_virtual_time


class Channel:
    """Keeps what is sent, and how."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, float]] = []
        self.how: set[tuple[bool, Hashable]] = set()

    def send_many(
        self, recipients: Iterable[Any], event: str, data: Any, *, volatile: bool = False, key: Hashable = None
    ) -> int:
        assert event == "stats"
        assert data["nodes"] == ["n2"]
        self.how.add((volatile, key))
        self.sent += [(each, asyncio.get_running_loop().time()) for each in recipients]
        return 1

    def times(self, outlet: RecordingOutlet) -> list[float]:
        return [at for each, at in self.sent if each is outlet]


class Scene:
    def __init__(self) -> None:
        self.channel = Channel()
        self.node = Node()
        self.stats = service(self.node, Cluster())
        self.watches = StatsWatches(self.stats, self.channel)


class TestWatches:
    def test_figures_come_at_once_and_then_as_often_as_was_asked(self) -> None:
        async def run() -> None:
            scene = Scene()
            often, seldom = RecordingOutlet(), RecordingOutlet()
            scene.watches.watch(often, 500)()
            scene.watches.watch(seldom, 2000)()
            await asyncio.sleep(2.1)
            assert scene.channel.times(often) == [0.0, 0.5, 1.0, 1.5, 2.0]
            assert scene.channel.times(seldom) == [0.0, 2.0]
            assert scene.channel.how == {(True, "stats")}, "a slow reader gets the newest alone"
            scene.watches.close()

        run_in_virtual_time(run())

    def test_they_end_when_the_watcher_wants_or_is_gone(self) -> None:
        async def run() -> None:
            scene = Scene()
            outlet = RecordingOutlet()
            first = scene.watches.watch(outlet, 500)
            scene.watches.end(outlet)
            scene.watches.end(outlet)
            first()
            await asyncio.sleep(5)
            assert scene.channel.sent == []
            outlet.is_open = False
            scene.watches.watch(outlet, 500)()
            await asyncio.sleep(5)
            assert (scene.channel.sent, scene.watches.size) == ([], 0)

        run_in_virtual_time(run())

    def test_a_new_watch_replaces_the_old_one(self) -> None:
        async def run() -> None:
            scene = Scene()
            outlet = RecordingOutlet()
            scene.watches.watch(outlet, 500)
            scene.watches.watch(outlet, 3000)
            await asyncio.sleep(7)
            assert scene.channel.times(outlet) == [3.0, 6.0]
            assert scene.watches.size == 1
            scene.watches.close()
            await asyncio.sleep(7)
            assert len(scene.channel.sent) == 2

        run_in_virtual_time(run())

    def test_the_counters_are_read_once_however_many_watch(self) -> None:
        async def run() -> None:
            scene = Scene()
            for _ in range(50):
                scene.watches.watch(RecordingOutlet(), 1000)
            await asyncio.sleep(1.5)
            assert len(scene.channel.sent) == 50
            assert scene.node.counted == 1
            scene.watches.close()

        run_in_virtual_time(run())
