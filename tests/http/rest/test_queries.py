"""What is in URLs and headers becomes what the schemas take."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict

from hubbub.errors import HubbubError
from hubbub.events import RoomList
from hubbub.http.rest.operations import MessagesQuery, SendHeaders
from hubbub.http.rest.queries import read_header, read_query


def refused(query: str) -> dict[str, Any]:
    with pytest.raises(HubbubError) as caught:
        read_query(make_mocked_request("GET", f"/?{query}"), RoomList())
    assert caught.value.code == "bad_request"
    return dict(caught.value.fields or {})


class TestQuery:
    """Numbers and flags are written in one way only."""

    def test_each_value_is_of_its_field_s_kind(self) -> None:
        request = make_mocked_request("GET", "/?query=5&mine=true&limit=50&cursor=true")
        loaded = read_query(request, RoomList())
        assert loaded == {"query": "5", "mine": True, "limit": 50, "cursor": "true"}

    def test_text_is_brought_into_its_normal_form(self) -> None:
        request = make_mocked_request("GET", "/?query=Zoe%CC%88")
        assert read_query(request, RoomList()) == {"query": "Zoë"}

    @pytest.mark.parametrize("text", ["", "+1", "1.0", "1e2", "%D9%A1", "0x1", "1_0", "-1", "9" * 30, "true"])
    def test_what_only_looks_like_a_number_is_none(self, text: str) -> None:
        assert list(refused(f"limit={text}")) == ["limit"]

    @pytest.mark.parametrize("text", ["", "1", "True", "yes", "null"])
    def test_what_only_looks_like_a_flag_is_none(self, text: str) -> None:
        assert list(refused(f"mine={text}")) == ["mine"]

    def test_what_is_given_twice_or_not_known_is_named(self) -> None:
        assert refused("limit=1&limit=1") == {"limit": ["Given more than once."]}
        assert refused("room=tea&limit=1") == {"room": ["Unknown field."]}

    def test_fields_that_exclude_each_other_are_named(self) -> None:
        with pytest.raises(HubbubError) as caught:
            read_query(make_mocked_request("GET", "/?before=1&after=2"), MessagesQuery())
        assert list(caught.value.fields or {}) == ["after"]


class TestHeader:
    """Only the headers that a schema knows are looked at."""

    def test_other_headers_are_left_alone(self) -> None:
        request = make_mocked_request("POST", "/", headers={"idempotency-key": "k", "X-Other": "1"})
        assert read_header(request, SendHeaders()) == {"Idempotency-Key": "k"}

    @pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": ""}, {"Idempotency-Key": "k" * 65}])
    def test_a_key_that_cannot_be_one_is_named(self, headers: dict[str, str]) -> None:
        with pytest.raises(HubbubError) as caught:
            read_header(make_mocked_request("POST", "/", headers=headers), SendHeaders())
        assert list(caught.value.fields or {}) == ["Idempotency-Key"]

    def test_a_key_that_is_given_twice_is_none(self) -> None:
        headers = CIMultiDict([("Idempotency-Key", "a"), ("idempotency-key", "b")])
        with pytest.raises(HubbubError) as caught:
            read_header(make_mocked_request("POST", "/", headers=headers), SendHeaders())
        assert caught.value.fields == {"Idempotency-Key": ["Given more than once."]}
