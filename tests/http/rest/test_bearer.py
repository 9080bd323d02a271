"""Where the token of a request is looked for, and who is kept out."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from hubbub.errors import HubbubError
from hubbub.http.rest.bearer import token_of
from tests.support.restsites import RestSite


def found(method: str, **headers: str) -> str:
    try:
        return token_of(make_mocked_request(method, "/api/rooms", headers=headers))
    except HubbubError as error:
        return f"<{error.code}>"


class TestToken:
    """The header first; the cookie only for what changes nothing; never the query."""

    @pytest.mark.parametrize(
        ("method", "headers", "token"),
        [
            ("GET", {"Authorization": "Bearer a.b.c"}, "a.b.c"),
            ("POST", {"Authorization": "bearer  a.b.c "}, "a.b.c"),
            ("GET", {"Authorization": "Bearer a.b.c", "Cookie": "hubbub_token=d.e.f"}, "a.b.c"),
            ("GET", {"Cookie": "hubbub_token=d.e.f"}, "d.e.f"),
            ("HEAD", {"Cookie": "hubbub_token=d.e.f"}, "d.e.f"),
            ("POST", {"Cookie": "hubbub_token=d.e.f"}, "<unauthorized>"),
            ("GET", {"Authorization": "Basic eDp5"}, "<unauthorized>"),
            ("GET", {"Authorization": "Bearer "}, "<unauthorized>"),
            ("GET", {"Authorization": "a.b.c"}, "<unauthorized>"),
            ("GET", {}, "<unauthorized>"),
        ],
    )
    def test_it_is_found_where_it_may_be(self, method: str, headers: dict[str, Any], token: str) -> None:
        assert found(method, **headers) == token

    async def test_it_is_not_taken_from_the_query(self, site: RestSite) -> None:
        async with site.client.get(f"/api/rooms?token={site.token()}") as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == "Bearer"


class TestGuard:
    """A token that is good for nothing any more is refused at every request."""

    async def test_whoever_is_kept_out_is_refused_from_the_next_request_on(self, site: RestSite) -> None:
        assert (await site.ask("GET", "/api/rooms"))[0] == 200
        site.outlaws.add("ada")
        status, error = await site.ask("GET", "/api/rooms")
        assert (status, error["code"]) == (403, "banned")
