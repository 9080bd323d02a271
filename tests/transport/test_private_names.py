"""What `transport.server` overrides and uses although it is private to the libraries beneath.

The versions are pinned (`setup.cfg`). Whoever moves a pin reads here what must be looked at again: every name, its
parameters, and the habits that the server relies on.
"""

from __future__ import annotations

import asyncio
import configparser
import inspect
from importlib import metadata
from typing import Any

import engineio
import pytest
import socketio
from engineio import packet as eio_packet
from engineio.async_drivers import aiohttp as driver
from engineio.async_socket import AsyncSocket
from socketio import packet as sio_packet

from hubbub.transport.packets import Packet
from hubbub.transport.server import Server
from hubbub.transport.websocket import WebSocket
from tests.support.tree import ROOT

PINNED = {"python-socketio": "5.18.1", "python-engineio": "4.15.1"}

OVERRIDDEN = {
    "_handle_connect": "(self, eio_sid, namespace, data)",
    "_handle_disconnect": "(self, eio_sid, namespace, reason=None)",
    "_handle_event": "(self, eio_sid, namespace, id, data)",
    "_handle_eio_message": "(self, eio_sid, data)",
    "_handle_eio_disconnect": "(self, eio_sid, reason)",
    "_handle_eio_connect": "(self, eio_sid, environ)",
}


@pytest.fixture
async def server() -> Server:
    return Server(ping_interval_s=1, ping_timeout_s=1, max_packet_bytes=100, allow_origin=lambda origin, host: True)


class TestVersions:
    @pytest.mark.parametrize("name", PINNED)
    def test_the_pins_are_those_that_this_was_written_for(self, name: str) -> None:
        assert metadata.version(name) == PINNED[name]
        setup = configparser.ConfigParser()
        setup.read_string((ROOT / "setup.cfg").read_text(encoding="utf-8"))
        assert f"{name} =={PINNED[name]}" in setup["options"]["install_requires"].splitlines()


class TestOverrides:
    @pytest.mark.parametrize("name", OVERRIDDEN)
    def test_the_method_beneath_has_the_parameters_that_we_override(self, name: str) -> None:
        theirs = getattr(socketio.AsyncServer, name)
        assert str(inspect.signature(theirs)) == OVERRIDDEN[name]
        assert inspect.iscoroutinefunction(theirs)

    @pytest.mark.parametrize("name", OVERRIDDEN)
    def test_ours_takes_the_same(self, name: str) -> None:
        ours, theirs = (
            list(inspect.signature(getattr(each, name)).parameters) for each in (Server, socketio.AsyncServer)
        )
        assert ours == theirs

    def test_nothing_else_of_theirs_is_hidden(self) -> None:
        hidden = {name for name in vars(Server) if hasattr(socketio.AsyncServer, name) and not name.startswith("__")}
        assert hidden == {*OVERRIDDEN, "attach"}

    def test_the_engine_calls_our_methods(self, server: Server) -> None:
        assert server.eio.handlers["message"] == server._handle_eio_message
        assert server.eio.handlers["disconnect"] == server._handle_eio_disconnect


class TestUses:
    def test_the_server_has_the_attributes_that_are_used(self, server: Server) -> None:
        assert server.environ == {}
        assert server.handlers == {}
        assert server.namespace_handlers == {}
        assert server.eio.sockets == {}
        assert isinstance(server.eio.generate_id(), str)
        assert server.eio.generate_id() != server.eio.generate_id()
        assert server.packet_class is Packet

    def test_the_reasons_are_known(self) -> None:
        reasons = socketio.AsyncServer.reason
        assert len({reasons.CLIENT_DISCONNECT, reasons.SERVER_DISCONNECT, reasons.TRANSPORT_CLOSE}) == 3

    def test_messages_of_one_connection_are_handled_one_after_the_other(self, server: Server) -> None:
        """A slow connect, or a lane that is full, must stop the reading of its connection."""
        assert server.eio.async_handlers is False

    async def test_a_socket_has_an_unbounded_queue_and_says_when_it_closes(self, server: Server) -> None:
        socket = AsyncSocket(server.eio, "sid")
        assert isinstance(socket.queue, asyncio.Queue)
        assert socket.queue.maxsize == 0
        assert (socket.closed, socket.closing) == (False, False)
        assert str(inspect.signature(AsyncSocket.close)) == "(self, wait=True, abort=False, reason=None)"

    async def test_none_in_the_queue_ends_a_poll(self, server: Server) -> None:
        socket = AsyncSocket(server.eio, "sid")
        packet = eio_packet.Packet(eio_packet.MESSAGE, "x")
        socket.queue.put_nowait(packet)
        socket.queue.put_nowait(None)
        assert await socket.poll() == [packet]
        assert await socket.poll() == []

    async def test_the_engine_takes_its_websocket_from_a_table_of_its_own(self, server: Server) -> None:
        assert server.eio._async["websocket"] is WebSocket
        assert driver._async["websocket"] is driver.WebSocket
        assert inspect.iscoroutinefunction(driver.WebSocket.wait)
        assert str(inspect.signature(driver.WebSocket.wait)) == "(self)"

    def test_the_engine_is_the_one_for_asyncio(self, server: Server) -> None:
        assert isinstance(server.eio, engineio.AsyncServer)


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

    def test_the_numbers_of_the_kinds_are_those_of_the_protocol(self) -> None:
        kinds = (sio_packet.CONNECT, sio_packet.DISCONNECT, sio_packet.EVENT, sio_packet.ACK, sio_packet.CONNECT_ERROR)
        assert kinds == (0, 1, 2, 3, 4)
        assert eio_packet.MESSAGE == 4
