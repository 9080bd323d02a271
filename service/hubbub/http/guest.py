"""`POST /api/guest {"name"}`: a token for whoever wants to come in under a name (WIRE, "Connecting")."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from marshmallow import RAISE, Schema, fields

from hubbub.domain.documents import user_document
from hubbub.errors import HubbubError
from hubbub.http.bodies import read_body
from hubbub.http.rest.queries import refuse_query
from hubbub.pipeline.tokens import TokenVerifier

__all__ = ["GuestRequest", "guest_handler"]

MAX_REQUEST_BYTES: Final = 4096
"""A name of 64 code points, each escaped as two \\uXXXX, is below a kilobyte."""


class GuestRequest(Schema):
    """`{name}`: 1 to 64 code points without control characters; white space around them is taken off."""

    class Meta:
        unknown = RAISE

    name = fields.String(required=True)


def guest_handler(tokens: TokenVerifier) -> Callable[[web.Request], Awaitable[web.Response]]:
    """`{token, user}`; `not_found` where guests are off, before anything is read."""
    schema = GuestRequest()

    async def guest(request: web.Request) -> web.Response:
        if not tokens.guests_on:
            raise HubbubError("not_found", "Guests are not admitted here.")
        refuse_query(request)
        body = await read_body(request, schema, max_bytes=MAX_REQUEST_BYTES)
        token, identity = tokens.mint_guest(body["name"])
        user = user_document(identity.person, None)
        return web.json_response({"token": token, "user": user}, headers={"Cache-Control": "no-store"})

    return guest
