"""All routes of plain HTTP, and what stands before them: one list each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry

from hubbub.http.cors import answer_origins
from hubbub.http.failures import answer_failures
from hubbub.http.guest import guest_handler
from hubbub.http.health import Readiness, alive, ready_handler
from hubbub.http.metrics import metrics_handler
from hubbub.http.rest.wiring import Rest, add_rest, add_spec
from hubbub.http.static import WEB_ROOT, add_pages
from hubbub.pipeline.tokens import TokenVerifier
from hubbub.settings import Settings

__all__ = ["add_routes"]


def add_routes(
    app: web.Application,
    *,
    settings: Settings,
    tokens: TokenVerifier,
    readiness: Callable[[], Readiness],
    registry: CollectorRegistry,
    rest: Rest | None = None,
    web_root: Path = WEB_ROOT,
) -> None:
    """Add the routes and their middleware to an application that has not started.

    Without `rest` there are no rooms and messages. `readiness` is asked on each `GET /readyz`, so it has to be quick.
    `web_root` is where the built page is.
    """
    # Origins come first, so that their headers are on failures too and a page can read why it was refused.
    app.middlewares.extend((answer_origins(settings.origins), answer_failures))
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready_handler(readiness, details_for_all=settings.health_details == "all"))
    app.router.add_get("/metrics", metrics_handler(registry, for_all=settings.metrics_access == "all"))
    app.router.add_post("/api/guest", guest_handler(tokens))
    add_spec(app)
    if rest is not None:
        add_rest(app, rest)
    add_pages(app, root=web_root)
