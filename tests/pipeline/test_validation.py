"""What a client sends, against the contract's schemas."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hubbub.errors import HubbubError
from hubbub.events import CLIENT_EVENTS, chat_event
from hubbub.pipeline.base import CONNECT, Call
from hubbub.pipeline.validation import Validate, check_request, flatten
from hubbub.transport.base import Incoming
from tests.support.connections import LooseConnection, link_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def event(name: str, *args: Any) -> Call:
    return Call(LooseConnection(link_of()), name, args, chat_event(name), Incoming(name, args, lambda: None))


def refusal(name: str, *args: Any) -> HubbubError:
    with pytest.raises(HubbubError) as caught:
        check_request(event(name, *args))
    assert caught.value.code == "bad_request"
    return caught.value


class TestRequests:
    async def test_what_fits_is_passed_on_as_the_request(self) -> None:
        seen: list[Any] = []

        async def proceed(call: Call) -> Any:
            seen.append(call.data)

        await Validate()(event("typing", {"room": "tea", "on": True}), proceed)
        assert seen == [{"room": "tea", "on": True}]

    async def test_a_connect_is_none_of_its_business(self) -> None:
        async def proceed(call: Call) -> Any:
            return call.data

        assert await Validate()(Call(LooseConnection(link_of()), CONNECT, {"token": 1}), proceed) == {"token": 1}

    @pytest.mark.parametrize("name", ["connect", "disconnect", "*", "", "message", "room:joined"])
    def test_a_name_that_is_not_in_the_contract_is_refused(self, name: str) -> None:
        assert refusal(name, {}).fields == {"": ["No event of this namespace."]}

    @pytest.mark.parametrize("args", [(), ({}, {}), ([],), ("text",), (None,), (5,), ([{"room": "tea", "on": True}],)])
    def test_an_event_has_one_argument_an_object(self, args: tuple[Any, ...]) -> None:
        error = refusal("typing", *args)
        assert error.message == "An event has exactly one argument, an object."
        assert error.fields == {"": [error.message]}

    def test_every_field_that_is_wrong_is_named(self) -> None:
        error = refusal("typing", {"room": 5, "extra": 1})
        assert error.fields is not None
        assert set(error.fields) == {"room", "on", "extra"}

    def test_an_entry_of_a_list_is_named_by_its_place(self) -> None:
        error = refusal("room:create", {"kind": "public", "title": "T", "members": ["bob", 5, ""]})
        assert error.fields == {"members.1": ["Not a string."], "members.2": ["Is empty."]}

    def test_the_value_itself_does_not_come_back(self) -> None:
        error = refusal("message:send", {"room": "tea", "key": "k", "body": 123456789})
        assert "123456789" not in str(error.document())

    def test_a_name_that_the_client_made_up_comes_back_cut(self) -> None:
        error = refusal("typing", {"room": "tea", "on": True, "x" * 100_000: 1})
        assert error.fields == {"x" * 64: ["Unknown field."]}

    @given(st.sampled_from([each.name for each in CLIENT_EVENTS]), st.lists(JSON, max_size=2))
    def test_whatever_comes_is_a_request_or_a_bad_request(self, name: str, args: list[Any]) -> None:
        code, document = "", ""
        try:
            assert isinstance(check_request(event(name, *args)), dict)
        except HubbubError as error:
            code, document = error.code, str(error.document())
        assert code in ("", "bad_request")
        assert len(document) < 20_000

    def test_many_fields_that_are_made_up_do_not_come_back_in_full(self) -> None:
        error = refusal("typing", {"room": "tea", "on": True, **{f"field-{n}": n for n in range(10_000)}})
        assert error.fields is not None
        assert 1 <= len(error.fields) <= 64


class TestPaths:
    @pytest.mark.parametrize(
        ("nested", "flat"),
        [
            ({}, {}),
            ({"a": ["x", "y"]}, {"a": ["x", "y"]}),
            ({"members": {0: ["x"], 3: ["y"]}}, {"members.0": ["x"], "members.3": ["y"]}),
            ({"a": {"b": {"c": ["x"]}}}, {"a.b.c": ["x"]}),
            ({"_schema": ["x"]}, {"_schema": ["x"]}),
            ({"a": "x"}, {"a": ["x"]}),
        ],
    )
    def test_nested_messages_become_dotted_paths(self, nested: Any, flat: dict[str, list[str]]) -> None:
        assert flatten(nested) == flat
