"""Figures of a node and of the service."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from hubbub.domain.admin.stats import Counters, NodeStats, ServiceStats
from hubbub.errors import HubbubError
from hubbub.history.base import Beat
from tests.support.domain import ManualClock

NOTHING = Counters({}, 0, 0, 0, 0, 0, 0, 0.0, 1000)


class Node:
    """A node whose counters and clocks are set by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.counters = NOTHING
        self.counted = 0
        self.stats = NodeStats(
            version="1.2", count=self.count, state=lambda: ("ready", "up"), clock=self.clock, now=self.now
        )

    def now(self) -> float:
        return self.clock.now / 1000

    def count(self) -> Counters:
        self.counted += 1
        return self.counters

    def later(self, seconds: float, **counters: Any) -> dict[str, Any]:
        """The figures after a while, in which these counters came to be so."""
        self.clock.forward(seconds)
        self.counters = replace(self.counters, **counters)
        return self.stats.figures()


class Cluster:
    """Beats of nodes; `error` is raised instead."""

    def __init__(self, *beats: Beat) -> None:
        self.beats = list(beats)
        self.error: HubbubError | None = None
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def nodes(self) -> Sequence[Beat]:
        self.asked += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.beats


def service(node: Node, cluster: Cluster) -> ServiceStats:
    return ServiceStats(node.stats, cluster, clock=node.clock, now=node.now, name="n2", origin="own")


def other(name: str = "n1", **about: Any) -> Beat:
    return Beat(name, f"boot of {name}", 1_700_000_000_000, about)


class TestNode:
    def test_it_says_what_it_is_and_how_it_does(self) -> None:
        node = Node()
        began = node.clock.now
        figures = node.later(90, connections={"/chat": 3}, users=2, rooms=1, memory_bytes=5000)
        assert {name: figures[name] for name in ("status", "store", "version", "started_at", "uptime_s")} == {
            "status": "ready",
            "store": "up",
            "version": "1.2",
            "started_at": began,
            "uptime_s": 90,
        }
        assert {name: figures[name] for name in ("connections", "users", "rooms", "memory_bytes")} == {
            "connections": {"/chat": 3},
            "users": 2,
            "rooms": 1,
            "memory_bytes": 5000,
        }

    def test_rates_are_over_the_last_seconds(self) -> None:
        node = Node()
        assert node.later(0)["messages_per_s"] == 0.0
        figures = node.later(2, messages=10, deliveries=100, events=20, refusals=4, cpu_s=0.5)
        rates = ("messages_per_s", "deliveries_per_s", "events_per_s", "refusals_per_s", "cpu_share")
        assert [figures[name] for name in rates] == [5.0, 50.0, 10.0, 2.0, 0.25]
        for _ in range(5):
            figures = node.later(1)
        assert figures["messages_per_s"] == 0.0, "what is long ago counts no more"

    def test_seldom_asked_they_are_over_the_time_since(self) -> None:
        node = Node()
        node.later(0)
        assert node.later(60, messages=600)["messages_per_s"] == 10.0
        assert node.later(60, messages=660)["messages_per_s"] == 1.0

    def test_the_counters_are_read_once_per_moment_however_many_ask(self) -> None:
        node = Node()
        for _ in range(100):
            node.later(0.001)
        assert node.counted == 1
        node.later(0.4)
        assert node.counted == 2

    def test_little_is_kept(self) -> None:
        node = Node()
        for _ in range(1000):
            node.later(0.5)
        assert len(node.stats._readings) <= 12


class TestService:
    async def test_figures_of_all_nodes_are_added_up(self) -> None:
        node = Node()
        node.counters = replace(NOTHING, connections={"/chat": 1}, users=1, memory_bytes=10)
        cluster = Cluster(
            other(connections={"/chat": 5, "/admin": 1}, users=4, messages_per_s=2.5, memory_bytes=20, store="away"),
            Beat("n2", "own", 0, {"users": 1000}),
        )
        stats = service(node, cluster)
        await stats.refresh()
        figures = stats.stats()
        assert figures["nodes"] == ["n1", "n2"]
        assert (figures["node"], figures["store"], figures["version"]) == ("n2", "up", "1.2")
        assert figures["connections"] == {"/chat": 6, "/admin": 1}
        assert (figures["users"], figures["messages_per_s"], figures["memory_bytes"]) == (5, 2.5, 30)
        assert figures["at"] == node.clock.now

    async def test_each_node_is_listed_with_what_it_told_and_when(self) -> None:
        node = Node()
        stats = service(node, Cluster(other("n3", users=4), other("n1", users=2)))
        await stats.refresh()
        nodes = stats.nodes()
        assert [(each["node"], each["own"]) for each in nodes] == [("n1", False), ("n2", True), ("n3", False)]
        assert (nodes[0]["users"], nodes[0]["at"]) == (2, 1_700_000_000_000)

    @pytest.mark.parametrize("odd", [{"users": "many", "connections": 7}, {"users": None, "cpu_share": True}, {}])
    async def test_a_node_of_another_version_spoils_nothing(self, odd: dict[str, Any]) -> None:
        node = Node()
        node.counters = replace(NOTHING, users=3)
        stats = service(node, Cluster(other(**odd)))
        await stats.refresh()
        assert stats.stats()["users"] == 3

    async def test_beats_are_read_once_per_moment_however_many_ask(self) -> None:
        node, cluster = Node(), Cluster()
        stats = service(node, cluster)
        cluster.gate.clear()
        reads = [asyncio.ensure_future(stats.refresh()) for _ in range(5)]
        await asyncio.sleep(0)
        cluster.gate.set()
        await asyncio.gather(*reads)
        await stats.refresh()
        assert cluster.asked == 1
        node.clock.forward(1)
        await stats.refresh()
        assert cluster.asked == 2

    async def test_while_the_store_is_away_the_last_known_figures_stay(self) -> None:
        node, cluster = Node(), Cluster(other(users=4))
        stats = service(node, cluster)
        await stats.refresh()
        cluster.error = HubbubError("unavailable")
        node.clock.forward(2)
        with pytest.raises(HubbubError, match="unavailable"):
            await stats.refresh()
        assert stats.stats()["users"] == 4
        cluster.error, cluster.beats = None, []
        await stats.refresh()
        assert stats.stats()["users"] == 0

    async def test_a_read_for_which_nobody_waits_fails_in_silence_and_ends_with_the_service(self) -> None:
        node, cluster = Node(), Cluster()
        stats = service(node, cluster)
        cluster.error = HubbubError("unavailable")
        stats.refresh_soon()
        stats.refresh_soon()
        while stats._reading is not None:
            await asyncio.sleep(0)
        assert cluster.asked == 1
        cluster.gate.clear()
        stats.refresh_soon()
        await stats.close()
        assert stats._reading is None
