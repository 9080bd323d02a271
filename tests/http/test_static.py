"""The page at `/`, or the hint in its place."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest

from hubbub.http.static import list_files
from tests.support.sites import StartSite


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """What a build leaves."""
    root = tmp_path / "static"
    (root / "assets").mkdir(parents=True)
    (root / "index.html").write_text("<!doctype html><title>Hubbub</title>")
    (root / "favicon.svg").write_text("<svg/>")
    (root / "admin").mkdir()
    (root / "admin" / "index.html").write_text("<!doctype html><title>Administration</title>")
    (root / "assets" / "index-abc123.js").write_text("let a = 1;\n" * 100)
    (root / "assets" / "index-abc123.js.gz").write_bytes(gzip.compress(b"let a = 1;\n" * 100))
    (root / ".hidden").write_text("x")
    (tmp_path / "secret.txt").write_text("sesame")
    return root


class TestPage:
    async def test_the_index_is_served_and_asked_for_anew(self, start_site: StartSite, built: Path) -> None:
        site = await start_site(web_root=built)
        async with site.client.get("/") as response:
            assert (response.status, response.content_type) == (200, "text/html")
            assert "<title>Hubbub</title>" in await response.text()
            assert response.headers["Cache-Control"] == "no-cache"
            tag = response.headers["ETag"]
        async with site.client.get("/", headers={"If-None-Match": tag}) as response:
            assert response.status == 304

    async def test_assets_are_kept_for_good_and_come_packed(self, start_site: StartSite, built: Path) -> None:
        site = await start_site(web_root=built)
        async with site.client.get("/assets/index-abc123.js") as response:
            assert "immutable" in response.headers["Cache-Control"]
            assert response.content_type.endswith("/javascript")
            assert response.headers["Content-Encoding"] == "gzip"
            assert (await response.text()).startswith("let a = 1;")

    async def test_other_files_are_asked_for_anew(self, start_site: StartSite, built: Path) -> None:
        site = await start_site(web_root=built)
        async with site.client.get("/favicon.svg") as response:
            assert (response.status, response.headers["Cache-Control"]) == (200, "no-cache")

    async def test_the_index_of_a_directory_is_served_at_the_directory(
        self, start_site: StartSite, built: Path
    ) -> None:
        site = await start_site(web_root=built)
        async with site.client.get("/admin", allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (302, "/admin/")
        async with site.client.get("/admin/") as response:
            assert (response.status, response.content_type) == (200, "text/html")
            assert "<title>Administration</title>" in await response.text()
            assert response.headers["Cache-Control"] == "no-cache"

    @pytest.mark.parametrize("path", ["/", "/admin/", "/favicon.svg", "/assets/index-abc123.js"])
    async def test_the_browser_is_told_to_be_careful(self, start_site: StartSite, built: Path, path: str) -> None:
        site = await start_site(web_root=built)
        async with site.client.get(path) as response:
            policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
            assert policy["default-src"] == "'self'"
            assert policy["connect-src"] == "'self' ws: wss:"
            assert policy["frame-ancestors"] == "'none'"
            assert "unsafe" not in str(policy)
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Referrer-Policy"] == "no-referrer"

    @pytest.mark.parametrize(
        "path",
        [
            "/../secret.txt",
            "/%2e%2e/secret.txt",
            "/assets/..%2f..%2fsecret.txt",
            "/assets/../../secret.txt",
            "/.hidden",
            "/assets",
            "/assets/",
            "/admin/index.html",
            "/assets/index-abc123.js.gz",
        ],
    )
    async def test_nothing_else_is_served(self, start_site: StartSite, built: Path, path: str) -> None:
        site = await start_site(web_root=built)
        server = site.client.server
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        assert answer.split(b" ", 2)[1] == b"404"
        assert b"sesame" not in answer


class TestHint:
    async def test_without_a_build_the_page_says_how_to_make_one(self, start_site: StartSite) -> None:
        site = await start_site()
        async with site.client.get("/") as response:
            text = await response.text()
            assert (response.status, response.content_type) == (200, "text/html")
        assert "Hubbub is running" in text
        assert "make web" in text

    def test_a_directory_without_an_index_is_no_build(self, tmp_path: Path) -> None:
        (tmp_path / "other.js").write_text("")
        assert list_files(tmp_path) == {}
