"""One client in one namespace, as the layers above see it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hubbub.transport.connection import NamespaceConnection
from hubbub.transport.message import Message
from hubbub.transport.outbox import Verdict
from hubbub.transport.server import Server
from tests.support.sessions import make_session
from tests.support.wire import TinyHandler


@pytest.fixture
def server() -> Server:
    return Server()


def connection_on(server: Server, *, is_open: bool = True) -> NamespaceConnection:
    session, _, _ = make_session()
    connection = NamespaceConnection(server, session, "/chat", "id", TinyHandler())
    connection.is_open = connection.entered = is_open
    session.link.connections["/chat"] = connection
    return connection


def texts(connection: NamespaceConnection) -> list[bytes]:
    """What waits for the client."""
    return [message.text for message in connection.session.take(100_000)]


class TestSending:
    async def test_an_event_goes_to_its_namespace(self, server: Server) -> None:
        connection = connection_on(server)
        connection.emit("e", {"a": 1})
        assert connection.send(Message(b"4x")) is Verdict.OK
        assert texts(connection) == [b'42/chat,["e",{"a":1}]', b"4x"]

    async def test_one_that_is_not_open_sends_and_encodes_nothing(self, server: Server) -> None:
        connection = connection_on(server, is_open=False)
        connection.emit("e", object())
        assert connection.send(Message(b"4x")) is Verdict.SHED
        assert texts(connection) == []

    async def test_a_large_answer_waits_until_little_does(self, server: Server) -> None:
        connection = connection_on(server)
        await connection.wait_room()
        connection.emit("e", "x" * (server.bounds.outbox_bytes // 10))
        waiting = asyncio.ensure_future(connection.wait_room())
        await asyncio.sleep(0)
        assert not waiting.done()
        texts(connection)
        await waiting

    async def test_for_one_that_is_not_open_nobody_waits(self, server: Server) -> None:
        connection = connection_on(server)
        connection.emit("e", "x" * (server.bounds.outbox_bytes // 10))
        connection.is_open = False
        await connection.wait_room()

    async def test_what_cannot_be_encoded_is_the_sender_s_fault(self, server: Server) -> None:
        connection = connection_on(server)
        with pytest.raises(TypeError):
            connection.emit("e", object())
        assert texts(connection) == []

    async def test_it_comes_behind_what_was_published_in_the_turn(self, server: Server) -> None:
        connection = connection_on(server)
        fanout = server.fanout("/chat")
        fanout.subscribe(connection, "tea")
        fanout.publish("tea", "published", 1)
        connection.emit("sent", 2)
        assert texts(connection) == [b'42/chat,["published",1]', b'42/chat,["sent",2]']


class TestEnding:
    async def test_a_disconnect_says_so_and_is_the_end(self, server: Server) -> None:
        connection = connection_on(server)
        connection.emit("last", 1)
        connection.disconnect()
        connection.disconnect()
        connection.emit("late", 1)
        assert texts(connection) == [b'42/chat,["last",1]', b"41/chat,"]
        assert not connection.is_open
        assert connection.link.connections == {}
        await server.close()

    @pytest.mark.parametrize(("restart", "status", "code"), [(False, 1001, "dropped"), (True, 1012, "draining")])
    async def test_a_drop_ends_the_whole_transport(self, server: Server, restart: bool, status: int, code: str) -> None:
        connection = connection_on(server)
        connection.drop(restart=restart)
        connection.drop(restart=not restart)
        closing: Any = connection.session.closing
        assert (closing.status, closing.code) == (status, code)

    async def test_its_link_is_that_of_its_session(self, server: Server) -> None:
        connection = connection_on(server)
        assert connection.link is connection.session.link
