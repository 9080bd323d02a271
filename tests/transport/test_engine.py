"""Engine.IO over HTTP: handshakes, upgrades, refusals, and the registry of sessions."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import orjson
import pytest

from hubbub.transport import frames
from hubbub.transport.addresses import Addresses
from hubbub.transport.bounds import Bounds
from hubbub.transport.engine import Engine
from hubbub.transport.states import State
from tests.support.faults_peer import Answer, PollingPeer, WebSocketPeer, frame, http, opened, read_answer
from tests.support.wire import Wire, wire

TIMEOUT_S = 20.0
POLLING = "EIO=4&transport=polling"
WEBSOCKET = "EIO=4&transport=websocket"
KEY = base64.b64encode(bytes(range(16))).decode()
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY}
GOOD = "https://good.example"


@pytest.fixture
async def tiny() -> AsyncIterator[Wire]:
    async with wire(node="node-7") as tiny:
        yield tiny


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0)


def code_of(answer: Answer) -> tuple[int, int]:
    """The status, and the number of the reference server's refusals."""
    assert answer.headers["content-type"] == "application/json"
    document = orjson.loads(answer.body)
    assert set(document) == {"code", "message"}
    return answer.status, document["code"]


def request_bytes(query: str, headers: Mapping[str, str]) -> bytes:
    lines = {"Host": "127.0.0.1"} | dict(headers)
    return (
        f"GET /socket.io/?{query} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n"
    ).encode()


async def connected(tiny: Wire) -> PollingPeer:
    """A client that polls and is in `/chat`; it has been greeted."""
    peer = await PollingPeer.opened(tiny.port, connect=False)
    await peer.post("40/chat,")
    greeting = b""
    while b'"hello"' not in greeting:
        greeting += (await peer.poll()).body
    assert greeting.startswith(b"40/chat,")
    return peer


class TestHandshakes:
    async def test_a_client_is_told_its_id_and_the_bounds(self, tiny: Wire) -> None:
        answer = await http(tiny.port, "GET", POLLING)
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.body[:1] == b"0"
        opening = orjson.loads(answer.body[1:])
        assert opening.pop("sid") in tiny.server.eio.sessions
        bounds = tiny.server.bounds
        assert opening == {
            "upgrades": ["websocket"],
            "pingInterval": bounds.ping_interval_s * 1000,
            "pingTimeout": bounds.ping_timeout_s * 1000,
            "maxPayload": bounds.packet_bytes,
        }

    async def test_a_websocket_is_one_at_once(self, tiny: Wire) -> None:
        async with opened(tiny.port) as (reader, writer):
            writer.write(request_bytes(WEBSOCKET, UPGRADE))
            answer = await read_answer(reader)
            assert answer.status == 101
            assert (answer.headers["upgrade"], answer.headers["connection"]) == ("websocket", "Upgrade")
            assert answer.headers["sec-websocket-accept"] == frames.accept_key(KEY.encode()).decode()
            assert "sec-websocket-extensions" not in answer.headers
            first, size = await reader.readexactly(2)
            assert first == 0x81
            text = await reader.readexactly(size)
        opening = orjson.loads(text[1:])
        assert opening["upgrades"] == []
        assert opening["sid"].startswith("node-7.")

    @pytest.mark.parametrize(
        "headers",
        [
            {"Connection": "keep-alive, Upgrade"},
            {"Connection": "upgrade"},
            {"Upgrade": "WebSocket"},
            {"Sec-WebSocket-Protocol": "chat"},
        ],
    )
    async def test_the_handshake_of_a_websocket_may_be_written_in_several_ways(
        self, tiny: Wire, headers: dict[str, str]
    ) -> None:
        async with WebSocketPeer.opened(tiny.port, headers=UPGRADE | headers) as peer:
            assert peer.sid in tiny.server.eio.sessions

    @pytest.mark.parametrize(
        "headers",
        [
            {"Connection": "keep-alive"},
            {"Upgrade": "h2c"},
            {"Sec-WebSocket-Version": "8"},
            {"Sec-WebSocket-Version": ""},
            {"Sec-WebSocket-Key": ""},
            {"Sec-WebSocket-Key": "AAAA"},
            {"Sec-WebSocket-Key": "not base64 at all!!!"},
            {"Sec-WebSocket-Key": base64.b64encode(bytes(17)).decode()},
            {"Sec-WebSocket-Key": "é" * 22 + "=="},
        ],
    )
    async def test_what_is_none_is_refused(self, tiny: Wire, headers: dict[str, str]) -> None:
        answer = await http(tiny.port, "GET", WEBSOCKET, headers=UPGRADE | headers)
        assert answer.status == 400
        assert tiny.server.eio.sessions == {}

    async def test_ids_are_of_this_node_and_cannot_be_guessed(self, tiny: Wire) -> None:
        ids = {tiny.server.eio.generate_id() for _ in range(100)}
        assert len(ids) == 100
        assert all(each.startswith("node-7.") and len(each) == len("node-7.") + 20 for each in ids)


class TestRefusals:
    """With the numbers and texts of the reference server, by which stock clients know what to do."""

    @pytest.mark.parametrize(
        ("method", "query", "code"),
        [
            ("GET", "", 0),
            ("GET", "EIO=4", 0),
            ("GET", "EIO=4&transport=webtransport", 0),
            ("GET", "EIO=4&transport=polling&transport=x", 0),
            ("GET", "EIO=4&transport=polling&sid=nobody", 1),
            ("GET", "EIO=4&transport=polling&sid=", 1),
            ("POST", "EIO=4&transport=polling&sid=nobody", 1),
            ("GET", "EIO=4&transport=websocket&sid=nobody", 1),
            ("POST", POLLING, 2),
            ("PUT", POLLING, 2),
            ("GET", WEBSOCKET, 3),
            ("GET", POLLING + "&j=0", 3),
            ("GET", "transport=polling", 5),
            ("GET", "EIO=3&transport=polling", 5),
            ("GET", "EIO=&transport=websocket", 5),
        ],
    )
    async def test_a_request_that_is_none_is_refused(self, tiny: Wire, method: str, query: str, code: int) -> None:
        assert code_of(await http(tiny.port, method, query)) == (400, code)
        assert tiny.server.eio.sessions == {}

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
    async def test_a_session_is_only_asked_and_told(self, tiny: Wire, method: str) -> None:
        peer = await connected(tiny)
        assert code_of(await http(tiny.port, method, peer.query)) == (400, 3)
        assert tiny.server.eio.sessions[peer.sid].is_open

    @pytest.mark.parametrize("method", ["GET", "POST"])
    async def test_a_websocket_is_not_polled(self, tiny: Wire, method: str) -> None:
        async with WebSocketPeer.opened(tiny.port) as peer:
            assert code_of(await http(tiny.port, method, f"{POLLING}&sid={peer.sid}", b"")) == (400, 3)
            assert tiny.server.eio.sessions[peer.sid].is_open

    async def test_a_session_that_is_gone_is_not_known(self, tiny: Wire) -> None:
        peer = await connected(tiny)
        await peer.post("1")
        await until(lambda: not tiny.server.eio.sessions)
        assert code_of(await peer.poll()) == (400, 1)

    async def test_nobody_connects_to_a_node_that_is_being_shut_down(self, tiny: Wire) -> None:
        peer = await connected(tiny)
        tiny.server.refuse_newcomers()
        for query, headers in ((POLLING, {}), (WEBSOCKET, UPGRADE)):
            answer = await http(tiny.port, "GET", query, headers=headers)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        await peer.post('42/chat,7["echo"]')
        assert b"43/chat,7" in (await peer.poll()).body

    async def test_a_node_with_more_than_its_share_passes_on_whom_a_balancer_can_bring_elsewhere(
        self, tiny: Wire
    ) -> None:
        full = [False]
        tiny.server.eio.passes_on = lambda: full[0]
        for query, headers, status in ((POLLING, {}, 200), (WEBSOCKET, UPGRADE, 101)):
            asked = {**headers, "Origin": GOOD, "Hubbub-Pass-On": "1"}
            full[0] = True
            before = len(tiny.server.eio.sessions)
            answer = await http(tiny.port, "GET", query, headers=asked)
            assert (answer.status, answer.headers["retry-after"]) == (404, "1")
            assert answer.headers["access-control-allow-origin"] == GOOD
            assert len(tiny.server.eio.sessions) == before
            async with opened(tiny.port) as (reader, writer):
                writer.write(request_bytes(query, headers))  # Without the balancer's word it takes whoever comes.
                assert (await reader.readline()).split()[1] == str(status).encode()
            full[0] = False
            async with opened(tiny.port) as (reader, writer):
                writer.write(request_bytes(query, asked))
                assert (await reader.readline()).split()[1] == str(status).encode()

    async def test_a_node_that_is_being_shut_down_says_so_also_if_it_is_full(self, tiny: Wire) -> None:
        tiny.server.eio.passes_on = lambda: True
        tiny.server.refuse_newcomers()
        assert (await http(tiny.port, "GET", POLLING, headers={"Hubbub-Pass-On": "1"})).status == 503


class TestOrigins:
    async def test_a_page_that_may_is_told_so(self, tiny: Wire) -> None:
        answer = await http(tiny.port, "GET", POLLING, headers={"Origin": GOOD})
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == GOOD
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["vary"] == "Origin"

    async def test_also_when_it_is_refused_for_another_reason(self, tiny: Wire) -> None:
        answer = await http(tiny.port, "GET", "EIO=3&transport=polling", headers={"Origin": GOOD})
        assert code_of(answer) == (400, 5)
        assert answer.headers["access-control-allow-origin"] == GOOD

    async def test_a_websocket_of_such_a_page_too(self, tiny: Wire) -> None:
        async with WebSocketPeer.opened(tiny.port, headers={"Origin": GOOD}) as peer:
            assert peer.headers["access-control-allow-origin"] == GOOD

    @pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "", "https://good.example.evil.example"])
    async def test_any_other_is_refused(self, tiny: Wire, method: str, origin: str) -> None:
        answer = await http(tiny.port, method, POLLING, headers={"Origin": origin})
        assert code_of(answer) == (403, 4)
        assert "access-control-allow-origin" not in answer.headers
        assert tiny.server.eio.sessions == {}

    async def test_what_is_no_page_sends_none(self, tiny: Wire) -> None:
        answer = await http(tiny.port, "GET", POLLING)
        assert answer.status == 200
        assert "access-control-allow-origin" not in answer.headers

    async def test_a_browser_may_ask_before(self, tiny: Wire) -> None:
        headers = {"Origin": GOOD, "Access-Control-Request-Headers": "x-token"}
        answer = await http(tiny.port, "OPTIONS", POLLING, headers=headers)
        assert answer.status == 204
        assert answer.headers["access-control-allow-methods"] == "GET, POST"
        assert answer.headers["access-control-allow-headers"] == "x-token"
        assert answer.headers["access-control-max-age"] == "600"

    async def test_by_default_pages_of_the_same_host_may(self) -> None:
        async with wire(allow_origin=None) as tiny:
            here = f"127.0.0.1:{tiny.port}"
            for origin, status in ((f"http://{here}", 200), (f"https://{here}", 200), ("http://evil.example", 403)):
                headers = {"Origin": origin, "X-Forwarded-Host": "evil.example"}
                assert (await http(tiny.port, "GET", POLLING, headers=headers)).status == status


class TestCrowds:
    """One address has so many connections at the most."""

    @staticmethod
    def behind_proxy(**options: Any) -> Any:
        return wire(addresses=Addresses([ipaddress.ip_network("127.0.0.0/8")]), **options)

    async def test_one_more_is_refused_and_others_are_not(self) -> None:
        async with self.behind_proxy(max_per_address=2) as tiny:
            for _ in range(2):
                assert (await http(tiny.port, "GET", POLLING, headers={"X-Forwarded-For": "192.0.2.7"})).status == 200
            for query, more in ((POLLING, {}), (WEBSOCKET, UPGRADE)):
                answer = await http(tiny.port, "GET", query, headers={"X-Forwarded-For": "192.0.2.7"} | more)
                assert (answer.status, answer.headers["retry-after"]) == (429, "5")
            assert (await http(tiny.port, "GET", POLLING, headers={"X-Forwarded-For": "192.0.2.8"})).status == 200

    async def test_who_is_gone_makes_room(self) -> None:
        async with self.behind_proxy(max_per_address=1) as tiny:
            for _ in range(3):
                async with WebSocketPeer.opened(tiny.port, headers={"X-Forwarded-For": "192.0.2.7"}) as peer:
                    assert len(tiny.server.eio.sessions) == 1
                    peer.vanish()
                await until(lambda: not tiny.server.eio.sessions)
            assert tiny.server.eio._by_address == {}

    async def test_this_machine_has_no_bound(self) -> None:
        async with wire(max_per_address=1) as tiny:
            for _ in range(3):
                assert (await http(tiny.port, "GET", POLLING)).status == 200

    async def test_without_a_bound_nobody_is_counted_out(self) -> None:
        async with self.behind_proxy() as tiny:
            for _ in range(3):
                assert (await http(tiny.port, "GET", POLLING, headers={"X-Forwarded-For": "192.0.2.7"})).status == 200


class TestUpgrades:
    async def test_what_comes_right_behind_the_request_is_read(self, tiny: Wire) -> None:
        async with opened(tiny.port) as (reader, writer):
            early = b"".join(frame(frames.TEXT, text) for text in (b"40/chat,", b'42/chat,7["echo"]'))
            writer.write(request_bytes(WEBSOCKET, UPGRADE) + early)
            assert (await read_answer(reader)).status == 101
            assert await tiny.handler.wait_for("connect") == [("/chat", None)]

    async def test_however_much_it_is(self, tiny: Wire) -> None:
        async with opened(tiny.port) as (reader, writer):
            large = frame(frames.TEXT, b'40/chat,{"x":"' + b"x" * 90_000 + b'"}')
            writer.write(request_bytes(WEBSOCKET, UPGRADE) + large + frame(frames.TEXT, b"40/other,"))
            assert (await read_answer(reader)).status == 101
            assert len(await tiny.handler.wait_for("connect", 2)) == 2

    async def test_aiohttp_knows_nothing_of_it_any_more(self, tiny: Wire) -> None:
        async with WebSocketPeer.opened(tiny.port) as peer:
            server: Any = tiny.runner.server
            await until(lambda: not server.connections)
            assert tiny.server.eio.sessions[peer.sid].state is State.WEBSOCKET
            tasks = {task.get_name() for task in asyncio.all_tasks()} - {asyncio.current_task().get_name()}  # type: ignore[union-attr]
            assert not tasks, "a connection costs a task"

    async def test_a_session_that_polls_can_be_upgraded(self, tiny: Wire) -> None:
        peer = await connected(tiny)
        assert tiny.server.links[peer.sid].connections["/chat"].transport == "polling"
        async with WebSocketPeer.opened(tiny.port, sid=peer.sid) as socket:
            await socket.send("2probe")
            assert await socket.receive() == "3probe"
            await socket.send("5", '42/chat,7["echo"]')
            assert await socket.receive_until(lambda packet: packet.startswith("43/chat,7"))
            assert tiny.server.eio.transport(peer.sid) == "websocket"
            link = tiny.server.links[peer.sid]
            assert link.connections["/chat"].transport == "websocket"

    async def test_a_second_probe_is_refused_before_it_is_a_websocket(self, tiny: Wire) -> None:
        peer = await connected(tiny)
        async with WebSocketPeer.opened(tiny.port, sid=peer.sid) as socket:
            await socket.send("2probe")
            assert await socket.receive() == "3probe"
            answer = await http(tiny.port, "GET", f"{WEBSOCKET}&sid={peer.sid}", headers=UPGRADE)
            assert code_of(answer) == (400, 3)
        assert tiny.server.eio.transport(peer.sid) == "polling"


class TestCompression:
    @pytest.mark.parametrize(
        ("offer", "agreed"),
        [
            ("permessage-deflate", True),
            ("permessage-deflate; client_max_window_bits", True),
            ("permessage-deflate; client_max_window_bits=10; server_no_context_takeover", True),
            ("x-webkit-deflate-frame, permessage-deflate", True),
            ("permessage-deflate; server_max_window_bits=9, permessage-deflate", True),
            ("Permessage-Deflate ; Client_No_Context_Takeover", True),
            ("permessage-deflate; server_max_window_bits=9", False),
            ("permessage-deflate; unknown=1", False),
            ("permessage-bzip2", False),
            ("", False),
        ],
    )
    async def test_it_is_agreed_on_where_the_answer_fits_the_offer(self, offer: str, agreed: bool) -> None:
        async with wire(bounds=Bounds(deflate_bytes=100)) as tiny:
            async with opened(tiny.port) as (reader, writer):
                writer.write(request_bytes(WEBSOCKET, UPGRADE | {"Sec-WebSocket-Extensions": offer}))
                answer = await read_answer(reader)
                terms = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
                assert answer.headers.get("sec-websocket-extensions") == (terms if agreed else None)
                (session,) = tiny.server.eio.sessions.values()
                assert session.deflate is agreed

    async def test_by_default_it_is_not(self, tiny: Wire) -> None:
        headers = {"Sec-WebSocket-Extensions": "permessage-deflate"}
        async with WebSocketPeer.opened(tiny.port, headers=headers) as peer:
            assert "sec-websocket-extensions" not in peer.headers


class TestRequests:
    async def test_a_body_beyond_the_bound_is_refused_by_its_length_alone(self, tiny: Wire) -> None:
        peer = await connected(tiny)
        async with opened(tiny.port) as (reader, writer):
            writer.write(
                f"POST /socket.io/?{peer.query} HTTP/1.1\r\nHost: x\r\nContent-Length: 100001\r\n\r\n".encode()
            )
            assert (await read_answer(reader)).status == 413
        assert await tiny.handler.wait_for("disconnected") == [("/chat", False)]

    async def test_so_is_one_that_does_not_say_how_long_it_is(self, tiny: Wire) -> None:
        peer = await connected(tiny)
        answer = await http(tiny.port, "POST", peer.query, [b"x" * 60_000] * 2, chunked=True)
        assert answer.status == 413

    async def test_a_body_that_does_not_come_is_not_waited_for_without_end(self) -> None:
        async with wire(bounds=Bounds(connect_s=0.2)) as tiny:
            peer = await PollingPeer.opened(tiny.port, connect=False)
            tiny.server.eio.sessions[peer.sid].connected()
            async with opened(tiny.port) as (reader, writer):
                writer.write(
                    f"POST /socket.io/?{peer.query} HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n4".encode()
                )
                assert (await read_answer(reader)).status == 408
            await tiny.wait_no_links()

    async def test_two_polls_at_once_split_the_stream_so_the_session_ends(self, tiny: Wire) -> None:
        peer = await connected(tiny)
        first = asyncio.ensure_future(peer.poll())
        session = tiny.server.eio.sessions[peer.sid]
        await until(lambda: session.shell.polling)
        assert code_of(await peer.poll()) == (400, 3)
        assert (await first).body == b"1"
        assert await tiny.handler.wait_for("disconnected") == [("/chat", False)]

    async def test_a_violation_is_answered_and_says_which(self, tiny: Wire) -> None:
        peer = await connected(tiny)
        answer = await peer.post("x")
        assert code_of(answer) == (400, 3)
        assert orjson.loads(answer.body)["message"] == "a packet that clients do not send"

    async def test_a_post_is_answered_as_the_reference_server_answers(self, tiny: Wire) -> None:
        peer = await connected(tiny)
        answer = await peer.post("6")
        assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"ok", "text/html")


class TestRegistry:
    async def test_connections_are_listed_by_age_and_no_two_are_of_the_same(self, tiny: Wire) -> None:
        before = time.time_ns() // 1_000_000
        for _ in range(5):
            await PollingPeer.opened(tiny.port, connect=False)
        links = tiny.server.eio.links_by_age()
        times = [link.opened_at for link in links]
        assert [link.id for link in links] == list(tiny.server.eio.sessions)
        assert times == sorted(set(times))
        assert before <= times[0] <= time.time_ns() // 1_000_000

    async def test_a_clock_that_is_set_back_makes_no_younger_connection_older(
        self, tiny: Wire, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await PollingPeer.opened(tiny.port, connect=False)
        monkeypatch.setattr("hubbub.transport.engine.time.time_ns", lambda: 0)
        await PollingPeer.opened(tiny.port, connect=False)
        first, second = tiny.server.eio.links_by_age()
        assert second.opened_at == first.opened_at + 1

    async def test_an_application_may_keep_something_for_a_connection(self, tiny: Wire) -> None:
        peer = await connected(tiny)
        engine: Engine = tiny.server.eio
        (await engine.get_session(peer.sid))["user"] = "ada"
        assert await engine.get_session(peer.sid) == {"user": "ada"}
        await peer.post("1")
        await until(lambda: not engine.sessions)
        with pytest.raises(KeyError):
            await engine.get_session(peer.sid)
        assert engine._user_sessions == {}

    async def test_what_the_library_asks_for_is_asyncio_s(self, tiny: Wire) -> None:
        engine: Engine = tiny.server.eio
        event = engine.create_event()

        async def work(value: int, *, more: int) -> int:
            await engine.sleep()
            event.set()
            return value + more

        assert await engine.start_background_task(work, 1, more=2) == 3
        assert event.is_set()

    async def test_shutting_down_cuts_every_transport_at_once(self, tiny: Wire) -> None:
        peer = await connected(tiny)
        async with WebSocketPeer.opened(tiny.port) as socket:
            await tiny.server.eio.shutdown()
            assert tiny.server.eio.sessions == {}
            await socket.wait_end()
        assert code_of(await peer.poll()) == (400, 1)
        assert tiny.server.eio._by_address == {}

    async def test_another_path_is_not_ours(self, tiny: Wire) -> None:
        engine: Engine = tiny.server.eio
        assert engine.async_mode == "aiohttp"
        routes = {route.resource.canonical for route in tiny.runner.app.router.routes() if route.resource is not None}
        assert routes == {"/socket.io/"}
