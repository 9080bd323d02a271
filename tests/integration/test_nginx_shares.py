"""Newcomers go where there is room: three nodes over one store, behind Nginx, one of which came back empty."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from hubbub.domain.control.keeping import BEAT_S
from hubbub.history.base import Beat
from tests.support.conformance_clients import javascript_client, node_host, python_client
from tests.support.mongodb import own_mongo
from tests.support.nginx_clients import handshake
from tests.support.rolling_site import NAMES, Site, running_site

TIMEOUT_S: Final = 60.0
EACH: Final = 80
NEWCOMERS: Final = 60
ASKS: Final = {"Hubbub-Pass-On": "1"}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    # Sessions of this test never answer a heartbeat; they have to last as long as it does.
    with own_mongo(tmp_path / "mongo") as mongo:
        async with running_site(tmp_path, mongo, drain_s=2, ping_interval_s=120) as site:
            yield site


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def fill(site: Site, name: str, http: aiohttp.ClientSession, count: int = EACH) -> None:
    """Open sessions at a node itself."""
    for _ in range(count):
        await handshake(site.nodes[name].url, http)


async def asked(site: Site, name: str, http: aiohttp.ClientSession) -> int:
    """What a node says to a newcomer who could go elsewhere. If it takes them, they are one session more."""
    async with http.get(f"{site.nodes[name].url}/socket.io/?EIO=4&transport=polling", headers=ASKS) as answer:
        return answer.status


async def wait_full(site: Site, http: aiohttp.ClientSession, *names: str) -> None:
    """Until these nodes know that they have more than their share."""
    async with asyncio.timeout(TIMEOUT_S):
        for name in names:
            while await asked(site, name, http) != 404:
                await asyncio.sleep(0.2)


async def told(site: Site) -> dict[str, Any]:
    """How many sessions each node says that it has, of those whose beat is less than two beats old."""
    history = site.history()
    await history.open()
    try:
        beats: list[Beat] = list(await history.ledger.beats(since=0))
    finally:
        await history.close()
    newest = max(beat.at for beat in beats)
    return {beat.name: beat.about.get("sessions") for beat in beats if beat.at > newest - 2000 * BEAT_S[1]}


async def spread(site: Site, http: aiohttp.ClientSession, transport: str, count: int = NEWCOMERS) -> Counter[str]:
    """Let so many come at once through Nginx, by polling or by WebSocket; by node."""

    async def come() -> str:
        if transport == "polling":
            return await handshake(site.url, http)
        async with http.ws_connect(f"{site.url}/socket.io/?EIO=4&transport=websocket") as socket:
            return (await socket.receive_str()).partition('"sid":"')[2]

    return Counter(sid.partition(".")[0] for sid in await asyncio.gather(*(come() for _ in range(count))))


class TestANodeThatCameBackEmpty:
    async def test_it_gets_most_of_the_newcomers_whatever_they_begin_with(
        self, site: Site, http: aiohttp.ClientSession
    ) -> None:
        await asyncio.gather(*(fill(site, name, http) for name in ("n1", "n2")))
        await site.stop("n3")
        await site.start("n3")
        await site.wait_ready()
        await wait_full(site, http, "n1", "n2")
        seen = len(site.nginx.log()) if site.nginx else 0
        assert (await spread(site, http, "websocket", 20))["n3"] >= 18
        async with node_host() as host, contextlib.AsyncExitStack() as stack:
            for transports in (["polling"], ["websocket"], ["polling", "websocket"]):
                common: dict[str, Any] = {"transports": transports, "namespace": "/chat"}
                common["auth"] = {"token": site.token("stock")}
                for client in (
                    javascript_client(host, site.url, version="client4", **common),
                    python_client(site.url, **common),
                ):
                    news = (await stack.enter_async_context(client)).news
                    await news.wait_events("hello", 1)
                    assert news.disconnects == []
        assert (await spread(site, http, "polling"))["n3"] >= 0.7 * NEWCOMERS
        assert site.nginx is not None
        lines = site.nginx.log()[seen:]
        assert {line.status for line in lines} <= {101, 200, 499}
        assert any("404, 200" in line.answers for line in lines)
        assert any("404, 101" in line.answers for line in lines)

    async def test_when_all_that_could_take_them_are_gone_the_full_ones_do(
        self, site: Site, http: aiohttp.ClientSession
    ) -> None:
        await asyncio.gather(*(fill(site, name, http) for name in ("n1", "n2")))
        await wait_full(site, http, "n1", "n2")
        await site.nodes["n3"].kill()
        forged = aiohttp.ClientSession(headers=ASKS)  # Through Nginx a client's own word is no word.
        async with forged:
            for transport in ("polling", "websocket"):
                taken = await spread(site, forged, transport, 20)
                assert set(taken) == {"n1", "n2"}
        assert site.nginx is not None
        # All said no, or one and nobody was at the other's place; and each was asked once more.
        assert any(" : 200" in line.answers for line in site.nginx.log())
        assert any(" : 101" in line.answers for line in site.nginx.log())


class TestEvenNodes:
    async def test_they_take_everybody_also_without_redis(self, site: Site, http: aiohttp.ClientSession) -> None:
        await asyncio.gather(*(fill(site, name, http) for name in NAMES))
        async with asyncio.timeout(TIMEOUT_S):
            while set((await told(site)).values()) != {EACH}:
                await asyncio.sleep(0.2)
        assert sum((await spread(site, http, "polling")).values()) == NEWCOMERS
        site.redis.kill()
        await site.wait_ready(status="degraded")
        assert sum((await spread(site, http, "polling")).values()) == NEWCOMERS
