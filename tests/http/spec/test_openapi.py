"""Plain HTTP as an OpenAPI document. That it is one, and true, is tested in tests/integration/test_spec.py."""

from __future__ import annotations

from typing import Any

import pytest

from hubbub.http.rest.operations import OPERATIONS, Operation
from hubbub.http.spec.openapi import openapi_document

EACH = pytest.mark.parametrize("one", OPERATIONS, ids=lambda one: one.name)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document(OPERATIONS)


def described(document: dict[str, Any], one: Operation) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][one.path][one.method.lower()]
    return found


class TestDocument:
    """Everything in the table is in it."""

    @EACH
    def test_every_status_is_described(self, one: Operation, document: dict[str, Any]) -> None:
        responses = described(document, one)["responses"]
        assert responses.keys() == {str(status) for status in (*one.answers, *one.statuses)}

    @EACH
    def test_every_code_has_an_example(self, one: Operation, document: dict[str, Any]) -> None:
        responses = described(document, one)["responses"]
        for status, codes in one.statuses.items():
            if status not in one.answers:
                examples = responses[str(status)]["content"]["application/json"]["examples"]
                assert examples.keys() == set(codes)

    @EACH
    def test_tokens_are_asked_for_where_they_are(self, one: Operation, document: dict[str, Any]) -> None:
        ways = [name for way in described(document, one)["security"] for name in way]
        assert ways == ([] if not one.token else ["bearer", "cookie"] if one.method == "GET" else ["bearer"])

    def test_parameters_are_of_one_type(self, document: dict[str, Any]) -> None:
        parameters = {each["name"]: each for each in document["paths"]["/api/rooms"]["get"]["parameters"]}
        assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 500}
        assert parameters["cursor"]["schema"]["type"] == "string"
        send = document["paths"]["/api/rooms/{id}/messages"]["post"]["parameters"]
        assert [(each["name"], each["in"], each["required"]) for each in send] == [
            ("id", "path", True),
            ("Idempotency-Key", "header", True),
        ]
