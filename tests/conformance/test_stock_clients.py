"""Stock clients against a plain application: the oldest and the newest JavaScript client, in Node and in Chromium, and
the newest one of python-socketio; by polling alone, by WebSocket alone, and upgrading.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any, Final, Protocol

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext

from tests.support.browser import running_browser
from tests.support.conformance import IS_REFERENCE, served
from tests.support.conformance_clients import (
    NodeHost,
    PageHost,
    StockClient,
    javascript_client,
    node_host,
    python_client,
)
from tests.support.conformance_gate import Gate, open_gate

# One process of Node, one browser and one served application do for all of them, so they share a loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")

KINDS: Final = (
    *("node 4.0", "node 4", "python 5"),
    *(pytest.param(kind, marks=pytest.mark.browser) for kind in ("chromium 4.0", "chromium 4")),
)
WAYS: Final = {
    "polling": ["polling"],
    "websocket": ["websocket"],
    "upgrading": ["polling", "websocket"],
}
MANY: Final = 200


class Opener(Protocol):
    """Opens a client of one kind, on one way."""

    def __call__(self, *, namespace: str, auth: Any) -> contextlib.AbstractAsyncContextManager[StockClient]: ...


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def way_in() -> AsyncIterator[tuple[Gate, str]]:
    async with served() as url, open_gate(url) as way_in:
        yield way_in


@pytest.fixture(scope="module")
def gate(way_in: tuple[Gate, str]) -> Gate:
    return way_in[0]


@pytest.fixture(scope="module")
def url(way_in: tuple[Gate, str]) -> str:
    return way_in[1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node() -> AsyncIterator[NodeHost]:
    async with node_host() as host:
        yield host


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser_context() -> AsyncIterator[BrowserContext]:
    async with running_browser() as browser:
        yield await browser.new_context()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def page(url: str, browser_context: BrowserContext) -> PageHost:
    host = PageHost(await browser_context.new_page())
    await host.load(url)
    return host


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=KINDS)
def opener(request: pytest.FixtureRequest, url: str, way: str) -> Opener:
    where, _, version = request.param.partition(" ")
    if where == "python":
        return partial(python_client, url, transports=WAYS[way])
    return partial(
        javascript_client,
        request.getfixturevalue("page" if where == "chromium" else "node"),
        url,
        version=f"client{version.replace('.', '')}",
        transports=WAYS[way],
    )


def is_python(opener: Opener) -> bool:
    return isinstance(opener, partial) and opener.func is python_client


@pytest.fixture
def no_python_polling_on_the_reference(request: pytest.FixtureRequest) -> None:
    """python-engineio takes no more than 16 packets in one answer, and a CLOSE packet for a farewell for ever."""
    callspec = request.node.callspec.params
    if IS_REFERENCE and callspec["opener"].startswith("python") and callspec["way"] == "polling":
        request.applymarker(pytest.mark.xfail(reason="the reference server does not know python-engineio"))


@contextlib.asynccontextmanager
async def connected(opener: Opener, *, namespace: str = "/", auth: Any = None) -> AsyncIterator[StockClient]:
    async with opener(namespace=namespace, auth=auth) as client:
        await client.news.wait(lambda: bool(client.news.sids))
        yield client


async def wait_transport(client: StockClient, transport: str) -> None:
    """An upgrade happens beside everything else; each question is a round trip."""
    while await client.transport() != transport:
        assert await client.call("echo", "meanwhile") == ["meanwhile"]


class TestConnect:
    async def test_it_ends_on_its_transport(self, opener: Opener, way: str) -> None:
        async with connected(opener) as client:
            await wait_transport(client, "polling" if way == "polling" else "websocket")
            assert await client.call("echo", 1) == [1]

    async def test_its_auth_reaches_the_application(self, opener: Opener) -> None:
        async with connected(opener, namespace="/custom", auth={"token": "ü"}) as client:
            assert await client.call("auth") == [{"token": "ü"}]

    async def test_it_says_why_it_was_refused(self, opener: Opener) -> None:
        async with opener(namespace="/", auth={"refuse": True}) as client:
            await client.news.wait(lambda: bool(client.news.refusals))
            assert client.news.refusals == [{"message": "Not authorized", "data": {"code": "nobody"}}]
            assert client.news.sids == []

    async def test_it_says_that_there_is_no_such_namespace(self, opener: Opener) -> None:
        async with opener(namespace="/random", auth=None) as client:
            await client.news.wait(lambda: bool(client.news.refusals))
            assert client.news.refusals[0]["message"]


class TestTalk:
    async def test_an_event_is_acknowledged(self, opener: Opener) -> None:
        async with connected(opener) as client:
            for args in ([], [None], [1, "zwei", {"drei": [True]}], ["💬"]):
                assert await client.call("echo", *args) == args

    async def test_binary_goes_both_ways(self, opener: Opener) -> None:
        data = bytes(range(256))
        async with connected(opener) as client:
            assert await client.call("echo", data, {"inner": [b"", data]}) == [data, {"inner": [b"", data]}]
            await client.emit("message", "x", data)
            assert await client.news.wait_events("message-back", 1) == [["x", data]]

    async def test_the_server_may_ask(self, opener: Opener) -> None:
        async with connected(opener) as client:
            assert await client.call("ask", "why?") == ["why?"]
            assert await client.call("ask", b"\x00\xff") == [b"\x00\xff"]
            assert client.news.of("question") == [["why?"], [b"\x00\xff"]]

    async def test_a_room_gets_what_is_sent_to_it(self, opener: Opener, request: pytest.FixtureRequest) -> None:
        room = request.node.name
        async with connected(opener) as one, connected(opener) as two, connected(opener) as stranger:
            for member in (one, two):
                await member.call("join", room)
            await one.call("broadcast", room, {"a": b"1"})
            for member in (one, two):
                assert await member.news.wait_events("said", 1) == [[{"a": b"1"}]]
            await two.call("leave", room)
            await one.call("broadcast", room, 2)
            assert await one.news.wait_events("said", 2) == [[{"a": b"1"}], [2]]
            for other in (two, stranger):
                await other.call("echo")
            assert len(two.news.of("said")) == 1
            assert stranger.news.of("said") == []


@pytest.mark.usefixtures("no_python_polling_on_the_reference")
class TestOrder:
    """Where the client upgrades, it does so in the middle."""

    @pytest.fixture(autouse=True)
    def late(self, gate: Gate, opener: Opener, way: str) -> Iterator[bool]:
        """Whether the upgrade waits until the gate is opened. The Python client has it behind it when it connects."""
        is_late = way == "upgrading" and not is_python(opener)
        if is_late:
            gate.opened.clear()
        yield is_late
        gate.opened.set()

    async def test_many_messages_keep_their_order(self, gate: Gate, opener: Opener, way: str, late: bool) -> None:
        final = "polling" if way == "polling" else "websocket"
        async with connected(opener) as client:
            streaming = asyncio.create_task(client.stream("message", MANY, transport=final))
            await client.news.wait_events("message-back", MANY // 4)
            gate.opened.set()
            ways = await streaming
            echoes = await client.news.wait_events("message-back", MANY)
        assert echoes == [[number] for number in range(MANY)]
        assert (ways[0], ways[-1]) == ("polling" if late else final, final)

    async def test_what_the_server_sends_meanwhile_keeps_its_order(self, gate: Gate, opener: Opener, way: str) -> None:
        async with connected(opener) as client:
            await client.emit("burst", MANY // 2)
            gate.opened.set()
            await client.emit("burst", MANY // 2)
            await wait_transport(client, "polling" if way == "polling" else "websocket")
            await client.emit("burst", MANY // 2)
            ticks = await client.news.wait_events("tick", MANY // 2 * 3)
        assert ticks == [[number] for number in range(MANY // 2)] * 3


class TestEnd:
    async def test_a_disconnect_by_the_server_is_told_and_final(self, opener: Opener) -> None:
        async with connected(opener) as client:
            await client.emit("kick")
            await client.news.wait(lambda: bool(client.news.disconnects))
            assert client.news.disconnects[0] in {"io server disconnect", "server disconnect"}
            assert len(client.news.sids) == 1

    @pytest.mark.usefixtures("no_python_polling_on_the_reference")
    async def test_a_transport_that_the_server_drops_is_made_anew(self, opener: Opener, way: str) -> None:
        async with connected(opener) as client:
            await wait_transport(client, "polling" if way == "polling" else "websocket")
            await client.emit("drop")
            await client.news.wait(lambda: len(client.news.sids) == 2)
            assert len(client.news.disconnects) == 1
            assert client.news.sids[0] != client.news.sids[1]
            assert await client.call("echo", "again") == ["again"]

    async def test_the_application_is_told_of_a_client_that_leaves(self, opener: Opener) -> None:
        async with connected(opener) as watcher:
            await watcher.call("join", "watchers")
            async with connected(opener, namespace="/custom") as client:
                assert await client.call("echo") == []
            gone = {"namespace": "/custom", "sid": client.news.sids[0]}
            await watcher.news.wait(lambda: [gone] in watcher.news.of("gone"))
