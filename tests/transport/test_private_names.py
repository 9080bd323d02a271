"""What the transport overrides and uses although it is private to the libraries beneath.

The versions of python-socketio and python-engineio are pinned (`setup.cfg`). Whoever moves a pin, or gets a new
aiohttp, reads here what must be looked at again: every name, its parameters, and the habits that are relied on.
"""

from __future__ import annotations

import asyncio
import configparser
import inspect
import itertools
from importlib import metadata
from typing import Any

import pytest
import socketio
from aiohttp import web, web_protocol
from engineio import packet as eio_packet
from socketio import packet as sio_packet

from hubbub.transport.engine import Engine
from hubbub.transport.manager import LocalClients, Manager
from hubbub.transport.packets import LibraryPacket
from hubbub.transport.server import Server
from tests.support.faults_peer import WebSocketPeer
from tests.support.tree import ROOT
from tests.support.wire import wire

PINNED = {"python-socketio": "5.18.1", "python-engineio": "4.15.1"}

OF_SERVER = {
    "_engineio_server_class": "(self)",
    "_send_packet": "async (self, eio_sid, pkt)",
    "_send_eio_packet": "async (self, eio_sid, eio_pkt)",
    "_trigger_event": "async (self, event, namespace, *args)",
    "_get_event_handler": "(self, event, namespace, args)",
    "_get_namespace_handler": "(self, namespace, args)",
    "emit": (
        "async (self, event, data=None, to=None, room=None, skip_sid=None, namespace=None, callback=None, "
        "ignore_queue=False)"
    ),
    "disconnect": "async (self, sid, namespace=None, ignore_queue=False)",
    "transport": "(self, sid, namespace=None)",
    "shutdown": "async (self)",
    "attach": "(self, app, socketio_path='socket.io')",
}
OVERRIDDEN = {
    *("_engineio_server_class", "_send_packet", "_send_eio_packet"),
    *("emit", "disconnect", "transport", "shutdown"),
}

OF_MANAGER = {
    "basic_enter_room": "(self, sid, namespace, room, eio_sid=None)",
    "basic_leave_room": "(self, sid, namespace, room)",
    "basic_disconnect": "(self, sid, namespace, **kwargs)",
    "get_rooms": "(self, sid, namespace)",
    "emit": "async (self, event, data, namespace, room=None, skip_sid=None, callback=None, to=None, **kwargs)",
    "trigger_callback": "async (self, sid, id, data)",
    "get_participants": "(self, namespace, room)",
    "_generate_ack_id": "(self, sid, callback)",
    "pre_connect": "async (self, eio_sid, namespace)",
    "connect": "async (self, sid, namespace)",
    "pre_disconnect": "(self, sid, namespace)",
    "disconnect": "async (self, sid, namespace, **kwargs)",
    "can_disconnect": "async (self, sid, namespace)",
    "eio_sid_from_sid": "(self, sid, namespace)",
    "initialize": "(self)",
}
OVERRIDDEN_OF_MANAGER = {
    *("basic_enter_room", "basic_leave_room", "basic_disconnect", "get_rooms", "emit", "trigger_callback"),
}

OF_ENGINE = ("on", "attach", "handle_request", "shutdown", "transport", "get_session", "create_event")
OF_ENGINE_TOO = ("start_background_task", "sleep", "generate_id", "async_mode")


def shape(function: Any) -> str:
    text = str(inspect.signature(function))
    return f"async {text}" if inspect.iscoroutinefunction(function) else text


def overridden(ours: type, theirs: type) -> set[str]:
    return {name for name in vars(ours) if hasattr(theirs, name) and not name.startswith("__")}


class TestVersions:
    @pytest.mark.parametrize("name", PINNED)
    def test_the_pins_are_those_that_this_was_written_for(self, name: str) -> None:
        assert metadata.version(name) == PINNED[name]
        setup = configparser.ConfigParser()
        setup.read_string((ROOT / "setup.cfg").read_text(encoding="utf-8"))
        assert f"{name} =={PINNED[name]}" in setup["options"]["install_requires"].splitlines()


class TestTheServer:
    @pytest.mark.parametrize("name", OF_SERVER)
    def test_a_method_beneath_has_the_parameters_that_are_relied_on(self, name: str) -> None:
        assert shape(getattr(socketio.AsyncServer, name)) == OF_SERVER[name]

    @pytest.mark.parametrize("name", sorted(OVERRIDDEN))
    def test_ours_takes_the_same_and_may_take_more(self, name: str) -> None:
        theirs, ours = (inspect.signature(getattr(each, name)) for each in (socketio.AsyncServer, Server))
        assert list(ours.parameters)[: len(theirs.parameters)] == list(theirs.parameters)
        more = list(ours.parameters.values())[len(theirs.parameters) :]
        assert all(each.default is not inspect.Parameter.empty for each in more)

    def test_nothing_else_of_theirs_is_hidden(self) -> None:
        assert overridden(Server, socketio.AsyncServer) == OVERRIDDEN

    def test_no_attribute_of_theirs_is_overwritten(self) -> None:
        theirs = vars(socketio.AsyncServer(async_mode="aiohttp"))
        ours = vars(Server())
        assert set(theirs) <= set(ours)
        own = {name for name in ours if name not in theirs}
        assert {"_mounted", "_plain", "_spawned", "_lanes", "_ends", "batch", "bounds"} <= own

    def test_it_has_the_attributes_that_are_used(self) -> None:
        server = Server()
        assert server.environ == {}
        assert server.handlers == {}
        assert server.namespace_handlers == {}
        assert server.namespaces == ["/"]
        assert server.manager_initialized is False
        assert server.always_connect is False
        assert server.packet_class is LibraryPacket
        assert server.manager.server is server
        assert isinstance(server.eio, Engine)
        assert type(server.not_handled) is object
        assert Server(namespaces="*").namespaces == "*"

    def test_the_reasons_are_known(self) -> None:
        reasons = socketio.AsyncServer.reason
        assert reasons.CLIENT_DISCONNECT == "client disconnect"
        assert reasons.SERVER_DISCONNECT == "server disconnect"
        assert reasons.TRANSPORT_CLOSE == "transport close"

    def test_handlers_are_found_by_its_own_methods(self) -> None:
        server = Server()

        def named(sid: str) -> None: ...

        def every(event: str, sid: str) -> None: ...

        server.on("e", named)
        server.on("*", every)
        assert server._get_event_handler("e", "/", ("sid",)) == (named, ("sid",))
        assert server._get_event_handler("x", "/", ("sid",)) == (every, ("x", "sid"))
        assert server._get_event_handler("disconnect", "/", ("sid",)) == (None, ("sid",))
        assert server._get_event_handler("e", "/other", ("sid",)) == (None, ("sid",))
        space = socketio.AsyncNamespace("/space")
        server.register_namespace(space)
        assert server._get_namespace_handler("/space", ("sid",)) == (space, ("sid",))
        assert server._get_namespace_handler("/none", ("sid",)) == (None, ("sid",))
        assert shape(socketio.AsyncNamespace.trigger_event) == "async (self, event, *args)"

    async def test_a_disconnect_is_told_to_a_handler_with_and_without_a_reason(self) -> None:
        server = Server()
        seen: list[Any] = []
        server.on("disconnect", lambda sid: seen.append(sid))
        await server._trigger_event("disconnect", "/", "sid", "reason")
        server.on("disconnect", lambda sid, reason: seen.append((sid, reason)))
        await server._trigger_event("disconnect", "/", "sid", "reason")
        assert seen == ["sid", ("sid", "reason")]

    def test_it_gives_its_engine_what_it_does_not_know_itself(self) -> None:
        server = Server(node="node-7", max_per_address=3)
        assert server.eio.generate_id().startswith("node-7.")
        assert server.eio._max_per_address == 3
        assert server.eio._owner is server


class TestTheManager:
    @pytest.mark.parametrize("name", OF_MANAGER)
    def test_a_method_beneath_has_the_parameters_that_are_relied_on(self, name: str) -> None:
        assert shape(getattr(socketio.AsyncManager, name)) == OF_MANAGER[name]

    def test_nothing_else_of_theirs_is_hidden(self) -> None:
        assert overridden(LocalClients, socketio.AsyncManager) == OVERRIDDEN_OF_MANAGER

    @pytest.mark.parametrize("name", sorted(OVERRIDDEN_OF_MANAGER))
    def test_ours_takes_the_same(self, name: str) -> None:
        theirs, ours = (
            {
                each
                for each, kind in inspect.signature(getattr(cls, name)).parameters.items()
                if kind.kind != kind.VAR_KEYWORD
            }
            for cls in (socketio.AsyncManager, LocalClients)
        )
        assert theirs <= ours

    def test_it_keeps_what_is_read(self) -> None:
        manager = socketio.AsyncManager()
        assert manager.rooms == manager.callbacks == manager.pending_connect == manager.pending_disconnect == {}

    async def test_a_connected_client_is_in_two_rooms_and_who_is_in_which_is_known_by_name(self) -> None:
        manager: Manager = Server().manager
        sid = await manager.pre_connect("eio", "/")
        assert manager.pending_connect == {"/": [sid]}
        await manager.connect(sid, "/")
        assert manager.pending_connect == {}
        assert set(manager.rooms["/"]) == {None, sid}
        assert dict(manager.rooms["/"][None]) == {sid: "eio"}
        assert list(manager.get_participants("/", None)) == [(sid, "eio")]
        assert manager.eio_sid_from_sid(sid, "/") == "eio"
        assert await manager.can_disconnect(sid, "/") is True
        assert manager.eio_sid_from_sid(sid, "/none") is None

    async def test_a_client_that_is_connected_already_has_no_second_id(self) -> None:
        manager: Manager = Server().manager
        await manager.pre_connect("eio", "/")
        assert await manager.pre_connect("eio", "/") is None

    def test_numbers_of_acks_count_from_one_and_are_kept_under_zero(self) -> None:
        manager = socketio.AsyncManager()
        assert [manager._generate_ack_id("sid", print) for _ in range(3)] == [1, 2, 3]
        assert isinstance(manager.callbacks["sid"][0], itertools.count)
        assert manager.callbacks["sid"][2] is print

    def test_the_one_for_redis_can_be_given_an_index_too(self) -> None:
        assert issubclass(socketio.AsyncRedisManager, socketio.AsyncManager)
        for name in ("basic_enter_room", "basic_leave_room", "basic_disconnect", "get_rooms"):
            assert name not in vars(socketio.AsyncRedisManager)


class TestTheEngine:
    @pytest.mark.parametrize("name", [*OF_ENGINE, *OF_ENGINE_TOO])
    def test_ours_has_what_the_library_asks_for(self, name: str) -> None:
        assert hasattr(Engine, name)

    @pytest.mark.parametrize(
        "part", [socketio.async_server, socketio.base_server, socketio.async_manager, socketio.base_manager]
    )
    def test_it_asks_for_nothing_else(self, part: Any) -> None:
        """But in what is overridden, or is reached by its own engine alone: `send`, `send_packet`, `disconnect`."""
        asked = {
            piece.partition("(")[0].split()[0].rstrip(".,:)")
            for piece in inspect.getsource(part).replace("self.server.eio.", "self.eio.").split("self.eio.")[1:]
        }
        assert asked - {*OF_ENGINE, *OF_ENGINE_TOO} <= {"send", "send_packet", "disconnect"}


class TestPackets:
    def test_the_codec_of_a_packet_is_an_attribute_of_its_class(self) -> None:
        calls: list[Any] = []

        class Codec:
            @staticmethod
            def dumps(value: Any, separators: tuple[str, str] | None = None) -> str:
                calls.append(separators)
                return "[]"

            @staticmethod
            def loads(text: str) -> Any:
                calls.append(text)
                return []

        class Ours(sio_packet.Packet):  # type: ignore[misc]  # python-socketio has no annotations.
            json = Codec

        Ours(sio_packet.EVENT, data=["e"], namespace="/chat").encode()
        Ours(encoded_packet='2/chat,["e"]')
        assert calls == [(",", ":"), '["e"]']

    def test_a_packet_with_binary_is_a_text_and_its_attachments(self) -> None:
        encoded = LibraryPacket(sio_packet.EVENT, data=["e", b"x"], namespace="/").encode()
        assert encoded == ['51-["e",{"_placeholder":true,"num":0}]', b"x"]
        assert isinstance(LibraryPacket(sio_packet.EVENT, data=["e"]).encode(), str)

    def test_an_engine_io_packet_says_whether_it_is_binary(self) -> None:
        assert eio_packet.Packet(eio_packet.MESSAGE, b"x").binary is True
        text = eio_packet.Packet(eio_packet.MESSAGE, "x")
        assert (text.binary, text.data) == (False, "x")

    def test_the_numbers_of_the_kinds_are_those_of_the_protocol(self) -> None:
        kinds = (sio_packet.CONNECT, sio_packet.DISCONNECT, sio_packet.EVENT, sio_packet.ACK, sio_packet.CONNECT_ERROR)
        assert kinds == (0, 1, 2, 3, 4)
        assert (sio_packet.BINARY_EVENT, sio_packet.BINARY_ACK) == (5, 6)


class TestAiohttp:
    """Its protocol is taken off a connection that becomes a WebSocket."""

    def test_the_protocol_of_a_request_has_what_is_used(self) -> None:
        protocol = web_protocol.RequestHandler
        assert "_message_tail" in protocol.__slots__
        assert shape(protocol.connection_lost) == "(self, exc: BaseException | None) -> None"
        assert isinstance(vars(web.BaseRequest)["protocol"], property)
        assert isinstance(vars(web.BaseRequest)["transport"], property)

    async def test_what_came_behind_an_upgrade_is_its_tail(self) -> None:
        tails: list[bytes] = []

        async def handler(request: web.Request) -> web.Response:
            while not (tail := request.protocol._message_tail):
                await asyncio.sleep(0)
            tails.append(tail)
            return web.Response()

        runner = web.ServerRunner(web.Server(handler), access_log=None)  # type: ignore[arg-type]
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x80tail")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
        await runner.cleanup()
        assert tails == [b"\x81\x80tail"]

    async def test_who_is_told_that_its_connection_is_gone_forgets_it_and_leaves_the_transport_open(self) -> None:
        async with wire() as tiny:
            server: Any = tiny.runner.server
            async with WebSocketPeer.opened(tiny.port) as peer:
                async with asyncio.timeout(10):
                    while server.connections:
                        await asyncio.sleep(0)
                await peer.connect("/chat")
                transport: Any = tiny.server.eio.sessions[peer.sid].shell._transport
                assert not transport.is_closing()
                assert transport.get_protocol() is tiny.server.eio.sessions[peer.sid].shell

    async def test_a_handler_that_is_cancelled_ends_without_a_word(self) -> None:
        """No error in the log, and no answer behind the 101."""
        problems: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context))
        async with wire() as tiny:
            async with WebSocketPeer.opened(tiny.port) as peer:
                await peer.connect("/chat")
                assert str(await peer.receive()).startswith('42/chat,["hello"')
                await peer.send('42/chat,7["free"]')
                assert str(await peer.receive()).startswith("43/chat,7")
        assert problems == []
