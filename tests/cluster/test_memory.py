"""The registry of one process, beyond what the contract asks for (`tests/contract/test_registry.py`)."""

from __future__ import annotations

from hubbub.cluster.base import Announcement, Node, Share
from hubbub.cluster.memory import Exchange, LoneRegistry, MemoryRegistry
from tests.support.domain import ManualClock


class TestLone:
    async def test_there_is_nobody_else(self) -> None:
        registry = LoneRegistry(Node("n", "1"))
        await registry.open(lambda news: None)
        await registry.watch("tea")
        await registry.announce(
            [Announcement(1, "ada", Share("ada", "Ada", False, "online", rooms=frozenset({"tea"})))]
        )
        renewal = await registry.renew()
        assert (registry.is_lone, renewal.lapsed, dict(renewal.living)) == (True, False, {})
        assert ((await registry.room("tea")).announcements, await registry.users(["ada"])) == ([], {})
        await registry.unwatch("tea")
        await registry.withdraw()
        await registry.close()


class TestAlone:
    async def test_nothing_is_kept_of_who_is_gone(self) -> None:
        clock = ManualClock()
        exchange, node = Exchange(clock), Node("n", "1")
        registry = MemoryRegistry(exchange, node)
        await registry.open(lambda news: None)
        for number in range(1, 201, 2):
            share = Share(f"u{number}", "U", False, "online", rooms=frozenset({"tea"}))
            await registry.announce([Announcement(number, share.user, share)])
            await registry.announce([Announcement(number + 1, share.user, None)])
        seat = exchange.seat(node)
        assert seat is not None
        assert (seat.said, seat.rooms) == ({}, {})
