"""Lines through Nginx: how long a silent one lasts, and what is spoken on one with TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
import pytest
import socketio

from tests.support.nginx import RunningNginx, running_nginx, start_node, write_certificate
from tests.support.nginx_clients import raw_request

HOST: Final = "chat.example.org"
SHORT_S: Final = 2
"""In place of the 45 s after which Nginx gives up a line on which a node says nothing."""


def impatient(text: str) -> str:
    assert text.count("_timeout 45s;") == 2
    return text.replace("_timeout 45s;", f"_timeout {SHORT_S}s;")


class TestIdleLines:
    @pytest.mark.parametrize("transport", ["websocket", "polling"])
    async def test_a_line_on_which_only_the_heartbeat_is_heard_stays(self, tmp_path: Path, transport: str) -> None:
        node = await start_node(tmp_path, "n1", ping_interval_s=1, ping_timeout_s=10)
        try:
            async with running_nginx(tmp_path / "nginx", {"n1": f"127.0.0.1:{node.port}"}, edit=impatient) as nginx:
                client = socketio.AsyncClient(reconnection=False)
                auth = {"token": node.token(user="ada")}
                await client.connect(nginx.url, transports=[transport], namespaces=["/chat"], auth=auth)
                await pings(client, count=2 * SHORT_S + 2)
                answer = await client.call("room:list", {}, namespace="/chat")
                assert answer["ok"]
                await client.disconnect()
        finally:
            await node.kill()

    async def test_a_line_on_which_nothing_is_heard_is_given_up(self, tmp_path: Path) -> None:
        """Else a node that vanished would leave its connections behind for ever."""
        node = await start_node(tmp_path, "n1", ping_interval_s=60, ping_timeout_s=10)
        try:
            async with (
                running_nginx(tmp_path / "nginx", {"n1": f"127.0.0.1:{node.port}"}, edit=impatient) as nginx,
                aiohttp.ClientSession() as http,
                http.ws_connect(f"{nginx.url}/socket.io/?EIO=4&transport=websocket") as line,
            ):
                begun = time.monotonic()
                await line.receive_str()
                ended = await line.receive(timeout=20)
                assert ended.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.ERROR)
                assert time.monotonic() - begun > SHORT_S / 2
        finally:
            await node.kill()


async def pings(client: socketio.AsyncClient, *, count: int) -> None:
    """Until so many pings came; each is answered by the stock client."""
    seen = asyncio.Semaphore(0)
    receive = client.eio._receive_packet

    async def counting(packet: object) -> None:
        if getattr(packet, "packet_type", None) == 2:
            seen.release()
        await receive(packet)

    client.eio._receive_packet = counting
    async with asyncio.timeout(60):
        for _ in range(count):
            await seen.acquire()


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[tuple[RunningNginx, ssl.SSLContext]]:
    """Nginx with TLS before one node, and what trusts its certificate."""
    certificate, key = await asyncio.to_thread(write_certificate, tmp_path, HOST)
    arguments = ["--server-name", HOST, "--tls-cert", certificate, "--tls-key", key, "--hsts", "86400"]
    node = await start_node(tmp_path, "n1", guests="on")
    try:
        addresses = {"n1": f"127.0.0.1:{node.port}"}
        async with running_nginx(tmp_path / "nginx", addresses, arguments=arguments) as nginx:
            yield nginx, ssl.create_default_context(cafile=certificate)
    finally:
        await node.kill()


class TestTls:
    @pytest.mark.parametrize("transports", [["polling"], ["websocket"], ["polling", "websocket"]])
    async def test_a_stock_client_talks_over_tls(
        self, secured: tuple[RunningNginx, ssl.SSLContext], transports: list[str]
    ) -> None:
        nginx, trust = secured
        connector = aiohttp.TCPConnector(ssl=trust, resolver=Here())
        async with aiohttp.ClientSession(connector=connector) as session:
            there = f"https://{HOST}:{nginx.port}"
            async with session.post(f"{there}/api/guest", json={"name": "Ada"}, headers={"Origin": there}) as answer:
                token = (await answer.json())["token"]
            client = socketio.AsyncClient(http_session=session, reconnection=False)
            await client.connect(
                there, headers={"Origin": there}, transports=transports, namespaces=["/chat"], auth={"token": token}
            )
            answer = await client.call("room:list", {}, namespace="/chat")
            assert answer["ok"]
            await client.disconnect()

    async def test_browsers_are_to_insist_on_tls(self, secured: tuple[RunningNginx, ssl.SSLContext]) -> None:
        nginx, trust = secured
        connector = aiohttp.TCPConnector(ssl=trust, resolver=Here())
        async with aiohttp.ClientSession(connector=connector) as session:
            for path in ("/", "/api/none", "/metrics", "/socket.io/?sid=n4.x"):  # Answers of a node and of Nginx.
                async with session.get(f"https://{HOST}:{nginx.port}{path}") as answer:
                    assert answer.headers.getall("Strict-Transport-Security") == ["max-age=86400"], path

    async def test_without_tls_there_is_only_the_way_to_it(self, secured: tuple[RunningNginx, ssl.SSLContext]) -> None:
        nginx, _ = secured
        request = f"GET /a?b=c HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
        status, headers, _ = await raw_request(nginx.plain_port, [request])
        assert (status, headers["location"]) == (301, f"https://{HOST}:{nginx.port}/a?b=c")

    async def test_another_host_is_not_answered(self, secured: tuple[RunningNginx, ssl.SSLContext]) -> None:
        nginx, trust = secured
        status, _, _ = await raw_request(nginx.plain_port, [b"GET / HTTP/1.1\r\nHost: evil.example.org\r\n\r\n"])
        assert status == 0
        with pytest.raises(ssl.SSLError):
            await spoken(nginx, trust, name="evil.example.org")

    async def test_what_is_spoken_is_of_this_decade(self, secured: tuple[RunningNginx, ssl.SSLContext]) -> None:
        nginx, trust = secured
        trust.set_alpn_protocols(["h2", "http/1.1"])
        assert await spoken(nginx, trust, name=HOST) == ("TLSv1.3", "h2")
        trust.maximum_version = ssl.TLSVersion.TLSv1_2
        assert (await spoken(nginx, trust, name=HOST))[0] == "TLSv1.2"
        trust.set_ciphers("AES128-SHA256:@SECLEVEL=0")  # Without forward secrecy.
        with pytest.raises(ssl.SSLError):
            await spoken(nginx, trust, name=HOST)


class Here(aiohttp.abc.AbstractResolver):
    """Every name is this machine."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": 2, "proto": 0, "flags": 0}]

    async def close(self) -> None: ...


async def spoken(nginx: RunningNginx, trust: ssl.SSLContext, *, name: str) -> tuple[str | None, str | None]:
    """Which versions of TLS and HTTP are agreed on."""
    _, writer = await asyncio.open_connection("127.0.0.1", nginx.port, ssl=trust, server_hostname=name)
    try:
        agreed = writer.get_extra_info("ssl_object")
        return agreed.version(), agreed.selected_alpn_protocol()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()
