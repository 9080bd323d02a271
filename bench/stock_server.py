"""Stock python-socketio on aiohttp and uvloop, as it comes, answering without checking or storing anything.

Given the address of a Redis, it is joined to others by python-socketio's own Redis manager.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import socketio
import uvloop
from aiohttp import web

__all__ = ["main"]

NAMESPACE = "/chat"
OK = {"ok": True}


def _application(redis: str | None) -> web.Application:
    manager = None if redis is None else socketio.AsyncRedisManager(redis)
    server = socketio.AsyncServer(async_mode="aiohttp", client_manager=manager)

    async def connect(sid: str, environ: dict[str, Any], auth: Any = None) -> None:
        """Let everybody in."""

    async def bare(sid: str, data: dict[str, Any]) -> dict[str, bool]:
        return OK

    async def join(sid: str, data: dict[str, Any]) -> dict[str, bool]:
        await server.enter_room(sid, data["room"], namespace=NAMESPACE)
        return OK

    async def spread(sid: str, data: dict[str, Any]) -> dict[str, bool]:
        await server.emit("message", data, room=data["room"], namespace=NAMESPACE)
        return OK

    for name, handler in (("connect", connect), ("message:send", bare), ("room:join", join), ("room:spread", spread)):
        server.on(name, handler, namespace=NAMESPACE)

    async def alive(request: web.Request) -> web.Response:
        return web.Response(text="alive")

    app = web.Application()
    app.router.add_get("/healthz", alive)
    server.attach(app)
    return app


async def _serve(redis: str | None) -> None:
    runner = web.AppRunner(_application(redis), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    print(f"stock python-socketio is open at http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Serve until killed, after saying where."""
    uvloop.run(_serve(sys.argv[1] if len(sys.argv) > 1 else None))


if __name__ == "__main__":
    main()
