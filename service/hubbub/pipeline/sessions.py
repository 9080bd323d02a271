"""The identity of each connection, for as long as it lasts: checked once, and re-checked for ever (promise 10).

A session belongs to the Engine.IO connection: all its namespaces share one user. It ends when its token does, unless a
new token for the same user came in before; shortly before, the client is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.transport.base import Connection, Link

__all__ = ["Session", "Sessions", "session_of"]

_LONGEST_TIMER_S: Final = 3600.0
"""Timers are set anew at least this often, so that a clock that was set takes effect."""

_TELL_AGAIN_MS: Final = 1000
"""A client whose connect is still under way cannot be told anything; this much later it is tried again."""


class _Verifier(Protocol):
    async def verify(self, token: str) -> Identity: ...


@dataclass(slots=True, eq=False)
class Session:
    """Who is at the other end of a link. `told` says that the client knows of the coming end of its token; `allowance`
    and `refilled_at` are the state of the rate limit."""

    link: Link
    identity: Identity
    timer: asyncio.TimerHandle | None = None
    told: bool = False
    allowance: float = 0.0
    refilled_at: float = 0.0


def session_of(connection: Connection) -> Session:
    """The session of a connection that the pipeline let in."""
    state: Any = connection.link.state
    if not isinstance(state, Session):
        raise HubbubError("unauthorized")
    return state


class Sessions:
    """Opens, refreshes and ends sessions. `clock` is in milliseconds. What leeway an issuer's clock is given is in the
    identity's `expires_at` already.

    `renewed` is told of a session whose identity was replaced.
    """

    def __init__(
        self,
        verifier: _Verifier,
        *,
        clock: Callable[[], int],
        expiring_s: float,
    ) -> None:
        self._verifier = verifier
        self._clock = clock
        self._expiring_ms = round(expiring_s * 1000)
        self.renewed: Callable[[Session], None] = lambda session: None

    async def open(self, link: Link, token: str) -> Session:
        """The session of a link for this token. A second namespace must be of the same user."""
        identity = await self._verifier.verify(token)
        session = link.state
        if isinstance(session, Session):
            self._check_same(session, identity)
            if identity.expires_at > session.identity.expires_at:
                self._replace(session, identity)
            elif session.timer is None:
                # All namespaces had left this link; the one that came back is the first again.
                self._replace(session, identity)
            return session
        session = link.state = Session(link, identity)
        self._set_timer(session)
        return session

    async def refresh(self, session: Session, token: str) -> Identity:
        """Replace the token of a whole connection by one of the same user."""
        identity = await self._verifier.verify(token)
        self._check_same(session, identity)
        self._replace(session, identity)
        return identity

    def check(self, session: Session) -> None:
        """Raise `token_expired` if the session's time is over, even if its timer was late."""
        if self._clock() >= session.identity.expires_at:
            raise HubbubError("token_expired")

    def close(self, link: Link) -> None:
        """A link's last namespace is gone."""
        session = link.state
        if isinstance(session, Session) and session.timer is not None:
            session.timer.cancel()
            session.timer = None

    # -- inside ------------------------------------------------------------------------------------------------------

    @staticmethod
    def _check_same(session: Session, identity: Identity) -> None:
        if identity.user != session.identity.user:
            raise HubbubError("forbidden", "The token is somebody else's.")

    def _replace(self, session: Session, identity: Identity) -> None:
        session.identity = identity
        session.told = False
        self._set_timer(session)
        self.renewed(session)

    def _set_timer(self, session: Session) -> None:
        if session.timer is not None:
            session.timer.cancel()
        now = self._clock()
        due = session.identity.expires_at
        if self._expiring_ms and not session.told:
            due = min(due, max(session.identity.expires_at - self._expiring_ms, now + _TELL_AGAIN_MS))
        delay_s = min(max(due - now, 0) / 1000, _LONGEST_TIMER_S)
        session.timer = asyncio.get_running_loop().call_later(delay_s, self._on_timer, session)

    def _on_timer(self, session: Session) -> None:
        if not session.link.connections:
            # The connect was refused after the token was taken; a later one sets the timer anew.
            session.timer = None
            return
        now = self._clock()
        expires_at = session.identity.expires_at
        if now >= expires_at:
            self._expire(session)
            return
        if self._expiring_ms and not session.told and now >= expires_at - self._expiring_ms:
            for connection in session.link.connections.values():
                connection.emit("token:expiring", {"expires_at": expires_at})
            session.told = any(connection.is_open for connection in session.link.connections.values())
        self._set_timer(session)

    def _expire(self, session: Session) -> None:
        session.timer = None
        if not all(connection.is_open for connection in session.link.connections.values()):
            # One is still being let in, and can be told nothing yet.
            session.timer = asyncio.get_running_loop().call_later(_TELL_AGAIN_MS / 1000, self._on_timer, session)
        error = HubbubError("token_expired")
        for connection in list(session.link.connections.values()):
            connection.emit("closing", {"code": error.code, "message": error.message, "reconnect": False})
            connection.disconnect()
