"""The table of nodes: who may be in it, and that it is the same text however it was asked for."""

from __future__ import annotations

import pytest

from hubbub.cli.nginxtable import Upstream, is_host, node_table, parse_node, parse_nodes

N1 = Upstream("n1", "10.0.0.1:8000")
N2 = Upstream("n2", "10.0.0.2:8000")
N10 = Upstream("n10", "10.0.0.10:8000")


class TestNodes:
    @pytest.mark.parametrize(
        ("text", "node"),
        [
            ("n1=10.0.0.1:8000", N1),
            ("  n1\t10.0.0.1:8000 ", N1),
            ("n1 = 10.0.0.1:8000", N1),
            ("hubbub-0=hubbub-0.hubbub.default.svc:8000", Upstream("hubbub-0", "hubbub-0.hubbub.default.svc:8000")),
            ("n6=[fd00::1]:8000", Upstream("n6", "[fd00::1]:8000")),
            ("-=a:1", Upstream("-", "a:1")),
        ],
    )
    def test_a_node_is_a_name_and_an_address(self, text: str, node: Upstream) -> None:
        assert parse_node(text) == node

    @pytest.mark.parametrize("name", ["", "N1", "n_1", "n.1", "n1;", "a" * 33, "nö", "n1}", "n1$"])
    def test_a_name_is_that_of_a_node_setting(self, name: str) -> None:
        with pytest.raises(ValueError, match="1 to 32 small letters"):
            parse_node(f"{name}=10.0.0.1:8000")

    @pytest.mark.parametrize(
        "address",
        [
            *("", "10.0.0.1", ":8000", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:80 backup", "10.0.0:80"),
            *("300.0.0.1:80", "[fd00::1:80", "fd00::1:80", "[fe80::1%eth0]:80", "a;b:80", "$host:80", "unix:/x:80"),
            *("-a.org:80", "a" * 254 + ":80", "10.0.0.1:8٠", "a{b:80", "a b:80", "a..b:80"),
        ],
    )
    def test_an_address_is_a_host_and_a_port(self, address: str) -> None:
        with pytest.raises(ValueError, match="needs a host and a port"):
            parse_node(f"n1={address}")

    def test_a_file_has_a_node_in_each_line(self) -> None:
        assert parse_nodes("# all of them\nn1 10.0.0.1:8000\n\nn2=10.0.0.2:8000  # upstairs\n") == [N1, N2]

    def test_a_bad_line_of_a_file_is_quoted(self) -> None:
        with pytest.raises(ValueError, match="'n2 nowhere'"):
            parse_nodes("n1 10.0.0.1:8000\nn2 nowhere\n")

    @pytest.mark.parametrize("text", ["127.0.0.1", "[::1]", "localhost", "a.b-c.org"])
    def test_a_host_is_an_address_or_a_name(self, text: str) -> None:
        assert is_host(text)


class TestTable:
    def test_the_order_of_asking_does_not_show(self) -> None:
        assert node_table([N10, N1, N2]) == node_table([N2, N10, N1])

    def test_numbers_are_in_their_order(self) -> None:
        table = node_table([N10, N1, N2])
        assert table.index("node_n1 ") < table.index("node_n2 ") < table.index("node_n10 ")

    def test_no_nodes_are_no_table(self) -> None:
        with pytest.raises(ValueError, match="Name the nodes"):
            node_table([])

    def test_a_name_is_there_once(self) -> None:
        with pytest.raises(ValueError, match="n1 is named twice"):
            node_table([N1, Upstream("n1", "10.0.0.9:8000")])

    def test_an_address_has_one_name(self) -> None:
        with pytest.raises(ValueError, match=r"a and b have the same address H\.org:80"):
            node_table([Upstream("a", "h.org:80"), Upstream("b", "H.org:80")])

    def test_what_a_request_goes_to_is_literal(self) -> None:
        """A captured name in the place of the group would let a client choose where its request goes."""
        lines = [line.split() for line in node_table([N1, N2]).splitlines() if "~" in line]
        assert [group for _, group in lines] == ["hubbub_node_n1;", "hubbub_node_n2;"]
        assert not any(mark in pattern for pattern, _ in lines for mark in ("(", "?<", "$"))
