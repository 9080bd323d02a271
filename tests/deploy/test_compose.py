"""The compose files: what refers to something finds it, and Nginx' table is of the nodes that are there."""

from __future__ import annotations

import ipaddress
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.conformance import find_node
from tests.support.deployed import DEPLOY, one_document
from tests.support.nginx import check_configuration, nginx_conf

NAMES: Final = ("compose.yaml", "compose.cluster.yaml")
NODES: Final = ("n1", "n2", "n3")


def compose(name: str) -> Any:
    return one_document(DEPLOY / name)


def services(name: str) -> dict[str, Any]:
    found: dict[str, Any] = compose(name)["services"]
    return found


class TestEachFile:
    @pytest.mark.parametrize("name", NAMES)
    def test_what_it_mounts_is_there(self, name: str) -> None:
        declared = set(compose(name)["volumes"])
        used = set()
        for service in services(name).values():
            for source, target, *mode in (volume.split(":") for volume in service.get("volumes", ())):
                assert target.startswith("/")
                if source.startswith("./"):
                    assert (DEPLOY / source).exists()
                    assert mode == ["ro"]
                else:
                    used.add(source)
        assert used == declared

    @pytest.mark.parametrize("name", NAMES)
    def test_what_it_waits_for_is_there(self, name: str) -> None:
        for service in services(name).values():
            assert set(service.get("depends_on", ())) <= services(name).keys()

    @pytest.mark.parametrize("name", NAMES)
    def test_nothing_is_open_to_other_machines(self, name: str) -> None:
        """None of it speaks TLS."""
        ports = [port for service in services(name).values() for port in service.get("ports", ())]
        assert ports
        assert [port for port in ports if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)] == []

    @pytest.mark.parametrize("name", NAMES)
    def test_what_others_made_has_a_version(self, name: str) -> None:
        others = [each["image"] for each in services(name).values() if "build" not in each]
        assert [image for image in others if not re.search(r":v?\d+\.\d+", image)] == []

    @pytest.mark.parametrize("name", NAMES)
    def test_nodes_can_do_little(self, name: str) -> None:
        nodes = [each for each in services(name).values() if each["image"] == "hubbub"]
        for node in nodes:
            assert (DEPLOY / node["build"]["context"] / node["build"]["dockerfile"]).samefile(DEPLOY / "Dockerfile")
            assert (node["init"], node["read_only"], node["cap_drop"]) == (True, True, ["ALL"])
            assert node["security_opt"] == ["no-new-privileges:true"]
            assert node["ulimits"]["nofile"]["soft"] >= 65536

    def test_the_history_of_one_node_is_in_a_volume(self) -> None:
        [service] = services("compose.yaml").values()
        assert service["volumes"] == ["data:/var/lib/hubbub"]


class TestTheCluster:
    def test_addresses_are_fixed_and_nginx_is_the_only_proxy(self) -> None:
        cluster = services("compose.cluster.yaml")
        [network] = compose("compose.cluster.yaml")["networks"]["chat"]["ipam"]["config"]
        fixed = {
            name: each["networks"]["chat"]["ipv4_address"]
            for name, each in cluster.items()
            if isinstance(each["networks"], dict)
        }
        assert fixed.keys() == {"nginx", *NODES}
        assert len(set(fixed.values())) == len(fixed)
        assert all(ipaddress.ip_address(each) in ipaddress.ip_network(network["subnet"]) for each in fixed.values())
        assert {cluster[name]["environment"]["HUBBUB_TRUSTED_PROXIES"] for name in NODES} == {fixed["nginx"]}
        assert [cluster[name]["environment"]["HUBBUB_NODE"] for name in NODES] == list(NODES)

    def test_nginx_has_the_table_of_these_nodes(self, tmp_path: Path) -> None:
        cluster = services("compose.cluster.yaml")
        named = []
        for name in NODES:
            named += ["--node", f"{name}={cluster[name]['networks']['chat']['ipv4_address']}:8000"]
        written = nginx_conf(*named, "--listen", "8080")
        path = DEPLOY / "compose" / "nginx.conf"
        assert path.read_text(encoding="utf-8") == written.stdout
        assert cluster["nginx"]["ports"] == ["127.0.0.1:8080:8080"]
        tried = tmp_path / "nginx.conf"
        tried.write_text(written.stdout.replace("/run/", f"{tmp_path}/").replace("/var/log/nginx/", f"{tmp_path}/"))
        assert check_configuration(tried, directory=tmp_path) == ""

    def test_the_members_of_the_replica_set_are_those_that_the_nodes_know(self) -> None:
        cluster = services("compose.cluster.yaml")
        script = (DEPLOY / "compose" / "replica-set.js").read_text(encoding="utf-8")
        members = sorted(name for name, each in cluster.items() if each.get("command", [""])[0] == "mongod")
        assert re.findall(r"'(mongo\d)'", script) == members
        store = cluster["n1"]["environment"]["HUBBUB_STORE"]
        assert store == f"mongodb://{','.join(members)}/hubbub?replicaSet=rs0"
        assert all(cluster[name]["command"][1:3] == ["--replSet", "rs0"] for name in members)
        assert "_id: 'rs0'" in script

    @pytest.mark.parametrize("state", ["there", "new", "away"])
    def test_the_replica_set_is_made_once(self, state: str, tmp_path: Path) -> None:
        """Run with what mongosh has in its place: what a server says is as its manual has it."""
        shell = f"""
            const state = {{ name: {state!r} }}
            globalThis.sleep = () => {{}}
            globalThis.print = console.log
            globalThis.rs = {{
              status() {{
                if (state.name === 'new') throw Object.assign(new Error(), {{ codeName: 'NotYetInitialized' }})
                if (state.name === 'away') throw Object.assign(new Error(), {{ codeName: 'HostUnreachable' }})
                return {{ members: [{{ stateStr: 'SECONDARY' }}, {{ stateStr: 'PRIMARY' }}] }}
              }},
              initiate(set) {{
                console.log(set._id, set.members.map((each) => each.host).join())
                state.name = 'there'
              }},
            }}
        """
        path = tmp_path / "run.cjs"
        path.write_text(shell + (DEPLOY / "compose" / "replica-set.js").read_text(encoding="utf-8"), encoding="utf-8")
        done = subprocess.run([find_node(), path], capture_output=True, text=True, timeout=30, check=False)
        made = "rs0 mongo1:27017,mongo2:27017,mongo3:27017\nrs0 is made\n"
        assert (done.returncode, done.stdout) == {"there": (0, "rs0 is there\n"), "new": (0, made), "away": (1, "")}[
            state
        ]
