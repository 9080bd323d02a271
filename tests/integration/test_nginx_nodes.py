"""Nodes that die, drain, freeze and come back behind Nginx: their sessions are told at once, newcomers never notice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from tests.support.conformance_clients import node_host
from tests.support.halting import halt
from tests.support.nginx import Trio, running_nginx, running_trio, start_node
from tests.support.nginx_clients import crowd, handshake

PAGE: Final = "https://page.example.org"
AT_ONCE_S: Final = 2.0
"""Far more than it takes, so that a busy machine passes; far less than what it takes to wait for a node in vain."""


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def opened_at(trio: Trio, name: str, http: aiohttp.ClientSession) -> str:
    """The id of a session at this node."""
    return await handshake(trio.nodes[name].url, http)


class TestANodeThatDies:
    async def test_its_sessions_are_answered_at_once_and_its_clients_are_back_elsewhere(
        self, tmp_path: Path, http: aiohttp.ClientSession
    ) -> None:
        async with (
            running_trio(tmp_path, arguments=["--origins", PAGE]) as trio,
            node_host() as host,
            crowd(trio, host, each=3) as visitors,
        ):
            sid = await opened_at(trio, "n1", http)
            await trio.nodes["n1"].kill()
            struck = [visitor for visitor in visitors if visitor.nodes[0] == "n1"]
            begun = time.monotonic()
            url = f"{trio.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
            async with http.get(url, headers={"Origin": PAGE}) as answer:
                assert (answer.status, await answer.json()) == (400, {"code": 1, "message": "Session ID unknown"})
                assert answer.headers["Access-Control-Allow-Origin"] == PAGE
            async with http.post(url, data="2") as answer:
                assert answer.status == 400
            assert time.monotonic() - begun < AT_ONCE_S
            for visitor in struck:
                await visitor.wait_connections(2)
                assert visitor.nodes[1] in ("n2", "n3")
            await asyncio.gather(*(visitor.ask() for visitor in visitors))
            others = [visitor for visitor in visitors if visitor not in struck]
            assert all(len(visitor.nodes) == 1 for visitor in others)

    async def test_it_is_found_again_when_it_is_back_and_does_not_know_who_was_there(
        self, tmp_path: Path, http: aiohttp.ClientSession
    ) -> None:
        async with running_trio(tmp_path) as trio:
            sid = await opened_at(trio, "n1", http)
            port = trio.nodes["n1"].port
            await trio.nodes["n1"].kill()
            assert {(await handshake(trio.url, http))[:3] for _ in range(20)} == {"n2.", "n3."}
            node = await start_node(tmp_path, "n1", port=port)
            try:
                async with asyncio.timeout(30):
                    while not (await handshake(trio.url, http)).startswith("n1."):
                        await asyncio.sleep(0.05)
                async with http.get(f"{trio.url}/socket.io/?EIO=4&transport=polling&sid={sid}") as answer:
                    assert answer.status == 400
            finally:
                await node.kill()

    async def test_whoever_begins_with_a_websocket_is_taken_at_once_by_a_node_that_is_back(
        self, tmp_path: Path, http: aiohttp.ClientSession
    ) -> None:
        async with running_trio(tmp_path) as trio, contextlib.AsyncExitStack() as stack:

            async def come() -> str:
                """Begin with a WebSocket, which stays; returns the name of the node."""
                socket = await stack.enter_async_context(
                    http.ws_connect(f"{trio.url}/socket.io/?EIO=4&transport=websocket")
                )
                return (await socket.receive_str()).partition('"sid":"')[2][:2]

            port = trio.nodes["n1"].port
            await trio.nodes["n1"].kill()
            async with asyncio.timeout(20):
                # Until one of them has met the node that is down.
                while "502, 101" not in {line.answers for line in trio.nginx.log()}:
                    socket = await http.ws_connect(f"{trio.url}/socket.io/?EIO=4&transport=websocket")
                    await socket.close()
            stack.push_async_callback((await start_node(tmp_path, "n1", port=port)).kill)
            await trio.nodes["n2"].kill()
            await trio.nodes["n3"].kill()
            assert [await come() for _ in range(12)] == ["n1"] * 12

    async def test_without_any_node_newcomers_are_told_to_come_again(
        self, tmp_path: Path, http: aiohttp.ClientSession
    ) -> None:
        async with running_trio(tmp_path, arguments=["--origins", PAGE]) as trio:
            for node in trio.nodes.values():
                await node.kill()
            for transport in ("polling", "websocket"):
                url = f"{trio.url}/socket.io/?EIO=4&transport={transport}"
                async with http.get(url, headers={"Origin": PAGE}) as answer:
                    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                    assert answer.headers["Access-Control-Allow-Origin"] == PAGE


class TestANodeThatDrains:
    async def test_it_gets_no_newcomers_and_they_do_not_notice(
        self, tmp_path: Path, http: aiohttp.ClientSession
    ) -> None:
        async with running_trio(tmp_path, drain_s=60) as trio:
            for _ in range(300):  # Let go ten in a second, they keep it draining for thirty seconds.
                await opened_at(trio, "n1", http)
            sid = await opened_at(trio, "n1", http)
            trio.nodes["n1"].process.send_signal(signal.SIGTERM)
            direct = f"{trio.nodes['n1'].url}/socket.io/?EIO=4&transport=polling"
            async with asyncio.timeout(20):
                while await status_of(direct, http) != 503:
                    await asyncio.sleep(0.02)
            opened = [await handshake(trio.url, http) for _ in range(30)]
            sockets = [await http.ws_connect(f"{trio.url}/socket.io/?EIO=4&transport=websocket") for _ in range(10)]
            opened += [(await socket.receive_str()).partition('"sid":"')[2] for socket in sockets]
            assert await status_of(direct, http) == 503, "it was to drain for longer"
            assert {each[:3] for each in opened} == {"n2.", "n3."}
            assert "503, 200" in {line.answers for line in trio.nginx.log()}
            # Who is there still is served until it is let go.
            assert await status_of(f"{trio.url}/socket.io/?EIO=4&transport=polling&sid={sid}", http) == 200
            for socket in sockets:
                await socket.close()


class TestATableThatChanges:
    async def test_who_is_connected_stays_and_who_has_no_node_any_more_is_told(
        self, tmp_path: Path, http: aiohttp.ClientSession
    ) -> None:
        def without_n3(text: str) -> str:
            lines = text.splitlines(keepends=True)
            kept = [line for line in lines if "hubbub_node_n3;" not in line and "# n3\n" not in line]
            assert len(lines) - len(kept) == 4  # One in each group of all, and one in the map.
            return "".join(kept)

        async with running_trio(tmp_path) as trio, node_host() as host, crowd(trio, host, each=3) as visitors:
            sid = await opened_at(trio, "n3", http)
            trio.nginx.reload(without_n3)
            url = f"{trio.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
            async with asyncio.timeout(20), aiohttp.ClientSession(headers={"Connection": "close"}) as anew:
                while await posted(url, anew) != 400:
                    await asyncio.sleep(0.05)
                assert {(await handshake(trio.url, anew))[:3] for _ in range(20)} == {"n1.", "n2."}
            await asyncio.gather(*(visitor.ask() for visitor in visitors if visitor.nodes[-1] != "n3"))
            stayed = [visitor for visitor in visitors if visitor.nodes[0] != "n3" or visitor.way == "websocket"]
            assert [visitor.client.news.disconnects for visitor in stayed if visitor.client.news.disconnects] == []


class TestANodeThatIsFrozen:
    async def test_newcomers_are_taken_by_another(self, tmp_path: Path, http: aiohttp.ClientSession) -> None:
        def impatient(text: str) -> str:
            assert "proxy_read_timeout 5s;" in text
            return text.replace("proxy_read_timeout 5s;", "proxy_read_timeout 500ms;")

        async with running_trio(tmp_path, edit=impatient) as trio:
            process = trio.nodes["n1"].process
            halt(process.pid)
            try:
                async with asyncio.timeout(60):
                    while "504, 200" not in {line.answers for line in trio.nginx.log()}:
                        assert (await handshake(trio.url, http))[:3] in ("n2.", "n3.")
            finally:
                os.kill(process.pid, signal.SIGCONT)

    async def test_the_page_and_the_api_are_those_of_another_and_nothing_is_changed_twice(
        self, tmp_path: Path, http: aiohttp.ClientSession
    ) -> None:
        """With a tenth of the times, which `tests/cli/test_nginxconf.py` compares."""
        async with running_trio(tmp_path, edit=ten_times_as_fast, guests="on") as trio:
            process = trio.nodes["n1"].process

            async def asked(method: str, path: str) -> tuple[int, float]:
                """The status, and the seconds until all was there."""
                begun = time.monotonic()
                body = None if method == "GET" else {"name": "Ada"}
                agent = {"User-Agent": f"{method} {path}"}
                async with http.request(method, f"{trio.url}{path}", json=body, headers=agent) as answer:
                    await answer.read()
                return answer.status, time.monotonic() - begun

            def answers_of(method: str, path: str) -> set[str]:
                return {line.answers for line in trio.nginx.log() if line.agent == f"{method} {path}"}

            repeated = [("GET", "/"), ("GET", "/api/spec"), ("POST", "/api/guest")]
            once = ("POST", "/api/rooms/r/messages")
            halt(process.pid)
            try:
                async with asyncio.timeout(60):
                    # Until each kind has met the frozen node.
                    while not (
                        all("504, 200" in answers_of(*each) for each in repeated)
                        and any("504" in answers for answers in answers_of(*once))
                    ):
                        every = [asked(*each) for each in (*repeated, once) for _ in range(12)]
                        answers = (await asyncio.gather(*every))[:36]
                        assert {status for status, _ in answers} == {200}
                        assert max(took_s for _, took_s in answers) < 15
            finally:
                os.kill(process.pid, signal.SIGCONT)
            assert answers_of(*once) <= {"401", "504"}, "it was sent twice"

    async def test_reads_that_were_slow_everywhere_keep_nobody_from_nodes(
        self, tmp_path: Path, http: aiohttp.ClientSession
    ) -> None:
        """As when the store is stuck for a while: no node is left in the group of reads, and reads are answered."""

        def unforgiving(text: str) -> str:
            before, name, after = ten_times_as_fast(text).partition("upstream hubbub_reads {")
            reads, end, others = after.partition("}")
            assert reads.count("fail_timeout=3s") == 2
            return before + name + reads.replace("fail_timeout=3s", "fail_timeout=1h") + end + others

        nodes = [await start_node(tmp_path, name) for name in ("n1", "n2")]
        addresses = {f"n{number}": f"127.0.0.1:{node.port}" for number, node in enumerate(nodes, 1)}
        try:
            async with running_nginx(tmp_path / "nginx", addresses, edit=unforgiving) as nginx:
                for node in nodes:
                    halt(node.process.pid)
                assert await status_of(f"{nginx.url}/api/spec", http) == 504
                await nginx.line_where(lambda line: line.answers == "504, 504")
                for node in nodes:
                    os.kill(node.process.pid, signal.SIGCONT)
                assert await status_of(f"{nginx.url}/api/spec", http) == 200
                await nginx.line_where(lambda line: line.answers == "502 : 200")
                assert (await handshake(nginx.url, http))[:3] in ("n1.", "n2.")
        finally:
            for node in nodes:
                os.kill(node.process.pid, signal.SIGCONT)
                await node.kill()


def ten_times_as_fast(text: str) -> str:
    """The times that matter when a node says nothing."""
    for told_s in (5, 10, 15, 35):
        assert f"timeout {told_s}s;" in text
        text = text.replace(f"timeout {told_s}s;", f"timeout {told_s * 100}ms;")
    return text


async def status_of(url: str, http: aiohttp.ClientSession) -> int:
    async with http.get(url) as answer:
        return answer.status


async def posted(url: str, http: aiohttp.ClientSession) -> int:
    """The status of a POST: it is answered at once, as a poll is not."""
    async with http.post(url, data="40/nowhere,") as answer:
        return answer.status
