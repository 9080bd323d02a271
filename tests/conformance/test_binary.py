"""Binary attachments of Socket.IO 5: placeholders in the packet, the bytes behind it.

https://github.com/socketio/socket.io-protocol, "Packet encoding".
"""

from __future__ import annotations

import json

import pytest

from tests.support.conformance import Packet, Peer, open_peer, open_websocket, payload

BOTH = pytest.mark.parametrize("where", ["", "/custom,"], ids=["main", "custom"])
ONE = '{"_placeholder":true,"num":0}'
TWO = '{"_placeholder":true,"num":1}'
A, B = b"\x01\x02\x03", bytes(range(256))


async def enter(peer: Peer, where: str = "") -> None:
    await peer.send(f"40{where}")
    payload(await peer.receive(), f"40{where}")


async def receive(peer: Peer, count: int) -> list[Packet | None]:
    return [await peer.receive() for _ in range(count)]


class TestEvents:
    @BOTH
    async def test_attachments_go_there_and_back(self, peer: Peer, where: str) -> None:
        await enter(peer, where)
        await peer.send(f'452-{where}["message",{ONE},{TWO}]', A, B)
        assert await receive(peer, 3) == [f'452-{where}["message-back",{ONE},{TWO}]', A, B]

    async def test_they_may_stand_anywhere_in_the_arguments(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send(f'452-["message",{{"a":[1,{{"b":{ONE}}}]}},null,[[{TWO}]]]', A, B)
        assert await receive(peer, 3) == [f'452-["message-back",{{"a":[1,{{"b":{ONE}}}]}},null,[[{TWO}]]]', A, B]

    async def test_the_placeholder_says_which(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send(f'452-["message",{TWO},{ONE}]', A, B)
        header, *attachments = await receive(peer, 3)
        order = [each["num"] for each in payload(header, "452-")[1:]]
        assert [attachments[number] for number in order] == [B, A]

    async def test_one_may_be_empty(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send(f'451-["message",{ONE}]', b"")
        assert await receive(peer, 2) == [f'451-["message-back",{ONE}]', b""]

    async def test_one_may_be_large(self, peer: Peer) -> None:
        await enter(peer)
        data = B * 250
        await peer.send(f'451-["message",{ONE}]', data)
        assert await receive(peer, 2) == [f'451-["message-back",{ONE}]', data]

    async def test_they_may_come_in_several_requests(self, peer: Peer) -> None:
        await enter(peer)
        for packet in (f'452-["message",{ONE},{TWO}]', A, B):
            await peer.send(packet)
        assert await receive(peer, 3) == [f'452-["message-back",{ONE},{TWO}]', A, B]

    async def test_events_around_it_keep_their_order(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send('42["message",1]', f'451-["message",{ONE}]', A, '42["message",2]')
        assert await receive(peer, 4) == [
            '42["message-back",1]',
            f'451-["message-back",{ONE}]',
            A,
            '42["message-back",2]',
        ]

    async def test_ten_are_taken(self, peer: Peer) -> None:
        await enter(peer)
        args = json.dumps([{"_placeholder": True, "num": number} for number in range(10)], separators=(",", ":"))
        attachments = [bytes([number]) for number in range(10)]
        await peer.send(f'4510-["message",{args[1:]}', *attachments)
        header, *rest = await receive(peer, 11)
        assert payload(header, "4510-")[0] == "message-back"
        assert rest == attachments

    @pytest.mark.parametrize("transport", ["polling", "websocket", "upgraded"])
    async def test_a_room_gets_them_whatever_its_members_transports(self, url: str, transport: str) -> None:
        async with open_peer(url, transport) as peer, open_websocket(url) as other:
            for each in (peer, other):
                await enter(each)
                await each.send('421["join","hall"]')
                assert await each.receive() == "431[]"
            await other.send(f'451-["broadcast","hall",{ONE}]', A)
            for each in (peer, other):
                assert await receive(each, 2) == [f'451-["said",{ONE}]', A]


class TestAcks:
    @BOTH
    async def test_the_server_acknowledges_with_attachments(self, peer: Peer, where: str) -> None:
        await enter(peer, where)
        await peer.send(f'452-{where}789["echo",{ONE},{TWO}]', A, B)
        assert await receive(peer, 3) == [f"462-{where}789[{ONE},{TWO}]", A, B]

    @BOTH
    async def test_the_client_acknowledges_with_attachments(self, peer: Peer, where: str) -> None:
        await enter(peer, where)
        await peer.send(f'42{where}7["ask","x"]')
        question = await peer.receive()
        assert isinstance(question, str)
        number = question.removeprefix(f"42{where}").partition("[")[0]
        await peer.send(f"461-{where}{number}[{ONE}]", A)
        assert await receive(peer, 2) == [f"461-{where}7[{ONE}]", A]

    async def test_the_server_asks_with_attachments(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send(f'451-7["ask",{ONE}]', A)
        header, attachment = await receive(peer, 2)
        assert isinstance(header, str)
        number, bracket, rest = header.removeprefix("451-").partition("[")
        assert bracket + rest == f'["question",{ONE}]'
        assert attachment == A
        await peer.send(f'43{number}["thanks"]')
        assert await peer.receive() == '437["thanks"]'


BROKEN: dict[str, tuple[Packet, ...]] = {
    "bytes of nothing": (A,),
    "text where bytes are due": (f'451-["message",{ONE}]', '42["message"]'),
    "one more than declared": (f'451-["quiet",{ONE}]', A, B),
    "placeholder past the end": (f'451-["message",{TWO}]', A),
    "negative placeholder": ('451-["message",{"_placeholder":true,"num":-1}]', A),
    "placeholder that is text": ('451-["message",{"_placeholder":true,"num":"0"}]', A),
    "placeholder without a number": ('451-["message",{"_placeholder":true}]', A),
    "no count": (f'45["message",{ONE}]',),
    "no count before the dash": (f'45-["message",{ONE}]',),
    "no number as count": (f'45x-["message",{ONE}]',),
    "count of zero": ('450-["message",1]',),
    "negative count": (f'45-1-["message",{ONE}]',),
    "fractional count": (f'451.5-["message",{ONE}]',),
    "count of a thousand": (f'451000-["message",{ONE}]',),
    "no array": ("451-{}", A),
    "no name": (f"451-[{ONE}]", A),
    "acknowledgement without an array": ("461-1{}", A),
}


class TestBroken:
    @pytest.mark.parametrize("packets", BROKEN.values(), ids=BROKEN)
    async def test_the_connection_is_closed(self, peer: Peer, packets: tuple[Packet, ...]) -> None:
        await enter(peer)
        await peer.offend(*packets)
        assert await peer.wait_closed() == []
