"""The REST surface put together: what it stands on, and its routes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web

from hubbub.domain.chat import Chat
from hubbub.domain.identity import Identity
from hubbub.domain.visits import Visits
from hubbub.http.health import Readiness
from hubbub.http.rest.bearer import Bearers
from hubbub.http.rest.buckets import Buckets
from hubbub.http.rest.messages import MessageRoutes
from hubbub.http.rest.operations import operation
from hubbub.http.rest.rooms import RoomRoutes
from hubbub.http.rest.surface import Serve, Surface
from hubbub.http.spec.serving import serve_page
from hubbub.pipeline.tokens import TokenVerifier
from hubbub.settings import Settings
from hubbub.telemetry import Metrics

__all__ = ["Rest", "add_rest", "add_spec"]

_SPEC: Final = ("getSpecification", "getOpenapi", "getAsyncapi")


class Rest:
    """`guard` raises for those who are kept out of the service. `surface` is waited for when the service ends."""

    def __init__(
        self,
        *,
        settings: Settings,
        chat: Chat,
        tokens: TokenVerifier,
        guard: Callable[[Identity], None],
        readiness: Callable[[], Readiness],
        metrics: Metrics,
    ) -> None:
        visits = Visits(chat.house, chat.posting, chat.reading)
        rooms, messages = RoomRoutes(chat, visits), MessageRoutes(chat, visits)
        self.surface = Surface(
            bearers=Bearers(tokens, guard),
            buckets=Buckets(enabled=settings.limits),
            readiness=readiness,
            metrics=metrics,
            max_bytes=settings.max_packet_bytes,
        )
        self.served: dict[str, Serve] = {
            "listRooms": rooms.list,
            "getRoom": rooms.get,
            "listMessages": messages.list,
            "sendMessage": messages.send,
        }


def add_rest(app: web.Application, rest: Rest) -> None:
    """Add the routes of rooms and messages."""
    for name, serve in rest.served.items():
        one = operation(name)
        add = app.router.add_get if one.method == "GET" else app.router.add_post
        add(one.path, rest.surface.handler(one, serve))


def add_spec(app: web.Application) -> None:
    """Add the routes of `GET /api/spec`."""
    for name in _SPEC:
        app.router.add_get(operation(name).path, partial(serve_page, name=name))
