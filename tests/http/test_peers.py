"""Who is on this machine is known by the connection, and no header makes anybody so."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector, web
from aiohttp.test_utils import TestServer

from hubbub.http.peers import is_local


async def answer(request: web.Request) -> web.Response:
    return web.Response(text="local" if is_local(request) else "stranger")


def application() -> web.Application:
    app = web.Application()
    app.router.add_get("/", answer)
    return app


async def asked(host: str, **headers: str) -> str:
    async with TestServer(application(), host=host) as server, ClientSession() as session:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with session.get(server.make_url("/"), headers=names) as response:
            return await response.text()


class TestPeers:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1"])
    async def test_loopback_is_local(self, host: str) -> None:
        assert await asked(host) == "local"

    async def test_an_ipv4_address_in_ipv6_form_is_known(self) -> None:
        assert await asked("::ffff:127.0.0.1") == "local"

    @pytest.mark.parametrize("name", ["X_Forwarded_For", "X_Real_IP", "Forwarded"])
    @pytest.mark.parametrize("value", ["203.0.113.7", "127.0.0.1", ""])
    async def test_whoever_comes_through_a_proxy_is_a_stranger(self, name: str, value: str) -> None:
        assert await asked("127.0.0.1", **{name: value}) == "stranger"

    async def test_a_unix_socket_is_a_proxys_way_in(self, tmp_path: Path) -> None:
        runner = web.AppRunner(application())
        await runner.setup()
        path = str(tmp_path / "s")
        await web.UnixSite(runner, path).start()
        async with ClientSession(connector=UnixConnector(path)) as session, session.get("http://host/") as response:
            assert await response.text() == "stranger"
        await runner.cleanup()
