"""An application with only the routes of plain HTTP, on a real port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry, Counter
from pytest_aiohttp.plugin import AiohttpClient

from hubbub.http.health import Readiness
from hubbub.http.routes import add_routes
from hubbub.pipeline.tokens import TokenVerifier
from hubbub.settings import Settings

__all__ = ["Client", "Site", "StartSite", "site_starter"]

Client = TestClient[web.Request, web.Application]
StartSite = Callable[..., Awaitable["Site"]]


class Site:
    """A running application; `readiness` is what it says of itself, and a test may change it."""

    def __init__(self, app: web.Application, settings: Settings, web_root: Path) -> None:
        self.readiness = Readiness("ready")
        self.tokens = TokenVerifier(settings)
        registry = CollectorRegistry()
        Counter("hubbub_tests", "Tests that are run.", registry=registry).inc(3)
        add_routes(
            app,
            settings=settings,
            tokens=self.tokens,
            readiness=lambda: self.readiness,
            registry=registry,
            web_root=web_root,
        )
        self.client: Client


def site_starter(aiohttp_client: AiohttpClient, directory: Path) -> StartSite:
    """A function that starts a site with these settings, its data in `directory`, and further handlers by path."""

    async def start(*, handlers: dict[str, Any] | None = None, web_root: Path | None = None, **settings: Any) -> Site:
        app = web.Application()
        values = {"store": f"sqlite:///{directory}/hubbub.db"} | settings
        site = Site(app, Settings(**values), web_root or directory / "none")
        for path, handler in (handlers or {}).items():
            app.router.add_route("*", path, handler)
        site.client = await aiohttp_client(app)
        return site

    return start
