"""Events and acknowledgements of Socket.IO 5, from either side.

https://github.com/socketio/socket.io-protocol, "Sending and receiving data" and "Acknowledgement".
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.conformance import Peer, open_websocket, payload

BOTH = pytest.mark.parametrize("where", ["", "/custom,"], ids=["main", "custom"])


async def enter(peer: Peer, where: str = "") -> None:
    await peer.send(f"40{where}")
    payload(await peer.receive(), f"40{where}")


VALUES: dict[str, list[Any]] = {
    "nothing": [],
    "null": [None],
    "numbers": [0, -1, 1.5, 1e300, 2**53 - 1],
    "texts": ["", "ü", "💬", '"\\/\b\f\n\r\t', "\u0000", "\u2028\u2029"],
    "digits": ["123"],
    "containers": [{}, [], {"a": {"b": [{"c": [[]]}]}}, {"": False, "_placeholder": False}],
    "several": [1, "2", {"3": [True]}],
}


class TestEvents:
    @BOTH
    @pytest.mark.parametrize("args", VALUES.values(), ids=VALUES)
    async def test_arguments_go_there_and_back(self, peer: Peer, where: str, args: list[Any]) -> None:
        await enter(peer, where)
        await peer.send(f"42{where}" + json.dumps(["message", *args], ensure_ascii=False))
        assert payload(await peer.receive(), f"42{where}") == ["message-back", *args]

    @BOTH
    async def test_without_an_id_nothing_is_acknowledged(self, peer: Peer, where: str) -> None:
        await enter(peer, where)
        await peer.send(f'42{where}["echo","x"]', f'42{where}1["echo","y"]')
        assert await peer.receive() == f'43{where}1["y"]'

    async def test_an_event_that_nobody_handles_is_passed_over(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send('42["nobody",1]', '421["echo"]')
        assert await peer.receive() == "431[]"

    async def test_space_around_the_payload_means_nothing(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send('421 [ "echo" , { "a" : 1 } ] ')
        assert payload(await peer.receive(), "431") == [{"a": 1}]

    async def test_they_keep_their_order_both_ways(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send(*(f'42["message",{number}]' for number in range(200)))
        assert [await peer.receive() for _ in range(200)] == [f'42["message-back",{number}]' for number in range(200)]

    async def test_what_the_server_sends_keeps_its_order(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send('42["burst",200]')
        assert [await peer.receive() for _ in range(200)] == [f'42["tick",{number}]' for number in range(200)]

    async def test_a_room_gets_what_is_sent_to_it(self, url: str, peer: Peer) -> None:
        await enter(peer)
        await peer.send('421["join","hall"]')
        assert await peer.receive() == "431[]"
        async with open_websocket(url) as member, open_websocket(url) as stranger:
            for each in (member, stranger):
                await enter(each)
            await member.send('421["join","hall"]')
            assert await member.receive() == "431[]"
            await stranger.send('421["broadcast","hall",{"a":1}]')
            assert await stranger.receive() == "431[]"
            assert await member.receive() == '42["said",{"a":1}]'
            assert await peer.receive() == '42["said",{"a":1}]'
            await peer.send('422["leave","hall"]')
            assert await peer.receive() == "432[]"
            await stranger.send('422["broadcast","hall",2]')
            assert await stranger.receive() == "432[]"
            assert await member.receive() == '42["said",2]'
            await peer.send('423["echo"]')
            assert await peer.receive() == "433[]"


class TestAcks:
    @BOTH
    @pytest.mark.parametrize("number", [0, 1, 12, 2**31, 10**15 - 1])
    async def test_an_ack_has_the_id_of_its_event(self, peer: Peer, where: str, number: int) -> None:
        await enter(peer, where)
        await peer.send(f'42{where}{number}["echo","x"]')
        assert await peer.receive() == f'43{where}{number}["x"]'

    @pytest.mark.parametrize("args", VALUES.values(), ids=VALUES)
    async def test_its_payload_is_what_the_application_answers(self, peer: Peer, args: list[Any]) -> None:
        await enter(peer)
        await peer.send("421" + json.dumps(["echo", *args], ensure_ascii=False))
        assert payload(await peer.receive(), "431") == args

    async def test_it_is_an_empty_array_if_there_is_no_answer(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send('421["join","hall"]')
        assert await peer.receive() == "431[]"

    async def test_every_event_gets_its_own(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send(*(f'42{number}["echo",{number}]' for number in range(100)))
        acks = {await peer.receive() for _ in range(100)}
        assert acks == {f"43{number}[{number}]" for number in range(100)}


class TestCalls:
    """The server asks, the client acknowledges."""

    @BOTH
    async def test_the_answer_reaches_the_application(self, peer: Peer, where: str) -> None:
        await enter(peer, where)
        await peer.send(f'42{where}7["ask",{{"a":1}}]')
        number = await self.question(peer, where, [{"a": 1}])
        await peer.send(f'43{where}{number}[{{"b":2}}]')
        assert await peer.receive() == f'43{where}7[{{"b":2}}]'

    async def test_several_are_told_apart(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send('421["ask","one"]')
        one = await self.question(peer, "", ["one"])
        await peer.send(f'43{one}["first"]')
        assert await peer.receive() == '431["first"]'
        await peer.send('422["ask","two"]')
        two = await self.question(peer, "", ["two"])
        assert one != two
        await peer.send(f'43{two}["second"]')
        assert await peer.receive() == '432["second"]'

    async def test_an_answer_to_nothing_is_passed_over(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send("43999[]", "430[]", '421["echo"]')
        assert await peer.receive() == "431[]"
        await peer.send('422["ask","x"]')
        number = await self.question(peer, "", ["x"])
        await peer.send(f'43{number}["y"]')
        assert await peer.receive() == '432["y"]'

    async def test_an_answer_counts_once(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send('421["ask","x"]')
        number = await self.question(peer, "", ["x"])
        await peer.send(f'43{number}["y"]', f'43{number}["z"]', '422["echo"]')
        assert {await peer.receive(), await peer.receive()} == {'431["y"]', "432[]"}

    async def question(self, peer: Peer, where: str, args: list[Any]) -> str:
        """The id of the question that comes next."""
        packet = await peer.receive()
        assert isinstance(packet, str)
        assert packet.startswith(f"42{where}")
        number, bracket, rest = packet.removeprefix(f"42{where}").partition("[")
        assert number.isdecimal()
        assert json.loads(bracket + rest) == ["question", *args]
        return number
