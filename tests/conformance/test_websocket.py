"""The WebSocket of Engine.IO 4: a frame is a packet, text or binary.

https://github.com/socketio/engine.io-protocol, "WebSocket" and "Packet encoding".
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.support.conformance import (
    Options,
    WebSocketPeer,
    open_polling,
    open_websocket,
    payload,
    stricter_than_the_reference,
    upgraded,
)


@pytest.fixture(params=["direct", "upgraded"])
async def websocket(request: pytest.FixtureRequest, url: str) -> AsyncIterator[WebSocketPeer]:
    """In the main namespace."""
    if request.param == "direct":
        async with open_websocket(url) as peer:
            await enter(peer)
            yield peer
    else:
        async with open_polling(url) as polling, upgraded(url, polling) as peer:
            await enter(peer)
            yield peer


CONTINUATION, TEXT = 0, 1


async def enter(peer: WebSocketPeer) -> None:
    await peer.send("40")
    payload(await peer.receive(), "40")


def fragment(opcode: int, data: bytes, *, is_last: bool) -> bytes:
    """A frame of a client, masked with zeros."""
    return bytes([is_last << 7 | opcode, 0x80 | len(data)]) + bytes(4) + data


class TestFrames:
    async def test_a_text_frame_is_a_packet(self, websocket: WebSocketPeer) -> None:
        await websocket.send('421["echo","a"]', '422["echo","b"]')
        assert await websocket.receive() == '431["a"]'
        assert await websocket.receive() == '432["b"]'

    async def test_a_binary_frame_is_a_message_as_it_is(self, websocket: WebSocketPeer) -> None:
        data = bytes(range(256))
        await websocket.send('451-1["echo",{"_placeholder":true,"num":0}]', data)
        assert await websocket.receive() == '461-1[{"_placeholder":true,"num":0}]'
        assert await websocket.receive() == data

    async def test_a_message_may_come_in_fragments(self, websocket: WebSocketPeer) -> None:
        websocket.wire.write(fragment(TEXT, b'421["ec', is_last=False))
        websocket.wire.write(fragment(CONTINUATION, b'ho","\xc3', is_last=False))
        websocket.wire.write(fragment(CONTINUATION, b'\xbc"]', is_last=True))
        assert payload(await websocket.receive(), "431") == ["ü"]

    async def test_a_separator_in_a_frame_separates_nothing(self, websocket: WebSocketPeer) -> None:
        await websocket.offend('421["echo",1]\x1e422["echo",2]', '423["echo",3]')
        packets = []
        while (packet := await websocket.receive()) is not None:
            packets.append(packet)
            if packet == "433[3]":
                break
        assert not {"431[1]", "432[2]"} & {*packets}

    async def test_text_is_utf_8(self, websocket: WebSocketPeer) -> None:
        await websocket.send('421["echo","€ ü 💬 \\u2028"]')
        assert payload(await websocket.receive(), "431") == ["€ ü 💬 \u2028"]

    async def test_pings_of_the_websocket_itself_are_answered(self, url: str) -> None:
        async with open_websocket(url) as _, aiohttp.ClientSession() as http:
            address = f"{url}/socket.io/?EIO=4&transport=websocket"
            async with http.ws_connect(address, autoping=False) as socket:
                await socket.receive()
                await socket.ping(b"here?")
                message = await socket.receive()
        assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"here?")


class TestMaximum:
    async def test_a_frame_of_the_maximum_is_taken(self, websocket: WebSocketPeer) -> None:
        frame = '421["echo",""]'
        text = "x" * (Options().max_packet_bytes - len(frame))
        await websocket.send(frame.replace('""', f'"{text}"'))
        assert payload(await websocket.receive(), "431") == [text]

    @pytest.mark.parametrize("kind", ["text", "binary"])
    async def test_a_larger_one_closes_the_connection_as_too_big(self, websocket: WebSocketPeer, kind: str) -> None:
        size = Options().max_packet_bytes + 1
        await websocket.offend("4" * size if kind == "text" else b"4" * size)
        assert await websocket.wait_closed() == []
        assert websocket.socket.close_code == 1009


class TestBrokenFrames:
    @pytest.mark.parametrize("frame", ["abc", "9", ""], ids=["no type", "unknown type", "nothing"])
    async def test_the_connection_is_closed(self, websocket: WebSocketPeer, frame: str) -> None:
        await websocket.offend(frame)
        await websocket.wait_closed()

    async def test_text_that_is_not_utf_8_closes_the_connection(self, websocket: WebSocketPeer) -> None:
        await websocket.socket.send_frame(b'42["echo","\xff"]', aiohttp.WSMsgType.TEXT)
        await websocket.wait_closed()
        assert websocket.socket.close_code in {1006, 1007}


class TestEnd:
    @stricter_than_the_reference("it waits for the other end to close, or for the ping timeout")
    async def test_a_close_packet_closes_the_connection(self, websocket: WebSocketPeer) -> None:
        await websocket.offend("1")
        await websocket.wait_closed()

    async def test_a_close_frame_is_answered_and_ends_the_session(self, url: str, websocket: WebSocketPeer) -> None:
        async with open_websocket(url) as watcher:
            await enter(watcher)
            await watcher.send('421["join","watchers"]')
            assert await watcher.receive() == "431[]"
            assert await websocket.socket.close()
            assert payload(await watcher.receive(), "42")[0] == "gone"
        assert websocket.socket.close_code in {1000, 1005}

    async def test_a_connection_that_breaks_ends_the_session(self, url: str, websocket: WebSocketPeer) -> None:
        async with open_websocket(url) as watcher:
            await enter(watcher)
            await watcher.send('421["join","watchers"]')
            assert await watcher.receive() == "431[]"
            websocket.wire.abort()
            assert payload(await watcher.receive(), "42")[0] == "gone"

    async def test_what_was_sent_before_the_server_closes_still_comes(self, websocket: WebSocketPeer) -> None:
        await websocket.send('42["message",1]', '42["message",2]', '42["drop"]')
        assert await websocket.wait_closed() == ['42["message-back",1]', '42["message-back",2]']
