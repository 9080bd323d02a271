"""permessage-deflate, for clients that offer it: once per packet, shared, and the other way too."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import orjson

from tests.support.chat import chat_client
from tests.support.service import running_service


class TestCompression:
    async def test_large_packets_are_compressed_for_those_who_offer_it(self, tmp_path: Path) -> None:
        async with (
            running_service(tmp_path, deflate_bytes=200, limits="off") as service,
            chat_client(service.url, service.token(user="alice"), transports=["websocket"]) as alice,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{service.url}/socket.io/?EIO=4&transport=websocket", compress=15) as socket,
        ):
            await alice.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
            await alice.ok("room:join", {"room": "lobby"})
            await socket.send_str("40/chat," + orjson.dumps({"token": service.token(user="bob")}).decode())
            while not (await socket.receive_str(timeout=10)).startswith('42/chat,["hello"'):
                pass
            await socket.send_str('42/chat,1["room:join",{"room":"lobby"}]')
            while not (await socket.receive_str(timeout=10)).startswith("43/chat,1["):
                pass
            body = "hello " * 100
            for number in range(3):
                await alice.ok("message:send", {"room": "lobby", "key": f"k{number}", "body": body})
                event = orjson.loads((await socket.receive_str(timeout=10)).removeprefix("42/chat,"))
                assert event[1]["body"] == body
            await socket.send_str('42/chat,2["message:send",{"room":"lobby","key":"k","body":"' + "x" * 5000 + '"}]')
            assert (await alice.wait_for("message", lambda each: each["key"] == "k"))["body"] == "x" * 5000

    async def test_it_is_off_by_default(self, tmp_path: Path) -> None:
        async with (
            running_service(tmp_path) as service,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{service.url}/socket.io/?EIO=4&transport=websocket", compress=15) as socket,
        ):
            assert socket.compress == 0
