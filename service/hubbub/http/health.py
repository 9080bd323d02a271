"""`GET /healthz` and `GET /readyz`: whether the process lives, and whether a balancer should send it anybody.

The two differ on purpose. A supervisor restarts what does not live, and a restart heals no store; so `/healthz` looks
at nothing but the process. A node that can serve somehow is `degraded` and still ready, because if what all nodes
share fails, taking all of them out of service would make it worse.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

from aiohttp import web

from hubbub.http.peers import is_local

__all__ = ["STATUSES", "Readiness", "alive", "ready_handler"]

_Status = Literal["starting", "ready", "degraded", "deaf", "draining"]

STATUSES: Final[tuple[str, ...]] = get_args(_Status)
"""All that a node may say of itself."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the node takes clients (`ready`, `degraded`) or not (`starting`, `draining`, or `deaf` while other nodes
    hear each other), and why: a clause each.
    """

    status: _Status
    reasons: tuple[str, ...] = ()

    @property
    def takes_clients(self) -> bool:
        return self.status in ("ready", "degraded")


async def alive(request: web.Request) -> web.Response:
    """200 as long as the process answers at all."""
    return _answer({"status": "alive"}, status=200)


def ready_handler(
    readiness: Callable[[], Readiness], *, details_for_all: bool
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """200 while the node takes clients, else 503; `reasons` for those on this machine, or for all."""

    async def ready(request: web.Request) -> web.Response:
        now = readiness()
        document: dict[str, object] = {"status": now.status}
        if details_for_all or is_local(request):
            document["reasons"] = list(now.reasons)
        return _answer(document, status=200 if now.takes_clients else 503)

    return ready


def _answer(document: dict[str, object], *, status: int) -> web.Response:
    return web.json_response(document, status=status, headers={"Cache-Control": "no-store"})
