"""The server against real clients: the stock one, and one that writes frames as it likes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest
import socketio

from hubbub.transport import lanes as lanes_module
from hubbub.transport.bounds import Bounds
from hubbub.transport.connection import NamespaceConnection
from hubbub.transport.server import Server
from tests.support.chat import ChatClient, chat_client
from tests.support.sessions import make_session
from tests.support.wire import TinyHandler, Wire, raw_client, wire

TIMEOUT_S = 10.0


@pytest.fixture
async def tiny() -> AsyncIterator[Wire]:
    async with wire() as running:
        yield running


def ack_of(frame: str | None) -> tuple[int, Any]:
    """The id and the answer in an ACK frame."""
    assert frame is not None
    assert frame.startswith("43/chat,"), frame
    rest = frame.removeprefix("43/chat,")
    number, _, payload = rest.partition("[")
    return int(number), orjson.loads("[" + payload)[0]


@contextlib.asynccontextmanager
async def polling_client(url: str) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    """A client that has been through the handshake by polling, and where it posts; it may post twice at once."""
    async with aiohttp.ClientSession() as session:
        url = f"{url}/socket.io/?EIO=4&transport=polling"
        async with session.get(url) as response:
            yield session, url + "&sid=" + orjson.loads((await response.text())[1:])["sid"]


class TestStockClients:
    @pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
    async def test_they_connect_and_talk(self, tiny: Wire, transports: list[str]) -> None:
        async with chat_client(tiny.url, "t", transports=transports) as client:
            assert (await client.wait_for("hello"))["id"] == tiny.handler.connections[0].id
            assert await client.call("echo", {"a": 1}) == {"ok": True, "data": [{"a": 1}]}
            assert await client.call("send", "ü", 2) == {"ok": True, "data": ["ü", 2]}
        assert tiny.handler.of("connect") == [("/chat", {"token": "t"})]
        assert [namespace for namespace, _ in await tiny.handler.wait_for("disconnected")] == ["/chat"]
        await tiny.wait_no_links()

    @pytest.mark.parametrize("transport", ["websocket", "polling"])
    async def test_a_refusal_carries_its_code_and_the_error_object(self, tiny: Wire, transport: str) -> None:
        client = ChatClient()
        refusal: list[Any] = []
        client.sio.on("connect_error", refusal.append, namespace="/chat")
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.sio.connect(
                tiny.url,
                auth={"refuse": "banned"},
                namespaces=["/chat"],
                transports=[transport],
                wait_timeout=TIMEOUT_S,
            )
        await client.close()
        assert refusal == [
            {"message": "banned", "data": {"code": "banned", "message": "Not today.", "retryable": False}}
        ]
        assert tiny.handler.of("disconnected") == []
        await tiny.wait_no_links()

    async def test_a_namespace_that_nobody_serves_is_refused_with_a_code(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            for namespace in ("/nowhere", "/chat/x"):
                await client.send(f"40{namespace},")
                frame = await client.receive()
                assert frame is not None
                assert frame.startswith(f"44{namespace},")
                document = orjson.loads(frame.partition(",")[2])
                assert document["message"] == document["data"]["code"] == "not_found"
            await client.send("40")
            frame = await client.receive()
            assert frame is not None
            assert orjson.loads(frame.removeprefix("44"))["message"] == "not_found"
            await client.open()

    async def test_a_poll_that_is_open_ends_when_its_client_closes(self, tiny: Wire) -> None:
        async with polling_client(tiny.url) as (session, url):
            async with session.post(url, data="40/chat,"), session.get(url):
                pass
            poll = asyncio.ensure_future(session.get(url))
            async with session.post(url, data="1"):
                pass
            async with asyncio.timeout(TIMEOUT_S):
                (await poll).close()
        assert await tiny.handler.wait_for("disconnected") == [("/chat", False)]

    async def test_two_namespaces_share_a_link(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            one = await client.open("/chat")
            other = await client.open("/other")
            assert one != other
            (link,) = tiny.server.links.values()
            assert {each.link for each in tiny.handler.connections} == {link}
            await client.send("41/chat,")
            assert await tiny.handler.wait_for("disconnected") == [("/chat", True)]
            assert set(link.connections) == {"/other"}
        assert await tiny.handler.wait_for("disconnected", 2) == [("/chat", True), ("/other", False)]
        await tiny.wait_no_links()

    async def test_connecting_twice_changes_nothing(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            await client.send("40/chat,")
            await client.send('42/chat,1["echo"]')
            assert ack_of(await client.receive())[0] == 1
        assert len(tiny.handler.of("connect")) == 1

    async def test_who_left_a_namespace_may_come_back(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            first = await client.open()
            await client.send("41/chat,")
            assert await client.open() != first
        assert await tiny.handler.wait_for("disconnected", 2) == [("/chat", True), ("/chat", False)]


class TestHandshakes:
    async def test_the_first_request_is_kept_and_the_address_is_the_peers(self, tiny: Wire) -> None:
        headers = {"Authorization": "Bearer x", "Cookie": "a=1; b=2", "X-Forwarded-For": "203.0.113.9"}
        async with raw_client(tiny.url, headers=headers) as client:
            await client.open()
            handshake = tiny.handler.connections[0].link.handshake
        assert handshake.headers["authorization"] == "Bearer x"
        assert handshake.cookies == {"a": "1", "b": "2"}
        assert handshake.query == {"EIO": "4", "transport": "websocket"}
        assert handshake.address == "127.0.0.1"

    async def test_a_cookie_with_an_odd_name_does_not_hide_the_others(self, tiny: Wire) -> None:
        async with raw_client(tiny.url, headers={"Cookie": 'a@b=1; hubbub_token=x.y-z; c="q"'}) as client:
            await client.open()
            cookies = tiny.handler.connections[0].link.handshake.cookies
        assert cookies["hubbub_token"] == "x.y-z"
        assert cookies["c"] == "q"

    @pytest.mark.parametrize(("origin", "status"), [("https://good.example", 101), ("https://evil.example", 403)])
    async def test_pages_of_other_origins_are_kept_out(self, tiny: Wire, origin: str, status: int) -> None:
        if status == 101:
            async with raw_client(tiny.url, headers={"Origin": origin}) as client:
                await client.open()
        else:
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                async with raw_client(tiny.url, headers={"Origin": origin}):
                    pass
            assert caught.value.status == status


class TestEvents:
    @pytest.mark.parametrize("name", ["connect", "disconnect", "*", "connect_error", "message", "__init__"])
    async def test_a_forged_name_is_an_event_like_any_other(self, tiny: Wire, name: str) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            await client.send("42/chat,5" + orjson.dumps([name, {"x": 1}]).decode())
            assert ack_of(await client.receive()) == (5, {"ok": True, "data": [{"x": 1}]})
        assert tiny.handler.of("event") == [(name, ({"x": 1},))]
        assert len(tiny.handler.of("connect")) == 1

    async def test_an_event_before_the_first_connect_ends_the_connection(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            await client.send('42/chat,1["echo"]')
            assert await client.frames_to_end() == []
        assert tiny.handler.of("event") == []

    async def test_an_event_without_an_ack_id_is_handled_and_not_answered(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            await client.send('42/chat,["echo"]')
            assert await client.receive() == '42/chat,["after","echo"]'

    async def test_acks_come_in_order_and_what_follows_an_ack_right_behind_it(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            for number, name in enumerate(("send:hold", "send", "echo", "free")):
                await client.send(f'42/chat,{number}["{name}"]')
            await tiny.handler.wait_for("event", 3)
            tiny.handler.release.set()
            frames = [await client.receive() for _ in range(8)]
        names = [frame.removeprefix("4") for frame in frames if frame is not None]
        assert [name for name in names if name.startswith("3")] == [
            f'3/chat,{number}[{{"ok":true,"data":[]}}]' for number in (3, 0, 1, 2)
        ]
        for number, name in ((0, "send:hold"), (1, "send"), (2, "echo"), (3, "free")):
            at = names.index(f'3/chat,{number}[{{"ok":true,"data":[]}}]')
            assert names[at + 1] == f'2/chat,["after","{name}"]'

    async def test_a_connection_with_too_many_open_events_is_not_read(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client, raw_client(tiny.url) as other:
            await client.open()
            await other.open()
            for number in range(300):
                await client.send(f'42/chat,{number}["hold"]')
            await other.send('42/chat,1["echo"]')
            assert ack_of(await other.receive())[0] == 1
            session = tiny.server.eio.sessions[client.sid]
            async with asyncio.timeout(TIMEOUT_S):
                while not session.blocked:
                    await asyncio.sleep(0)
            for number in range(20):
                await other.send(f'42/chat,{number}["free"]')
                while (frame := await other.receive()) is not None and frame[1] != "3":
                    pass
            assert len(tiny.handler.of("event")) == 22  # Of the first connection one runs; the others wait in line.
            assert session.lane._count == 256
            tiny.handler.release.set()
            acks = [frame for frame in [await client.receive() for _ in range(600)] if frame and frame[1] == "3"]
            assert [ack_of(frame)[0] for frame in acks] == list(range(300))

    @pytest.mark.parametrize("payload", ['["echo",NaN]', '["echo",1e999]', "[", '["echo"]x'])
    async def test_a_payload_that_is_not_json_is_answered_as_a_bad_request(self, tiny: Wire, payload: str) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            await client.send(f"42/chat,9{payload}")
            number, answer = ack_of(await client.receive())
            assert (number, answer["error"]["code"]) == (9, "bad_request")
            await client.send('42/chat,1["echo"]')
            assert ack_of(await client.receive())[0] == 1

    async def test_one_that_cannot_be_answered_ends_the_connection(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            await client.send('42/chat,["echo",NaN]')
            assert await client.frames_to_end() == []


NOT_SOCKET_IO = [
    "4",
    "4x",
    "45",
    "48",
    "4{}",
    '4{"a":1}',
    "4[]",
    "44/chat,{}",
    '4511-/chat,["e"]',
    '461-/chat,["e"]',
    "42/chat,",
    "42/chat,1",
    "42/chat,{}",
    "42/chat,[]",
    "42/chat,[5]",
    "42/chat,[null]",
    '42/chat,"text"',
    "42/chat," + "1" * 200 + '["e"]',
    "42",
    b"2/chat",
    b"",
    b"\x00\xff",
]
NOT_ENGINE_IO = ["x", "9", "", "é", "4" + "[" * 60_000, "2" + "[" * 60_000, "b!"]


class TestBadPeers:
    @pytest.mark.parametrize("frame", NOT_SOCKET_IO, ids=lambda frame: repr(frame[:24]))
    async def test_who_does_not_speak_socket_io_is_hung_up_on(self, tiny: Wire, frame: str | bytes) -> None:
        async with raw_client(tiny.url) as client, raw_client(tiny.url) as other:
            await client.open()
            await other.open()
            await client.send(frame)
            await client.frames_to_end()
            assert await tiny.handler.wait_for("disconnected") == [("/chat", False)]
            await other.send('42/chat,1["echo"]')
            assert ack_of(await other.receive())[0] == 1

    @pytest.mark.parametrize("frame", NOT_ENGINE_IO, ids=lambda frame: repr(frame[:24]))
    async def test_who_does_not_speak_engine_io_is_hung_up_on(self, tiny: Wire, frame: str) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            await client.send(frame)
            await client.frames_to_end()
            assert await tiny.handler.wait_for("disconnected") == [("/chat", False)]

    async def test_a_frame_that_is_too_large_ends_the_connection(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            await client.send('42/chat,["echo","' + "x" * 100_000 + '"]')
            await client.frames_to_end()
            assert await tiny.handler.wait_for("disconnected") == [("/chat", False)]

    async def test_an_ack_that_nobody_waits_for_is_passed_over(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            await client.send("43/chat,1[]")
            await client.send("43/nowhere,1[]")
            await client.send('42/chat,1["echo"]')
            assert ack_of(await client.receive())[0] == 1

    async def test_a_connection_that_does_not_read_is_dropped_before_it_eats_the_memory(self, tiny: Wire) -> None:
        async with polling_client(tiny.url) as (session, url):
            async with session.post(url, data="40/chat,") as response:
                assert response.status == 200
            (connection,) = tiny.handler.connections
            sid = connection.link.id
            waiting = tiny.server.eio.sessions[sid]
            for _ in range(4096):
                connection.emit("news", 1)
            assert waiting.outbox is None
            assert waiting.closing.code == "slow_consumer"
            assert await tiny.handler.wait_for("disconnected") == [("/chat", False)]
            assert not connection.is_open


class TestVanishing:
    async def test_who_vanishes_is_gone_and_not_clean(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            client.vanish()
            assert await tiny.handler.wait_for("disconnected") == [("/chat", False)]
        await tiny.wait_no_links()

    async def test_who_vanishes_during_a_slow_connect_is_cleaned_up(self, tiny: Wire) -> None:
        async with polling_client(tiny.url) as (session, url):
            connecting = asyncio.ensure_future(session.post(url, data='40/chat,{"hold":true}'))
            await tiny.handler.wait_for("connect")
            async with session.post(url, data="1"):
                pass
            await tiny.wait_no_links()
            assert tiny.handler.of("disconnected") == []
            tiny.handler.release.set()
            assert await tiny.handler.wait_for("disconnected") == [("/chat", False)]
            assert not tiny.handler.connections[0].is_open
            (await connecting).close()
        await tiny.wait_no_links()

    async def test_who_vanishes_during_a_connect_that_is_refused_leaves_nothing(self, tiny: Wire) -> None:
        async with polling_client(tiny.url) as (session, url):
            connecting = asyncio.ensure_future(session.post(url, data='40/chat,{"hold":true,"refuse":"banned"}'))
            await tiny.handler.wait_for("connect")
            async with session.post(url, data="1"):
                pass
            await tiny.wait_no_links()
            tiny.handler.release.set()
            (await connecting).close()
        assert tiny.handler.of("disconnected") == []
        assert dict(tiny.server.links) == {}

    async def test_an_event_that_overtakes_its_connect_is_not_handled(self, tiny: Wire) -> None:
        async with polling_client(tiny.url) as (session, url):
            connecting = asyncio.ensure_future(session.post(url, data='40/chat,{"hold":true}'))
            await tiny.handler.wait_for("connect")
            async with session.post(url, data='42/chat,1["echo"]'):
                pass
            tiny.handler.release.set()
            (await connecting).close()
        assert tiny.handler.of("event") == []

    async def test_an_event_outlives_its_connection(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            await client.send('42/chat,1["hold"]')
            await tiny.handler.wait_for("event")
            client.vanish()
            await tiny.handler.wait_for("disconnected")
        tiny.handler.release.set()
        await tiny.wait_no_links()


class TestEnding:
    async def test_disconnect_ends_the_namespace_behind_what_was_sent_before(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            (connection,) = tiny.handler.connections
            connection.emit("closing", {})
            connection.disconnect()
            assert [await client.receive(), await client.receive()] == ['42/chat,["closing",{}]', "41/chat,"]
            assert await tiny.handler.wait_for("disconnected") == [("/chat", True)]
            assert not connection.is_open
            await client.open("/other")

    async def test_after_disconnect_nothing_more_is_sent(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            (connection,) = tiny.handler.connections
            connection.disconnect()
            connection.emit("late", 1)
            connection.disconnect()
            assert await client.receive() == "41/chat,"
            await tiny.handler.wait_for("disconnected")
            connection.emit("late", 1)
            connection.disconnect()
            await client.send("40/other,")
            frame = await client.receive()
            assert frame is not None
            assert frame.startswith("40/other,")
        assert len(tiny.handler.of("disconnected")) <= 2

    async def test_a_stock_client_hears_of_a_disconnect(self, tiny: Wire) -> None:
        async with chat_client(tiny.url, None) as client:
            await client.wait_for("hello")
            tiny.handler.connections[0].disconnect()
            async with asyncio.timeout(TIMEOUT_S):
                await client.disconnected.wait()

    @pytest.mark.parametrize("transport", ["websocket", "polling"])
    async def test_drop_ends_the_whole_transport(self, tiny: Wire, transport: str) -> None:
        async with chat_client(tiny.url, None, transports=[transport]) as client:
            await client.wait_for("hello")
            (connection,) = tiny.handler.connections
            connection.drop()
            connection.drop()
            async with asyncio.timeout(TIMEOUT_S):
                await client.disconnected.wait()
            assert await tiny.handler.wait_for("disconnected") == [("/chat", False)]
            connection.drop()
            connection.emit("late", 1)

    async def test_a_handler_that_fails_to_say_goodbye_does_not_keep_others_from_it(self, tiny: Wire) -> None:
        async def fails(connection: Any, *, clean: bool) -> None:
            tiny.handler.note("disconnected", connection.namespace, clean)
            raise RuntimeError("broken")

        tiny.handler.disconnected = fails  # type: ignore[method-assign]
        async with raw_client(tiny.url) as client:
            await client.open("/chat")
            await client.open("/other")
        assert len(await tiny.handler.wait_for("disconnected", 2)) == 2
        await tiny.wait_no_links()


class TestDraining:
    async def test_newcomers_are_refused(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            tiny.server.refuse_newcomers()
            for transport in ("polling", "websocket"):
                query = f"EIO=4&transport={transport}"
                async with (
                    aiohttp.ClientSession() as session,
                    session.get(f"{tiny.url}/socket.io/?{query}") as response,
                ):
                    assert response.status == 503
                    assert response.headers["Retry-After"] == "1"
            await client.send("40/other,")
            frame = await client.receive()
            assert frame is not None
            assert frame.startswith("44/other,")
            assert orjson.loads(frame.partition(",")[2])["message"] == "draining"
            await client.send('42/chat,1["echo"]')
            assert ack_of(await client.receive())[0] == 1

    async def test_whoever_connects_to_nothing_else_is_let_go_so_that_stock_clients_come_back(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            tiny.server.refuse_newcomers()
            await client.send("40/other,")
            assert await client.receive() is None
            assert client.socket.close_code == 1012

    async def test_idle_means_that_everything_is_answered(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as client:
            await client.open()
            await client.send('42/chat,1["hold"]')
            await tiny.handler.wait_for("event")
            idle = asyncio.ensure_future(tiny.server.wait_idle())
            await client.send('42/chat,2["free"]')
            assert ack_of(await client.receive())[0] == 2
            assert not idle.done()
            tiny.handler.release.set()
            await asyncio.wait_for(idle, TIMEOUT_S)
            assert await client.receive() == '42/chat,["after","free"]'
            assert ack_of(await client.receive())[0] == 1

    async def test_close_ends_every_connection(self, tiny: Wire) -> None:
        async with raw_client(tiny.url) as one, raw_client(tiny.url) as other:
            await one.open()
            await other.open("/other")
            await asyncio.gather(tiny.close(), one.frames_to_end(), other.frames_to_end())
        assert sorted(tiny.handler.of("disconnected")) == [("/chat", False), ("/other", False)]
        await tiny.wait_no_links()


class TestPlainNamespaces:
    """What is not mounted behaves as the library documents, with its holes mended."""

    @staticmethod
    def serve(tiny: Wire) -> list[Any]:
        """Plain handlers in `/plain`; what they were told."""
        seen: list[Any] = []
        server, on = tiny.server, tiny.server.on

        async def on_connect(sid: str, environ: Any, auth: Any) -> None:
            seen.append(("connect", auth))
            await server.save_session(sid, {"auth": auth}, namespace="/plain")
            for room in (auth or {}).get("rooms", ()):
                await server.enter_room(sid, room, namespace="/plain")

        async def on_disconnect(sid: str, reason: str) -> None:
            seen.append(("disconnect", reason))

        async def on_session(sid: str) -> Any:
            return await server.get_session(sid, namespace="/plain")

        async def on_ask(sid: str, data: Any) -> Any:
            return await server.call("question", data, to=sid, namespace="/plain", timeout=TIMEOUT_S)

        on("connect", on_connect, namespace="/plain")
        on("disconnect", on_disconnect, namespace="/plain")
        on("echo", lambda sid, *args: args, namespace="/plain")
        on("session", on_session, namespace="/plain")
        on("ask", on_ask, namespace="/plain")
        on("odd", lambda sid: object(), namespace="/plain")
        return seen

    @staticmethod
    @contextlib.asynccontextmanager
    async def client(tiny: Wire, **auth: Any) -> AsyncIterator[tuple[socketio.AsyncClient, list[Any]]]:
        """A stock client in `/plain`, and the events that it got."""
        got: list[Any] = []
        client = socketio.AsyncClient(reconnection=False)
        client.on("*", lambda name, *args: got.append((name, *args)), namespace="/plain")
        client.on("question", lambda data: ["answer", data], namespace="/plain")
        await client.connect(tiny.url, auth=auth, namespaces=["/plain"], transports=["websocket"])
        try:
            yield client, got
        finally:
            await client.disconnect()

    @staticmethod
    async def settle(*clients: socketio.AsyncClient) -> None:
        """Until each has read what was sent to it so far."""
        for client in clients:
            await client.call("echo", 1, namespace="/plain", timeout=TIMEOUT_S)

    async def test_a_stock_client_connects_and_talks(self, tiny: Wire) -> None:
        seen = self.serve(tiny)
        async with self.client(tiny, a=1) as (client, _):
            assert await client.call("echo", ([1], b"\x00"), namespace="/plain") == ([1], b"\x00")
            assert await client.call("session", namespace="/plain") == {"auth": {"a": 1}}
            assert await client.call("ask", 5, namespace="/plain") == ["answer", 5]
        async with asyncio.timeout(TIMEOUT_S):
            while len(seen) < 2:
                await asyncio.sleep(0)
        assert seen[0] == ("connect", {"a": 1})
        assert [what for what, _ in seen] == ["connect", "disconnect"]  # It may close before its farewell is out.
        await tiny.wait_no_links()

    async def test_an_event_goes_to_a_room_but_not_to_another(self, tiny: Wire) -> None:
        self.serve(tiny)
        async with (
            self.client(tiny, rooms=["tea"]) as (one, ones),
            self.client(tiny, rooms=["tea", "milk"]) as (two, twos),
        ):
            await tiny.server.emit("e", 1, to="tea", namespace="/plain")
            await tiny.server.emit("e", 2, to="tea", namespace="/plain", except_rooms=["milk"])
            await tiny.server.emit("e", 3, namespace="/plain", volatile=True)
            await tiny.server.emit("e", 4, to=one.get_sid("/plain"), namespace="/plain")
            await self.settle(one, two)
        assert ones == [("e", 1), ("e", 2), ("e", 3), ("e", 4)]
        assert twos == [("e", 1), ("e", 3)]

    @pytest.mark.parametrize("nobody", [[], "", ()])
    async def test_an_empty_target_is_nobody(self, tiny: Wire, nobody: Any) -> None:
        self.serve(tiny)
        async with self.client(tiny) as (client, got):
            await tiny.server.emit("e", 1, to=nobody, namespace="/plain")
            await tiny.server.emit("e", 1, room=nobody, namespace="/plain")
            await self.settle(client)
        assert got == []

    @pytest.mark.parametrize("close", [False, True])
    async def test_a_client_can_be_sent_away(self, tiny: Wire, close: bool) -> None:
        seen = self.serve(tiny)
        async with self.client(tiny) as (client, _):
            gone = asyncio.Event()
            client.on("disconnect", lambda *reason: gone.set(), namespace="/plain")
            await tiny.server.disconnect(client.get_sid("/plain"), namespace="/plain", close=close)
            await tiny.server.disconnect(client.get_sid("/plain") or "gone", namespace="/plain", close=close)
            await asyncio.wait_for(gone.wait(), TIMEOUT_S)
            async with asyncio.timeout(TIMEOUT_S):
                while len(seen) < 2:
                    await asyncio.sleep(0)
        assert seen[1] == ("disconnect", "transport close" if close else "server disconnect")

    async def test_which_transport_a_client_has_can_be_asked(self, tiny: Wire) -> None:
        self.serve(tiny)
        async with self.client(tiny) as (client, _):
            assert tiny.server.transport(client.get_sid("/plain"), "/plain") == "websocket"

    async def test_an_answer_that_cannot_be_encoded_is_an_error_and_not_silence(self, tiny: Wire) -> None:
        self.serve(tiny)
        async with self.client(tiny) as (client, _):
            answer = await client.call("odd", namespace="/plain")
            assert answer["error"]["code"] == "internal"

    @pytest.mark.parametrize("name", ["connect", "disconnect", "*", "connect_error", "__disconnect_final"])
    async def test_a_forged_name_ends_the_connection(self, tiny: Wire, name: str) -> None:
        seen = self.serve(tiny)
        async with raw_client(tiny.url) as client:
            await client.send("40/plain,")
            await client.receive()
            await client.send("42/plain,1" + orjson.dumps([name, "x"]).decode())
            await client.frames_to_end()
        await tiny.wait_no_links()
        assert [what for what, _ in seen] == ["connect", "disconnect"]

    async def test_handlers_are_given_the_environ_of_the_handshake(self, tiny: Wire) -> None:
        environs: list[Any] = []
        tiny.server.on("connect", lambda sid, environ, auth: environs.append(dict(environ)), namespace="/plain")
        async with raw_client(tiny.url, headers={"X-Token": "t", "Content-Type": "text/x"}) as client:
            await client.send("40/plain,")
            await client.receive()
        (environ,) = environs
        assert environ["QUERY_STRING"] == "EIO=4&transport=websocket"
        assert (environ["REMOTE_ADDR"], environ["HTTP_X_TOKEN"]) == ("127.0.0.1", "t")
        assert environ["CONTENT_TYPE"] == "text/x"
        await tiny.wait_no_links()


class TestTimes:
    """Whatever hangs, the peer gets its answer."""

    @pytest.fixture
    async def hasty(self, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wire]:
        monkeypatch.setattr(lanes_module, "_SWEEP_S", 0.01)
        async with wire(bounds=Bounds(event_s=0.05, refusals=3, close_s=0.5)) as hasty:
            yield hasty

    async def test_an_event_that_takes_too_long_is_answered(self, hasty: Wire) -> None:
        async def hangs(sid: str) -> None:
            await asyncio.Event().wait()

        hasty.server.on("hang", hangs, namespace="/plain")
        async with raw_client(hasty.url) as client:
            await client.send("40/plain,")
            await client.receive()
            await client.send('42/plain,1["hang"]')
            frame = await client.receive()
        assert frame is not None
        assert orjson.loads(frame.removeprefix("43/plain,1"))[0]["error"]["code"] == "unavailable"

    async def test_a_connect_that_takes_too_long_ends_the_transport_so_that_stock_clients_come_back(
        self, hasty: Wire
    ) -> None:
        async with raw_client(hasty.url) as client:
            await client.send('40/chat,{"hold":true}')
            assert await client.receive() is None
            assert client.socket.close_code == 1013
        assert hasty.handler.of("disconnected") == []

    async def test_or_is_refused_where_the_transport_has_other_uses(self, hasty: Wire) -> None:
        async with raw_client(hasty.url) as client:
            await client.open("/other")
            await client.send('40/chat,{"hold":true}')
            frame = await client.receive()
            assert frame is not None
            document = orjson.loads(frame.removeprefix("44/chat,"))
            assert (document["message"], document["data"]["retryable"]) == ("unavailable", True)

    async def test_who_is_refused_again_and_again_is_hung_up_on(self, hasty: Wire) -> None:
        async with raw_client(hasty.url) as client:
            for _ in range(3):
                await client.send("40/nowhere,")
            assert len(await client.frames_to_end()) == 3
        await hasty.wait_no_links()


class TestManyEnds:
    async def test_handlers_are_told_of_them_in_slices_and_in_order(self) -> None:
        server, handler = Server(), TinyHandler()
        told: list[str] = []
        turns = [0]

        async def disconnected(connection: Any, *, clean: bool) -> None:
            told.append(connection.id)

        handler.disconnected = disconnected  # type: ignore[method-assign]
        connections = []
        for number in range(200):
            session, _, _ = make_session()
            connection = NamespaceConnection(server, session, "/chat", str(number), handler)
            connection.is_open = connection.entered = True
            session.link.connections["/chat"] = connection
            connections.append(connection)
        for connection in connections:
            connection.disconnect()
        async with asyncio.timeout(TIMEOUT_S):
            while len(told) < 200:
                await asyncio.sleep(0)
                turns.append(len(told))
        assert told == [str(number) for number in range(200)]
        assert max(b - a for a, b in itertools.pairwise(turns)) <= 64
        await server.close()


class TestMetrics:
    async def test_the_end_of_each_connection_is_told_with_its_code(self) -> None:
        codes: list[str] = []
        async with wire(on_closed=codes.append) as tiny:
            async with raw_client(tiny.url) as client:
                await client.open()
                await client.send("x")
                await client.frames_to_end()
            async with raw_client(tiny.url) as client:
                await client.send("1")
                await client.frames_to_end()
            async with raw_client(tiny.url) as client:
                client.vanish()
            await tiny.wait_no_links()
        assert codes == ["protocol_violation", "client_closed", "transport_lost"]
