"""Namespaces of Socket.IO 5: how a client comes into them and leaves them.

https://github.com/socketio/socket.io-protocol, "Connection to a namespace" and "Disconnection from a namespace".
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.conformance import TRANSPORTS, Options, Peer, open_peer, open_websocket, payload, served


async def enter(peer: Peer, namespace: str = "/") -> str:
    """Returns the id in the namespace."""
    where = "" if namespace == "/" else f"{namespace},"
    await peer.send(f"40{where}")
    document = payload(await peer.receive(), f"40{where}")
    assert isinstance(document["sid"], str)
    return str(document["sid"])


async def check_alive(peer: Peer, where: str = "") -> None:
    await peer.send(f'42{where}99["echo","alive"]')
    assert await peer.receive() == f'43{where}99["alive"]'


@pytest.mark.parametrize("where", ["", "/custom,"], ids=["main", "custom"])
class TestConnect:
    async def test_it_is_answered_with_an_id(self, peer: Peer, where: str) -> None:
        await peer.send(f"40{where}")
        document = payload(await peer.receive(), f"40{where}")
        assert set(document) == {"sid"}
        assert isinstance(document["sid"], str)
        assert document["sid"]

    @pytest.mark.parametrize("auth", [None, {}, {"token": "123", "deep": [{"ü": None}]}], ids=["none", "empty", "some"])
    async def test_its_payload_reaches_the_application(self, peer: Peer, where: str, auth: Any) -> None:
        await peer.send(f"40{where}" + ("" if auth is None else json.dumps(auth)))
        payload(await peer.receive(), f"40{where}")
        await peer.send(f'42{where}1["auth"]')
        assert payload(await peer.receive(), f"43{where}1") == [auth or {}]

    async def test_the_application_may_refuse(self, peer: Peer, where: str) -> None:
        await peer.send(f'40{where}{{"refuse":true}}')
        document = payload(await peer.receive(), f"44{where}")
        assert document == {"message": "Not authorized", "data": {"code": "nobody"}}

    async def test_who_was_refused_may_try_again(self, peer: Peer, where: str) -> None:
        await peer.send(f'40{where}{{"refuse":true}}')
        payload(await peer.receive(), f"44{where}")
        await peer.send(f"40{where}")
        payload(await peer.receive(), f"40{where}")
        await check_alive(peer, where)

    @pytest.mark.parametrize("auth", ['["a"]', '"a"', "{", "{}x"])
    async def test_a_payload_that_is_no_object_closes_the_connection(self, peer: Peer, where: str, auth: str) -> None:
        await peer.offend(f"40{where}{auth}")
        assert await peer.wait_closed() == []


class TestUnknownNamespaces:
    @pytest.mark.parametrize("namespace", ["/random", "/custom/x", "/Custom", "/constructor"])
    async def test_they_are_refused_with_a_message(self, peer: Peer, namespace: str) -> None:
        await peer.send(f"40{namespace},")
        document = payload(await peer.receive(), f"44{namespace},")
        assert isinstance(document["message"], str)
        assert document["message"]

    async def test_the_others_are_not_affected(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send("40/random,")
        payload(await peer.receive(), "44/random,")
        await check_alive(peer)
        await enter(peer, "/custom")

    async def test_a_name_may_stand_without_its_comma(self, peer: Peer) -> None:
        await peer.send("40/custom")
        payload(await peer.receive(), "40/custom,")
        await check_alive(peer, "/custom,")


class TestBeforeConnect:
    @pytest.mark.parametrize(
        "packet",
        ['42["message"]', '421["echo"]', "41", "431[]", '42/custom,["message"]', '44{"message":"x"}'],
    )
    async def test_anything_else_closes_the_connection(self, peer: Peer, packet: str) -> None:
        await peer.offend(packet)
        assert await peer.wait_closed() == []

    @pytest.mark.parametrize("transport", TRANSPORTS)
    async def test_who_does_not_connect_in_time_is_closed(self, transport: str) -> None:
        async with served(Options(connect_timeout_s=0.5)) as url, open_peer(url, transport) as peer:
            assert await peer.wait_closed() == []

    @pytest.mark.parametrize("transport", TRANSPORTS)
    async def test_who_was_refused_and_stays_is_closed_too(self, transport: str) -> None:
        async with served(Options(connect_timeout_s=0.5)) as url, open_peer(url, transport) as peer:
            await peer.send("40/random,")
            (refusal,) = await peer.wait_closed()
            payload(refusal, "44/random,")

    async def test_who_connected_is_not(self) -> None:
        async with served(Options(connect_timeout_s=0.5)) as url, open_websocket(url) as peer:
            await enter(peer)
            async with open_websocket(url) as other:
                assert await other.wait_closed() == []
            await check_alive(peer)


class TestSeveral:
    async def test_they_share_a_connection(self, peer: Peer) -> None:
        assert await enter(peer) != await enter(peer, "/custom")
        await peer.send('42["message",1]', '42/custom,["message",2]', '42["message",3]')
        assert [await peer.receive() for _ in range(3)] == [
            '42["message-back",1]',
            '42/custom,["message-back",2]',
            '42["message-back",3]',
        ]

    async def test_each_has_ack_ids_of_its_own(self, peer: Peer) -> None:
        await enter(peer)
        await enter(peer, "/custom")
        await peer.send('427["echo","main"]', '42/custom,7["echo","custom"]')
        assert {await peer.receive(), await peer.receive()} == {'437["main"]', '43/custom,7["custom"]'}

    async def test_each_has_rooms_of_its_own(self, peer: Peer) -> None:
        await enter(peer)
        await enter(peer, "/custom")
        await peer.send('421["join","hall"]')
        assert await peer.receive() == "431[]"
        await peer.send('42/custom,1["broadcast","hall","x"]')
        assert await peer.receive() == "43/custom,1[]"
        await peer.send('422["broadcast","hall","y"]')
        assert {await peer.receive(), await peer.receive()} == {"432[]", '42["said","y"]'}

    async def test_one_may_be_refused_and_another_not(self, peer: Peer) -> None:
        await peer.send('40{"refuse":true}')
        payload(await peer.receive(), "44")
        await enter(peer, "/custom")
        await check_alive(peer, "/custom,")


class TestClientDisconnects:
    async def test_the_others_stay(self, peer: Peer) -> None:
        await enter(peer)
        await enter(peer, "/custom")
        await peer.send("41/custom,")
        await check_alive(peer)

    async def test_the_application_is_told(self, url: str, peer: Peer) -> None:
        async with open_websocket(url) as watcher:
            await enter(watcher)
            await watcher.send('421["join","watchers"]')
            assert await watcher.receive() == "431[]"
            await enter(peer)
            sid = await enter(peer, "/custom")
            await peer.send("41/custom,")
            event = payload(await watcher.receive(), "42")
            assert event == ["gone", {"namespace": "/custom", "sid": sid}]
            await check_alive(watcher)

    async def test_it_may_come_back(self, peer: Peer) -> None:
        await enter(peer)
        first = await enter(peer, "/custom")
        await peer.send("41/custom,")
        await check_alive(peer)
        assert await enter(peer, "/custom") != first
        await check_alive(peer, "/custom,")

    async def test_a_name_may_stand_without_its_comma(self, peer: Peer) -> None:
        await enter(peer)
        first = await enter(peer, "/custom")
        await peer.send("41/custom")
        await check_alive(peer)
        assert await enter(peer, "/custom") != first

    async def test_nothing_more_comes_from_there(self, url: str, peer: Peer) -> None:
        await enter(peer)
        await enter(peer, "/custom")
        await peer.send('42/custom,1["join","hall"]')
        assert await peer.receive() == "43/custom,1[]"
        await peer.send("41/custom,")
        await check_alive(peer)
        async with open_websocket(url) as other:
            await enter(other, "/custom")
            await other.send('42/custom,1["broadcast","hall","x"]')
            assert await other.receive() == "43/custom,1[]"
        await check_alive(peer)


class TestServerDisconnects:
    @pytest.mark.parametrize("where", ["", "/custom,"], ids=["main", "custom"])
    async def test_the_client_is_told(self, peer: Peer, where: str) -> None:
        await enter(peer)
        await enter(peer, "/custom")
        await peer.send(f'42{where}["kick"]')
        assert await peer.receive() == f"41{where}"

    async def test_the_others_stay(self, peer: Peer) -> None:
        await enter(peer)
        await enter(peer, "/custom")
        await peer.send('42/custom,["kick"]')
        assert await peer.receive() == "41/custom,"
        await check_alive(peer)

    async def test_what_was_sent_before_comes_before(self, peer: Peer) -> None:
        await enter(peer)
        await peer.send('42["message",1]', '42["message",2]', '42["kick"]')
        assert [await peer.receive() for _ in range(3)] == [
            '42["message-back",1]',
            '42["message-back",2]',
            "41",
        ]
