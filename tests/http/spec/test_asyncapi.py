"""Socket.IO as an AsyncAPI document. That it is one, and true, is tested in tests/integration/test_spec.py."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.http.spec.asyncapi import NAMESPACES, Namespace, asyncapi_document
from hubbub.http.spec.shapes import ANSWERS, PUSHED


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return asyncapi_document()


def follow(document: dict[str, Any], reference: str) -> Any:
    value: Any = document
    for step in reference.removeprefix("#/").split("/"):
        value = value[step]
    return value


class TestDocument:
    """Everything in the tables is in it."""

    @pytest.mark.parametrize("namespace", NAMESPACES, ids=lambda namespace: namespace.name)
    def test_every_event_has_its_shape(self, namespace: Namespace) -> None:
        assert {event.name for event in namespace.client} == ANSWERS[namespace.name].keys()
        assert {event.name for event in namespace.server} == PUSHED[namespace.name].keys()

    @pytest.mark.parametrize("namespace", NAMESPACES, ids=lambda namespace: namespace.name)
    def test_every_event_is_an_operation(self, namespace: Namespace, document: dict[str, Any]) -> None:
        key = namespace.name.removeprefix("/")
        mine = {name: one for name, one in document["operations"].items() if name.startswith(f"{key}.")}
        names = {
            action: [
                follow(document, one["messages"][0]["$ref"])["name"] for one in mine.values() if one["action"] == action
            ]
            for action in ("receive", "send")
        }
        assert names["receive"] == [event.name for event in namespace.client]
        assert names["send"] == [event.name for event in namespace.server]

    def test_every_reference_leads_somewhere(self, document: dict[str, Any]) -> None:
        def references(value: Any) -> list[str]:
            if isinstance(value, list):
                return [found for each in value for found in references(each)]
            if not isinstance(value, dict):
                return []
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [found for each in value.values() for found in references(each)]

        found = references(document)
        assert found
        for reference in found:
            follow(document, reference)

    def test_what_is_volatile_has_no_reply(self, document: dict[str, Any]) -> None:
        silent = [
            name for name, one in document["operations"].items() if one["action"] == "receive" and "reply" not in one
        ]
        assert silent == ["chat.typing"]
