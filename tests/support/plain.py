"""A plain python-socketio application on our server, without chat: what conformance tests talk to.

It says what a few lines of anybody's own would: handlers put on the server for the main namespace, a namespace class
for another. `js_clients/reference.mjs` is the same application on the reference server.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import socketio
from aiohttp import web

from hubbub.transport.bounds import Bounds
from hubbub.transport.server import Server

__all__ = ["JS_HOME", "Options", "plain_server"]

JS_HOME: Final = Path(__file__).parent / "js_clients"
_PAGES: Final = {
    "/": "page.html",
    "/clients/page.mjs": "page.mjs",
    "/clients/commands.mjs": "commands.mjs",
    "/clients/client40.js": "node_modules/client40/dist/socket.io.min.js",
    "/clients/client4.js": "node_modules/client4/dist/socket.io.min.js",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What a test may choose of a server; by default no time comes to its end while a test runs."""

    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0
    connect_timeout_s: float = 45.0
    upgrade_timeout_s: float = 30.0
    max_packet_bytes: int = 100_000


def _make_server(options: Options) -> Server:
    """The one place where the server under test is made."""
    bounds = Bounds(
        ping_interval_s=options.ping_interval_s,
        ping_timeout_s=options.ping_timeout_s,
        connect_s=options.connect_timeout_s,
        upgrade_s=options.upgrade_timeout_s,
        packet_bytes=options.max_packet_bytes,
    )
    # As python-socketio has it where nothing is said: a handler may `call`, since others run meanwhile.
    return Server(bounds=bounds, async_handlers=True)


def _check_admitted(auth: Any) -> None:
    if isinstance(auth, dict) and auth.get("refuse"):
        raise socketio.exceptions.ConnectionRefusedError("Not authorized", {"code": "nobody"})


class _Main:
    """The main namespace. Each method is put on the server as the handler of the event that it is named for."""

    def __init__(self, server: Server) -> None:
        self._server = server
        for handler in (
            *(self.connect, self.disconnect, self.auth, self.message, self.echo, self.ask, self.join, self.leave),
            *(self.broadcast, self.burst, self.kick, self.drop),
        ):
            server.event(handler)

    async def connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        _check_admitted(auth)
        await self._server.save_session(sid, {"auth": auth or {}})

    async def disconnect(self, sid: str, reason: str) -> None:
        await self._server.emit("gone", {"namespace": "/", "sid": sid}, to="watchers")

    async def auth(self, sid: str) -> Any:
        return (await self._server.get_session(sid))["auth"]

    async def message(self, sid: str, *args: Any) -> None:
        await self._server.emit("message-back", args, to=sid)

    async def echo(self, sid: str, *args: Any) -> tuple[Any, ...]:
        return args

    async def ask(self, sid: str, *args: Any) -> Any:
        return await self._server.call("question", args, to=sid)

    async def join(self, sid: str, room: str) -> None:
        await self._server.enter_room(sid, room)

    async def leave(self, sid: str, room: str) -> None:
        await self._server.leave_room(sid, room)

    async def broadcast(self, sid: str, room: str, value: Any) -> None:
        await self._server.emit("said", value, to=room)

    async def burst(self, sid: str, count: int) -> None:
        for number in range(count):
            await self._server.emit("tick", number, to=sid)

    async def kick(self, sid: str) -> None:
        await self._server.disconnect(sid)

    async def drop(self, sid: str) -> None:
        await self._server.disconnect(sid, close=True)


class _Custom(socketio.AsyncNamespace):  # type: ignore[misc]  # python-socketio has no annotations.
    """`/custom`, as a class of handlers."""

    async def on_connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        _check_admitted(auth)
        await self.save_session(sid, {"auth": auth or {}})

    async def on_disconnect(self, sid: str, reason: str) -> None:
        await self.server.emit("gone", {"namespace": "/custom", "sid": sid}, to="watchers", namespace="/")

    async def on_auth(self, sid: str) -> Any:
        return (await self.get_session(sid))["auth"]

    async def on_message(self, sid: str, *args: Any) -> None:
        await self.emit("message-back", args, to=sid)

    async def on_echo(self, sid: str, *args: Any) -> tuple[Any, ...]:
        return args

    async def on_ask(self, sid: str, *args: Any) -> Any:
        return await self.call("question", args, to=sid)

    async def on_join(self, sid: str, room: str) -> None:
        await self.enter_room(sid, room)

    async def on_broadcast(self, sid: str, room: str, value: Any) -> None:
        await self.emit("said", value, to=room)

    async def on_kick(self, sid: str) -> None:
        await self.disconnect(sid)


@contextlib.asynccontextmanager
async def plain_server(options: Options) -> AsyncIterator[str]:
    """The application on a port that the system chose; where it is."""
    server = _make_server(options)
    _Main(server)
    server.register_namespace(_Custom("/custom"))
    app = web.Application()
    for path, file in _PAGES.items():
        app.router.add_get(path, _page(JS_HOME / file))
    server.attach(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}"
    finally:
        await server.close()
        await runner.cleanup()


def _page(path: Path) -> Any:
    types = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript"}

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=path.read_text(encoding="utf-8"), content_type=types[path.suffix])

    return answer
