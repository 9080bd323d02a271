"""Rules and the dashboard ask for metrics that there are, with labels that they have."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.chat import chat_client
from tests.support.deployed import DEPLOY, documents, one_document
from tests.support.service import running_service
from tests.support.tree import ROOT

TABLE: Final = re.compile(r"^\| `(hubbub_\w+)` \| (\w+) \|", re.MULTILINE)
OTHERS: Final = {"up"}
PROMTOOL: Final = shutil.which("promtool")
CASES: Final = Path(__file__).with_name("alerts.yml")
OUTSIDE: Final = {"instance", "job", "le", "pod", "namespace", "exported_namespace"}
"""What Prometheus itself adds."""
LABELS: Final = {
    "hubbub_connections": {"namespace"},
    "hubbub_connects_total": {"namespace", "code"},
    "hubbub_links_closed_total": {"code"},
    "hubbub_events_total": {"event", "code"},
    "hubbub_event_seconds": {"event"},
    "hubbub_requests_total": {"operation", "code"},
    "hubbub_request_seconds": {"operation"},
    "hubbub_filter_verdicts_total": {"filter", "verdict"},
    "hubbub_history_reads_total": {"kind"},
    "hubbub_control_records_total": {"kind"},
    "hubbub_readiness": {"status"},
}


def metrics() -> dict[str, str]:
    """Names and types, as they are told to those who look things up."""
    return dict(TABLE.findall((ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")))


def series() -> dict[str, str]:
    """Every name that can be asked for, and its metric."""
    found = {}
    for name, kind in metrics().items():
        for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
            found[name + suffix] = name
    return found


def wrong(expression: str) -> list[str]:
    """What an expression asks for that is not there; a counter without `rate` too, as its height says nothing."""
    known = series()
    bare = re.sub(r'"[^"]*"', '""', expression)
    names = set(re.findall(r"\bhubbub_\w+", bare))
    found = sorted(names - known.keys())
    allowed = OUTSIDE.union(*(LABELS.get(known[name], set()) for name in names & known.keys()))
    asked = {label for group in re.findall(r"\{([^}]*)\}", bare) for label in re.findall(r"(\w+)\s*[=!]", group)}
    asked |= {label for group in re.findall(r"\bby \(([^)]*)\)", bare) for label in re.findall(r"\w+", group)}
    found += sorted(asked - allowed)
    for name in names & known.keys():
        if metrics()[known[name]] != "gauge" and not re.search(rf"\brate\({name}\b", bare):
            found.append(f"{name} without rate")
    if not names and not OTHERS & set(re.findall(r"\w+", bare)):
        found.append("no metric")
    if bare.count("(") != bare.count(")"):
        found.append("parentheses")
    return found


def alerts() -> list[Any]:
    return [
        rule for group in one_document(DEPLOY / "prometheus" / "hubbub.rules.yml")["groups"] for rule in group["rules"]
    ]


def dashboard() -> Any:
    return json.loads((DEPLOY / "grafana" / "hubbub.json").read_text(encoding="utf-8"))


def panels() -> list[Any]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


class TestTheCheck:
    @pytest.mark.parametrize(
        "expression",
        [
            "hubbub_conections",
            "rate(hubbub_event_seconds[5m])",
            'rate(hubbub_events_total{verb="send"}[5m])',
            "sum by (user) (hubbub_users)",
            "hubbub_messages_total",
            "sum(hubbub_users",
            "1 + 1",
        ],
    )
    def test_it_finds_what_is_wrong(self, expression: str) -> None:
        assert wrong(expression) != []

    async def test_what_it_knows_of_labels_is_so(self, tmp_path: Path) -> None:
        async with running_service(tmp_path) as service, aiohttp.ClientSession() as http:
            token = service.token(user="ada")
            async with chat_client(service.url, token) as client:
                await client.ok("room:create", {"kind": "public", "id": "tea", "title": "Tea"})
                await client.ok("room:join", {"room": "tea"})
                async with http.get(f"{service.url}/api/rooms", headers={"Authorization": f"Bearer {token}"}) as answer:
                    assert answer.status == 200
                async with http.get(f"{service.url}/metrics") as answer:
                    text = await answer.text()
        found: dict[str, set[str]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    name = series().get(sample.name, sample.name)
                    found.setdefault(name, set()).update(sample.labels.keys() - {"le"})
        assert found.keys() <= metrics().keys()
        assert found == {name: LABELS.get(name, set()) for name in found}
        assert {"hubbub_connections", "hubbub_events_total", "hubbub_request_seconds"} <= found.keys()


class TestRules:
    @pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
    def test_each_asks_for_what_there_is_and_says_what_to_do(self, rule: Any) -> None:
        assert wrong(rule["expr"]) == []
        assert re.fullmatch(r"\d+[sm]", rule["for"])
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"].keys() == {"summary", "action"}

    def test_they_have_names_of_their_own(self) -> None:
        names = [rule["alert"] for rule in alerts()]
        assert len(set(names)) == len(names) > 5

    def test_there_is_a_case_for_each(self) -> None:
        told = set(re.findall(r"\bHubbub\w+", CASES.read_text(encoding="utf-8")))
        assert told == {rule["alert"] for rule in alerts()}

    def test_prometheus_loads_them_and_asks_every_node(self) -> None:
        config = one_document(DEPLOY / "prometheus" / "prometheus.yml")
        assert all((DEPLOY / "prometheus" / name).exists() for name in config["rule_files"])
        [job] = config["scrape_configs"]
        assert {f'job="{job["job_name"]}"'} == set(re.findall(r'job="\w+"', json.dumps(alerts()).replace("\\", "")))
        services = one_document(DEPLOY / "compose.cluster.yaml")["services"]
        nodes = [f"{name}:8000" for name, each in services.items() if each["image"] == "hubbub"]
        assert [target for each in job["static_configs"] for target in each["targets"]] == nodes


class TestDashboard:
    @pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
    def test_each_panel_asks_for_what_there_is(self, panel: Any) -> None:
        assert panel["targets"]
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$instance", "")
            assert wrong(expression) == []
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", expression))))
            assert not kept or shown <= kept

    def test_every_metric_is_on_it(self) -> None:
        text = json.dumps(dashboard())
        assert [name for name in metrics() if not re.search(rf"\b{name}(_bucket|_sum|_count)?\b", text)] == []

    def test_no_two_panels_lie_upon_each_other(self) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in dashboard()["panels"]:
            place = panel["gridPos"]
            cells = set(_cells(place))
            assert place["x"] + place["w"] <= 24
            assert not taken & cells, panel["title"]
            taken |= cells
        assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])

    def test_grafana_finds_it_and_its_source(self) -> None:
        provisioning = DEPLOY / "grafana" / "provisioning"
        [provider] = one_document(provisioning / "dashboards" / "hubbub.yml")["providers"]
        services = one_document(DEPLOY / "compose.cluster.yaml")["services"]
        target = f"{provider['options']['path']}/hubbub.json"
        assert f"./grafana/hubbub.json:{target}:ro" in services["grafana"]["volumes"]
        [source] = one_document(provisioning / "datasources" / "prometheus.yml")["datasources"]
        assert source["url"] == "http://prometheus:9090"
        assert "prometheus" in services


class TestTheNumberThatScales:
    def test_the_adapter_makes_what_the_autoscaler_asks_for(self) -> None:
        [rule] = one_document(DEPLOY / "kubernetes" / "prometheus-adapter.yaml")["rules"]["custom"]
        [scaler] = documents(DEPLOY / "kubernetes" / "scaling.yaml")
        assert scaler["spec"]["metrics"][0]["pods"]["metric"]["name"] == rule["name"]["as"]
        assert wrong(rule["seriesQuery"]) == []
        assert rule["name"]["as"] in metrics()


if PROMTOOL is not None:  # Debian's package starts a server wherever it is installed; where it is absent, so are these.

    class TestPrometheusItself:
        def said(self, *arguments: str | Path) -> str:
            """What is wrong, in its words."""
            assert PROMTOOL is not None
            done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, timeout=60, check=False)
            return "" if done.returncode == 0 else done.stdout + done.stderr

        def test_it_takes_the_configuration_and_the_rules(self) -> None:
            assert self.said("check", "config", DEPLOY / "prometheus" / "prometheus.yml") == ""

        def test_each_alert_comes_when_it_should_and_not_for_what_heals_by_itself(self) -> None:
            assert self.said("test", "rules", CASES) == ""

        def test_it_understands_every_panel(self, tmp_path: Path) -> None:
            asked = [
                target["expr"].replace("$__rate_interval", "1m").replace("$instance", "n1|n2")
                for panel in panels()
                for target in panel["targets"]
            ]
            rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(asked)]
            path = tmp_path / "panels.json"  # Which is YAML too.
            path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
            assert self.said("check", "rules", path) == ""


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y
