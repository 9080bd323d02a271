"""`hubbub nginx-conf`: Nginx itself takes what it prints, and says no to what it would not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.nginx import check_configuration, nginx_conf, write_certificate
from tests.support.tree import ROOT

TWO = ("--node", "n1=10.0.0.1:8000", "--node", "n2=10.0.0.2:8000")


def text_of(*arguments: str, **environ: str) -> str:
    result = nginx_conf(*arguments, environ=environ)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def refusal(*arguments: str, **environ: str) -> str:
    result = nginx_conf(*arguments, environ=environ)
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return write_certificate(tmp_path_factory.mktemp("tls"), "chat.example.org")


class TestNginxTakesIt:
    def check(self, tmp_path: Path, *arguments: str) -> str:
        path = tmp_path / "nginx.conf"
        path.write_text(text_of(*arguments, "--directory", str(tmp_path)), encoding="utf-8")
        return check_configuration(path, directory=tmp_path)

    def test_two_nodes(self, tmp_path: Path) -> None:
        assert self.check(tmp_path, *TWO, "--listen", "127.0.0.1:18080") == ""

    def test_two_hundred_nodes_of_the_longest_names(self, tmp_path: Path) -> None:
        table = tmp_path / "nodes.txt"
        table.write_text("".join(f"{number:-<32} 127.0.0.1:{number}\n" for number in range(1, 201)))
        assert self.check(tmp_path, "--nodes", str(table), "--listen", "127.0.0.1:18080") == ""

    def test_every_option(self, tmp_path: Path, certificate: tuple[str, str]) -> None:
        origins = f"https://{'a' * 60}.{'b' * 60}.{'c' * 60}.org,https://chat.example.org:8443"
        options = ["--server-name", "chat.example.org", "--server-name", "*.example.net", "--hsts", "31536000"]
        options += ["--tls-cert", certificate[0], "--tls-key", certificate[1], "--listen", "127.0.0.1:18443"]
        options += ["--redirect-from", "127.0.0.1:18080", "--origins", origins, "--connections-per-address", "0"]
        assert self.check(tmp_path, *TWO, *options) == ""

    def test_what_nginx_refuses_is_seen(self, tmp_path: Path) -> None:
        path = tmp_path / "nginx.conf"
        path.write_text("server_tokens maybe;")
        assert "server_tokens" in check_configuration(path, directory=tmp_path)


class TestText:
    def test_the_same_arguments_give_the_same_text(self) -> None:
        assert text_of(*TWO) == text_of(*TWO[2:], *TWO[:2])

    def test_nothing_is_left_unfilled(self) -> None:
        assert re.findall(r"@[a-z_]+@", text_of(*TWO)) == []

    def test_nodes_come_from_standard_places_alike(self, tmp_path: Path) -> None:
        table = tmp_path / "nodes.txt"
        table.write_text("n2 10.0.0.2:8000\nn1 10.0.0.1:8000\n")
        assert text_of("--nodes", str(table)) == text_of(*TWO)
        assert text_of("--nodes", str(table), "--node", "n3=10.0.0.3:8000").count("# n3\n") == 3

    def test_sizes_and_times_are_those_of_the_service(self) -> None:
        text = text_of(
            *TWO, HUBBUB_MAX_PACKET_BYTES="300000", HUBBUB_PING_INTERVAL_S="20", HUBBUB_PING_TIMEOUT_S="30.5"
        )
        assert "client_max_body_size 300000;" in text
        assert "proxy_read_timeout 66s;" in text

    def test_a_silent_connection_outlives_the_heartbeat(self) -> None:
        """Nginx's own 60 s would do as well for the default heartbeat, and would cut everybody for a slower one."""
        times = re.findall(r"^    proxy_(?:read|send)_timeout (\d+)s;", text_of(*TWO), re.MULTILINE)
        assert times == ["45", "45"]
        assert all(int(time_s) > 15 + 15 for time_s in times)

    def test_what_is_to_end_at_another_node_ends_before_nobody_is_sent_on(self) -> None:
        """Else a node that is frozen would be waited for, and nobody asked in its place."""
        text = text_of(*TWO)
        limit = re.findall(r"^    proxy_next_upstream_timeout (\d+)s;", text, re.MULTILINE)
        assert limit == ["15"]
        for place, read_s in {
            "= /api/guest": 5,
            "/": 5,
            "@hubbub_read": 10,
            "/api/": 35,
            "@hubbub_last_read": 35,
        }.items():
            found = re.search(rf"location {place} {{\n(.*?)\n        }}", text, re.DOTALL)
            assert found is not None, place
            assert re.findall(r"proxy_read_timeout (\d+)s;", found[1]) == [str(read_s)], place
            assert (read_s < 15) == (place not in ("/api/", "@hubbub_last_read"))
            assert ("non_idempotent" in found[1]) == (place == "= /api/guest")

    def test_nodes_bound_sessions_and_nginx_their_connections(self) -> None:
        assert "limit_conn hubbub_connections 1500;" in text_of(*TWO)
        assert "limit_conn hubbub_connections" not in text_of(*TWO, HUBBUB_CONNECTIONS_PER_ADDRESS="0")

    def test_what_the_nodes_share_is_enough(self, tmp_path: Path) -> None:
        """That file has Redis and the store, and no node: each node's name is its own."""
        shared = {"HUBBUB_REDIS": "redis://redis.internal", "HUBBUB_STORE": "mongodb://db1/hubbub?replicaSet=rs0"}
        assert text_of(*TWO, **shared) == text_of(*TWO)
        assert text_of(*TWO, **shared, HUBBUB_NODE="Not a name") == text_of(*TWO)
        path = tmp_path / "hubbub.toml"
        path.write_text('redis = "redis://redis.internal"\nconnections_per_address = 7\n')
        assert "limit_conn hubbub_connections 21;" in text_of(*TWO, "--config", str(path))

    def test_pages_that_may_read_are_those_of_the_service(self) -> None:
        def listed(**environ: str) -> list[str]:
            text = text_of(*TWO, **environ)
            found = re.search(r"map \$http_origin \$hubbub_cors \{\n(.*?)\n    \}", text, re.DOTALL)
            assert found is not None
            return [line.strip() for line in found[1].splitlines()]

        assert listed() == ['default "";']
        assert listed(HUBBUB_ORIGINS="https://a.org") == ['default "";', '"https://a.org" $http_origin;']
        assert listed(HUBBUB_ORIGINS="*") == ["default $http_origin;"]

    def test_nothing_that_would_have_a_session_id_is_logged(self) -> None:
        formats = re.findall(r"log_format .*?;\n", text_of(*TWO), re.DOTALL)
        assert len(formats) == 1
        assert set(re.findall(r"\$\w+", formats[0])).isdisjoint({"$request", "$request_uri", "$args", "$http_referer"})

    def test_the_files_in_the_tree_are_what_it_prints(self) -> None:
        home = ROOT / "nginx"
        keys = "/etc/letsencrypt/live/chat.example.org"
        site = ("--server-name", "chat.example.org", "--tls-cert", f"{keys}/fullchain.pem")
        whole = text_of(*site, "--tls-key", f"{keys}/privkey.pem", "--include", "nodes.conf")
        assert (home / "nginx.conf").read_text(encoding="utf-8") == whole
        nodes = (home / "nodes.conf").read_text(encoding="utf-8")
        assert nodes == text_of("--only-nodes", "--nodes", str(home / "nodes.txt"))


class TestRefusals:
    def test_no_nodes(self) -> None:
        assert refusal() == "Name the nodes: --node n1=10.0.0.1:8000, or a file of them with --nodes.\n"

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("--node", "N1=10.0.0.1:8000"), "small letters"),
            (("--tls-cert", "/c"), "go together"),
            (("--hsts", "1"), "about TLS"),
            (("--redirect-from", "80"), "about TLS"),
            (("--server-name", "a;b"), "no name of a host"),
            (("--listen", "0"), "nothing to listen on"),
            (("--listen", "300.1.1.1:80"), "nothing to listen on"),
            (("--listen", "80; root /"), "nothing to listen on"),
            (("--directory", "here"), "begin with a slash"),
            (("--directory", '/a"b'), "cannot stand"),
            (("--include", "$x"), "cannot stand"),
            (("--nodes", "/none/such"), "No such file"),
            (("--ping-interval-s", "soon"), "ping"),
        ],
    )
    def test_what_would_be_wrong_is_told(self, arguments: tuple[str, ...], words: str) -> None:
        assert words in refusal(*TWO, *arguments)
