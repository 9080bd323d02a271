"""`GET /api/spec` as it is served."""

from __future__ import annotations

import pytest

from hubbub.http.spec.serving import pages
from tests.support.sites import StartSite

PATHS = {
    "getSpecification": "/api/spec",
    "getOpenapi": "/api/spec/openapi.json",
    "getAsyncapi": "/api/spec/asyncapi.json",
}


class TestServing:
    """Without a token, and once for those who have it."""

    @pytest.mark.parametrize("name", PATHS)
    async def test_a_page_is_sent_once(self, start_site: StartSite, name: str) -> None:
        site = await start_site()
        async with site.client.get(PATHS[name]) as response:
            assert (response.status, response.content_type) == (200, "application/json")
            assert await response.read() == pages()[name].body
            tag = response.headers["ETag"]
        for known in (tag, f'"other", {tag}', f"W/{tag}", "*"):
            async with site.client.get(PATHS[name], headers={"If-None-Match": known}) as response:
                assert (response.status, response.headers["ETag"], await response.read()) == (304, tag, b"")
        async with site.client.get(PATHS[name], headers={"If-None-Match": '"other"'}) as response:
            assert response.status == 200

    def test_it_is_made_once(self) -> None:
        assert pages() is pages()
        assert len({page.etag for page in pages().values()}) == 3
