"""The kinds of values that settings have."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import ValidationError, fields

from hubbub.settings_fields import (
    Choice,
    Filters,
    NodeName,
    Origins,
    Seconds,
    Store,
    Switch,
    Text,
    Whole,
    check_host,
    check_jwks_url,
    check_origin,
    is_loopback_name,
)


def accepts(field: fields.Field[Any], value: object) -> bool:
    try:
        field.deserialize(value)
    except ValidationError:
        return False
    return True


class TestNumbers:
    @pytest.mark.parametrize("value", [1, "1", " 65535 "])
    def test_a_whole_number_may_be_text(self, value: object) -> None:
        assert Whole(low=1, high=65535).deserialize(value) == int(str(value))

    @pytest.mark.parametrize("value", [0, 65536, "1.0", 1.0, True, "", "١", "1_0", "0x1", [], "9" * 5000])
    def test_what_is_no_whole_number_in_bounds_is_refused(self, value: object) -> None:
        assert not accepts(Whole(low=1, high=65535), value)

    @pytest.mark.parametrize("value", [1, 1.5, "1.5", "60"])
    def test_seconds_may_be_fractions(self, value: object) -> None:
        assert Seconds(low=1, high=60).deserialize(value) == float(str(value))

    @pytest.mark.parametrize("value", [0.5, 61, "nan", float("nan"), float("inf"), "1e1", True, "1s", None, 10**400])
    def test_what_is_no_time_in_bounds_is_refused(self, value: object) -> None:
        assert not accepts(Seconds(low=1, high=60), value)


class TestWords:
    @pytest.mark.parametrize(("value", "on"), [("on", True), ("OFF ", False), (True, True), (False, False)])
    def test_a_switch_is_on_or_off(self, value: object, on: bool) -> None:
        assert Switch().deserialize(value) is on

    @pytest.mark.parametrize("value", ["yes", "1", 1, "true", None])
    def test_a_switch_is_nothing_else(self, value: object) -> None:
        assert not accepts(Switch(), value)

    def test_a_choice_is_one_of_its_words(self) -> None:
        assert Choice("auto", "on", "off").deserialize("AUTO") == "auto"
        assert Choice("auto", "on", "off").deserialize(True) == "on"
        with pytest.raises(ValidationError, match="must be auto, on or off"):
            Choice("auto", "on", "off").deserialize("maybe")
        assert not accepts(Choice("loopback", "all"), True)
        assert not accepts(Choice("loopback", "all"), [])

    @pytest.mark.parametrize("value", ["", "  ", "a\0b", 1, None])
    def test_text_is_not_empty(self, value: object) -> None:
        assert not accepts(Text(), value)

    @pytest.mark.parametrize("value", ["n1", "a-b", "0" * 32])
    def test_a_node_name_can_stand_in_a_balancers_table(self, value: str) -> None:
        assert NodeName().deserialize(value) == value

    @pytest.mark.parametrize("value", ["", "N1", "a.b", "a_b", "0" * 33, "n1\n", 1])
    def test_other_node_names_are_refused(self, value: object) -> None:
        assert not accepts(NodeName(), value)


class TestStores:
    @pytest.mark.parametrize("value", ["sqlite:///var/hubbub.db", "sqlite:////srv/hubbub.db", "sqlite:///~/h.db"])
    def test_a_store_is_a_file(self, value: str) -> None:
        assert Store().deserialize(value) == value

    @pytest.mark.parametrize(
        "value", ["hubbub.db", "sqlite://", "sqlite:///", "sqlite:///var/", "sqlite:///:memory:", "postgres://x", 1]
    )
    def test_what_is_no_file_is_refused(self, value: object) -> None:
        assert not accepts(Store(), value)

    @pytest.mark.parametrize(
        "value",
        [
            "mongodb://localhost",
            "mongodb://a:1,b:2/chat?replicaSet=rs0&tls=true",
            "mongodb://user:p%40ss@host/chat",
            "mongodb+srv://cluster.example.org/",
        ],
    )
    def test_or_a_mongodb_server(self, value: str) -> None:
        assert Store().deserialize(value) == value

    @pytest.mark.parametrize("value", ["mongodb://", "mongodb:///chat", "mongodb://host/a/b", "mongodb://host/a.b"])
    def test_what_names_no_server_or_no_database_is_refused(self, value: str) -> None:
        assert not accepts(Store(), value)


class TestOrigins:
    @pytest.mark.parametrize(
        ("given", "origin"),
        [
            ("https://Chat.Example.org", "https://chat.example.org"),
            ("https://chat.example.org:443", "https://chat.example.org"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
            ("*", "*"),
        ],
    )
    def test_an_origin_has_the_form_that_browsers_send(self, given: str, origin: str) -> None:
        assert check_origin(given) == origin

    @pytest.mark.parametrize(
        "given",
        [
            "",
            "null",
            "chat.example.org",
            "https://",
            "https://a.example/",
            "https://a.example/path",
            "https://a.example?q",
            "https://u@a.example",
            "https://*.example.org",
            "ws://a.example",
            "https://a.example:99999",
            "https://a b",
            "https://[::1",
        ],
    )
    def test_what_is_no_origin_is_refused(self, given: str) -> None:
        with pytest.raises(ValidationError, match="must list origins"):
            check_origin(given)

    def test_repeats_are_dropped(self) -> None:
        assert Origins().deserialize(["https://a.example", "https://A.example:443"]) == ("https://a.example",)

    @pytest.mark.parametrize("value", [1, [1], {"a": 1}, ""])
    def test_what_is_no_list_is_refused(self, value: object) -> None:
        assert not accepts(Origins(), value)


class TestHosts:
    @pytest.mark.parametrize("host", ["localhost", "0.0.0.0", "::", "fe80::1%eth0", "chat.example.org", "a" * 63])
    def test_a_host_is_a_name_or_an_address(self, host: str) -> None:
        assert check_host(host) == host

    @pytest.mark.parametrize("host", ["a b", "http://a", "a/b", "a..b", "[::]", "a" * 64, "a." * 127 + "a", "ä", "*"])
    def test_what_is_neither_is_refused(self, host: str) -> None:
        with pytest.raises(ValidationError, match="name or an address"):
            check_host(host)


class TestUrls:
    @pytest.mark.parametrize(
        "url", ["https://id.example/keys", "http://127.0.0.1:81/k", "http://localhost/k", "http://[::1]/k"]
    )
    def test_keys_come_over_tls_or_from_this_machine(self, url: str) -> None:
        assert check_jwks_url(url) == url

    @pytest.mark.parametrize(
        "url",
        [
            "http://id.example/keys",
            "http://localhost.example/keys",
            "https://u:p@id.example/keys",
            "file:///keys",
            "https://",
            "keys",
            "https://[::1",
        ],
    )
    def test_keys_do_not_come_from_elsewhere(self, url: str) -> None:
        with pytest.raises(ValidationError, match="https URL"):
            check_jwks_url(url)

    def test_loopback_is_known_by_name_and_number(self) -> None:
        assert is_loopback_name("localhost")
        assert is_loopback_name("127.9.9.9")
        assert not is_loopback_name("10.0.0.1")
        assert not is_loopback_name("example.org")


class TestFilters:
    @pytest.mark.parametrize(
        ("given", "names"),
        [
            ("profanity", ("profanity",)),
            (" site.filters:shout , site.filters:Spam.check ", ("site.filters:shout", "site.filters:Spam.check")),
            (["a-b", "c:d"], ("a-b", "c:d")),
            ([], ()),
        ],
    )
    def test_names_come_as_a_list_or_between_commas(self, given: object, names: tuple[str, ...]) -> None:
        assert Filters().deserialize(given) == names

    @pytest.mark.parametrize("given", ["", "a,,b", "a b", "a:", ":f", "a:b:c", "a,a", 7, [7], "a/b.py:f"])
    def test_what_is_no_name_is_refused(self, given: object) -> None:
        with pytest.raises(ValidationError):
            Filters().deserialize(given)
