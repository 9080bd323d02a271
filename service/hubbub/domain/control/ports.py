"""What the control log needs of the layers above: a way to end connections of this node, and the node itself."""

from __future__ import annotations

from typing import Protocol

from hubbub.errors import HubbubError

__all__ = ["Doors", "NoDoors"]


class Doors(Protocol):
    """The connections of this node, of all namespaces. Whoever is ended gets `closing` with the error's code and
    sentence and without the offer to come back, then a Socket.IO DISCONNECT in every namespace; what they sent before
    and what was not begun yet is refused with the error. All return at once.
    """

    def end_user(
        self, user: str, error: HubbubError, *, issued_before: int | None = None, opened_before: int | None = None
    ) -> int:
        """End the user's connections: all, or those whose token was issued up to a time, or those that were there at a
        time. Returns how many were ended.
        """

    def end_jti(self, jti: str, error: HubbubError) -> int:
        """End the connections that stand on the token with this `jti`; returns how many."""

    def end_connection(self, id: str, error: HubbubError) -> bool:
        """End one, known by its own id or that of one of its namespaces; False if it is not here."""

    def drain(self) -> None:
        """Shut this node down as SIGTERM does."""


class NoDoors:
    """For a chat that has no connections of its own to end."""

    def end_user(
        self, user: str, error: HubbubError, *, issued_before: int | None = None, opened_before: int | None = None
    ) -> int:
        return 0

    def end_jti(self, jti: str, error: HubbubError) -> int:
        return 0

    def end_connection(self, id: str, error: HubbubError) -> bool:
        return False

    def drain(self) -> None:
        """There is nothing to shut down."""
