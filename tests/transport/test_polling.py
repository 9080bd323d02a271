"""Bodies of polling requests, on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest

from tests.support.wire import Wire, wire


@pytest.fixture
async def tiny() -> AsyncIterator[Wire]:
    async with wire() as tiny:
        yield tiny


async def answers(session: aiohttp.ClientSession, url: str, count: int) -> list[str]:
    """Poll until there are that many acks."""
    acks: list[str] = []
    async with asyncio.timeout(20):
        while len(acks) < count:
            async with session.get(url) as response:
                packets = (await response.text()).split("\x1e")
            acks.extend(packet for packet in packets if packet.startswith("43"))
    return acks


class TestBodies:
    @pytest.mark.parametrize("count", [1, 17, 200])
    @pytest.mark.parametrize("chunked", [False, True])
    async def test_every_packet_of_a_body_is_handled(self, tiny: Wire, count: int, chunked: bool) -> None:
        async with aiohttp.ClientSession() as session:
            url = f"{tiny.url}/socket.io/?EIO=4&transport=polling"
            async with session.get(url) as response:
                url += f"&sid={orjson.loads((await response.text())[1:])['sid']}"
            async with session.post(url, data="40/chat,") as response:
                assert response.status == 200
            packets = [f'42/chat,{number}["echo","{"x" * 300}"]' for number in range(count)]
            body = "\x1e".join(packets).encode()

            async def pieces() -> AsyncIterator[bytes]:
                for start in range(0, len(body), 5000):
                    yield body[start : start + 5000]

            polling = asyncio.ensure_future(answers(session, url, count))
            async with session.post(url, data=pieces() if chunked else body) as response:
                assert response.status == 200
            acks = await polling
        assert [int(ack.removeprefix("43/chat,").partition("[")[0]) for ack in acks] == list(range(count))
