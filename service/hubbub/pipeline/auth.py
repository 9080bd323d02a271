"""Who is calling: tokens at the door, and their time at every event."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from hubbub.errors import HubbubError
from hubbub.pipeline.base import Call, Proceed
from hubbub.pipeline.sessions import Sessions, session_of
from hubbub.transport.base import Handshake

__all__ = ["COOKIE", "Authenticate", "find_token"]

COOKIE = "hubbub_token"


class Authenticate:
    """Lets in who has a valid token, and stops events of those whose token's time is over."""

    def __init__(self, sessions: Sessions, *, query_tokens: bool) -> None:
        self._sessions = sessions
        self._query_tokens = query_tokens

    def __call__(self, call: Call, proceed: Proceed) -> Awaitable[Any]:
        if call.incoming is None:
            return self._open(call, proceed)
        if call.name != "auth:refresh":
            # A new token may still be brought while the old one's last moments run out.
            self._sessions.check(session_of(call.connection))
        return proceed(call)

    async def _open(self, call: Call, proceed: Proceed) -> Any:
        token = find_token(call.connection.link.handshake, call.data, query=self._query_tokens)
        await self._sessions.open(call.connection.link, token)
        return await proceed(call)


def find_token(handshake: Handshake, auth: Any, *, query: bool) -> str:
    """The token of a connect, the first found (WIRE, "Connecting"): the payload's `token`, the `Authorization` header,
    the cookie, and where it is allowed the query. `unauthorized` if there is none.
    """
    if isinstance(auth, dict) and auth.get("token") is not None:
        if not isinstance(auth["token"], str):
            raise HubbubError("unauthorized", "The token is not a string.")
        return auth["token"]
    scheme, _, credentials = handshake.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials:
        return credentials.strip()
    if COOKIE in handshake.cookies:
        return handshake.cookies[COOKIE]
    if query and "token" in handshake.query:
        return handshake.query["token"]
    raise HubbubError("unauthorized", "No token was sent.")
