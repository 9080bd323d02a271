"""The handshake of Engine.IO 4: what opens a session and what is refused.

https://github.com/socketio/engine.io-protocol, "Handshake" and "Query parameters".
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.support.conformance import TIMEOUT_S, Options, Peer, open_peer, open_polling, open_websocket, served

HANDSHAKES = ("polling", "websocket")


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def status_of(http: aiohttp.ClientSession, method: str, url: str) -> tuple[int, str]:
    async with asyncio.timeout(TIMEOUT_S), http.request(method, url) as response:
        return response.status, await response.text()


async def is_turned_away(http: aiohttp.ClientSession, url: str, *, statuses: frozenset[int] = frozenset({400})) -> bool:
    """Whether a WebSocket is refused with one of these statuses, or closed before any packet."""
    try:
        async with http.ws_connect(url) as socket:
            message = await socket.receive(TIMEOUT_S)
            return message.type not in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}
    except aiohttp.WSServerHandshakeError as refusal:
        return refusal.status in statuses


class TestOpenPacket:
    @pytest.mark.parametrize(("transport", "upgrades"), [("polling", ["websocket"]), ("websocket", [])])
    async def test_it_says_the_session_its_upgrades_and_its_limits(self, transport: str, upgrades: list[str]) -> None:
        options = Options(ping_interval_s=12.5, ping_timeout_s=7, max_packet_bytes=54_321)
        async with served(options) as url, open_peer(url, transport) as peer:
            opened = dict(peer.opened)
        sid = opened.pop("sid")
        assert isinstance(sid, str)
        assert sid
        assert opened == {
            "upgrades": upgrades,
            "pingInterval": 12_500,
            "pingTimeout": 7_000,
            "maxPayload": 54_321,
        }

    @pytest.mark.parametrize("transport", HANDSHAKES)
    async def test_times_are_whole_milliseconds(self, transport: str) -> None:
        async with served(Options(ping_interval_s=0.3, ping_timeout_s=0.2)) as url:
            async with open_peer(url, transport) as peer:
                times = peer.opened["pingInterval"], peer.opened["pingTimeout"]
        assert times == (300, 200)
        assert {type(each) for each in times} == {int}

    async def test_each_session_has_an_id_of_its_own(self, url: str) -> None:
        async with open_polling(url) as one, open_polling(url) as two, open_websocket(url) as three:
            sids = {each.opened["sid"] for each in (one, two, three)}
        assert len(sids) == 3

    async def test_polling_answers_in_plain_utf_8_that_is_not_stored(
        self, url: str, http: aiohttp.ClientSession
    ) -> None:
        async with http.get(f"{url}/socket.io/?EIO=4&transport=polling") as response:
            assert response.content_type == "text/plain"
            assert (response.charset or "").lower() == "utf-8"
            assert response.headers.get("Cache-Control") == "no-store"

    async def test_parameters_that_mean_nothing_are_passed_over(self, url: str, http: aiohttp.ClientSession) -> None:
        query = "t=abc&transport=polling&token=%C3%BC&EIO=4&b64=1"
        status, text = await status_of(http, "GET", f"{url}/socket.io/?{query}")
        assert (status, text[:1]) == (200, "0")


REFUSED: list[Any] = [
    pytest.param("transport={}", 5, id="no version"),
    pytest.param("EIO=abc&transport={}", 5, id="no number as version"),
    pytest.param("EIO=3&transport={}", 5, id="version 3"),
    pytest.param("EIO=5&transport={}", 5, id="version 5"),
    pytest.param("EIO=4", 0, id="no transport"),
    pytest.param("EIO=4&transport=abc", 0, id="unknown transport"),
    pytest.param("EIO=4&transport=constructor", 0, id="transport of the language"),
    pytest.param("EIO=4&transport={}&sid=abc", 1, id="unknown session"),
    pytest.param("EIO=4&transport={}&sid=__proto__", 1, id="session of the language"),
]


class TestRefusals:
    @pytest.mark.parametrize(("query", "code"), REFUSED)
    async def test_polling_is_answered_400(self, url: str, http: aiohttp.ClientSession, query: str, code: int) -> None:
        assert (await status_of(http, "GET", f"{url}/socket.io/?{query.format('polling')}"))[0] == 400

    @pytest.mark.parametrize(("query", "code"), REFUSED)
    async def test_the_body_names_the_error_as_the_reference_does(
        self, url: str, http: aiohttp.ClientSession, query: str, code: int
    ) -> None:
        _, body = await status_of(http, "GET", f"{url}/socket.io/?{query.format('polling')}")
        document = json.loads(body)
        assert document["code"] == code
        assert isinstance(document["message"], str)

    @pytest.mark.parametrize(("query", "code"), REFUSED)
    async def test_a_websocket_is_turned_away(
        self, url: str, http: aiohttp.ClientSession, query: str, code: int
    ) -> None:
        assert await is_turned_away(http, f"{url}/socket.io/?{query.format('websocket')}")

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
    async def test_a_session_is_opened_by_GET_alone(self, url: str, http: aiohttp.ClientSession, method: str) -> None:
        assert (await status_of(http, method, f"{url}/socket.io/?EIO=4&transport=polling"))[0] == 400

    async def test_a_post_to_an_unknown_session_is_answered_400(self, url: str, http: aiohttp.ClientSession) -> None:
        status, body = await status_of(http, "POST", f"{url}/socket.io/?EIO=4&transport=polling&sid=abc")
        assert status == 400
        assert json.loads(body) == {"code": 1, "message": "Session ID unknown"}

    async def test_a_plain_request_is_no_websocket(self, url: str, http: aiohttp.ClientSession) -> None:
        assert (await status_of(http, "GET", f"{url}/socket.io/?EIO=4&transport=websocket"))[0] == 400

    async def test_a_websocket_does_not_poll(self, url: str, http: aiohttp.ClientSession) -> None:
        # It may as well be taken for the plain request that it also is.
        assert await is_turned_away(http, f"{url}/socket.io/?EIO=4&transport=polling", statuses=frozenset({200, 400}))

    async def test_a_session_that_polls_takes_no_other_method(self, url: str) -> None:
        async with open_polling(url) as peer:
            answer = await peer.request("PUT", data=b"40")
            assert answer.status >= 400
            await peer.send("40")
            assert str(await peer.receive()).startswith("40{")

    async def test_the_session_of_a_websocket_cannot_be_polled(self, url: str) -> None:
        async with open_websocket(url) as peer, aiohttp.ClientSession() as http:
            sid = peer.opened["sid"]
            for method in ("GET", "POST"):
                status, _ = await status_of(http, method, f"{url}/socket.io/?EIO=4&transport=polling&sid={sid}")
                assert status == 400
            await self.check_alive(peer)

    async def check_alive(self, peer: Peer) -> None:
        await peer.send("40")
        assert str(await peer.receive()).startswith("40{")
