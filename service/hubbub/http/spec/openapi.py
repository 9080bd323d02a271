"""Plain HTTP as an OpenAPI 3.1 document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from marshmallow import Schema

from hubbub.errors import CATALOGUE, Code
from hubbub.http.rest.operations import Operation
from hubbub.http.spec.documents import Error
from hubbub.http.spec.examples import example_of
from hubbub.http.spec.jsonschema import Components, field_schema
from hubbub.version import VERSION

__all__ = ["openapi_document"]

_ABOUT: Final = (
    "What a back end needs of Hubbub without a connection. Times are in milliseconds since the Unix epoch, ids are "
    "opaque, text is in NFC and counted in code points. What failed is answered with an error object, by whose `code` "
    "to go. Socket.IO is described in `asyncapi.json`, beside this."
)

_TAGS: Final = {
    "rest": "Rooms and messages.",
    "about": "The service as such.",
    "operation": "For those who run it.",
}


def openapi_document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The document, of JSON's types alone."""
    components = Components()
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hubbub over HTTP", "version": VERSION, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "hubbub_token",
                    "description": "For what changes nothing: a cookie is sent along whatever page asks.",
                },
            },
        },
    }


def _operation(one: Operation, components: Components) -> dict[str, Any]:
    document: dict[str, Any] = {"operationId": one.name, "tags": [one.tag], "summary": one.meaning}
    if one.about:
        document["description"] = one.about
    document["security"] = _security(one)
    parameters = [
        *_parameters(one.path_schema, "path", components),
        *_parameters(one.query, "query", components),
        *_parameters(one.header, "header", components),
    ]
    if parameters:
        document["parameters"] = parameters
    if one.body is not None:
        document["requestBody"] = {"required": True, "content": _content(type(one.body), components)}
    document["responses"] = {
        **{str(status): _answer(status, schema, components) for status, schema in one.answers.items()},
        **{
            str(status): _failure(codes, components)
            for status, codes in one.statuses.items()
            if status not in one.answers
        },
    }
    return document


def _security(one: Operation) -> list[dict[str, list[str]]]:
    if not one.token:
        return []
    return [{"bearer": []}, {"cookie": []}] if one.method == "GET" else [{"bearer": []}]


def _parameters(schema: Schema | None, where: str, components: Components) -> list[dict[str, Any]]:
    if schema is None:
        return []
    example = example_of(type(schema))
    parameters = []
    for name, field in schema.fields.items():
        parameter = {
            "name": name,
            "in": where,
            "required": field.required,
            # In a URL there is no null: what has no value is left out.
            "schema": _without_null(field_schema(field, components.ref)),
        }
        if where == "path":
            parameter["example"] = "tea"
        elif example.get(name) is not None:
            parameter["example"] = example[name]
        parameters.append(parameter)
    return parameters


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    return {**schema, "type": kind[0]} if isinstance(kind, list) else schema


def _content(schema: type[Schema], components: Components) -> dict[str, Any]:
    return {"application/json": {"schema": components.ref(schema), "example": example_of(schema)}}


def _answer(status: int, schema: type[Schema] | None, components: Components) -> dict[str, Any]:
    if schema is None:
        return {"description": "Text.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    about = {201: "Stored.", 503: "Not now."}.get(status, "Done.")
    return {"description": about, "content": _content(schema, components)}


def _failure(codes: Sequence[Code], components: Components) -> dict[str, Any]:
    document: dict[str, Any] = {
        "description": " ".join(f"`{code}`: {CATALOGUE[code].meaning}" for code in codes),
        "content": {
            "application/json": {
                "schema": components.ref(Error),
                "examples": {code: {"value": _example(code)} for code in codes},
            }
        },
    }
    if any(CATALOGUE[code].retryable for code in codes):
        document["headers"] = {
            "Retry-After": {"description": "When to ask again, in seconds.", "schema": {"type": "integer"}}
        }
    return document


def _example(code: Code) -> dict[str, Any]:
    kind = CATALOGUE[code]
    return {"code": code, "message": kind.meaning, "retryable": kind.retryable}
