"""Whose request it is: headers count only where a proxy of ours has written them."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from hubbub.transport.addresses import Addresses


class _Transport:
    def __init__(self, peer: Any) -> None:
        self.peer = peer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.peer if name == "peername" else default


def request_of(peer: Any, *forwarded: str, **headers: str) -> web.Request:
    lines = CIMultiDict[str](headers)
    for each in forwarded:
        lines.add("X-Forwarded-For", each)
    return make_mocked_request("GET", "/", headers=lines, transport=_Transport(peer))


def behind(*trusted: str) -> Addresses:
    return Addresses([ipaddress.ip_network(each) for each in trusted])


class TestPeers:
    @pytest.mark.parametrize("peer", [("192.0.2.7", 1234), ("2001:db8::7", 1234, 0, 0)])
    def test_without_trusted_proxies_the_peer_is_the_client(self, peer: tuple[Any, ...]) -> None:
        assert Addresses().address_of(request_of(peer)) == peer[0]
        assert Addresses().address_of(request_of(peer, "203.0.113.9")) == peer[0]

    @pytest.mark.parametrize("peer", [None, "", "/run/hubbub.sock", ()])
    def test_a_unix_socket_has_no_address(self, peer: Any) -> None:
        assert Addresses().address_of(request_of(peer)) == ""
        assert behind("10.0.0.0/8").address_of(request_of(peer, "203.0.113.9")) == ""

    def test_a_connection_that_is_gone_has_none_either(self) -> None:
        request = request_of(("192.0.2.7", 1))
        request._protocol.transport = None
        request._transport_peername = None
        assert Addresses().address_of(request) in ("", "192.0.2.7")


class TestProxies:
    @pytest.mark.parametrize(
        ("forwarded", "address"),
        [
            (["203.0.113.9"], "203.0.113.9"),
            (["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
            (["203.0.113.9", "10.0.0.2"], "203.0.113.9"),
            (["10.9.9.9", "203.0.113.9", "10.0.0.2, 10.0.0.3"], "203.0.113.9"),
            (["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            (["nonsense, 203.0.113.9"], "203.0.113.9"),
            (["203.0.113.9:4711"], "203.0.113.9"),
            (["[2001:db8::9]:4711"], "2001:db8::9"),
            (["2001:db8::9"], "2001:db8::9"),
            (["::ffff:203.0.113.9"], "203.0.113.9"),
            (["10.0.0.5"], "10.0.0.5"),
            (["10.0.0.4, 10.0.0.5"], "10.0.0.4"),
        ],
    )
    def test_behind_one_the_last_that_is_none_is_the_client(self, forwarded: list[str], address: str) -> None:
        assert behind("10.0.0.0/8").address_of(request_of(("10.0.0.1", 1), *forwarded)) == address

    @pytest.mark.parametrize(
        "forwarded", [[], [""], ["nonsense"], ["203.0.113.9, "], ["203.0.113.9, unknown"], ["1.2.3"]]
    )
    def test_what_is_not_an_address_names_nobody(self, forwarded: list[str]) -> None:
        assert behind("10.0.0.0/8").address_of(request_of(("10.0.0.1", 1), *forwarded)) == "10.0.0.1"

    def test_what_stands_before_it_is_looked_at_no_more(self) -> None:
        request = request_of(("10.0.0.1", 1), "203.0.113.9, nonsense, 10.0.0.2")
        assert behind("10.0.0.0/8").address_of(request) == "10.0.0.2"

    def test_from_anybody_else_headers_are_not_believed(self) -> None:
        assert behind("10.0.0.0/8").address_of(request_of(("192.0.2.7", 1), "203.0.113.9")) == "192.0.2.7"

    def test_other_headers_never_are(self) -> None:
        request = request_of(("10.0.0.1", 1), **{"X-Real-IP": "203.0.113.9", "Forwarded": "for=203.0.113.9"})
        assert behind("10.0.0.0/8").address_of(request) == "10.0.0.1"

    @pytest.mark.parametrize("peer", ["::ffff:10.0.0.1", "10.0.0.1", "fe80::1%eth0"])
    def test_a_proxy_is_known_in_every_way_of_writing(self, peer: str) -> None:
        addresses = behind("10.0.0.0/8", "fe80::/10")
        assert addresses.address_of(request_of((peer, 1), "203.0.113.9")) == "203.0.113.9"


class TestHosts:
    def test_the_host_is_the_one_that_was_asked_for(self) -> None:
        request = request_of(("10.0.0.1", 1), **{"Host": "chat.example", "X-Forwarded-Host": "evil.example"})
        assert behind("10.0.0.0/8").host_of(request) == "chat.example"

    def test_without_one_there_is_none(self) -> None:
        assert Addresses().host_of(request_of(("10.0.0.1", 1))) == ""
