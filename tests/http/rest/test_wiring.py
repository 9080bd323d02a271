"""The surface as a whole: every operation has its route, and no route is without an operation."""

from __future__ import annotations

from hubbub.http.rest.operations import OPERATIONS
from tests.support.restsites import RestSite
from tests.support.sites import Site, StartSite


def routes(site: RestSite | Site) -> set[tuple[str, str]]:
    """Methods and paths."""
    app = site.client.app
    return {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.method != "HEAD" and route.resource is not None
    }


class TestRoutes:
    """The table and the application say the same."""

    async def test_every_operation_is_served(self, site: RestSite, start_site: StartSite) -> None:
        plain = await start_site()
        served = routes(site) | routes(plain)
        assert {(one.method, one.path) for one in OPERATIONS} == served - {("GET", "/")}

    async def test_what_asks_for_a_token_refuses_those_without(self, site: RestSite) -> None:
        for one in OPERATIONS:
            if one.token:
                async with site.client.request(one.method, one.path.replace("{id}", "tea")) as response:
                    assert (response.status, (await response.json())["code"]) == (401, "unauthorized")
