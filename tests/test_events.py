"""The tables of the wire contract."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from hubbub.events import (
    CLIENT_EVENTS,
    PRESENCE_CLIENT_EVENTS,
    PRESENCE_SERVER_EVENTS,
    SERVER_EVENTS,
    ClientEvent,
    chat_event,
    presence_event,
)

PRESENCE_GOOD: dict[str, list[dict[str, Any]]] = {
    "presence:watch": [{"rooms": ["tea"]}, {"rooms": ["tea"] * 20}],
    "presence:unwatch": [{"rooms": ["tea"]}],
    "presence:set": [{"status": "busy"}, {"status": "invisible", "text": ""}],
    "presence:get": [{"users": ["bob"] * 50}],
    "presence:list": [{"room": "tea"}, {"room": "tea", "cursor": None, "limit": 500}],
    "auth:refresh": [{"token": "t"}],
}

PRESENCE_BAD: list[tuple[str, dict[str, Any], str]] = [
    ("presence:watch", {}, "rooms"),
    ("presence:watch", {"rooms": []}, "rooms"),
    ("presence:watch", {"rooms": ["tea"] * 21}, "rooms"),
    ("presence:watch", {"rooms": "tea"}, "rooms"),
    ("presence:watch", {"rooms": [5]}, "rooms"),
    ("presence:set", {"text": "x"}, "status"),
    ("presence:set", {"status": "offline"}, "status"),
    ("presence:set", {"status": "busy", "text": "x" * 101}, "text"),
    ("presence:set", {"status": "busy", "text": "a\nb"}, "text"),
    ("presence:get", {"users": ["bob"] * 51}, "users"),
    ("presence:list", {"room": "tea", "limit": 0}, "limit"),
]

GOOD: dict[str, list[dict[str, Any]]] = {
    "room:create": [
        {"kind": "public", "title": "Tea", "id": "tea", "topic": "", "capacity": 2, "members": ["bob"]},
        {"kind": "private", "title": "Plans"},
        {"kind": "direct", "members": ["bob"]},
    ],
    "room:list": [{}, {"query": "te", "mine": True, "limit": 500, "cursor": None}],
    "room:join": [{"room": "tea"}, {"room": "tea", "since": 0}, {"room": "tea", "since": 4, "epoch": "e", "limit": 1}],
    "room:leave": [{"room": "direct:x"}],
    "room:update": [{"room": "tea", "title": "T", "topic": "", "capacity": 1, "slow_mode_s": 0}],
    "room:delete": [{"room": "tea"}],
    "room:invite": [{"room": "tea", "user": "bob", "reason": ""}],
    "room:kick": [{"room": "tea", "user": "bob"}],
    "room:ban": [{"room": "tea", "user": "bob", "seconds": 60, "reason": "spam"}],
    "room:unban": [{"room": "tea", "user": "bob"}],
    "room:mute": [{"room": "tea", "user": "bob", "seconds": 0}],
    "room:role": [{"room": "tea", "user": "bob", "role": "moderator"}],
    "room:purge": [{"room": "tea", "user": "bob", "reason": "r"}],
    "room:members": [{"room": "tea", "cursor": "c", "limit": 1}],
    "message:send": [{"room": "tea", "key": "k" * 64, "body": "b", "reply_to": None}],
    "message:edit": [{"room": "tea", "id": "u.1", "body": "b", "rev": 1}],
    "message:delete": [{"room": "tea", "id": "u.1"}],
    "message:react": [{"room": "tea", "id": "u.1", "emoji": "👍", "on": False}],
    "history:fetch": [{"room": "tea"}, {"room": "tea", "around": 3}],
    "history:sync": [{"room": "tea", "since": 0}],
    "history:search": [{"query": "lunch", "room": "tea", "limit": 2, "cursor": "c"}],
    "typing": [{"room": "tea", "on": True}],
    "read:mark": [{"room": "tea", "seq": 0}],
    "auth:refresh": [{"token": "t"}],
}

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("room:create", {"title": "Tea"}, "kind"),
    ("room:create", {"kind": "secret", "title": "Tea"}, "kind"),
    ("room:create", {"kind": "public"}, "title"),
    ("room:create", {"kind": "public", "title": " "}, "title"),
    ("room:create", {"kind": "public", "title": "T", "id": "Tea"}, "id"),
    ("room:create", {"kind": "public", "title": "T", "id": "private:x"}, "id"),
    ("room:create", {"kind": "public", "title": "T", "id": "t" * 65}, "id"),
    ("room:create", {"kind": "private", "title": "T", "id": "tea"}, "id"),
    ("room:create", {"kind": "direct"}, "members"),
    ("room:create", {"kind": "direct", "members": ["a", "b"]}, "members"),
    ("room:create", {"kind": "direct", "members": ["a"], "id": "tea"}, "id"),
    ("room:create", {"kind": "direct", "members": ["a"], "capacity": 2}, "capacity"),
    ("room:create", {"kind": "public", "title": "T", "members": ["x"] * 101}, "members"),
    ("room:create", {"kind": "public", "title": "T", "capacity": 0}, "capacity"),
    ("room:list", {"limit": 501}, "limit"),
    ("room:list", {"limit": 0}, "limit"),
    ("room:join", {"room": "tea", "since": 1}, "epoch"),
    ("room:join", {"room": "tea", "since": -1}, "since"),
    ("room:join", {}, "room"),
    ("room:update", {"room": "tea", "slow_mode_s": 6 * 3600 + 1}, "slow_mode_s"),
    ("room:ban", {"room": "tea", "user": "bob", "seconds": 10**9}, "seconds"),
    ("room:role", {"room": "tea", "user": "bob", "role": "invited"}, "role"),
    ("room:purge", {"room": "tea", "user": "bob", "seconds": 1}, "seconds"),
    ("message:send", {"room": "tea", "key": "k" * 65, "body": "b"}, "key"),
    ("message:send", {"room": "tea", "key": "", "body": "b"}, "key"),
    ("message:send", {"room": "tea", "key": "k", "body": None}, "body"),
    ("message:edit", {"room": "tea", "id": "u.1", "body": "b", "rev": 0}, "rev"),
    ("message:react", {"room": "tea", "id": "u.1", "emoji": "ab", "on": True}, "emoji"),
    ("message:react", {"room": "tea", "id": "u.1", "emoji": "a"}, "on"),
    ("history:fetch", {"room": "tea", "before": 1, "after": 1}, "after"),
    ("history:sync", {"room": "tea"}, "since"),
    ("history:search", {"query": " "}, "query"),
    ("typing", {"room": "tea", "on": 1}, "on"),
    ("read:mark", {"room": "tea", "seq": 1.0}, "seq"),
    ("auth:refresh", {"token": ""}, "token"),
]


def errors_of(name: str, request: dict[str, Any]) -> dict[str, Any]:
    event = chat_event(name)
    assert event is not None
    with pytest.raises(ValidationError) as caught:
        event.schema.load(request)
    assert isinstance(caught.value.messages, dict)
    return caught.value.messages


class TestClientEvents:
    def test_each_name_is_there_once_and_found(self) -> None:
        names = [event.name for event in CLIENT_EVENTS]
        assert len(set(names)) == len(names)
        assert all(chat_event(event.name) is event for event in CLIENT_EVENTS)

    @pytest.mark.parametrize("name", ["", "connect", "disconnect", "*", "message", "Message:send"])
    def test_other_names_are_not_in_the_contract(self, name: str) -> None:
        assert chat_event(name) is None

    def test_every_event_has_examples_here(self) -> None:
        assert set(GOOD) == {event.name for event in CLIENT_EVENTS}

    @pytest.mark.parametrize(("name", "request_"), [(name, each) for name, many in GOOD.items() for each in many])
    def test_a_good_request_passes_unchanged(self, name: str, request_: dict[str, Any]) -> None:
        event = chat_event(name)
        assert event is not None
        assert event.schema.load(request_) == request_

    @pytest.mark.parametrize(("name", "request_", "field"), BAD)
    def test_a_bad_request_is_told_which_field(self, name: str, request_: dict[str, Any], field: str) -> None:
        assert list(errors_of(name, request_)) == [field]

    @pytest.mark.parametrize("name", list(GOOD))
    def test_a_field_that_is_not_in_the_contract_is_named(self, name: str) -> None:
        assert errors_of(name, {**GOOD[name][0], "extra": 1}) == {"extra": ["Unknown field."]}

    def test_only_sends_are_pipelined_and_only_typing_is_free(self) -> None:
        assert [event.name for event in CLIENT_EVENTS if event.pipelined] == ["message:send"]
        assert [event.name for event in CLIENT_EVENTS if event.free] == ["typing"]

    def test_only_typing_has_no_answer(self) -> None:
        assert [event.name for event in CLIENT_EVENTS if event.answer == "none"] == ["typing"]


class TestPresenceEvents:
    def test_each_name_is_there_once_and_found(self) -> None:
        assert [event.name for event in PRESENCE_CLIENT_EVENTS] == list(PRESENCE_GOOD)
        assert all(presence_event(event.name) is event for event in PRESENCE_CLIENT_EVENTS)
        assert presence_event("message:send") is None

    @pytest.mark.parametrize(
        ("name", "request_"), [(name, each) for name, many in PRESENCE_GOOD.items() for each in many]
    )
    def test_a_good_request_passes_unchanged(self, name: str, request_: dict[str, Any]) -> None:
        event = presence_event(name)
        assert event is not None
        assert event.load(request_) == request_

    @pytest.mark.parametrize(("name", "request_", "field"), PRESENCE_BAD)
    def test_a_bad_request_is_told_which_field(self, name: str, request_: dict[str, Any], field: str) -> None:
        event = presence_event(name)
        assert event is not None
        with pytest.raises(ValidationError) as caught:
            event.load(request_)
        assert isinstance(caught.value.messages, dict)
        assert list(caught.value.messages) == [field]

    def test_every_event_of_the_server_is_described(self) -> None:
        assert all(event.document and event.meaning.endswith(".") for event in PRESENCE_SERVER_EVENTS)


class TestServerEvents:
    def test_each_name_is_there_once(self) -> None:
        names = [event.name for event in SERVER_EVENTS]
        assert len(set(names)) == len(names)

    def test_every_event_is_described(self) -> None:
        assert all(event.document and event.meaning.endswith(".") for event in SERVER_EVENTS)


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 600),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(max_size=70),
    st.sampled_from(["lobby", "k", "\x00", "a\nb", " ", "\ud800", "👍", "Cafe\u0301", "x" * 20_000]),
    st.lists(st.text(max_size=3), max_size=3),
)


class TestQuickLoading:
    """What the short way lets through is what marshmallow makes of it; what it does not, marshmallow decides."""

    @pytest.mark.parametrize("event", CLIENT_EVENTS, ids=lambda event: event.name)
    @given(data=st.data())
    def test_both_ways_agree(self, event: ClientEvent, data: st.DataObject) -> None:
        names = [*event.schema.fields, "unknown"]
        request = data.draw(st.dictionaries(st.sampled_from(names), VALUES))
        quick = event.quick(request)
        if quick is not None:
            assert quick == event.schema.load(request)
        else:
            has_hook = hasattr(event.schema, "fit_together") or event.name in ("room:role",)
            try:
                event.schema.load(request)
            except ValidationError:
                return
            assert has_hook, "a request that fits took the long way"
