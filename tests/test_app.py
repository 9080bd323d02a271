"""`hubbub serve` as an operator meets it: what it says when something is wrong, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sqlite3
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from tests.support.chat import chat_client
from tests.support.service import running_service, start_service


async def serve(*arguments: str, **environ: str) -> tuple[int, str]:
    """Run `hubbub serve` to its end; returns its exit status and what it wrote."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("HUBBUB_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hubbub", "serve", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, env=inherited | environ,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, output.decode()


class TestStart:
    """A start that cannot succeed ends with one sentence, before anything listens."""

    async def test_a_taken_port_is_named(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            status, output = await serve(HUBBUB_PORT=str(port), HUBBUB_STORE=f"sqlite:///{tmp_path}/h.db")
        assert status == 1
        assert f"Port {port} on 127.0.0.1 is taken" in output
        assert "Traceback" not in output

    async def test_too_few_files_are_named(self, tmp_path: Path) -> None:
        store = f"HUBBUB_STORE=sqlite:///{tmp_path}/h.db"
        command = f"ulimit -n 256; exec env HUBBUB_PORT=0 {store} {sys.executable} -m hubbub serve"
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        output, _ = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 1
        assert "This process may open 256 files" in output.decode()
        assert "Traceback" not in output.decode()

    async def test_a_database_that_another_process_serves_is_left_alone(self, tmp_path: Path) -> None:
        async with running_service(tmp_path) as first:
            status, output = await serve(HUBBUB_PORT="0", HUBBUB_STORE=f"sqlite:///{tmp_path}/hubbub.db")
            assert status == 1
            assert f"in use by process {first.process.pid}" in output
            assert "Traceback" not in output

    @pytest.mark.parametrize("damage", ["text", "foreign", "newer"])
    async def test_a_file_that_is_no_database_of_ours_is_left_alone(self, tmp_path: Path, damage: str) -> None:
        path = tmp_path / "hubbub.db"
        if damage == "text":
            path.write_text("This is no database, and it is longer than a header. " * 50)
        elif damage == "foreign":
            with sqlite3.connect(path) as connection:
                connection.execute("CREATE TABLE theirs (x)")
            connection.close()
        else:
            async with running_service(tmp_path) as service:
                await service.stop()
            with sqlite3.connect(path) as connection:
                connection.execute("PRAGMA user_version = 999")
            connection.close()
        before = path.read_bytes()
        status, output = await serve(HUBBUB_PORT="0", HUBBUB_STORE=f"sqlite:///{path}")
        assert status == 1
        assert str(path) in output
        assert "Traceback" not in output
        assert path.read_bytes() == before

    async def test_a_directory_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        status, output = await serve(HUBBUB_PORT="0", HUBBUB_STORE=f"sqlite:///{tmp_path}/file/h.db")
        assert status == 1
        assert f"{tmp_path}/file" in output
        assert "Traceback" not in output


class TestRunning:
    """What is open, and how it ends."""

    async def test_it_says_where_it_is_open_and_how_to_stop_it(self, tmp_path: Path) -> None:
        async with running_service(tmp_path) as service:
            assert service.url.startswith("http://127.0.0.1:")
            assert "Ctrl-C" in service.log
            async with aiohttp.ClientSession() as session:
                for path in ("/healthz", "/readyz", "/metrics", "/"):
                    async with session.get(service.url + path) as response:
                        assert response.status == 200, path
            assert await service.stop() == 0

    async def test_a_second_signal_ends_it_at_once(self, tmp_path: Path) -> None:
        async with running_service(tmp_path, drain_s=3600) as service:
            async with chat_client(service.url, service.token(user="alice")) as alice:
                await alice.wait_for("hello")
                service.process.send_signal(signal.SIGINT)
                service.process.send_signal(signal.SIGINT)
                assert await asyncio.wait_for(service.process.wait(), 10) in (0, 1)

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
