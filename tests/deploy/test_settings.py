"""Whatever deploy/ sets for the service is a setting of it, with a value that it takes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from hubbub.settings import Settings, SettingsError, load
from tests.support.deployed import DEPLOY, env_of_image, of_kind, one_document, seconds, unit

SECRETS: Final = {
    "store": "mongodb://mongo/hubbub?replicaSet=rs0",
    "redis": "redis://redis:6379/0",
    "jwt-secret": "a secret for tests, which is long enough",
}
MARGIN_S: Final = 10
"""What every supervisor leaves a node to finish writing, beside HUBBUB_DRAIN_S."""


def loaded(environ: Mapping[str, str]) -> Settings:
    return load({key: value for key, value in environ.items() if key.startswith("HUBBUB_")}, config=None, overrides={})


def compose_environ(service: Mapping[str, Any]) -> dict[str, str]:
    """With what is asked of the environment of whoever starts it, and the defaults there."""
    given = {"HUBBUB_JWT_SECRET": SECRETS["jwt-secret"]}
    filled = {
        key: re.sub(r"\$\{(\w+):[-?]([^}]*)\}", lambda match: given.get(match[1], match[2]), value)
        for key, value in service.get("environment", {}).items()
    }
    return {**env_of_image(), **filled}


def kubernetes_environ() -> dict[str, str]:
    [container] = of_kind("StatefulSet", "hubbub")["spec"]["template"]["spec"]["containers"]
    maps = {
        each["name"]: dict(literal.split("=", 1) for literal in each.get("literals", ()))
        for each in one_document(DEPLOY / "kubernetes" / "kustomization.yaml")["configMapGenerator"]
    }
    found = env_of_image()
    for source in container["envFrom"]:
        found.update(maps[source["configMapRef"]["name"]])
    for variable in container["env"]:
        source = variable["valueFrom"]
        assert source.keys() <= {"secretKeyRef", "fieldRef"}
        found[variable["name"]] = SECRETS[source["secretKeyRef"]["key"]] if "secretKeyRef" in source else "hubbub-0"
    return found


def systemd_environ() -> dict[str, str]:
    pairs = (value.split("=", 1) for value in unit("hubbub@.service")["Service"]["Environment"])
    return {key: value.replace("%i", "n1") for key, value in pairs}


class TestTheyAreSettings:
    def test_of_the_image(self) -> None:
        settings = loaded(env_of_image())
        assert (settings.host, settings.store) == ("0.0.0.0", "sqlite:////var/lib/hubbub/hubbub.db")

    def test_of_the_single_container(self) -> None:
        [service] = one_document(DEPLOY / "compose.yaml")["services"].values()
        assert loaded(compose_environ(service)).guests_on

    @pytest.mark.parametrize("name", ["n1", "n2", "n3"])
    def test_of_the_containers_of_a_cluster(self, name: str) -> None:
        services = one_document(DEPLOY / "compose.cluster.yaml")["services"]
        settings = loaded(compose_environ(services[name]))
        assert (settings.node, settings.redis) == (name, "redis://redis:6379/0")
        assert settings.guests_on
        assert settings.metrics_access == "all"

    def test_of_the_pods(self) -> None:
        settings = loaded(kubernetes_environ())
        assert (settings.node, settings.host) == ("hubbub-0", "0.0.0.0")
        assert settings.metrics_access == "all"

    def test_of_the_units(self) -> None:
        assert loaded(systemd_environ()).node == "n1"

    def test_a_name_that_is_none_would_be_found(self) -> None:
        with pytest.raises(SettingsError):
            loaded({**kubernetes_environ(), "HUBBUB_DRAIN": "20"})

    def test_kubernetes_adds_none_of_its_own(self) -> None:
        """For a Service of the name hubbub it would set HUBBUB_PORT to an address, and others."""
        assert of_kind("StatefulSet", "hubbub")["spec"]["template"]["spec"]["enableServiceLinks"] is False
        with pytest.raises(SettingsError):
            loaded({**kubernetes_environ(), "HUBBUB_PORT": "tcp://10.96.0.7:8000"})


class TestEverySupervisorWaitsLongEnough:
    def test_compose(self) -> None:
        for name in ("compose.yaml", "compose.cluster.yaml"):
            services = one_document(DEPLOY / name)["services"]
            nodes = [each for each in services.values() if each["image"] == "hubbub"]
            assert len(nodes) in (1, 3)
            for node in nodes:
                assert seconds(node["stop_grace_period"]) >= loaded(compose_environ(node)).drain_s + MARGIN_S

    def test_kubernetes(self) -> None:
        spec = of_kind("StatefulSet", "hubbub")["spec"]["template"]["spec"]
        assert spec["terminationGracePeriodSeconds"] >= loaded(kubernetes_environ()).drain_s + MARGIN_S

    def test_systemd(self) -> None:
        [stop] = unit("hubbub@.service")["Service"]["TimeoutStopSec"]
        assert seconds(stop) >= loaded(systemd_environ()).drain_s + MARGIN_S


class TestTheGuide:
    def test_every_setting_that_it_names_is_one(self) -> None:
        for path in [*DEPLOY.rglob("*.md"), *DEPLOY.rglob("*.service"), *Path(DEPLOY).rglob("*.y*ml")]:
            for name in set(re.findall(r"\bHUBBUB_([A-Z_]+)\b", path.read_text(encoding="utf-8"))):
                assert hasattr(loaded({}), name.lower()), f"{path.name}: HUBBUB_{name}"
