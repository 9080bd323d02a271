"""`GET /api/spec`: both documents in one, and each alone.

`/api/spec` is `{"openapi": …, "asyncapi": …}`. Tools that want one document as a file take `/api/spec/openapi.json` or
`/api/spec/asyncapi.json`. They need no token, since they say nothing of what is stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Final

import orjson
from aiohttp import web

from hubbub.http.rest.operations import OPERATIONS
from hubbub.http.rest.queries import refuse_query
from hubbub.http.spec.asyncapi import asyncapi_document
from hubbub.http.spec.openapi import openapi_document

__all__ = ["Page", "pages", "serve_page"]

_HEADERS: Final = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}


class Page:
    """A document as it is sent, and what tells it from that of another version."""

    def __init__(self, document: object) -> None:
        self.body = orjson.dumps(document)
        self.etag = hashlib.sha256(self.body).hexdigest()[:32]


@cache
def pages() -> Mapping[str, Page]:
    """All of them by their operations' names. Made at the first use: most processes are never asked."""
    openapi, asyncapi = openapi_document(OPERATIONS), asyncapi_document()
    return {
        "getSpecification": Page({"openapi": openapi, "asyncapi": asyncapi}),
        "getOpenapi": Page(openapi),
        "getAsyncapi": Page(asyncapi),
    }


async def serve_page(request: web.Request, name: str) -> web.Response:
    """The page, or 304 to those who have it."""
    refuse_query(request)
    page = pages()[name]
    known = request.if_none_match or ()
    if any(tag.value in (page.etag, "*") for tag in known):
        response = web.Response(status=304, headers=_HEADERS)
    else:
        response = web.Response(body=page.body, content_type="application/json", headers=_HEADERS)
    response.etag = page.etag
    return response
