"""`GET /metrics`: the metrics of `telemetry.py` as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from hubbub.errors import HubbubError
from hubbub.http.peers import is_local

__all__ = ["metrics_handler"]


def metrics_handler(registry: CollectorRegistry, *, for_all: bool) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The metrics in the format that the reader prefers; `not_found` to those who may not know of them."""

    async def metrics(request: web.Request) -> web.Response:
        if not for_all and not is_local(request):
            raise HubbubError("not_found")
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        return web.Response(body=encode(registry), headers=headers)

    return metrics
