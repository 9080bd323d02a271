"""`/healthz` and `/readyz`."""

from __future__ import annotations

import pytest

from hubbub.http.health import Readiness
from tests.support.sites import StartSite

STRANGER = {"X-Forwarded-For": "203.0.113.7"}


class TestLife:
    async def test_the_process_lives_whatever_its_readiness(self, start_site: StartSite) -> None:
        site = await start_site()
        site.readiness = Readiness("draining")
        async with site.client.get("/healthz", headers=STRANGER) as response:
            assert (response.status, await response.json()) == (200, {"status": "alive"})
            assert response.headers["Cache-Control"] == "no-store"


class TestReadiness:
    @pytest.mark.parametrize(
        ("status", "code"), [("ready", 200), ("degraded", 200), ("starting", 503), ("draining", 503)]
    )
    async def test_a_node_is_ready_while_it_takes_clients(self, start_site: StartSite, status: str, code: int) -> None:
        site = await start_site()
        site.readiness = Readiness(status, ("a reason",))  # type: ignore[arg-type]
        async with site.client.get("/readyz") as response:
            assert response.status == code
            assert await response.json() == {"status": status, "reasons": ["a reason"]}

    async def test_strangers_are_told_no_reasons(self, start_site: StartSite) -> None:
        site = await start_site()
        site.readiness = Readiness("degraded", ("the store is away",))
        async with site.client.get("/readyz", headers=STRANGER) as response:
            assert (response.status, await response.json()) == (200, {"status": "degraded"})

    async def test_strangers_are_told_reasons_where_the_operator_wants_it(self, start_site: StartSite) -> None:
        site = await start_site(health_details="all")
        async with site.client.get("/readyz", headers=STRANGER) as response:
            assert await response.json() == {"status": "ready", "reasons": []}
