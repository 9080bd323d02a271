"""Packets that are not Socket.IO 5: who sends one is closed, and nobody else notices.

https://github.com/socketio/socket.io-protocol, "Packet encoding" and the last part of its test suite.
"""

from __future__ import annotations

import pytest

from tests.support.conformance import Peer, open_websocket, payload, stricter_than_the_reference

INVALID = {
    "unknown type": "4abc",
    "type past the last": '47["message"]',
    "type 9": '49["message"]',
    "no type": "4",
    "event that is an object": "42{}",
    "event that is text": '42"message"',
    "event that is an empty array": "42[]",
    "event whose name is an object": "42[{}]",
    "event whose name is null": "42[null]",
    "event whose name is a boolean": "42[true]",
    "event that is no JSON": '42["message"',
    "event with something behind": '42["message"]x',
    "event with a constant of another language": '42["message",NaN]',
    "event with an id that is no number": '42abc["message"]',
    "event with a negative id": '42-1["message"]',
    "event with an id in other digits": '42٣["message"]',
    "event with an id and no JSON": "421{",
    "acknowledgement that is an object": "431{}",
    "acknowledgement that is text": '431"x"',
    "acknowledgement that is no JSON": "431[",
    "disconnect with a payload": '41{"a":1}',
    "connect error": '44{"message":"x"}',
}

NOT_CONNECTED = {
    "event to a namespace that is not connected": '42/custom,["message"]',
    "event to a namespace that nobody serves": '42/random,["message"]',
    "acknowledgement there": "43/custom,1[]",
    "disconnect there": "41/custom,",
}


async def enter(peer: Peer) -> None:
    await peer.send("40")
    payload(await peer.receive(), "40")


class TestInvalid:
    @pytest.mark.parametrize("packet", [*INVALID.values()], ids=[*INVALID])
    async def test_the_connection_is_closed(self, peer: Peer, packet: str) -> None:
        await enter(peer)
        await peer.offend(packet)
        assert await peer.wait_closed() == []

    @stricter_than_the_reference("it takes an event without a payload for one without a name")
    async def test_an_event_without_a_payload_closes_it(self, peer: Peer) -> None:
        await enter(peer)
        await peer.offend("42")
        assert await peer.wait_closed() == []

    @stricter_than_the_reference("it closes, and so ends all else of a client that was just put out of one namespace")
    @pytest.mark.parametrize("packet", NOT_CONNECTED.values(), ids=NOT_CONNECTED)
    async def test_what_is_for_a_namespace_that_it_is_not_in_is_passed_over(self, peer: Peer, packet: str) -> None:
        await enter(peer)
        await peer.send(packet)
        await peer.send('422["echo"]')
        assert await peer.receive() == "432[]"

    async def test_all_its_namespaces_end_and_nobody_elses(self, url: str, peer: Peer) -> None:
        async with open_websocket(url) as watcher:
            await enter(watcher)
            await watcher.send('421["join","watchers"]')
            assert await watcher.receive() == "431[]"
            await enter(peer)
            await peer.send("40/custom,")
            payload(await peer.receive(), "40/custom,")
            await peer.offend("4abc")
            await peer.wait_closed()
            events = [payload(await watcher.receive(), "42") for _ in range(2)]
            assert {event[1]["namespace"] for event in events} == {"/", "/custom"}
            await watcher.send('422["echo"]')
            assert await watcher.receive() == "432[]"
