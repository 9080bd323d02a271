"""Ends: whoever is gone is out at once, and handlers are told once, a few in each turn."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from hubbub.transport import ends as ends_module
from tests.support.wire import raw_client, wire


class TestEnds:
    async def test_a_crowd_that_leaves_at_once_is_told_in_slices_and_each_once(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ends_module, "_ENDS_AT_ONCE", 3)
        async with wire() as tiny, AsyncExitStack() as stack:
            for _ in range(10):
                client = await stack.enter_async_context(raw_client(tiny.url))
                await client.send("40/chat,")
                await client.receive()
            for connection in list(tiny.handler.connections):
                connection.disconnect()
                assert not connection.is_open
                assert not connection.link.connections
            assert tiny.handler.of("disconnected") == []
            turns: list[int] = []
            while len(tiny.handler.of("disconnected")) < 10:
                await asyncio.sleep(0)
                turns.append(len(tiny.handler.of("disconnected")))
            assert max(b - a for a, b in zip([0, *turns], turns, strict=False)) == 3
            assert tiny.handler.of("disconnected") == [("/chat", True)] * 10

    async def test_a_handler_that_fails_harms_no_other(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with wire() as tiny:
            told = tiny.handler.disconnected

            async def fails_first(connection: object, *, clean: bool) -> None:
                await told(connection, clean=clean)  # type: ignore[arg-type]
                raise RuntimeError("a fault")

            monkeypatch.setattr(tiny.handler, "disconnected", fails_first)
            for _ in range(2):
                async with raw_client(tiny.url) as client:
                    await client.send("40/chat,")
                    await client.receive()
            await tiny.handler.wait_for("disconnected", 2)
            await tiny.wait_no_links()
