"""Reading the bodies of requests: JSON, of bounded size, checked against a schema."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web
from marshmallow import Schema, ValidationError

from hubbub.errors import HubbubError

__all__ = ["read_body"]


async def read_body(request: web.Request, schema: Schema, *, max_bytes: int) -> dict[str, Any]:
    """The request's JSON object as `schema` loads it.

    Raises `HubbubError`: `too_large` past `max_bytes`, without reading on; `bad_request`, with `fields` where the
    object does not fit. The content type has to be JSON, because browsers send others across origins unasked. It must
    not be compressed: its bound would be no bound of the work then.
    """
    if request.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        raise HubbubError("bad_request", "The body must not be compressed.")
    if request.content_type != "application/json":
        raise HubbubError("bad_request", "The content type must be application/json.")
    try:
        document = orjson.loads(await _read_bounded(request, max_bytes))
    except orjson.JSONDecodeError:
        raise HubbubError("bad_request", "The body is not JSON in UTF-8.") from None
    if not isinstance(document, dict):
        raise HubbubError("bad_request", "The body must be a JSON object.")
    try:
        loaded: dict[str, Any] = schema.load(document)
    except ValidationError as error:
        raise HubbubError("bad_request", fields={str(name): _texts(what) for name, what in _named(error)}) from None
    return loaded


async def _read_bounded(request: web.Request, max_bytes: int) -> bytes:
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > max_bytes:
                raise HubbubError("too_large", f"The body is longer than {max_bytes} bytes.")
    except web.RequestPayloadError:
        raise HubbubError("bad_request", "The body cannot be read.") from None
    return bytes(body)


def _named(error: ValidationError) -> list[tuple[Any, Any]]:
    return list(error.messages.items()) if isinstance(error.messages, dict) else [("", error.messages)]


def _texts(what: object) -> list[str]:
    return [str(text) for text in what] if isinstance(what, list) else [str(what)]
