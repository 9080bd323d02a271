"""Plain python-socketio handlers: what a failing or cancelled one means, and which names a client may call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import socketio
from aiohttp import web

from hubbub.errors import HubbubError
from hubbub.transport.base import Incoming, Order
from hubbub.transport.connection import NamespaceConnection
from hubbub.transport.plain import NOT_ACKNOWLEDGED, RESERVED, PlainHandler, RefusedError
from hubbub.transport.server import Server
from tests.support.sessions import make_session
from tests.support.wire import raw_client


class Plain:
    """A namespace of plain handlers, and one client of it."""

    def __init__(self, *, concurrent: bool = False, **options: Any) -> None:
        self.server = Server(**options)
        self.handler = PlainHandler(self.server, "/", concurrent=concurrent)
        session, _, _ = make_session()
        self.server.eio.sessions[session.id] = session
        self.server.environ[session.id] = {"REMOTE_ADDR": "192.0.2.7"}
        self.connection = NamespaceConnection(self.server, session, "/", "", self.handler)
        session.link.connections["/"] = self.connection

    async def connect(self, auth: Any = None) -> Any:
        return await self.handler.connect(self.connection, auth)

    async def event(self, name: str, *args: Any) -> Any:
        return await self.handler.event(self.connection, Incoming(name, args, lambda: None))

    async def disconnected(self, *, clean: bool = True) -> None:
        await self.handler.disconnected(self.connection, clean=clean)

    @property
    def is_known(self) -> bool:
        """Whether the manager holds anything of anybody."""
        manager = self.server.manager
        return bool(manager.rooms or manager._rooms_of or manager.pending_connect or manager.pending_disconnect)

    def texts(self) -> list[bytes]:
        self.server.batch.flush()
        return [message.text for message in self.connection.session.take(100_000)]


@pytest.fixture
def plain() -> Plain:
    return Plain()


def refusal(code: str) -> Any:
    return lambda answer: answer[0]["ok"] is False and answer[0]["error"]["code"] == code


class TestConnecting:
    @pytest.mark.parametrize("auth", [None, {"token": "x"}])
    async def test_the_handler_is_given_the_environ_and_the_auth(self, plain: Plain, auth: Any) -> None:
        seen: list[Any] = []
        plain.server.on("connect", lambda *args: seen.append(args))
        await plain.connect(auth)
        assert seen == [(plain.connection.id, {"REMOTE_ADDR": "192.0.2.7"}, auth)]
        assert plain.server.manager.is_connected(plain.connection.id, "/")

    async def test_an_older_one_takes_no_auth(self, plain: Plain) -> None:
        seen: list[Any] = []

        async def connect(sid: str, environ: Any) -> None:
            seen.append(environ)

        plain.server.on("connect", connect)
        await plain.connect()
        assert seen == [{"REMOTE_ADDR": "192.0.2.7"}]

    async def test_without_a_handler_everybody_is_let_in(self, plain: Plain) -> None:
        await plain.connect({"token": "x"})
        assert plain.server.manager.is_connected(plain.connection.id, "/")

    @pytest.mark.parametrize(
        ("error", "data"),
        [
            (socketio.exceptions.ConnectionRefusedError("no", {"code": 7}), {"message": "no", "data": {"code": 7}}),
            (socketio.exceptions.ConnectionRefusedError("no"), {"message": "no"}),
            (socketio.exceptions.ConnectionRefusedError(), {"message": "Connection rejected by server"}),
            (ConnectionRefusedError(), {"message": "Connection refused by server"}),
        ],
    )
    async def test_a_refusal_says_what_the_application_says(self, plain: Plain, error: Exception, data: Any) -> None:
        async def connect(*args: Any) -> None:
            raise error

        plain.server.on("connect", connect)
        with pytest.raises(RefusedError) as caught:
            await plain.connect({})
        assert caught.value.data == data
        assert not plain.is_known

    async def test_false_is_a_refusal(self, plain: Plain) -> None:
        plain.server.on("connect", lambda *args: False)
        with pytest.raises(RefusedError):
            await plain.connect({})
        assert not plain.is_known

    @pytest.mark.parametrize("error", [RuntimeError("broken"), TypeError("unsupported operand"), KeyError("x")])
    async def test_one_that_fails_refuses_and_leaves_nothing(self, plain: Plain, error: Exception) -> None:
        async def connect(*args: Any) -> None:
            raise error

        plain.server.on("connect", connect)
        with pytest.raises(HubbubError) as caught:
            await plain.connect()
        assert caught.value.code == "internal"
        assert not plain.is_known

    async def test_one_that_is_cancelled_leaves_nothing_either(self, plain: Plain) -> None:
        async def connect(*args: Any) -> None:
            await asyncio.Event().wait()

        plain.server.on("connect", connect)
        connecting = asyncio.ensure_future(plain.connect())
        await asyncio.sleep(0)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert not plain.is_known

    async def test_who_is_to_be_connected_always_is_told_before_the_handler_runs(self) -> None:
        plain = Plain(always_connect=True)
        seen: list[list[bytes]] = []
        plain.server.on("connect", lambda *args: seen.append(plain.texts()))
        await plain.connect()
        assert seen == [[b'40{"sid":"' + plain.connection.id.encode() + b'"}']]

    async def test_two_of_one_link_have_ids_of_their_own(self, plain: Plain) -> None:
        await plain.connect()
        with pytest.raises(RefusedError):
            await plain.connect()


class TestEvents:
    @pytest.mark.parametrize(
        ("returned", "answer"),
        [(None, []), (1, [1]), ((), []), ((1, 2), [1, 2]), ([1, 2], [[1, 2]]), (False, [False]), (b"x", [b"x"])],
    )
    @pytest.mark.parametrize("is_async", [False, True])
    async def test_what_a_handler_returns_are_the_arguments_of_the_ack(
        self, plain: Plain, returned: Any, answer: list[Any], is_async: bool
    ) -> None:
        async def handler(sid: str, *args: Any) -> Any:
            return returned

        plain.server.on("e", handler if is_async else lambda sid, *args: returned)
        assert await plain.event("e", 1, 2) == answer

    async def test_it_is_given_the_client_and_the_arguments(self, plain: Plain) -> None:
        await plain.connect()
        plain.server.on("e", lambda *args: args)
        assert await plain.event("e", 1, {"a": 2}) == [plain.connection.id, 1, {"a": 2}]

    async def test_one_that_fails_says_so_in_the_ack(self, plain: Plain) -> None:
        async def handler(sid: str) -> None:
            raise RuntimeError("broken")

        plain.server.on("e", handler)
        assert refusal("internal")(await plain.event("e"))

    async def test_one_that_is_given_other_arguments_fails_too(self, plain: Plain) -> None:
        plain.server.on("e", lambda sid, one: one)
        assert refusal("internal")(await plain.event("e"))

    async def test_one_that_is_cancelled_is_not_taken_for_one_that_is_done(self, plain: Plain) -> None:
        async def handler(sid: str) -> None:
            await asyncio.Event().wait()

        plain.server.on("e", handler)
        handling = asyncio.ensure_future(plain.event("e"))
        await asyncio.sleep(0)
        handling.cancel()
        answer = await handling
        assert refusal("unavailable")(answer)
        assert answer[0]["error"]["retryable"] is True

    async def test_an_event_that_nobody_handles_is_not_acknowledged(self, plain: Plain) -> None:
        assert await plain.event("e") is NOT_ACKNOWLEDGED

    async def test_a_handler_of_everything_is_told_the_name(self, plain: Plain) -> None:
        plain.server.on("*", lambda *args: args)
        await plain.connect()
        assert await plain.event("e", 1) == ["e", plain.connection.id, 1]

    @pytest.mark.parametrize(("concurrent", "order"), [(False, Order.SERIAL), (True, Order.FREE)])
    def test_events_overlap_where_that_was_asked_for(self, concurrent: bool, order: Order) -> None:
        assert Plain(concurrent=concurrent).handler.order("e") is order


class _Space(socketio.AsyncNamespace):  # type: ignore[misc]  # python-socketio has no annotations.
    seen: tuple[Any, ...] = ()

    async def on_connect(self, sid: str, environ: Any) -> None:
        self.seen += ("connect",)

    def on_echo(self, sid: str, *args: Any) -> Any:
        return args

    async def on_disconnect(self, sid: str, reason: str) -> None:
        self.seen += (reason,)


class _OwnWay(socketio.AsyncNamespace):  # type: ignore[misc]  # python-socketio has no annotations.
    async def trigger_event(self, event: str, *args: Any) -> Any:
        return f"own {event}"


class TestNamespaceClasses:
    async def test_methods_are_handlers(self, plain: Plain) -> None:
        space = _Space("/")
        plain.server.register_namespace(space)
        await plain.connect()
        assert await plain.event("echo", 1, 2) == [1, 2]
        assert await plain.event("other") is NOT_ACKNOWLEDGED
        await plain.disconnected()
        assert space.seen == ("connect", "client disconnect")

    async def test_one_may_find_them_in_its_own_way(self, plain: Plain) -> None:
        plain.server.register_namespace(_OwnWay("/"))
        assert await plain.event("anything") == ["own anything"]


class TestNames:
    def test_what_the_library_calls_by_itself_is_reserved(self) -> None:
        assert {*socketio.AsyncServer.reserved_events, *socketio.AsyncClient.reserved_events, "*"} <= RESERVED


class TestEnds:
    @staticmethod
    def reasons(plain: Plain) -> list[Any]:
        seen: list[Any] = []
        plain.server.on("disconnect", lambda sid, reason: seen.append(reason))
        return seen

    @pytest.mark.parametrize(("clean", "reason"), [(True, "client disconnect"), (False, "transport close")])
    async def test_the_handler_is_told_why(self, plain: Plain, clean: bool, reason: str) -> None:
        seen = self.reasons(plain)
        await plain.connect()
        await plain.disconnected(clean=clean)
        assert seen == [reason]
        assert not plain.is_known

    async def test_an_end_from_this_side_is_one(self, plain: Plain) -> None:
        seen = self.reasons(plain)
        await plain.connect()
        plain.connection.state = plain.server.reason.SERVER_DISCONNECT
        await plain.disconnected()
        assert seen == ["server disconnect"]

    async def test_rooms_are_there_while_the_handler_runs_and_the_client_is_not(self, plain: Plain) -> None:
        seen: list[Any] = []

        def disconnect(sid: str, reason: str) -> None:
            seen.append((sorted(plain.server.rooms(sid)), plain.server.manager.is_connected(sid, "/")))

        plain.server.on("disconnect", disconnect)
        await plain.connect()
        sid = plain.connection.id
        await plain.server.enter_room(sid, "tea")
        await plain.disconnected()
        assert seen == [(sorted([sid, "tea"]), False)]

    @pytest.mark.parametrize("error", [RuntimeError("broken"), asyncio.CancelledError()])
    async def test_one_that_fails_leaves_nobody_in_a_room(self, plain: Plain, error: BaseException) -> None:
        async def disconnect(sid: str, reason: str) -> None:
            raise error

        plain.server.on("disconnect", disconnect)
        await plain.connect()
        await plain.server.enter_room(plain.connection.id, "tea")
        raised: list[type[BaseException]] = []
        try:
            await plain.disconnected()
        except RuntimeError as failure:
            raised.append(type(failure))
        assert raised in ([], [RuntimeError])
        assert not plain.is_known


class TestOddHandlers:
    """Whatever can be called is a handler."""

    @pytest.mark.parametrize("kind", ["function", "method", "partial", "coroutine"])
    async def test_it_is_called(self, plain: Plain, kind: str) -> None:
        class Box:
            def method(self, sid: str) -> str:
                return "done"

        async def coroutine(sid: str) -> str:
            return "done"

        handlers: dict[str, Callable[..., Any]] = {
            "function": lambda sid: "done",
            "method": Box().method,
            "partial": lambda sid, extra="done": extra,
            "coroutine": coroutine,
        }
        plain.server.on("e", handlers[kind])
        assert await plain.event("e") == ["done"]


class TestFarewells:
    async def test_a_handler_finds_what_was_kept_when_it_is_told_of_the_end(self) -> None:
        server = Server()
        told: asyncio.Future[tuple[dict[str, Any], str]] = asyncio.get_running_loop().create_future()

        @server.event  # type: ignore[untyped-decorator]
        async def connect(sid: str, environ: dict[str, Any]) -> None:
            await server.save_session(sid, {"name": "ada"})

        @server.event  # type: ignore[untyped-decorator]
        async def disconnect(sid: str, reason: str) -> None:
            told.set_result((await server.get_session(sid), server.get_environ(sid)["REMOTE_ADDR"]))

        async with served_plain(server) as url:
            async with raw_client(url) as client:
                await client.send("40")
                assert await client.receive() is not None
                client.vanish()
                async with asyncio.timeout(10):
                    assert await told == ({"name": "ada"}, "127.0.0.1")
            async with asyncio.timeout(10):
                while server.eio.leaving or server.environ:
                    await asyncio.sleep(0)
            assert server.eio._user_sessions == {}

    async def test_one_that_is_disconnected_while_it_connects_goes(self) -> None:
        server = Server()

        @server.event  # type: ignore[untyped-decorator]
        async def connect(sid: str, environ: dict[str, Any]) -> None:
            await server.disconnect(sid)

        async with served_plain(server) as url, raw_client(url) as client:
            await client.send("40")
            assert (await client.receive() or "").startswith("40{")
            assert await client.receive() == "41"


class TestAcks:
    async def test_acks_that_nobody_waits_for_set_nothing_off(self) -> None:
        server = Server()
        server.on("echo", lambda sid: "here")
        async with served_plain(server) as url, raw_client(url) as client:
            await client.send("40")
            await client.receive()
            for _ in range(500):
                await client.send("431[]")
            await client.send('427["echo"]')
            assert await client.receive() == '437["here"]'
            assert not server._spawned


@contextlib.asynccontextmanager
async def served_plain(server: Server) -> AsyncIterator[str]:
    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await server.close()
        await runner.cleanup()
