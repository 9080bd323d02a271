"""Bodies are bounded, and read no further than their bound."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from marshmallow import RAISE, Schema, ValidationError, fields, validates_schema

from hubbub.http.bodies import read_body
from tests.support.sites import StartSite


class Request(Schema):
    class Meta:
        unknown = RAISE

    text = fields.String(required=True)
    number = fields.Integer()

    @validates_schema
    def fit_together(self, data: dict[str, object], **kwargs: object) -> None:
        if data.get("number") == 13:
            raise ValidationError("Not both.")


async def answer(request: web.Request) -> web.Response:
    return web.json_response(await read_body(request, Request(), max_bytes=100))


class TestBodies:
    async def test_an_object_that_fits_is_loaded(self, start_site: StartSite) -> None:
        site = await start_site(handlers={"/api/echo": answer})
        async with site.client.post("/api/echo", json={"text": "a", "number": 1}) as response:
            assert await response.json() == {"text": "a", "number": 1}

    @pytest.mark.parametrize(("length", "status"), [(100, 200), (101, 413)])
    async def test_the_bound_is_exact(self, start_site: StartSite, length: int, status: int) -> None:
        site = await start_site(handlers={"/api/echo": answer})
        body = json.dumps({"text": "x" * (length - len('{"text": ""}'))}).encode()
        assert len(body) == length
        async with site.client.post("/api/echo", data=body, headers={"Content-Type": "application/json"}) as response:
            assert response.status == status
            assert (await response.json()).get("code") == (None if status == 200 else "too_large")

    async def test_a_body_without_an_end_is_refused_at_the_bound(self, start_site: StartSite) -> None:
        site = await start_site(handlers={"/api/echo": answer})

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b" " * 64

        headers = {"Content-Type": "application/json"}
        async with site.client.post("/api/echo", data=endless(), headers=headers) as response:
            assert (response.status, (await response.json())["code"]) == (413, "too_large")

    async def test_all_that_is_wrong_is_named_at_once(self, start_site: StartSite) -> None:
        site = await start_site(handlers={"/api/echo": answer})
        async with site.client.post("/api/echo", json={"number": "x", "other": 1}) as response:
            assert set((await response.json())["fields"]) == {"text", "number", "other"}

    async def test_what_is_wrong_as_a_whole_is_told_too(self, start_site: StartSite) -> None:
        site = await start_site(handlers={"/api/echo": answer})
        async with site.client.post("/api/echo", json={"text": "a", "number": 13}) as response:
            assert (await response.json())["fields"] == {"_schema": ["Not both."]}
