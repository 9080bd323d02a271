"""A node as a whole: what it serves, what it tells of itself, and what outlives a restart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from tests.support.chat import chat_client
from tests.support.service import running_service, start_service


class TestRunning:
    """What is seen of it, in whatever way it is used."""

    @pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
    async def test_stock_python_clients_come_back_after_a_shutdown(self, tmp_path: Path, transports: list[str]) -> None:
        service = await start_service(tmp_path)
        try:
            # The client forgets to close the session of an attempt that failed, so it is given one.
            http = aiohttp.ClientSession()
            client = socketio.AsyncClient(reconnection_delay=0.1, reconnection_delay_max=0.2, http_session=http)
            connected = asyncio.Queue[None]()
            told: list[dict[str, Any]] = []
            client.on("connect", lambda: connected.put_nowait(None), namespace="/chat")
            client.on("closing", told.append, namespace="/chat")
            token = service.token(user="alice")
            await client.connect(service.url, auth={"token": token}, namespaces=["/chat"], transports=transports)
            await asyncio.wait_for(connected.get(), 10)
            port = service.port
            assert await service.stop() == 0
            service = await start_service(tmp_path, port=port)
            await asyncio.wait_for(connected.get(), 20)
            assert [each["code"] for each in told] in (["draining"], [])
            if transports == ["websocket"]:
                assert told
            # A client that is about to come back does not notice that it is shut down, and comes back for ever.
            client.reconnection = False
            await service.kill()
            await client.shutdown()
            await http.close()
        finally:
            await service.kill()

    async def test_every_line_of_the_log_is_json_and_knows_the_address(self, tmp_path: Path) -> None:
        async with running_service(tmp_path) as service:
            async with aiohttp.ClientSession() as session:
                async with session.get(f"{service.url}/socket.io/?EIO=3&transport=polling") as response:
                    assert response.status == 400
            async with chat_client(service.url, service.token(user="alice"), transports=["polling"]):
                await service.stop()
            lines = [
                json.loads(line) for line in service.log.splitlines() if not line.startswith(("Hubbub ", "Stopping"))
            ]
        assert any(line["event"] == "connection.closed" for line in lines)
        (opened,) = [line for line in lines if line["event"] == "connection.opened"]
        assert opened["address"] == "127.0.0.1"

    async def test_the_clients_address_is_taken_from_proxies_that_are_trusted_only(self, tmp_path: Path) -> None:
        headers = {"X-Forwarded-For": "198.51.100.7, 192.0.2.9"}
        for trusted, expected in (("", "127.0.0.1"), ("127.0.0.0/8", "192.0.2.9")):
            proxies = {"trusted_proxies": trusted} if trusted else {}
            async with running_service(tmp_path, **proxies) as service:
                async with chat_client(service.url, service.token(user="alice"), headers=headers):
                    await service.stop()
                assert f'"address":"{expected}"' in service.log

    async def test_metrics_count_events_by_outcome(self, tmp_path: Path) -> None:
        async with running_service(tmp_path) as service:
            async with chat_client(service.url, service.token(user="alice")) as alice:
                await alice.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
                await alice.error("room:join", {"room": "nowhere"})
                await alice.error("made:up", {})
                async with aiohttp.ClientSession() as session, session.get(service.url + "/metrics") as response:
                    text = await response.text()
        assert 'hubbub_events_total{code="ok",event="room:create"} 1.0' in text
        assert 'hubbub_events_total{code="not_found",event="room:join"} 1.0' in text
        assert 'hubbub_events_total{code="bad_request",event="unknown"} 1.0' in text
        assert 'hubbub_connections{namespace="/chat"} 1.0' in text
        assert "hubbub_users 1.0" in text
        assert 'hubbub_readiness{status="ready"} 1.0' in text
        assert "hubbub_cluster_hears" not in text

    async def test_history_and_membership_outlive_a_restart(self, tmp_path: Path) -> None:
        async with running_service(tmp_path) as service:
            async with chat_client(service.url, service.token(user="alice")) as alice:
                await alice.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
                first = await alice.ok("message:send", {"room": "lobby", "key": "k", "body": "hello"})
            assert await service.stop() == 0
        async with running_service(tmp_path) as service:
            async with chat_client(service.url, service.token(user="alice")) as alice:
                joined = await alice.ok("room:join", {"room": "lobby"})
                assert joined["messages"] == [first["message"]]
                assert joined["room"]["role"] == "owner"
                again = await alice.ok("message:send", {"room": "lobby", "key": "k", "body": "hello"})
                assert again == {"message": first["message"], "duplicate": True}


class TestRetention:
    async def test_what_is_too_much_is_gone_for_readers_and_known_to_its_sender(self, tmp_path: Path) -> None:
        async with running_service(tmp_path, retention_messages=2) as service:
            async with chat_client(service.url, service.token(user="alice")) as alice:
                await alice.ok("room:create", {"kind": "public", "id": "lobby", "title": "Lobby"})
                sent = [
                    (await alice.ok("message:send", {"room": "lobby", "key": f"k{n}", "body": f"hello {n}"}))["message"]
                    for n in range(5)
                ]
                page: dict[str, Any] = {"messages": sent}
                async with asyncio.timeout(30):
                    while len(page["messages"]) > 2:
                        page = await alice.ok("history:fetch", {"room": "lobby"})
                        await asyncio.sleep(0.02)  # Rates are limited.
                assert page == {"messages": sent[3:], "more_before": False, "more_after": False}
                again = await alice.ok("message:send", {"room": "lobby", "key": "k0", "body": "hello again"})
                assert again["duplicate"]
                assert (again["message"]["id"], again["message"]["body"]) == (sent[0]["id"], "")
                assert again["message"]["deleted"]
                refused = await alice.error(
                    "message:react", {"room": "lobby", "id": sent[0]["id"], "emoji": "👍", "on": True}
                )
                assert refused["code"] == "not_found"
            assert await service.stop() == 0
        assert "retention.emptied" in service.log
