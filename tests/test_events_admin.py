"""The requests of `/admin`."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import ValidationError

from hubbub.events import ADMIN_CLIENT_EVENTS, ADMIN_SERVER_EVENTS, ClientEvent, admin_event

GOOD: dict[str, list[dict[str, Any]]] = {
    "stats:watch": [{"every_ms": 0}, {"every_ms": 500}, {"every_ms": 60_000}],
    "nodes:list": [{}],
    "rooms:list": [{}, {"query": "tea", "cursor": "c", "limit": 500}],
    "connections:list": [{}, {"room": "tea", "user": "bob", "node": "n1", "cursor": None, "limit": 1}],
    "connection:disconnect": [{"id": "n1.x", "reason": "spam"}],
    "user:disconnect": [{"user": "bob", "reason": "spam"}],
    "user:ban": [{"user": "bob", "reason": "spam"}, {"user": "bob", "seconds": 1, "reason": "spam"}],
    "user:unban": [{"user": "bob"}],
    "bans:list": [{}, {"cursor": None, "limit": 500}],
    "token:revoke": [{"user": "bob", "reason": "lost"}, {"jti": "j" * 128, "reason": "lost"}],
    "room:delete": [{"room": "tea", "reason": "spam"}],
    "notice:send": [
        {"level": "info", "text": "Tea\nis ready"},
        {"room": "tea", "level": "critical", "text": "t" * 1000},
    ],
    "node:drain": [{"node": "n1"}],
    "audit:list": [{}, {"cursor": "c", "limit": 1}],
    "auth:refresh": [{"token": "t"}],
}

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("stats:watch", {}, "every_ms"),
    ("stats:watch", {"every_ms": 499}, "every_ms"),
    ("stats:watch", {"every_ms": 60_001}, "every_ms"),
    ("stats:watch", {"every_ms": -1}, "every_ms"),
    ("stats:watch", {"every_ms": 500.0}, "every_ms"),
    ("rooms:list", {"limit": 501}, "limit"),
    ("connections:list", {"user": ""}, "user"),
    ("connections:list", {"cursor": "c" * 1025}, "cursor"),
    ("connection:disconnect", {"id": "n1.x"}, "reason"),
    ("connection:disconnect", {"id": "n1.x", "reason": " "}, "reason"),
    ("user:disconnect", {"user": "bob", "reason": "x" * 201}, "reason"),
    ("user:ban", {"user": "bob", "reason": "spam", "seconds": 0}, "seconds"),
    ("user:ban", {"user": "bob", "reason": "a\nb"}, "reason"),
    ("user:unban", {"user": "bob", "reason": "kind"}, "reason"),
    ("token:revoke", {"reason": "lost"}, "user"),
    ("token:revoke", {"user": "bob", "jti": "j", "reason": "lost"}, "user"),
    ("token:revoke", {"jti": "j" * 129, "reason": "lost"}, "jti"),
    ("room:delete", {"room": "tea"}, "reason"),
    ("notice:send", {"level": "loud", "text": "t"}, "level"),
    ("notice:send", {"level": "info", "text": " "}, "text"),
    ("notice:send", {"level": "info", "text": "t" * 1001}, "text"),
    ("node:drain", {}, "node"),
]


def event_of(name: str) -> ClientEvent:
    event = admin_event(name)
    assert event is not None
    return event


class TestAdminEvents:
    def test_each_name_is_there_once_and_found(self) -> None:
        assert [event.name for event in ADMIN_CLIENT_EVENTS] == list(GOOD)
        assert all(event_of(event.name) is event for event in ADMIN_CLIENT_EVENTS)
        assert admin_event("message:send") is None

    @pytest.mark.parametrize(("name", "request_"), [(name, each) for name, many in GOOD.items() for each in many])
    def test_a_good_request_passes_unchanged(self, name: str, request_: dict[str, Any]) -> None:
        assert event_of(name).load(request_) == event_of(name).schema.load(request_) == request_

    @pytest.mark.parametrize(("name", "request_", "field"), BAD)
    def test_a_bad_request_is_told_which_field(self, name: str, request_: dict[str, Any], field: str) -> None:
        with pytest.raises(ValidationError) as caught:
            event_of(name).load(request_)
        assert isinstance(caught.value.messages, dict)
        assert list(caught.value.messages) == [field]

    @pytest.mark.parametrize("name", list(GOOD))
    def test_a_field_that_is_not_in_the_contract_is_named(self, name: str) -> None:
        with pytest.raises(ValidationError) as caught:
            event_of(name).load({**GOOD[name][0], "extra": 1})
        assert caught.value.messages == {"extra": ["Unknown field."]}

    def test_every_event_waits_for_those_before_it(self) -> None:
        assert [event.name for event in ADMIN_CLIENT_EVENTS if event.pipelined or event.free] == []

    def test_every_event_of_the_server_is_described(self) -> None:
        assert all(event.document and event.meaning.endswith(".") for event in ADMIN_SERVER_EVENTS)
