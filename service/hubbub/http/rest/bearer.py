"""Who asks, by the token of a request: the same tokens as for connections (WIRE, "Connecting")."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.pipeline.auth import COOKIE

__all__ = ["Bearers", "token_of"]


class _Verifier(Protocol):
    async def verify(self, token: object) -> Identity: ...


class Bearers:
    """From a request to an identity. `guard` raises for those who are kept out of the service."""

    def __init__(self, verifier: _Verifier, guard: Callable[[Identity], None]) -> None:
        self._verifier = verifier
        self._guard = guard

    async def identify(self, request: web.Request) -> Identity:
        """Raises `unauthorized`, `token_expired`, `banned`, or `unavailable` if an issuer's keys cannot be had."""
        identity = await self._verifier.verify(token_of(request))
        self._guard(identity)
        return identity


def token_of(request: web.Request) -> str:
    """The token of the header `Authorization`; or the cookie's, for requests that change nothing.

    A cookie is sent along by browsers whatever page asks, so what changes something must not be done on its word. There
    is no token in the query: URLs end up in logs.
    """
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    if request.method in ("GET", "HEAD") and COOKIE in request.cookies:
        return request.cookies[COOKIE]
    raise HubbubError("unauthorized", "No token was sent in the header Authorization.")
