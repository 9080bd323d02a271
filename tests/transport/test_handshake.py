"""What the first request carried, kept as text until somebody asks."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from hubbub.transport.base import Handshake
from hubbub.transport.handshake import CompactHandshake, read_handshake


def handshake_of(*headers: tuple[str, str], query: str = "") -> Handshake:
    request = make_mocked_request("GET", f"/socket.io/?{query}", headers=CIMultiDict(headers))
    return read_handshake(request, "192.0.2.7")


class TestHeaders:
    def test_names_are_in_lower_case(self) -> None:
        assert handshake_of(("User-Agent", "x"), ("AUTHORIZATION", "Bearer y")).headers == {
            "user-agent": "x",
            "authorization": "Bearer y",
        }

    def test_of_one_that_comes_twice_the_first_counts(self) -> None:
        assert handshake_of(("A", "1"), ("a", "2")).headers == {"a": "1"}

    @pytest.mark.parametrize("value", ["", "a: b", "Grüße", "a=b;c"])
    def test_values_come_as_they_were(self, value: str) -> None:
        assert handshake_of(("A", value)).headers == {"a": value}

    def test_bytes_that_are_no_text_come_as_well(self) -> None:
        assert CompactHandshake(b"A:\xff", "", "").headers == {"a": "\udcff"}

    def test_without_any_there_are_none(self) -> None:
        handshake = CompactHandshake(b"", "", "")
        assert handshake.headers.get("cookie") is None
        assert handshake.cookies == handshake.query == {}


class TestCookies:
    @pytest.mark.parametrize(
        ("line", "cookies"),
        [
            ("a=1", {"a": "1"}),
            ("a=1; b=2", {"a": "1", "b": "2"}),
            ("a=1;b=2;;", {"a": "1", "b": "2"}),
            ('a="quoted"', {"a": "quoted"}),
            ("a=x=y==", {"a": "x=y=="}),
            ("a=", {"a": ""}),
            ("a", {}),
            ("a=1; a=2", {"a": "1"}),
            (
                'a@b=1; hubbub_token=x.y-z; c="q"; d={"e":1}',
                {"a@b": "1", "hubbub_token": "x.y-z", "c": "q", "d": '{"e":1}'},
            ),
        ],
    )
    def test_one_with_an_odd_name_or_value_does_not_hide_the_others(self, line: str, cookies: dict[str, str]) -> None:
        assert handshake_of(("Cookie", line)).cookies == cookies


class TestQueries:
    @pytest.mark.parametrize(
        ("text", "query"),
        [
            ("EIO=4&transport=websocket", {"EIO": "4", "transport": "websocket"}),
            ("token=a%2Bb+c", {"token": "a+b c"}),
            ("empty=&bare", {"empty": "", "bare": ""}),
            ("a=1&a=2", {"a": "2"}),
            ("a=%FF", {"a": "\ufffd"}),
            ("", {}),
        ],
    )
    def test_it_is_decoded(self, text: str, query: dict[str, str]) -> None:
        assert handshake_of(query=text).query == query


class TestHandshakes:
    def test_it_is_a_handshake_as_the_layers_above_know_it(self) -> None:
        handshake = handshake_of(("Cookie", "a=1"))
        assert isinstance(handshake, Handshake)
        assert handshake.address == "192.0.2.7"

    def test_nothing_is_kept_of_what_was_taken_apart(self) -> None:
        handshake = handshake_of(("A", "1"), query="b=2")
        assert handshake.headers == handshake.headers
        assert handshake.headers is not handshake.headers
        assert not hasattr(handshake, "__dict__")
