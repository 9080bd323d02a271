"""Examples fit what they are examples of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from marshmallow import Schema

from hubbub.http.rest.operations import OPERATIONS
from hubbub.http.spec.asyncapi import NAMESPACES
from hubbub.http.spec.examples import example_of
from hubbub.http.spec.jsonschema import name_of
from hubbub.http.spec.shapes import ANSWERS, PUSHED
from tests.http.spec.test_jsonschema import validators

REQUESTS: list[Schema] = [event.schema for namespace in NAMESPACES for event in namespace.client]
REQUESTS += [part for one in OPERATIONS for part in (one.body, one.header) if part is not None]
TABLES: list[Mapping[Any, type[Schema] | None]] = [*ANSWERS.values(), *PUSHED.values()]
TABLES += [one.answers for one in OPERATIONS]
FOUND = {schema for table in TABLES for schema in table.values() if schema is not None}
DOCUMENTS: list[type[Schema]] = sorted(FOUND, key=name_of)


class TestExamples:
    """There is one for everything."""

    @pytest.mark.parametrize("schema", REQUESTS, ids=lambda schema: name_of(type(schema)))
    def test_a_request_would_be_taken(self, schema: Schema) -> None:
        example = example_of(type(schema))
        schema.load(example)
        assert all(each.is_valid(example) for each in validators(type(schema)))

    @pytest.mark.parametrize("schema", DOCUMENTS, ids=name_of)
    def test_a_document_is_as_described(self, schema: type[Schema]) -> None:
        example = example_of(schema)
        for each in validators(schema):
            each.validate(example)

    @pytest.mark.parametrize("schema", DOCUMENTS, ids=name_of)
    def test_nothing_is_left_to_chance(self, schema: type[Schema]) -> None:
        def texts(value: Any) -> list[Any]:
            if isinstance(value, dict):
                return [text for each in value.values() for text in texts(each)]
            return [text for each in value for text in texts(each)] if isinstance(value, list) else [value]

        assert "…" not in texts(example_of(schema))
