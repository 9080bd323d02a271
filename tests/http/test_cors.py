"""Which pages may use the API."""

from __future__ import annotations

import pytest
from aiohttp import web

from hubbub.errors import HubbubError
from hubbub.http.cors import is_same_origin
from tests.support.sites import Site, StartSite

PAGE = "https://chat.example.org"
FOREIGN = "https://evil.example"


async def guest(site: Site, origin: str) -> tuple[int, dict[str, str]]:
    async with site.client.post("/api/guest", json={"name": "Zoe"}, headers={"Origin": origin}) as response:
        return response.status, dict(response.headers)


async def preflight(site: Site, origin: str) -> tuple[int, dict[str, str]]:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    async with site.client.options("/api/guest", headers=headers) as response:
        return response.status, dict(response.headers)


class TestPages:
    async def test_the_services_own_page_may(self, start_site: StartSite) -> None:
        site = await start_site()
        status, headers = await guest(site, str(site.client.make_url("")).rstrip("/"))
        assert (status, headers["Vary"]) == (200, "Origin")

    async def test_a_page_that_is_listed_may_and_its_browser_is_told(self, start_site: StartSite) -> None:
        site = await start_site(origins=(PAGE,))
        status, headers = await guest(site, PAGE)
        assert (status, headers["Access-Control-Allow-Origin"]) == (200, PAGE)
        assert headers["Access-Control-Allow-Credentials"] == "true"

    @pytest.mark.parametrize("origin", [FOREIGN, "null", "http://chat.example.org", f"{PAGE}.evil.example", "x"])
    async def test_any_other_page_may_not(self, start_site: StartSite, origin: str) -> None:
        site = await start_site(origins=(PAGE,))
        status, headers = await guest(site, origin)
        assert status == 403
        assert "Access-Control-Allow-Origin" not in headers

    async def test_where_all_may_nobodys_cookies_are_sent(self, start_site: StartSite) -> None:
        site = await start_site(origins=("*",))
        status, headers = await guest(site, FOREIGN)
        assert (status, headers["Access-Control-Allow-Origin"]) == (200, "*")
        assert "Access-Control-Allow-Credentials" not in headers

    async def test_what_is_no_page_is_not_asked_for_an_origin(self, start_site: StartSite) -> None:
        site = await start_site()
        async with site.client.post("/api/guest", json={"name": "Zoe"}) as response:
            assert response.status == 200

    async def test_a_foreign_page_does_not_reach_the_handler(self, start_site: StartSite) -> None:
        reached = []

        async def handler(request: web.Request) -> web.Response:
            reached.append(request.path)
            return web.Response()

        site = await start_site(handlers={"/api/x": handler})
        async with site.client.get("/api/x", headers={"Origin": FOREIGN}) as response:
            assert (response.status, (await response.json())["code"]) == (403, "forbidden")
        assert reached == []

    async def test_a_page_that_may_can_read_why_it_was_refused(self, start_site: StartSite) -> None:
        async def handler(request: web.Request) -> web.Response:
            raise HubbubError("not_found")

        site = await start_site(origins=(PAGE,), handlers={"/api/x": handler})
        for path in ("/api/x", "/api/none"):
            async with site.client.get(path, headers={"Origin": PAGE}) as response:
                assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (404, PAGE)

    async def test_outside_the_api_no_origin_is_refused(self, start_site: StartSite) -> None:
        site = await start_site()
        async with site.client.get("/healthz", headers={"Origin": FOREIGN}) as response:
            assert response.status == 200
            assert "Access-Control-Allow-Origin" not in response.headers


class TestPreflight:
    async def test_a_listed_page_is_told_what_it_may(self, start_site: StartSite) -> None:
        site = await start_site(origins=(PAGE,))
        status, headers = await preflight(site, PAGE)
        assert (status, headers["Access-Control-Allow-Origin"]) == (204, PAGE)
        assert "POST" in headers["Access-Control-Allow-Methods"]
        allowed = headers["Access-Control-Allow-Headers"].lower()
        assert all(name in allowed for name in ("authorization", "content-type", "idempotency-key"))

    async def test_a_foreign_page_is_told_nothing(self, start_site: StartSite) -> None:
        site = await start_site(origins=(PAGE,))
        status, headers = await preflight(site, FOREIGN)
        assert status == 403
        assert "Access-Control-Allow-Methods" not in headers


class TestSameOrigin:
    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("https://chat.example.org", "chat.example.org"),
            ("https://chat.example.org", "chat.example.org:443"),
            ("http://chat.example.org", "Chat.Example.org"),
            ("http://localhost:8000", "localhost:8000"),
            ("http://[::1]:8000", "[::1]:8000"),
        ],
    )
    def test_the_host_is_the_one_the_page_came_from(self, origin: str, host: str) -> None:
        assert is_same_origin(origin, host)

    @pytest.mark.parametrize(
        ("origin", "host"),
        [
            ("https://chat.example.org", "chat.example.org:80"),
            ("http://localhost:3000", "localhost:8000"),
            ("null", "localhost"),
            ("", ""),
            ("file://", ""),
            ("https://[::1", "[::1]"),
            ("https://user@chat.example.org", "chat.example.org"),
        ],
    )
    def test_another_host_or_port_is_foreign(self, origin: str, host: str) -> None:
        assert not is_same_origin(origin, host)
