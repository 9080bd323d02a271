"""Nginx keeps each session on its node, whatever its clients are and whatever is sent to it."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import pytest_asyncio
import socketio

from tests.support.conformance_clients import node_host
from tests.support.nginx import Trio, running_nginx, running_trio
from tests.support.nginx_clients import crowd, dead_sid, handshake, raw_request

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAGE: Final = "https://page.example.org"
UNKNOWN: Final = {"code": 1, "message": "Session ID unknown"}
PACKET_BYTES: Final = 140_000


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def trio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trio]:
    directory = tmp_path_factory.mktemp("trio")
    arguments = ["--origins", PAGE, "--max-packet-bytes", str(PACKET_BYTES)]
    settings: dict[str, Any] = {"origins": PAGE, "max_packet_bytes": PACKET_BYTES, "guests": "on"}
    async with running_trio(directory, arguments=arguments, **settings) as trio:
        yield trio


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def polling(trio: Trio, sid: str) -> str:
    return f"{trio.url}/socket.io/?EIO=4&transport=polling&sid={sid}"


_traces = itertools.count(1)


def new_trace() -> str:
    """A `User-Agent` by which a request is found in the log."""
    return f"trace-{next(_traces)}"


def head(target: str, *headers: str, trace: str = "-") -> bytes:
    lines = (f"GET {target} HTTP/1.1", "Host: chat.example.org", "Connection: close", f"User-Agent: {trace}", *headers)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


class TestSessionIdUnknownStorms:
    async def test_sixty_stock_clients_behind_one_address_stay_on_their_nodes(self, trio: Trio) -> None:
        """With a balancer that spreads requests, two of three requests of a session end at a node that does not know
        it. Here nobody sees a 400, and as all come from one address, the address cannot be what they are kept by.
        """
        seen = len(trio.nginx.log())
        async with node_host() as host, crowd(trio, host, each=10) as visitors:
            assert len(visitors) == 60
            for _ in range(3):
                await asyncio.gather(*(visitor.ask() for visitor in visitors))
            assert all(len(visitor.nodes) == 1 for visitor in visitors)
            assert [visitor.client.news.disconnects for visitor in visitors if visitor.client.news.disconnects] == []
            spread = Counter(visitor.nodes[0] for visitor in visitors)
        assert sorted(spread) == ["n1", "n2", "n3"]
        assert min(spread.values()) >= 5, spread
        # 499: a client that leaves does not wait for its poll.
        assert {line.status for line in trio.nginx.log()[seen:]} <= {101, 200, 499}

    async def test_a_request_goes_to_the_node_that_its_id_names(self, trio: Trio, http: aiohttp.ClientSession) -> None:
        for name, node in trio.nodes.items():
            trace = new_trace()
            async with http.get(polling(trio, dead_sid(name)), headers={"User-Agent": trace}) as answer:
                assert (answer.status, await answer.json()) == (400, UNKNOWN)
            assert (await trio.nginx.line_of(trace)).asked == f"127.0.0.1:{node.port}"

    async def test_the_first_request_goes_to_any_node(self, trio: Trio, http: aiohttp.ClientSession) -> None:
        opened = [await handshake(trio.url, http) for _ in range(60)]
        assert {sid.partition(".")[0] for sid in opened} == {"n1", "n2", "n3"}

    async def test_who_begins_with_a_websocket_drives_nobody_from_its_node(
        self, trio: Trio, http: aiohttp.ClientSession
    ) -> None:
        """Were newcomers who poll sent to whoever has the fewest connections, one WebSocket would keep all of them away
        from its node: their own are not counted there.
        """
        async with http.ws_connect(f"{trio.url}/socket.io/?EIO=4&transport=websocket") as line:
            assert '"sid":"n' in await line.receive_str()
            opened = [await handshake(trio.url, http) for _ in range(60)]
        assert {sid.partition(".")[0] for sid in opened} == {"n1", "n2", "n3"}

    async def test_websockets_go_to_whoever_has_few(self, trio: Trio, http: aiohttp.ClientSession) -> None:
        there = f"{trio.url}/socket.io/?EIO=4&transport=websocket"
        lines = [await http.ws_connect(there) for _ in range(60)]
        nodes = Counter([(await line.receive_str()).partition('"sid":"')[2][:2] for line in lines])
        for line in lines:
            await line.close()
        assert max(nodes.values()) - min(nodes.values()) <= 5, nodes


FORGED: Final = {
    "an unknown node": dead_sid("n4"),
    "a node of which ours is the beginning": dead_sid("n11"),
    "capitals": dead_sid("N1"),
    "no node": "A" * 20,
    "a host": "n1.evil.example.org:80/AAAAAAAAAAAA",
    "a user and a host": "n1.AAAAAAAAAAAAAAAAAAAA@127.0.0.1:1",
    "a group of nodes": "hubbub_node_n1",
    "a path": "n1.AAAAAAAAAAAAAAAAAAAA/../../metrics",
    "an encoded dot": "n1%2E" + "A" * 20,
    "an encoded newline": dead_sid("n1") + "%0d%0aHost:%20evil",
    "an encoded newline at the end": dead_sid("n1") + "%0a",
    "an encoded NUL": dead_sid("n1") + "%00",
    "a variable": "n1.$http_host",
    "very long": "n1." + "A" * 4000,
    "very short": "n1.A",
    "two, the first unknown": dead_sid("n4") + "&sid=" + dead_sid("n1"),
    "bytes beyond ASCII": "n1.%C3%A4" + "A" * 18,
}


class TestForgedIds:
    @pytest.mark.parametrize("sid", FORGED.values(), ids=FORGED)
    async def test_a_forged_id_leads_nowhere(self, trio: Trio, sid: str) -> None:
        trace = new_trace()
        status, headers, body = await raw_request(
            trio.nginx.port, [head(f"/socket.io/?EIO=4&transport=polling&sid={sid}", trace=trace)]
        )
        assert (status, json.loads(body)) == (400, UNKNOWN)
        assert headers["content-type"] == "application/json"
        line = await trio.nginx.line_of(trace)
        assert (line.status, line.asked) == (400, "-")

    async def test_of_two_ids_the_first_counts_and_the_node_refuses(self, trio: Trio) -> None:
        """Nginx reads the first and the node the last: that leads to a node, and there to nothing."""
        target = f"/socket.io/?EIO=4&transport=polling&sid={dead_sid('n1')}&sid={dead_sid('n2')}"
        trace = new_trace()
        status, _, body = await raw_request(trio.nginx.port, [head(target, trace=trace)])
        assert (status, json.loads(body)) == (400, UNKNOWN)
        assert (await trio.nginx.line_of(trace)).asked == f"127.0.0.1:{trio.nodes['n1'].port}"

    async def test_a_newline_ends_the_request(self, trio: Trio) -> None:
        """What is before it is a request of the oldest kind, without headers; what is behind it is not looked at."""
        target = f"/socket.io/?EIO=4&transport=polling&sid={dead_sid('n1')}\nGET /metrics"
        await raw_request(trio.nginx.port, [head(target)])
        line = await trio.nginx.line_where(lambda line: line.request == "GET /socket.io/ -")
        assert (line.status, line.asked) == (400, f"127.0.0.1:{trio.nodes['n1'].port}")
        assert not any("metrics" in line.request and line.asked != "-" for line in trio.nginx.log())

    async def test_an_upgrade_with_a_forged_id_leads_nowhere_either(self, trio: Trio) -> None:
        upgrade = ("Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
        target = f"/socket.io/?EIO=4&transport=websocket&sid={dead_sid('n4')}"
        status, _, body = await raw_request(trio.nginx.port, [head(target, *upgrade)])
        assert (status, json.loads(body)) == (400, UNKNOWN)


class TestPagesOfOtherOrigins:
    async def test_a_page_that_may_use_the_service_can_read_that_its_session_is_unknown(
        self, trio: Trio, http: aiohttp.ClientSession
    ) -> None:
        for sid in (dead_sid("n4"), dead_sid("n1")):  # Answered by Nginx, and by a node.
            async with http.get(polling(trio, sid), headers={"Origin": PAGE}) as answer:
                assert answer.status == 400
                assert answer.headers.getall("Access-Control-Allow-Origin") == [PAGE]
                assert answer.headers.getall("Access-Control-Allow-Credentials") == ["true"]
                assert answer.headers.getall("Vary") == ["Origin"]

    @pytest.mark.parametrize("origin", ["https://evil.example.org", f"{PAGE}.evil.org", "null", "*", ""])
    async def test_other_pages_cannot(self, trio: Trio, http: aiohttp.ClientSession, origin: str) -> None:
        async with http.get(polling(trio, dead_sid("n4")), headers={"Origin": origin}) as answer:
            assert answer.status == 400
            assert [name for name in answer.headers if name.startswith("Access-Control")] == []

    async def test_a_preflight_is_answered_though_the_session_is_unknown(
        self, trio: Trio, http: aiohttp.ClientSession
    ) -> None:
        asks = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-mine"}
        async with http.options(polling(trio, dead_sid("n4")), headers=asks) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Headers"]) == (204, "x-mine")


class TestAddresses:
    async def test_a_node_sees_the_address_of_the_client_and_not_what_it_says(self, trio: Trio) -> None:
        claims = {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6", "X-Real-IP": "6.6.6.6"}
        connector = aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))
        async with aiohttp.ClientSession(connector=connector) as session:
            client = socketio.AsyncClient(http_session=session)
            await client.connect(
                trio.url, headers=claims, namespaces=["/chat"], auth={"token": trio.token("honest")}, wait_timeout=20
            )
            node, connection = trio.nodes[client.eio.sid.partition(".")[0]], client.get_sid("/chat")
            await client.disconnect()
        async with asyncio.timeout(20):
            while not (found := [json.loads(line) for line in node.output if f'"{connection}"' in line]):
                await asyncio.sleep(0.02)
        assert {line["address"] for line in found if "address" in line} == {"127.0.0.9"}

    async def test_one_address_has_so_many_connections(
        self, trio: Trio, http: aiohttp.ClientSession, tmp_path: Path
    ) -> None:
        addresses = {name: f"127.0.0.1:{node.port}" for name, node in trio.nodes.items()}
        arguments = ["--connections-per-address", "2"]
        async with running_nginx(tmp_path / "nginx", addresses, arguments=arguments) as nginx:
            there = f"{nginx.url}/socket.io/?EIO=4&transport=websocket"
            sockets = [await http.ws_connect(there) for _ in range(6)]  # A client that upgrades may have three.
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await http.ws_connect(there)
            assert refusal.value.status == 429
            for each in sockets:
                await each.close()

    async def test_one_address_begins_so_many_sessions(
        self, trio: Trio, http: aiohttp.ClientSession, tmp_path: Path
    ) -> None:
        addresses = {name: f"127.0.0.1:{node.port}" for name, node in trio.nodes.items()}

        def seldom(text: str) -> str:
            assert "rate=50r/s" in text
            assert text.count("burst=500") == 2
            return text.replace("rate=50r/s", "rate=1r/m").replace("burst=500", "burst=3")

        async with running_nginx(tmp_path / "nginx", addresses, edit=seldom) as nginx:
            opened = [await handshake(nginx.url, http) for _ in range(4)]
            async with http.get(f"{nginx.url}/socket.io/?EIO=4&transport=polling") as answer:
                assert answer.status == 429
            for sid in opened:  # Who has a session is not held up.
                url = f"{nginx.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
                async with http.post(url, data="40/chat,{}") as answer:
                    assert answer.status == 200
            assert "limiting" not in nginx.everything_logged()


class TestSizes:
    async def test_a_body_that_the_nodes_would_refuse_comes_no_further(
        self, trio: Trio, http: aiohttp.ClientSession
    ) -> None:
        sid = await handshake(trio.url, http)
        trace = new_trace()
        async with http.post(
            polling(trio, sid), data=b"4" * (PACKET_BYTES + 1), headers={"User-Agent": trace}
        ) as answer:
            assert answer.status == 413
        assert (await trio.nginx.line_of(trace)).asked == "-"
        trace = new_trace()
        async with http.post(polling(trio, sid), data=b"4" * PACKET_BYTES, headers={"User-Agent": trace}) as answer:
            assert answer.status != 413
        assert (await trio.nginx.line_of(trace)).asked == f"127.0.0.1:{trio.nodes[sid.partition('.')[0]].port}"

    async def test_a_body_without_a_length_is_measured_too(self, trio: Trio, http: aiohttp.ClientSession) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(PACKET_BYTES // 16384 + 1):
                yield b"4" * 16384

        async with http.post(polling(trio, await handshake(trio.url, http)), data=chunks()) as answer:
            assert answer.status == 413

    async def test_a_large_token_fits_into_a_header_and_what_is_larger_is_refused(self, trio: Trio) -> None:
        target = "/socket.io/?EIO=4&transport=polling"
        status, _, _ = await raw_request(trio.nginx.port, [head(target, f"Authorization: Bearer {'a' * 8000}")])
        assert status == 200
        trace = new_trace()
        status, _, _ = await raw_request(
            trio.nginx.port, [head(target, f"Authorization: Bearer {'a' * 9000}", trace=trace)]
        )
        assert (status, (await trio.nginx.line_of(trace)).asked) == (400, "-")

    async def test_a_line_that_is_too_long_is_refused(self, trio: Trio) -> None:
        status, _, _ = await raw_request(trio.nginx.port, [head(f"/socket.io/?sid=n1.{'A' * 9000}")])
        assert (status, (await trio.nginx.line_where(lambda line: line.status == 414)).asked) == (414, "-")

    async def test_who_sends_headers_slowly_is_let_go(self, trio: Trio, tmp_path: Path) -> None:
        addresses = {name: f"127.0.0.1:{node.port}" for name, node in trio.nodes.items()}

        def impatient(text: str) -> str:
            assert "client_header_timeout 10s;" in text
            return text.replace("client_header_timeout 10s;", "client_header_timeout 1s;")

        async with running_nginx(tmp_path / "nginx", addresses, edit=impatient) as nginx:
            status, _, _ = await raw_request(nginx.port, [b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "])
            assert status in (0, 408)


class TestWhatIsNotSocketIo:
    async def test_the_page_and_the_api_are_those_of_any_node(self, trio: Trio, http: aiohttp.ClientSession) -> None:
        async with http.get(trio.url) as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")
        async with http.post(f"{trio.url}/api/guest", json={"name": "Ada"}) as answer:
            assert answer.status == 200
            token = (await answer.json())["token"]
        assert token

    @pytest.mark.parametrize(
        "target",
        ["/metrics", "/healthz", "/readyz", "//metrics", "/x/../metrics", "/%6detrics", "/metrics?x", "/./metrics#x"],
    )
    async def test_what_operators_ask_of_a_node_is_not_there(self, trio: Trio, target: str) -> None:
        trace = new_trace()
        status, _, body = await raw_request(trio.nginx.port, [head(target, trace=trace)])
        assert (status, (await trio.nginx.line_of(trace)).asked) == (404, "-")
        assert b"hubbub" not in body

    async def test_only_websockets_are_upgraded_to(self, trio: Trio) -> None:
        """Through an upgrade to anything else, requests could be sent past all rules."""
        status, headers, _ = await raw_request(
            trio.nginx.port, [head("/", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")]
        )
        assert (status, headers.get("upgrade")) == (200, None)


class TestLogs:
    async def test_no_session_id_is_in_a_log(self, trio: Trio, http: aiohttp.ClientSession) -> None:
        """An id is as good as a password while the session lasts."""
        sid = await handshake(trio.url, http)
        async with http.post(polling(trio, sid), data="40/nowhere,") as answer:
            assert answer.status == 200
        async with http.get(polling(trio, sid)) as answer:
            assert answer.status == 200
        async with http.post(polling(trio, sid), data=b"4" * (PACKET_BYTES + 1), headers={"Referer": sid}) as answer:
            assert answer.status == 413
        logged = trio.nginx.everything_logged()
        assert "GET /socket.io/ HTTP/1.1" in logged
        assert re.findall(r"\bsid=|\bn[123]\.[A-Za-z0-9_-]{20}", logged) == []

    async def test_a_line_stays_a_line(self, trio: Trio) -> None:
        trace = new_trace()
        await raw_request(trio.nginx.port, [head("/%0a127.0.0.1%20-%20forged", trace=trace)])
        assert (await trio.nginx.line_of(trace)).request == r"GET /\x0A127.0.0.1 - forged HTTP/1.1"
