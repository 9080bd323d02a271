"""The heartbeat of Engine.IO 4: the server pings, the client pongs, and who does not is closed.

https://github.com/socketio/engine.io-protocol, "Heartbeat".
"""

from __future__ import annotations

import asyncio

import pytest

from tests.support.conformance import (
    SEPARATOR,
    TIMEOUT_S,
    TRANSPORTS,
    Options,
    Peer,
    open_peer,
    open_polling,
    open_websocket,
    served,
)

PATIENT = Options(ping_interval_s=0.1, ping_timeout_s=20)
BRISK = Options(ping_interval_s=0.3, ping_timeout_s=1.0)
HASTY = Options(ping_interval_s=0.5, ping_timeout_s=0.3)


async def enter(peer: Peer) -> None:
    """Join the main namespace, so that only the heartbeat can end the connection."""
    await peer.send("40")
    while (packet := await peer.receive()) == "2":
        await peer.send("3")
    assert str(packet).startswith("40{")


class TestPings:
    @pytest.mark.parametrize("transport", TRANSPORTS)
    async def test_the_server_pings_again_after_every_pong(self, transport: str) -> None:
        async with served(PATIENT) as url, open_peer(url, transport) as peer:
            for _ in range(3):
                assert await peer.receive() == "2"
                await peer.send("3")

    @pytest.mark.parametrize("transport", TRANSPORTS)
    async def test_each_comes_before_a_client_would_give_up(self, transport: str) -> None:
        loop = asyncio.get_running_loop()
        async with served(BRISK) as url:
            async with open_peer(url, transport) as peer:
                for _ in range(3):
                    before = loop.time()
                    assert await peer.receive() == "2"
                    assert loop.time() - before < BRISK.ping_interval_s + BRISK.ping_timeout_s
                    await peer.send("3")

    @pytest.mark.parametrize("transport", TRANSPORTS)
    async def test_who_answers_outlives_every_timeout(self, transport: str) -> None:
        async with served(BRISK) as url, open_peer(url, transport) as peer:
            await enter(peer)
            for _ in range(5):
                assert await peer.receive() == "2"
                await peer.send("3")
            await peer.send('421["echo","alive"]')
            assert await peer.receive() == '431["alive"]'

    async def test_a_ping_that_waits_for_its_poll_goes_with_what_else_waits(self) -> None:
        async with served(PATIENT) as url, open_polling(url) as peer, open_websocket(url) as other:
            await enter(peer)
            # What the other sees tells that as much time has passed for both.
            for _ in range(3):
                assert await other.receive() == "2"
                await other.send("3")
            await peer.send('421["echo"]')
            packets = (await peer.poll()).text.split(SEPARATOR)
            assert packets == ["2", "431[]"]


class TestTimeouts:
    @pytest.mark.parametrize("transport", TRANSPORTS)
    async def test_who_does_not_answer_is_closed(self, transport: str) -> None:
        async with served(HASTY) as url, open_peer(url, transport) as peer:
            await enter(peer)
            packets = await peer.wait_closed()
            assert packets == ["2"]

    async def test_a_poll_that_is_held_then_ends(self) -> None:
        async with served(HASTY) as url, open_polling(url) as peer:
            await enter(peer)
            assert (await peer.poll()).text == "2"
            async with asyncio.timeout(TIMEOUT_S):
                answer = await peer.poll()
            assert answer.status == 400 or answer.packets[-1] in {"1", "6"}
            await peer.wait_closed()

    async def test_who_does_not_even_poll_is_forgotten(self) -> None:
        async with served(HASTY) as url, open_polling(url) as peer, open_websocket(url) as watcher:
            await enter(peer)
            await enter(watcher)
            await watcher.send('42["join","watchers"]')
            while "gone" not in str(packet := await watcher.receive()):
                assert packet is not None
                if packet == "2":
                    await watcher.send("3")
            assert (await peer.poll()).status == 400


class TestDirection:
    """Since version 4 it is the server that pings."""

    async def test_a_client_that_pings_is_closed(self, peer: Peer) -> None:
        await peer.send("40")
        assert str(await peer.receive()).startswith("40{")
        await peer.offend("2")
        await peer.wait_closed()
