"""`/`: the web application, or a page that says how to build it; and `/admin/`, the administrators' page.

The files are listed once, when the routes are made, and a request can only name one of the list; so no path, however
spelled, leads out of the directory.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

__all__ = ["WEB_ROOT", "add_pages", "list_files"]

WEB_ROOT: Final = Path(__file__).parent / "static"
"""Where `make web` puts what it builds."""

_SECURITY: Final = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'self'",
            # Some browsers do not count WebSockets to the same host as 'self'.
            "connect-src 'self' ws: wss:",
            "img-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}

_IMMUTABLE: Final = "public, max-age=31536000, immutable"
"""For files whose names change with their content."""

_REVALIDATE: Final = "no-cache"

_PACKED: Final = frozenset({".br", ".gz"})
"""Packed forms beside a file; they are served in its place to those who accept them, never by their own name."""

_HINT: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Hubbub</title>
<h1>Hubbub is running</h1>
<p>Socket.IO clients can connect. The web page is not there, because it was not built:
run <code>make web</code> in a clone of the repository, and start the service again.</p>
</html>
"""


def list_files(root: Path) -> dict[str, Path]:
    """What can be served from `root`, by URL path; empty if there is no `index.html`."""
    if not (root / "index.html").is_file():
        return {}
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix not in _PACKED)
    return {f"/{path.relative_to(root).as_posix()}": path for path in files if not path.name.startswith(".")}


def add_pages(app: web.Application, *, root: Path) -> None:
    """Serve the application built into `root`, at `/` and by its files' names; or the hint at `/`. The index of a
    directory is served at the directory.
    """
    files = list_files(root)
    index = files.pop("/index.html", None)
    app.router.add_get("/", _hint if index is None else _serve(index, caching=_REVALIDATE))
    for url, path in files.items():
        if path.name == "index.html":
            directory = url.removesuffix("index.html")
            app.router.add_get(directory, _serve(path, caching=_REVALIDATE))
            app.router.add_get(directory.rstrip("/"), _redirect(directory))
            continue
        caching = _IMMUTABLE if url.startswith("/assets/") else _REVALIDATE
        app.router.add_get(url, _serve(path, caching=caching))


def _serve(path: Path, *, caching: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    headers = _SECURITY | {"Cache-Control": caching}

    async def file(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(path, headers=headers)

    return file


def _redirect(url: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def redirect(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(url)

    return redirect


async def _hint(request: web.Request) -> web.Response:
    return web.Response(text=_HINT, content_type="text/html", headers=_SECURITY | {"Cache-Control": "no-store"})
