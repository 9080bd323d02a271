"""Lanes: a session has one while it has events that are not answered."""

from __future__ import annotations

import asyncio

from tests.support.wire import RawClient, raw_client, wire


async def opened(client: RawClient) -> None:
    await client.send("40/chat,")
    for _ in range(2):
        await client.receive()


class TestLanes:
    async def test_idle_is_when_the_last_event_of_the_last_client_is_answered(self) -> None:
        async with wire() as tiny, raw_client(tiny.url) as one, raw_client(tiny.url) as other:
            assert tiny.server.is_idle, "before anything was sent"
            for client in (one, other):
                await opened(client)
                await client.send('42/chat,1["free hold"]')
            await tiny.handler.wait_for("event", 2)
            waiting = asyncio.ensure_future(tiny.server.wait_idle())
            await asyncio.sleep(0)
            assert (waiting.done(), tiny.server.is_idle) == (False, False)
            tiny.handler.release.set()
            await asyncio.wait_for(waiting, 10)
            assert tiny.server.is_idle

    async def test_a_lane_is_used_again_and_again_by_one_after_the_other(self) -> None:
        async with wire() as tiny:
            for round_ in range(3):
                async with raw_client(tiny.url) as client:
                    await opened(client)
                    for number in range(3):
                        await client.send(f'42/chat,{number}["say",{number}]')
                    frames = [await client.receive() for _ in range(6)]
                    answers = [frame for frame in frames if frame is not None and frame.startswith("43")]
                    assert [int(frame[len("43/chat,")]) for frame in answers] == [0, 1, 2], round_
                await tiny.wait_no_links()
            assert len(tiny.server._lanes._kept) == 1
