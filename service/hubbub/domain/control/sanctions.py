"""Bans of the service and revoked tokens, in memory: asked at every connect, refresh and request, so nobody waits.

Each comes from a record of the control log and bears its number; a lower number replaces nothing. So it does not matter
in which order records and what the store keeps become known.
"""

from __future__ import annotations

from collections.abc import Sequence

from hubbub.domain.clock import Clock
from hubbub.domain.identity import Identity
from hubbub.errors import HubbubError
from hubbub.history.base import Ban, Revocation, Sanctions

__all__ = ["SanctionBook", "banned", "revoked"]


def banned() -> HubbubError:
    """What somebody is told who is banned from the service."""
    return HubbubError("banned", "You are banned from this service.")


def revoked() -> HubbubError:
    """What the bearer of a revoked token is told."""
    return HubbubError("unauthorized", "The token was revoked.")


class SanctionBook:
    """The sanctions that this node knows of."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bans: dict[str, Ban] = {}
        self._users: dict[str, Revocation] = {}
        self._jtis: dict[str, Revocation] = {}

    def check(self, identity: Identity) -> None:
        """Raise `banned` or `unauthorized` if the bearer of this token is kept out.

        The time of issue in a token is in whole seconds, and a revocation holds for the whole second in which it was
        ordered: a token that was made in the same second is taken for an older one.
        """
        ban = self._bans.get(identity.user)
        if ban is not None and ban.until > self._clock():
            raise banned()
        if identity.jti is not None and identity.jti in self._jtis:
            raise revoked()
        revocation = self._users.get(identity.user)
        if revocation is not None and identity.issued_at <= revocation.before:
            raise revoked()

    def bans(self) -> Sequence[Ban]:
        """Those in force, by user."""
        now = self._clock()
        return sorted((ban for ban in self._bans.values() if ban.until > now), key=lambda ban: ban.user)

    def revocations(self) -> Sequence[Revocation]:
        """All that are known."""
        return [*self._users.values(), *self._jtis.values()]

    def take_ban(self, ban: Ban) -> bool:
        """Take note of a ban, or with `until` 0 of its end; False if something later is known of this user."""
        known = self._bans.get(ban.user)
        if known is not None and known.n >= ban.n:
            return False
        self._bans[ban.user] = ban
        return True

    def take_revocation(self, revocation: Revocation) -> bool:
        """Take note of a revocation; False if a later one is known of this user or of this `jti`."""
        book, name = (self._users, revocation.user) if revocation.jti is None else (self._jtis, revocation.jti)
        assert name is not None
        known = book.get(name)
        if known is not None and known.n >= revocation.n:
            return False
        book[name] = revocation
        return True

    def replace(self, sanctions: Sanctions) -> None:
        """Forget everything, and know these: the log began anew, or too much of it was missed."""
        self._bans = {ban.user: ban for ban in sanctions.bans}
        self._users = {each.user: each for each in sanctions.revocations if each.user is not None and each.jti is None}
        self._jtis = {each.jti: each for each in sanctions.revocations if each.jti is not None}

    def prune(self, upto: int) -> None:
        """Forget bans that are over. Their number guards against older records, of which none comes any more if all of
        the log up to `upto` was applied.
        """
        now = self._clock()
        over = [user for user, ban in self._bans.items() if ban.until <= now and ban.n <= upto]
        for user in over:
            del self._bans[user]
