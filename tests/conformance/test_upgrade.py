"""The upgrade of Engine.IO 4 from polling to a WebSocket: probe, switch, and nothing lost or swapped on the way.

https://github.com/socketio/engine.io-protocol, "Upgrade".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.support.conformance import (
    TIMEOUT_S,
    Options,
    Peer,
    PollingPeer,
    open_polling,
    open_websocket,
    payload,
    served,
    stricter_than_the_reference,
    upgraded,
)


async def enter(peer: Peer) -> None:
    """Join the main namespace."""
    await peer.send("40")
    payload(await peer.receive(), "40")


async def check_alive(peer: Peer) -> None:
    await peer.send('4299["echo","alive"]')
    assert await peer.receive() == '4399["alive"]'


@pytest.fixture
async def polling(url: str) -> AsyncIterator[PollingPeer]:
    """In the main namespace; nothing waits for it."""
    async with open_polling(url) as peer:
        await enter(peer)
        yield peer


async def check_turned_away(url: str, sid: str) -> None:
    """No second WebSocket can be had for this session."""
    with contextlib.suppress(aiohttp.ClientError):
        async with open_websocket(url, sid) as second:
            await second.offend("2probe")
            assert await second.wait_closed() == []


class TestProbe:
    async def test_a_probe_is_answered(self, url: str, polling: PollingPeer) -> None:
        async with open_websocket(url, polling.sid) as websocket:
            await websocket.send("2probe")
            assert await websocket.receive() == "3probe"

    async def test_the_poll_that_is_held_gets_a_noop(self, url: str, polling: PollingPeer) -> None:
        poll = asyncio.create_task(polling.poll())
        async with open_websocket(url, polling.sid) as websocket:
            await websocket.send("2probe")
            assert await websocket.receive() == "3probe"
            assert (await poll).text == "6"

    async def test_a_poll_that_comes_later_gets_one_too(self, url: str, polling: PollingPeer) -> None:
        async with open_websocket(url, polling.sid) as websocket:
            await websocket.send("2probe")
            assert await websocket.receive() == "3probe"
            assert (await polling.poll()).text == "6"

    async def test_polling_goes_on_until_the_switch(self, url: str, polling: PollingPeer) -> None:
        async with open_websocket(url, polling.sid) as websocket:
            await websocket.send("2probe")
            assert await websocket.receive() == "3probe"
            await check_alive(polling)

    @pytest.mark.parametrize("frame", ["2", "2other", '42["echo"]', "4", "1", "x"])
    async def test_anything_else_closes_the_websocket_and_not_the_session(
        self, url: str, polling: PollingPeer, frame: str
    ) -> None:
        async with open_websocket(url, polling.sid) as websocket:
            await websocket.send(frame)
            assert await websocket.wait_closed() == []
        await check_alive(polling)

    @pytest.mark.parametrize("frame", ['42["echo"]', "3", "x"])
    async def test_so_it_does_after_the_probe(self, url: str, polling: PollingPeer, frame: str) -> None:
        async with open_websocket(url, polling.sid) as websocket:
            await websocket.send("2probe", frame)
            assert await websocket.wait_closed() == ["3probe"]
        await check_alive(polling)

    async def test_a_probe_that_is_dropped_can_be_repeated(self, url: str, polling: PollingPeer) -> None:
        async with open_websocket(url, polling.sid) as websocket:
            await websocket.send("2probe")
            assert await websocket.receive() == "3probe"
            websocket.wire.abort()
        await check_alive(polling)
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                with contextlib.suppress(AssertionError, aiohttp.ClientError):
                    async with upgraded(url, polling) as websocket:
                        await check_alive(websocket)
                        break

    async def test_after_a_dropped_probe_polls_are_held_again(self, url: str, polling: PollingPeer) -> None:
        async with open_websocket(url, polling.sid) as websocket:
            await websocket.send("2probe")
            assert await websocket.receive() == "3probe"
            websocket.wire.abort()
        texts = ["6"]
        async with asyncio.timeout(TIMEOUT_S):
            # The server may notice a little later; until then a poll is sent back with a noop.
            while texts[-1] == "6":
                poll = asyncio.create_task(polling.poll())
                await polling.send('42["message"]')
                texts.append((await poll).text)
        assert texts[-1].split("\x1e")[0] == '42["message-back"]'

    async def test_who_does_not_switch_in_time_stays_with_polling(self) -> None:
        async with served(Options(upgrade_timeout_s=0.4)) as url, open_polling(url) as polling:
            await enter(polling)
            async with open_websocket(url, polling.sid) as websocket:
                await websocket.send("2probe")
                assert await websocket.wait_closed() == ["3probe"]
            await check_alive(polling)

    async def test_who_does_not_even_probe_in_time_stays_with_polling(self) -> None:
        async with served(Options(upgrade_timeout_s=0.4)) as url, open_polling(url) as polling:
            await enter(polling)
            async with open_websocket(url, polling.sid) as websocket:
                assert await websocket.wait_closed() == []
            await check_alive(polling)

    async def test_the_end_of_the_session_ends_the_probe(self, url: str, polling: PollingPeer) -> None:
        async with open_websocket(url, polling.sid) as websocket:
            await websocket.send("2probe")
            assert await websocket.receive() == "3probe"
            await polling.send("1")
            assert await websocket.wait_closed() == []


class TestSwitch:
    async def test_from_then_on_both_ways_are_the_websocket(self, url: str, polling: PollingPeer) -> None:
        async with upgraded(url, polling) as websocket:
            await check_alive(websocket)

    async def test_it_may_come_right_behind_the_probe(self, url: str, polling: PollingPeer) -> None:
        async with open_websocket(url, polling.sid) as websocket:
            await websocket.send("2probe", "5", '421["echo"]')
            assert await websocket.receive() == "3probe"
            assert await websocket.receive() == "431[]"

    async def test_it_may_come_before_any_namespace(self, url: str) -> None:
        async with open_polling(url) as polling, upgraded(url, polling) as websocket:
            await enter(websocket)
            await check_alive(websocket)

    async def test_what_waited_for_a_poll_comes_over_the_websocket(self, url: str, polling: PollingPeer) -> None:
        await polling.send('42["message",1]', '42["message",2]')
        async with open_websocket(url, polling.sid) as websocket:
            await websocket.send("2probe")
            assert await websocket.receive() == "3probe"
            await websocket.send("5")
            assert await websocket.receive() == '42["message-back",1]'
            assert await websocket.receive() == '42["message-back",2]'

    async def test_what_is_sent_during_the_probe_keeps_its_order(self, url: str, polling: PollingPeer) -> None:
        async with open_websocket(url) as other:
            await enter(other)
            await polling.send('42["join","hall"]')
            said = 0

            async def say(count: int) -> None:
                nonlocal said
                for _ in range(count):
                    said += 1
                    await other.send(f'421["broadcast","hall",{said}]')
                    assert await other.receive() == "431[]"

            await say(5)
            async with open_websocket(url, polling.sid) as websocket:
                await say(5)
                await websocket.send("2probe")
                assert await websocket.receive() == "3probe"
                polled = await polling.poll()
                await say(5)
                await websocket.send("5")
                await say(5)
                events = [packet for packet in polled.packets if packet != "6"]
                while len(events) < 20:
                    packet = await websocket.receive()
                    assert packet is not None
                    events.append(packet)
        assert events == [f'42["said",{number}]' for number in range(1, 21)]

    async def test_what_the_client_sends_keeps_its_order(self, url: str, polling: PollingPeer) -> None:
        await polling.send(*(f'42["message",{number}]' for number in range(50)))
        async with open_websocket(url, polling.sid) as websocket:
            await websocket.send("2probe")
            assert await websocket.receive() == "3probe"
            await polling.send(*(f'42["message",{number}]' for number in range(50, 100)))
            await websocket.send("5", *(f'42["message",{number}]' for number in range(100, 150)))
            packets = [await websocket.receive() for _ in range(150)]
        assert packets == [f'42["message-back",{number}]' for number in range(150)]

    async def test_the_heartbeat_goes_on(self) -> None:
        async with served(Options(ping_interval_s=0.2)) as url, open_polling(url) as polling:
            async with upgraded(url, polling) as websocket:
                for _ in range(3):
                    assert await websocket.receive() == "2"
                    await websocket.send("3")


class TestAfterwards:
    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_polling_is_answered_400_and_the_session_lives(
        self, url: str, polling: PollingPeer, method: str
    ) -> None:
        async with upgraded(url, polling) as websocket:
            await check_alive(websocket)
            answer = await polling.request(method, data='42["echo"]' if method == "POST" else None)
            assert answer.status == 400
            await check_alive(websocket)

    async def test_a_second_websocket_is_closed_and_the_session_lives(self, url: str, polling: PollingPeer) -> None:
        async with upgraded(url, polling) as websocket:
            await check_alive(websocket)
            await check_turned_away(url, polling.sid)
            await check_alive(websocket)

    async def test_a_second_probe_at_once_is_closed_and_the_first_goes_on(self, url: str, polling: PollingPeer) -> None:
        async with open_websocket(url, polling.sid) as websocket:
            await websocket.send("2probe")
            assert await websocket.receive() == "3probe"
            await check_turned_away(url, polling.sid)
            await websocket.send("5")
            await check_alive(websocket)

    @stricter_than_the_reference("it lets a session that began as a WebSocket move to another")
    async def test_a_session_that_began_as_a_websocket_takes_no_second(self, url: str) -> None:
        async with open_websocket(url) as websocket:
            await enter(websocket)
            await check_turned_away(url, websocket.opened["sid"])
            await check_alive(websocket)

    async def test_the_end_of_the_websocket_is_the_end_of_the_session(self, url: str, polling: PollingPeer) -> None:
        async with open_websocket(url) as watcher:
            await enter(watcher)
            await watcher.send('421["join","watchers"]')
            assert await watcher.receive() == "431[]"
            async with upgraded(url, polling) as websocket:
                await check_alive(websocket)
            assert payload(await watcher.receive(), "42")[0] == "gone"
        assert (await polling.poll()).status == 400
