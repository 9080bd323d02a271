"""The REST surface on a real port, over the whole of chat and a real store, without connections."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.http.failures import answer_failures
from hubbub.http.health import Readiness
from hubbub.http.rest.wiring import Rest, add_rest, add_spec
from hubbub.pipeline.local import local_signer
from hubbub.pipeline.tokens import TokenVerifier
from hubbub.settings import Settings
from hubbub.telemetry import Metrics
from tests.support.house import ChatHouse, chat_house

__all__ = ["RestSite", "rest_site"]


@dataclass
class RestSite:
    """`readiness` is what the node says of itself, and `outlaws` are kept out; a test may change both."""

    house: ChatHouse
    settings: Settings
    metrics: Metrics
    rest: Rest
    client: TestClient[web.Request, web.Application]
    outlaws: set[str]
    readiness: Readiness

    def token(self, user: str = "ada", *, roles: Sequence[str] = (), rooms: Sequence[str] | None = None) -> str:
        signer = local_signer(self.settings)
        return signer.mint(user=user, roles=roles, rooms=rooms, now_s=time.time(), ttl_s=600)

    async def ask(
        self, method: str, path: str, *, token: str | None = None, headers: dict[str, str] | None = None, **more: Any
    ) -> tuple[int, Any]:
        """The status and the document of an answer; Ada asks unless there is a token."""
        sent = {"Authorization": f"Bearer {token or self.token()}", **(headers or {})}
        async with self.client.request(method, path, headers=sent, **more) as response:
            return response.status, await response.json()

    async def send(self, room: str, body: str, *, key: str = "k", token: str | None = None) -> tuple[int, Any]:
        path, headers = f"/api/rooms/{room}/messages", {"Idempotency-Key": key}
        return await self.ask("POST", path, token=token, headers=headers, json={"body": body})


@contextlib.asynccontextmanager
async def rest_site(path: Path, **settings: Any) -> AsyncIterator[RestSite]:
    """A site; its data is in `path`."""
    made = Settings(store=f"sqlite:///{path}/hubbub.db", **settings)
    async with chat_house(path) as house:
        site: RestSite

        def guard(identity: Identity) -> None:
            if identity.user in site.outlaws:
                raise HubbubError("banned")

        metrics = Metrics()
        rest = Rest(
            settings=made,
            chat=house.chat,
            tokens=TokenVerifier(made),
            guard=guard,
            readiness=lambda: site.readiness,
            metrics=metrics,
        )
        app = web.Application(middlewares=[answer_failures])
        add_spec(app)
        add_rest(app, rest)
        async with TestClient(TestServer(app)) as client:
            site = RestSite(house, made, metrics, rest, client, set(), Readiness("ready"))
            yield site
