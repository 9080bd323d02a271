"""The way of a request: refused, cut off, gone, counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import BaseTestServer, TestServer

from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.http.failures import answer_failures
from hubbub.http.health import Readiness
from hubbub.http.rest.bearer import Bearers
from hubbub.http.rest.buckets import Buckets
from hubbub.http.rest.operations import operation
from hubbub.http.rest.surface import Answer, Asked, Surface
from hubbub.telemetry import Metrics
from tests.support.domain import identity_of
from tests.support.restsites import RestSite

TIMEOUT_S = 20.0
HEADERS = {"Authorization": "Bearer ada", "Idempotency-Key": "k"}
PATH = "/api/rooms/tea/messages"


class Anybody:
    """Takes every token for its user's name."""

    async def verify(self, token: object) -> Identity:
        return identity_of(str(token))


@asynccontextmanager
async def surface(
    serve: Callable[[Asked], Awaitable[Answer]], *, deadline_s: float = TIMEOUT_S
) -> AsyncIterator[tuple[Surface, BaseTestServer, Metrics]]:
    """A surface whose only operation is sending, done by `serve`."""
    metrics = Metrics()
    made = Surface(
        bearers=Bearers(Anybody(), lambda identity: None),
        buckets=Buckets(enabled=False),
        readiness=lambda: Readiness("ready"),
        metrics=metrics,
        max_bytes=1000,
        deadline_s=deadline_s,
    )
    one = operation("sendMessage")
    app = web.Application(middlewares=[answer_failures])
    app.router.add_post(one.path, made.handler(one, serve))
    async with TestServer(app) as server:
        yield made, server, metrics


class TestNode:
    """What the node is busy with."""

    @pytest.mark.parametrize(
        ("readiness", "code"),
        [("starting", "unavailable"), ("draining", "draining"), ("degraded", None), ("ready", None)],
    )
    async def test_a_node_that_takes_no_clients_takes_no_requests(
        self, site: RestSite, readiness: str, code: str | None
    ) -> None:
        site.readiness = Readiness(readiness)  # type: ignore[arg-type]
        async with site.client.get("/api/rooms", headers={"Authorization": f"Bearer {site.token()}"}) as response:
            if code is None:
                assert response.status == 200
            else:
                assert (response.status, (await response.json())["code"]) == (503, code)
                assert response.headers["Retry-After"] == "1"

    async def test_the_end_waits_for_requests_that_are_carried_out(self) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def serve(asked: Asked) -> Answer:
            begun.set()
            await go_on.wait()
            return Answer({"body": asked.body["body"]}, 201)

        async with surface(serve) as (made, server, _), ClientSession() as http, asyncio.timeout(TIMEOUT_S):
            request = asyncio.ensure_future(http.post(server.make_url(PATH), headers=HEADERS, json={"body": "hi"}))
            await begun.wait()
            idle = asyncio.ensure_future(made.wait_idle())
            await asyncio.wait({idle}, timeout=0)
            assert not idle.done()
            go_on.set()
            await idle
            assert (await (await request).json()) == {"body": "hi"}

    async def test_whoever_goes_away_takes_nothing_back(self) -> None:
        begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def serve(asked: Asked) -> Answer:
            begun.set()
            await go_on.wait()
            done.set()
            return Answer({})

        async with surface(serve) as (made, server, _), asyncio.timeout(TIMEOUT_S):
            async with ClientSession() as http:
                request = asyncio.ensure_future(http.post(server.make_url(PATH), headers=HEADERS, json={"body": "hi"}))
                await begun.wait()
                request.cancel()
                await asyncio.wait({request})
            go_on.set()
            await done.wait()
            await made.wait_idle()

    async def test_a_request_that_takes_too_long_is_answered(self) -> None:
        async def serve(asked: Asked) -> Answer:
            await asyncio.get_running_loop().create_future()
            raise AssertionError

        async with surface(serve, deadline_s=0.05) as (made, server, metrics), ClientSession() as http:
            async with http.post(server.make_url(PATH), headers=HEADERS, json={"body": "hi"}) as response:
                assert (response.status, (await response.json())["code"]) == (503, "unavailable")
            await made.wait_idle()
            labels = {"operation": "sendMessage", "code": "unavailable"}
            assert metrics.registry.get_sample_value("hubbub_requests_total", labels) == 1

    async def test_a_fault_is_answered_without_detail(self) -> None:
        async def serve(asked: Asked) -> Answer:
            raise ValueError("a secret")

        async with surface(serve) as (_, server, metrics), ClientSession() as http:
            async with http.post(server.make_url(PATH), headers=HEADERS, json={"body": "hi"}) as response:
                assert (response.status, (await response.json())["code"]) == (500, "internal")
                assert "secret" not in await response.text()
            labels = {"operation": "sendMessage", "code": "internal"}
            assert metrics.registry.get_sample_value("hubbub_requests_total", labels) == 1


class TestBody:
    """What is not right never gets to the operation."""

    async def test_a_body_that_ends_early_is_no_request(self) -> None:
        served: list[Asked] = []

        async def serve(asked: Asked) -> Answer:
            served.append(asked)
            return Answer({})

        async with surface(serve) as (made, server, _), asyncio.timeout(TIMEOUT_S):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
            head += "Content-Type: application/json\r\nContent-Length: 14\r\nHost: here\r\n"
            writer.write(f"POST {PATH} HTTP/1.1\r\n{head}\r\n".encode() + b'{"body"')
            await writer.drain()
            while not made._tasks:
                await asyncio.sleep(0)
            writer.close()
            await made.wait_idle()
        assert served == []

    async def test_a_body_that_is_too_large_is_not_read(self) -> None:
        async def serve(asked: Asked) -> Answer:
            raise AssertionError

        async with surface(serve) as (_, server, _), ClientSession() as http:
            async with http.post(server.make_url(PATH), headers=HEADERS, json={"body": "x" * 2000}) as response:
                assert (response.status, (await response.json())["code"]) == (413, "too_large")


class TestAnswer:
    """What goes out."""

    async def test_pieces_of_json_are_put_in_as_they_are(self) -> None:
        async def serve(asked: Asked) -> Answer:
            return Answer({"message": memoryview(b'{"id":"1"}')}, 201)

        async with surface(serve) as (_, server, _), ClientSession() as http:
            async with http.post(server.make_url(PATH), headers=HEADERS, json={"body": "hi"}) as response:
                assert (response.status, await response.json()) == (201, {"message": {"id": "1"}})
                assert response.headers["Cache-Control"] == "no-store"
                assert response.headers["X-Content-Type-Options"] == "nosniff"

    async def test_errors_of_the_domain_have_their_status(self, tmp_path: Path) -> None:
        async def serve(asked: Asked) -> Answer:
            raise HubbubError("slow_mode", retry_after=4.2)

        async with surface(serve) as (_, server, _), ClientSession() as http:
            async with http.post(server.make_url(PATH), headers=HEADERS, json={"body": "hi"}) as response:
                assert (response.status, response.headers["Retry-After"]) == (429, "5")


class TestQuery:
    """What takes no query refuses one."""

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/api/rooms/tea"),
            ("POST", "/api/rooms/tea/messages"),
            ("GET", "/api/spec"),
            ("GET", "/api/spec/openapi.json"),
        ],
    )
    @pytest.mark.parametrize("name", ["x", "token"])
    async def test_what_is_not_known_is_named(self, site: RestSite, method: str, path: str, name: str) -> None:
        more: dict[str, Any] = {"headers": {"Idempotency-Key": "k"}, "json": {"body": "hi"}} if method == "POST" else {}
        status, found = await site.ask(method, f"{path}?{name}=1", **more)
        assert (status, found["code"], found["fields"]) == (400, "bad_request", {name: ["Unknown field."]})
