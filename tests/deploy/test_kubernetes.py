"""The resources of Kubernetes: what refers to something finds it, and Nginx' command is run as it is there."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.support.deployed import DEPLOY, documents, of_kind, one_document
from tests.support.nginx import find_nginx, nginx_conf, write_certificate

HOME: Final = DEPLOY / "kubernetes"
KUBECTL = shutil.which("kubectl")
WORK: Final = "/var/lib/hubbub-nginx"
NOT_APPLIED: Final = {"kustomization.yaml", "prometheus-adapter.yaml"}


def resources() -> list[Any]:
    return [each for path in sorted(HOME.glob("*.yaml")) if path.name not in NOT_APPLIED for each in documents(path)]


def pod(kind: str, name: str) -> Any:
    return of_kind(kind, name)["spec"]["template"]["spec"]


def container(kind: str, name: str) -> Any:
    [found] = pod(kind, name)["containers"]
    return found


def matches(selector: dict[str, str], kind: str, name: str) -> bool:
    labels: dict[str, str] = of_kind(kind, name)["spec"]["template"]["metadata"]["labels"]
    return selector.items() <= labels.items()


class TestTheWhole:
    def test_every_file_is_applied(self) -> None:
        kustomization = one_document(HOME / "kustomization.yaml")
        assert set(kustomization["resources"]) == {path.name for path in HOME.glob("*.yaml")} - NOT_APPLIED

    @pytest.mark.parametrize("kind", ["PodDisruptionBudget", "NetworkPolicy"])
    def test_both_kinds_of_pods_have_one(self, kind: str) -> None:
        for owner, name in (("StatefulSet", "hubbub"), ("Deployment", "nginx")):
            spec = of_kind(kind, name)["spec"]
            assert matches((spec.get("selector") or spec["podSelector"])["matchLabels"], owner, name)
            assert matches(of_kind(owner, name)["spec"]["selector"]["matchLabels"], owner, name)

    @pytest.mark.parametrize(("kind", "name"), [("StatefulSet", "hubbub"), ("Deployment", "nginx")])
    def test_pods_are_restricted(self, kind: str, name: str) -> None:
        """As the namespace asks: it would not let others in."""
        spec = pod(kind, name)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        context = container(kind, name)["securityContext"]
        assert context == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


class TestNodes:
    def test_their_names_stay_and_their_service_is_the_headless_one(self) -> None:
        spec = of_kind("StatefulSet", "hubbub")["spec"]
        assert of_kind("Service", spec["serviceName"])["spec"]["clusterIP"] == "None"

    def test_the_autoscaler_has_their_number(self) -> None:
        assert "replicas" not in of_kind("StatefulSet", "hubbub")["spec"]
        spec = of_kind("HorizontalPodAutoscaler", "hubbub")["spec"]
        assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "hubbub"}
        assert spec["minReplicas"] >= 3

    def test_probes_ask_for_what_there_is(self) -> None:
        found = container("StatefulSet", "hubbub")
        [port] = found["ports"]
        paths = {name: found[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert {probe["port"] for probe in paths.values()} == {port["name"]}
        assert port["containerPort"] == 8000
        # A restart heals no store, so nothing that kills looks at /readyz.
        assert {name: probe["path"] for name, probe in paths.items()} == {
            "startupProbe": "/healthz",
            "livenessProbe": "/healthz",
            "readinessProbe": "/readyz",
        }
        assert "lifecycle" not in found

    def test_only_nginx_and_prometheus_get_in(self) -> None:
        [rule] = of_kind("NetworkPolicy", "hubbub")["spec"]["ingress"]
        names = [each["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for each in rule["from"]]
        assert names == ["nginx", "prometheus"]
        assert rule["ports"] == [{"port": 8000}]


class TestNginx:
    def test_there_is_a_service_and_a_line_for_each_node_that_may_be(self) -> None:
        names = [f"hubbub-{n}" for n in range(of_kind("HorizontalPodAutoscaler", "hubbub")["spec"]["maxReplicas"])]
        for name in names:
            spec = of_kind("Service", name)["spec"]
            assert spec["selector"] == {"statefulset.kubernetes.io/pod-name": name}
            assert spec["publishNotReadyAddresses"] is True
            assert spec["ports"] == [{"name": "http", "port": 8000}]
        one_by_one = [each for each in resources() if re.fullmatch(r"hubbub-\d", each["metadata"]["name"])]
        assert len(one_by_one) == len(names)
        named = [word for name in names for word in ("--node", f"{name}={name}:8000")]
        mounts = {each["name"]: each["mountPath"] for each in container("Deployment", "nginx")["volumeMounts"]}
        keys = ("--tls-cert", f"{mounts['certificate']}/tls.crt", "--tls-key", f"{mounts['certificate']}/tls.key")
        written = nginx_conf(*named, "--directory", mounts["work"], *keys)
        assert (HOME / "nginx.conf").read_text(encoding="utf-8") == written.stdout

    def test_ports_below_1024_are_allowed_to_it(self) -> None:
        assert pod("Deployment", "nginx")["securityContext"]["sysctls"] == [
            {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
        ]

    async def test_its_command_starts_it_and_its_logs_are_those_of_the_container(self, tmp_path: Path) -> None:
        """Everything as in the pod, but for where it is, the ports, and the addresses of nodes."""
        work = tmp_path / "work"
        work.mkdir()
        certificate, key = write_certificate(tmp_path, "chat.example.org")
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
            https, http = one.getsockname()[1], two.getsockname()[1]
        text = (HOME / "nginx.conf").read_text(encoding="utf-8")
        for before, after in {
            WORK: str(work),
            "/etc/hubbub-tls/tls.crt": certificate,
            "/etc/hubbub-tls/tls.key": key,
            "listen 80;": f"listen 127.0.0.1:{http};",
            "listen 443 ssl http2;": f"listen 127.0.0.1:{https} ssl http2;",
        }.items():
            assert before in text
            text = text.replace(before, after)
        text = re.sub(r"(?m)^ *listen \[::\].*\n", "", text)
        path = tmp_path / "nginx.conf"
        path.write_text(re.sub(r"server hubbub-\d:8000", "server 127.0.0.1:1", text), encoding="utf-8")
        found = container("Deployment", "nginx")
        command = [
            word.replace("/etc/hubbub/nginx.conf", str(path)).replace("exec nginx", f"exec {find_nginx()}")
            for word in found["command"]
        ]
        assert found["workingDir"] == WORK
        process = await asyncio.create_subprocess_exec(
            *command, cwd=work, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(30), aiohttp.ClientSession() as session:
                while True:
                    try:
                        async with session.get(
                            f"https://127.0.0.1:{https}/socket.io/?EIO=4&transport=polling", ssl=False
                        ) as answer:
                            assert answer.status == 503
                        break
                    except aiohttp.ClientConnectionError:
                        await asyncio.sleep(0.05)
                while b'"GET /socket.io/ HTTP/1.1" 503' not in (line := await process.stdout.readline()):
                    assert line, "it ended, and the log has no such line"
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.communicate(), 20)


if KUBECTL is not None:  # Debian has it in no package that tests may ask for; where it is absent, so is this.

    class TestKustomizeItself:
        def test_it_takes_everything(self) -> None:
            assert KUBECTL is not None
            done = subprocess.run([KUBECTL, "kustomize", HOME], capture_output=True, text=True, timeout=60, check=False)
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout.count("\nkind: ") == len(resources()) + 2
