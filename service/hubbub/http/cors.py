"""Which web pages may use `/api`: those of the service itself and those configured (Fetch, "CORS protocol")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from aiohttp import web

from hubbub.errors import HubbubError
from hubbub.http.failures import Handler, failure_response

__all__ = ["answer_origins", "is_same_origin"]

_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, Idempotency-Key",
    "Access-Control-Max-Age": "600",
}


def is_same_origin(origin: str, host: str) -> bool:
    """Whether a page from `origin` talks to the `host` it came from.

    The scheme is not compared: behind a proxy that ends TLS the page is `https` and the request `http`.
    """
    scheme, _, place = origin.lower().partition("://")
    implied = {"http": ":80", "https": ":443"}.get(scheme)
    return implied is not None and place != "" and place.removesuffix(implied) == host.lower().removesuffix(implied)


def answer_origins(origins: Collection[str]) -> Any:
    """The middleware that answers preflights under `/api`, refuses foreign pages, and lets configured ones read.

    A refusal here is more than the browser's own: a simple request is not even carried out.
    """

    @web.middleware
    async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if origin is None or not request.path.startswith("/api/"):
            return await handler(request)
        same = is_same_origin(origin, request.host)
        listed = origin.lower() in origins
        if not (same or listed or "*" in origins):
            return failure_response(HubbubError("forbidden", "Pages of this origin may not use this service."))
        response = await _answer(request, handler)
        response.headers["Access-Control-Allow-Origin"] = origin if same or listed else "*"
        response.headers["Vary"] = "Origin"
        if listed:
            response.headers["Access-Control-Allow-Credentials"] = "true"
        return response

    return cors


async def _answer(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
        return web.Response(status=204, headers=_PREFLIGHT)
    return await handler(request)
