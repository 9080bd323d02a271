"""HTTP long-polling of Engine.IO 4: payloads, one request of a kind at a time, and how a session ends.

https://github.com/socketio/engine.io-protocol, "HTTP long-polling" and "Packet encoding".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.support.conformance import (
    SEPARATOR,
    TIMEOUT_S,
    Answer,
    Options,
    PollingPeer,
    open_polling,
    payload,
    served,
    stricter_than_the_reference,
)


@pytest.fixture
async def polling(url: str) -> AsyncIterator[PollingPeer]:
    """In the main namespace; nothing waits for it."""
    async with open_polling(url) as peer:
        await peer.send("40")
        payload(await peer.receive(), "40")
        yield peer


async def chunks(body: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(body), size):
        yield body[start : start + size]


class TestPayloads:
    async def test_a_post_is_answered_ok(self, polling: PollingPeer) -> None:
        answer = await polling.post('42["echo"]')
        assert (answer.status, answer.text) == (200, "ok")

    async def test_packets_of_a_post_are_handled_in_their_order(self, polling: PollingPeer) -> None:
        await polling.send(*(f'42["message",{number}]' for number in range(100)))
        assert [await polling.receive() for _ in range(100)] == [
            f'42["message-back",{number}]' for number in range(100)
        ]

    async def test_packets_that_wait_come_in_one_answer(self, polling: PollingPeer) -> None:
        await polling.send('421["echo"]', '422["echo"]', '423["echo"]')
        await polling.send('424["echo"]')
        text = ""
        while text.count("[]") < 4:
            text += SEPARATOR * bool(text) + (await polling.poll()).text
        assert text.split(SEPARATOR) == ["431[]", "432[]", "433[]", "434[]"]

    async def test_a_poll_is_held_until_there_is_something(self, polling: PollingPeer) -> None:
        poll = asyncio.create_task(polling.poll())
        await polling.send('421["echo"]')
        assert (await poll).text == "431[]"

    async def test_binary_is_base64_behind_a_b(self, polling: PollingPeer) -> None:
        answer = await polling.request(
            "POST", data=SEPARATOR.join(['451-1["echo",{"_placeholder":true,"num":0}]', "bAQIDBA=="])
        )
        assert (answer.status, answer.text) == (200, "ok")
        assert (await polling.poll()).text == SEPARATOR.join(['461-1[{"_placeholder":true,"num":0}]', "bAQIDBA=="])

    async def test_text_is_utf_8(self, polling: PollingPeer) -> None:
        await polling.send('421["echo","€ ü 💬 \\u2028"]')
        assert payload(await polling.receive(), "431") == ["€ ü 💬 \u2028"]

    @pytest.mark.parametrize("content_type", ["text/plain;charset=UTF-8", "text/plain", None])
    async def test_a_body_is_text_whether_it_says_so_or_not(
        self, polling: PollingPeer, content_type: str | None
    ) -> None:
        body = '421["echo","ü"]'.encode()
        answer = await polling.request("POST", data=body, content_type=content_type)
        assert answer.text == "ok"
        assert payload(await polling.receive(), "431") == ["ü"]

    async def test_a_body_may_come_in_chunks(self, polling: PollingPeer) -> None:
        body = f'421["echo","{"ü" * 20_000}"]'.encode()
        answer = await polling.request("POST", data=chunks(body, 1_001))
        assert answer.text == "ok"
        assert payload(await polling.receive(), "431") == ["ü" * 20_000]


class TestMaximum:
    """`maxPayload` counts the bytes of a body."""

    async def test_a_body_of_the_maximum_is_taken(self, polling: PollingPeer) -> None:
        frame = '421["echo",""]'
        text = "x" * (Options().max_packet_bytes - len(frame))
        await polling.send(frame.replace('""', f'"{text}"'))
        assert payload(await polling.receive(), "431") == [text]

    @pytest.mark.parametrize("way", ["length", "chunks"])
    async def test_a_larger_one_is_not(self, polling: PollingPeer, way: str) -> None:
        body = f'42["message","{"ü" * (Options().max_packet_bytes // 2)}"]'.encode()
        with contextlib.suppress(aiohttp.ClientError):
            data = body if way == "length" else chunks(body, 10_000)
            assert (await polling.request("POST", data=data)).status in {400, 413}
        with contextlib.suppress(aiohttp.ClientError):
            await polling.post('421["echo"]')
        # Whether the session goes on is not said; the packet is lost either way.
        assert await polling.receive() in {"431[]", None}


BROKEN = {
    "no type": "abc",
    "unknown type": "9",
    "nothing": "",
    "no packet after a separator": f'42["echo"]{SEPARATOR}',
    "no packet before a separator": f'{SEPARATOR}42["echo"]',
}


class TestBrokenPayloads:
    @pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
    async def test_the_session_is_closed(self, polling: PollingPeer, body: str) -> None:
        with contextlib.suppress(aiohttp.ClientError):
            await polling.request("POST", data=body.encode())
        await polling.wait_closed()


class TestOneAtATime:
    async def test_a_second_poll_is_answered_400_and_closes_the_session(self, polling: PollingPeer) -> None:
        one, two = await asyncio.gather(polling.poll(), polling.poll())
        first, second = (one, two) if one.status == 200 else (two, one)
        assert (first.status, first.text) == (200, "1")
        assert second.status == 400
        await polling.wait_closed()

    async def test_a_second_post_is_answered_400_and_closes_the_session(self, polling: PollingPeer) -> None:
        release = asyncio.Event()

        async def slow_post() -> Answer | None:
            async def body() -> AsyncIterator[bytes]:
                yield b'42["message"'
                await release.wait()
                yield b"]"

            try:
                return await polling.request("POST", data=body())
            except aiohttp.ClientError:
                return None

        posts = [asyncio.create_task(slow_post()) for _ in range(2)]
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await asyncio.wait(posts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            release.set()
            answers = await asyncio.gather(*posts)
        statuses = {answer.status for answer in answers if answer is not None}
        assert 400 in statuses
        assert 200 not in statuses
        assert await polling.wait_closed() == []

    async def test_a_poll_and_a_post_are_no_trouble(self, polling: PollingPeer) -> None:
        for number in range(20):
            poll = asyncio.create_task(polling.poll())
            await polling.send(f'42{number}["echo"]')
            assert (await poll).text == f"43{number}[]"

    @stricter_than_the_reference("it closes the session")
    async def test_what_comes_for_a_poll_that_its_client_gave_up_is_there_for_the_next(
        self, polling: PollingPeer
    ) -> None:
        poll = asyncio.create_task(polling.poll())
        # Requests that were sent later and are answered tell that the poll has arrived.
        for _ in range(3):
            await polling.send('42["leave","nothing"]')
        poll.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await poll
        await polling.send('421["echo"]')
        while "431[]" not in (await polling.poll()).text:
            pass


class TestEnd:
    async def test_a_close_packet_ends_the_session_and_its_poll(self, polling: PollingPeer) -> None:
        poll = asyncio.create_task(polling.poll())
        await polling.send("1")
        answer = await poll
        assert (answer.status, answer.text) == (200, "6") or answer.status == 400
        await polling.wait_closed()
        assert (await polling.post('42["echo"]')).status == 400

    async def test_an_end_by_the_server_ends_the_poll_too(self, polling: PollingPeer) -> None:
        poll = asyncio.create_task(polling.poll())
        await polling.send('42["drop"]')
        answer = await poll
        assert answer.status == 400 or answer.packets[-1] in {"1", "6"}
        await polling.wait_closed()

    async def test_what_was_sent_before_the_end_still_comes(self, polling: PollingPeer) -> None:
        await polling.send('42["message",1]', '42["message",2]', '42["drop"]')
        assert await polling.wait_closed() == ['42["message-back",1]', '42["message-back",2]']


class TestUnknownSessions:
    async def test_another_server_does_not_know_it(self, polling: PollingPeer) -> None:
        async with served() as elsewhere, open_polling(elsewhere) as stranger:
            stranger.url = stranger.url.replace(stranger.sid, polling.sid)
            assert (await stranger.poll()).status == 400
            assert (await stranger.post('42["echo"]')).status == 400
