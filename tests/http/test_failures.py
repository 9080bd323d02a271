"""Failures of HTTP requests are coded documents."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from hubbub.errors import CATALOGUE, Code, HubbubError
from tests.support.sites import StartSite


def raising(error: Exception) -> Any:
    async def handler(request: web.Request) -> web.Response:
        raise error

    return handler


class TestCodes:
    @pytest.mark.parametrize("code", CATALOGUE)
    async def test_each_code_has_its_status_and_document(self, start_site: StartSite, code: Code) -> None:
        error = HubbubError(code, retry_after=1.2)
        site = await start_site(handlers={"/api/x": raising(error)})
        async with site.client.get("/api/x") as response:
            assert (response.status, await response.json()) == (CATALOGUE[code].http_status, error.document())
            assert response.headers["Retry-After"] == "2"
            assert ("WWW-Authenticate" in response.headers) == (response.status == 401)

    async def test_outside_the_api_they_are_coded_too(self, start_site: StartSite) -> None:
        site = await start_site(handlers={"/x": raising(HubbubError("forbidden"))})
        async with site.client.get("/x") as response:
            assert (response.status, (await response.json())["code"]) == (403, "forbidden")


class TestRefusalsOfTheServer:
    @pytest.mark.parametrize("path", ["/api/none", "/api/", "/api/guest/x"])
    async def test_a_path_of_the_api_that_is_not_there_is_coded(self, start_site: StartSite, path: str) -> None:
        site = await start_site()
        async with site.client.get(path) as response:
            assert (response.status, (await response.json())["code"]) == (404, "not_found")

    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (web.HTTPUnauthorized(), 401, "unauthorized"),
            (web.HTTPForbidden(), 403, "forbidden"),
            (web.HTTPRequestEntityTooLarge(max_size=1, actual_size=2), 413, "too_large"),
            (web.HTTPUnsupportedMediaType(), 415, "bad_request"),
        ],
    )
    async def test_the_servers_own_refusals_are_coded(
        self, start_site: StartSite, error: web.HTTPException, status: int, code: str
    ) -> None:
        site = await start_site(handlers={"/api/x": raising(error)})
        async with site.client.get("/api/x") as response:
            assert (response.status, (await response.json())["code"]) == (status, code)

    async def test_elsewhere_they_are_left_as_they_are(self, start_site: StartSite) -> None:
        site = await start_site()
        async with site.client.get("/none") as response:
            assert (response.status, response.content_type) == (404, "text/plain")

    async def test_a_redirect_is_no_failure(self, start_site: StartSite) -> None:
        site = await start_site(handlers={"/api/x": raising(web.HTTPFound("/healthz"))})
        async with site.client.get("/api/x", allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (302, "/healthz")


class TestFaults:
    async def test_a_fault_is_told_without_detail_and_logged_without_the_query(
        self, start_site: StartSite, capsys: pytest.CaptureFixture[str]
    ) -> None:
        site = await start_site(handlers={"/api/x": raising(RuntimeError("sesame"))})
        async with site.client.get("/api/x?token=open") as response:
            assert (response.status, await response.json()) == (500, HubbubError("internal").document())
        logged = capsys.readouterr().out
        assert "RuntimeError: sesame" in logged
        assert "open" not in logged
