"""HTTP long polling beneath Engine.IO: a body is read whole before anything is made of it.

engineio takes what one read of the stream gives, which is one TCP segment as often as not; the rest of the body would
be dropped, and the client told that all is well.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web
from engineio.async_drivers import aiohttp as driver

__all__ = ["read_request"]


class _Body:
    """A body that is there already, as engineio asks for it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self, length: int) -> bytes:
        return self._body[:length]


async def read_request(request: web.Request) -> dict[str, Any]:
    """The environ of a request. A body that is larger than the application allows is answered 413."""
    environ: dict[str, Any] = driver.translate_request(request)
    if request.method == "POST":
        body = await request.read()
        environ["wsgi.input"] = _Body(body)
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ
