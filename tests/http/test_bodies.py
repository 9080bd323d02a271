"""Bodies are bounded, and read no further than their bound."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from marshmallow import RAISE, Schema, ValidationError, fields, validates_schema

from hubbub.errors import HubbubError
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

    @pytest.mark.parametrize("coding", ["gzip", "deflate", "identity, gzip", "GZIP"])
    @pytest.mark.parametrize(
        "body", [b"not compressed at all", gzip.compress(b'{"text": "a"}')], ids=["broken", "good"]
    )
    async def test_a_compressed_body_is_refused(self, start_site: StartSite, coding: str, body: bytes) -> None:
        site = await start_site(handlers={"/api/echo": answer})
        headers = {"Content-Type": "application/json", "Content-Encoding": coding}
        request = site.client.post("/api/echo", data=body, headers=headers, compress=False)
        async with asyncio.timeout(20), request as response:
            found = await response.json()
        assert (response.status, found["code"]) == (400, "bad_request")
        assert found["message"] == "The body must not be compressed."

    async def test_a_body_that_is_not_compressed_may_say_so(self, start_site: StartSite) -> None:
        site = await start_site(handlers={"/api/echo": answer})
        headers = {"Content-Type": "application/json", "Content-Encoding": "identity"}
        async with site.client.post("/api/echo", data=b'{"text": "a"}', headers=headers) as response:
            assert response.status == 200

    async def test_a_body_that_cannot_be_read_is_refused(self) -> None:
        stream = StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16)
        stream.set_exception(web.RequestPayloadError("broken"))
        headers = {"Content-Type": "application/json"}
        with pytest.raises(HubbubError, match="cannot be read") as caught:
            await read_body(make_mocked_request("POST", "/", headers, payload=stream), Request(), max_bytes=100)
        assert caught.value.code == "bad_request"

    async def test_all_that_is_wrong_is_named_at_once(self, start_site: StartSite) -> None:
        site = await start_site(handlers={"/api/echo": answer})
        async with site.client.post("/api/echo", json={"number": "x", "other": 1}) as response:
            assert set((await response.json())["fields"]) == {"text", "number", "other"}

    async def test_what_is_wrong_as_a_whole_is_told_too(self, start_site: StartSite) -> None:
        site = await start_site(handlers={"/api/echo": answer})
        async with site.client.post("/api/echo", json={"text": "a", "number": 13}) as response:
            assert (await response.json())["fields"] == {"_schema": ["Not both."]}
