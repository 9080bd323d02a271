"""The identity of each connection, for as long as it lasts: checked once, and re-checked for ever (promise 10).

A session belongs to the Engine.IO connection: all its namespaces share one user. It ends when its token does, unless a
new token for the same user came in before; shortly before, the client is told.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.transport.base import Connection, Link

__all__ = ["Session", "Sessions", "session_of"]

_LONGEST_TIMER_S: Final = 3600.0
"""Timers are set anew at least this often, so that a clock that was set takes effect."""

_TICKS_PER_S: Final = 4
"""Sessions that are to be looked at within the same quarter of a second share a place. A timer of the loop for each
took 600 bytes, a quarter of all that an idle user took.
"""

HELD_S: Final = 1.0
"""As long an ended session waits for the ack of the event that ended it."""

_TELL_AGAIN_MS: Final = 1000
"""A client whose connect is still under way cannot be told anything; this much later it is tried again."""


class _Verifier(Protocol):
    async def verify(self, token: str) -> Identity: ...


@dataclass(slots=True, eq=False)
class Session:
    """Who is at the other end of a link. `due` is when it is to be looked at, by the loop's clock; None if nobody waits
    for its end. `told` says that the client knows of the coming end of its token; `allowance` and `refilled_at` are the
    state of the rate limit. `ended` is why nothing is served any more.
    """

    link: Link
    identity: Identity
    due: float | None = None
    told: bool = False
    allowance: float = 0.0
    refilled_at: float = 0.0
    ended: HubbubError | None = None


def session_of(connection: Connection) -> Session:
    """The session of a connection that the pipeline let in."""
    state: Any = connection.link.state
    if not isinstance(state, Session):
        raise HubbubError("unauthorized")
    return state


class Sessions:
    """Opens, refreshes and ends sessions. `clock` is in milliseconds. What leeway an issuer's clock is given is in the
    identity's `expires_at` already.

    Those in `renewed` are told of a session whose identity was replaced. `guard` raises for an identity that is kept
    out of the service; it is asked wherever a token comes in, and may be set once what knows it is made.
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
        self._places: dict[int, dict[Session, None]] = {}
        self._ticks: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self.renewed: list[Callable[[Session], None]] = []
        self.guard: Callable[[Identity], None] = lambda identity: None
        self._by_user: dict[str, Session | tuple[Session, ...]] = {}
        self._held: dict[Session, object] = {}

    async def open(self, link: Link, token: str) -> Session:
        """The session of a link for this token. A second namespace must be of the same user."""
        identity = await self._verifier.verify(token)
        self.guard(identity)
        session = link.state
        if isinstance(session, Session):
            self._check_same(session, identity)
            if session.due is None:
                # All namespaces had left this link, by themselves or because they were ended.
                session.ended = None
                self._enlist(session)
            elif session.ended is not None:
                raise session.ended
            if identity.expires_at > session.identity.expires_at:
                self._replace(session, identity)
            elif session.due is None:
                # The one that came back is the first again.
                self._replace(session, identity)
            return session
        session = link.state = Session(link, identity)
        self._enlist(session)
        self._watch(session)
        return session

    async def refresh(self, session: Session, token: str) -> Identity:
        """Replace the token of a whole connection by one of the same user."""
        identity = await self._verifier.verify(token)
        self.guard(identity)
        self._check_same(session, identity)
        self._replace(session, identity)
        return identity

    def check(self, session: Session) -> None:
        """Raise `token_expired` if the session's time is over, even if its timer was late, and why it was ended before
        if it was.
        """
        if session.ended is not None:
            raise session.ended
        if self._clock() >= session.identity.expires_at:
            raise HubbubError("token_expired")

    def close(self, link: Link) -> None:
        """A link's last namespace is gone."""
        session = link.state
        if isinstance(session, Session):
            self._leave(session)
            self._strike_out(session)
            self._held.pop(session, None)

    def hold(self, session: Session) -> Callable[[], None]:
        """An event is under way that may end its own session: until what is returned is called, behind the ack, the
        session serves nothing more if it is ended, but stays, for `HELD_S` at most. A later event's hold replaces this.
        """
        token = self._held[session] = object()

        def release() -> None:
            if self._held.get(session) is token:
                del self._held[session]
                if session.ended is not None:
                    self._say_goodbye(session, session.ended)

        return release

    def links_of(self, user: str) -> list[Link]:
        """The links that a user's sessions are on."""
        return [session.link for session in self._of(user)]

    # -- as domain.control.ports.Doors -------------------------------------------------------------------------------

    def end_user(
        self, user: str, error: HubbubError, *, issued_before: int | None = None, opened_before: int | None = None
    ) -> int:
        """End the user's connections: all, or those whose token was issued up to a time, or those that were there at a
        time.
        """
        return sum(
            self._end(session, error)
            for session in self._of(user)
            if (issued_before is None or session.identity.issued_at <= issued_before)
            and (opened_before is None or session.link.opened_at <= opened_before)
        )

    def end_jti(self, jti: str, error: HubbubError) -> int:
        """End the connections that stand on this token. Looks at all: for what is rare."""
        found = [session for session in self._each() if session.identity.jti == jti]
        return sum(self._end(session, error) for session in found)

    def end_connection(self, id: str, error: HubbubError) -> bool:
        """End the connection of this id, its own or that of one of its namespaces. Looks at all: for what is rare; but
        not for an id of another node, which begins with another name than all that are here.
        """
        node = id[: id.rfind(".") + 1]
        for session in self._each():
            link = session.link
            if not link.id.startswith(node):
                return False
            found = link.id == id
            for connection in link.connections.values():
                found = found or connection.id == id
            if found:
                return self._end(session, error) > 0
        return False

    def ring(self, until: float) -> None:
        """Look at every session that is due by this time of the loop's clock. Called by the timer."""
        last = math.ceil(until * _TICKS_PER_S)
        due: list[Session] = []
        while self._ticks and self._ticks[0] <= last:
            due += self._places.pop(heapq.heappop(self._ticks))
        for session in due:
            session.due = None
        for session in due:
            if session.due is None:
                self._look(session)
        self._set_timer()

    # -- inside ------------------------------------------------------------------------------------------------------

    def _enlist(self, session: Session) -> None:
        """Most users have one session, and a collection for it would take as much as all else here."""
        user = session.identity.user
        known = self._of(user)
        if session not in known:
            self._by_user[user] = (*known, session) if known else session

    def _strike_out(self, session: Session) -> None:
        user = session.identity.user
        rest = tuple(each for each in self._of(user) if each is not session)
        if rest:
            self._by_user[user] = rest if len(rest) > 1 else rest[0]
        else:
            self._by_user.pop(user, None)

    def _of(self, user: str) -> tuple[Session, ...]:
        known = self._by_user.get(user, ())
        return known if isinstance(known, tuple) else (known,)

    def _each(self) -> Iterator[Session]:
        """All sessions; none may come or go meanwhile."""
        for known in self._by_user.values():
            if isinstance(known, tuple):
                yield from known
            else:
                yield known

    def _end(self, session: Session, error: HubbubError) -> int:
        """End a session; what was sent and is not begun yet is refused. Returns 1, or 0 if it had ended."""
        if session.ended is not None:
            return 0
        session.ended = error
        if session in self._held:
            asyncio.get_running_loop().call_later(HELD_S, self._end_held, session, error)
        else:
            self._say_goodbye(session, error)
        return 1

    def _end_held(self, session: Session, error: HubbubError) -> None:
        """The ack did not come in time, or it did, and then there is nobody left to say goodbye to."""
        if session.ended is error:
            self._held.pop(session, None)
            self._say_goodbye(session, error)

    @staticmethod
    def _check_same(session: Session, identity: Identity) -> None:
        if identity.user != session.identity.user:
            raise HubbubError("forbidden", "The token is somebody else's.")

    def _replace(self, session: Session, identity: Identity) -> None:
        session.identity = identity
        session.told = False
        self._watch(session)
        for tell in self.renewed:
            tell(session)

    def _watch(self, session: Session) -> None:
        """Look at the session when something is to be said or done next."""
        now = self._clock()
        due = session.identity.expires_at
        if self._expiring_ms and not session.told:
            due = min(due, max(session.identity.expires_at - self._expiring_ms, now + _TELL_AGAIN_MS))
        self._wait(session, min(max(due - now, 0) / 1000, _LONGEST_TIMER_S))

    def _wait(self, session: Session, seconds: float) -> None:
        self._leave(session)
        session.due = asyncio.get_running_loop().time() + seconds
        tick = math.ceil(session.due * _TICKS_PER_S)
        place = self._places.get(tick)
        if place is None:
            place = self._places[tick] = {}
            heapq.heappush(self._ticks, tick)
        place[session] = None
        if self._timer is None or self._ticks[0] == tick:
            self._set_timer()

    def _leave(self, session: Session) -> None:
        """Take the session out of its place. The place stays until its time, for who comes next."""
        if session.due is not None:
            place = self._places.get(math.ceil(session.due * _TICKS_PER_S))
            session.due = None
            if place is not None:
                place.pop(session, None)

    def _set_timer(self) -> None:
        """One timer, for the first place that somebody is in."""
        while self._ticks and not self._places[self._ticks[0]]:
            del self._places[heapq.heappop(self._ticks)]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ticks:
            at = self._ticks[0] / _TICKS_PER_S
            self._timer = asyncio.get_running_loop().call_at(at, self.ring, at)

    def _look(self, session: Session) -> None:
        if not session.link.connections:
            # The connect was refused after the token was taken; a later one is watched anew.
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
        self._watch(session)

    def _expire(self, session: Session) -> None:
        if not all(connection.is_open for connection in session.link.connections.values()):
            # One is still being let in, and can be told nothing yet.
            self._wait(session, _TELL_AGAIN_MS / 1000)
        self._say_goodbye(session, HubbubError("token_expired"))

    @staticmethod
    def _say_goodbye(session: Session, error: HubbubError) -> None:
        for connection in list(session.link.connections.values()):
            connection.emit("closing", {"code": error.code, "message": error.message, "reconnect": False})
            connection.disconnect()
