"""`/metrics`: for Prometheus on this machine."""

from __future__ import annotations

from tests.support.sites import StartSite

STRANGER = {"X-Forwarded-For": "203.0.113.7"}


class TestMetrics:
    async def test_they_are_text_that_prometheus_reads(self, start_site: StartSite) -> None:
        site = await start_site()
        async with site.client.get("/metrics") as response:
            assert response.headers["Content-Type"].startswith("text/plain; version=")
            assert "hubbub_tests_total 3.0" in (await response.text()).splitlines()

    async def test_the_open_form_is_given_to_those_who_ask(self, start_site: StartSite) -> None:
        site = await start_site()
        async with site.client.get("/metrics", headers={"Accept": "application/openmetrics-text"}) as response:
            assert response.headers["Content-Type"].startswith("application/openmetrics-text")
            assert (await response.text()).endswith("# EOF\n")

    async def test_strangers_do_not_learn_that_there_are_any(self, start_site: StartSite) -> None:
        site = await start_site()
        async with site.client.get("/metrics", headers=STRANGER) as response:
            assert response.status == 404
            assert (await response.json())["code"] == "not_found"

    async def test_they_are_for_all_where_the_operator_wants_it(self, start_site: StartSite) -> None:
        site = await start_site(metrics_access="all")
        async with site.client.get("/metrics", headers=STRANGER) as response:
            assert response.status == 200
