"""An issuer's server for its public keys, whose behaviour a test decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

__all__ = ["Issuer", "running_issuer"]


class Issuer:
    """Answers `GET /keys` with `keys`, or with `body` and `status` if a test sets them; `requests` counts.

    While `gate` is not set no request is answered. `asked` is set when a request has come.
    """

    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = []
        self.body: bytes | None = None
        self.status = 200
        self.headers: dict[str, str] = {}
        self.requests = 0
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        self.asked.set()
        await self.gate.wait()
        if self.body is not None or self.status != 200:
            return web.Response(body=self.body, status=self.status, headers=self.headers)
        return web.json_response({"keys": self.keys})


@asynccontextmanager
async def running_issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/keys", issuer.answer)
    async with TestServer(app) as server:
        issuer.url = str(server.make_url("/keys"))
        yield issuer
        issuer.gate.set()
