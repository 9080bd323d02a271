"""The catalogue of errors: every failure that a client can see has one code, listed here and nowhere else.

A code says three things beside its meaning: whether repeating the same request can help (`retryable`), whose fault it
is (`client` or `server`; only the latter is logged with a traceback and alerts an operator), and which HTTP status
the REST surface answers with. WIRE, "Acks", is the contract; `docs/reference/errors.md` is made from this table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ["CATALOGUE", "Code", "ErrorKind", "FilterError", "HubbubError", "StoreError"]

Code = Literal[
    "bad_request",
    "unauthorized",
    "token_expired",
    "forbidden",
    "banned",
    "muted",
    "not_found",
    "conflict",
    "room_full",
    "too_large",
    "rate_limited",
    "slow_mode",
    "draining",
    "unavailable",
    "internal",
]


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """One row of the catalogue."""

    code: Code
    meaning: str
    retryable: bool
    fault: Literal["client", "server"]
    http_status: int


CATALOGUE: Final[Mapping[Code, ErrorKind]] = {
    kind.code: kind
    for kind in (
        ErrorKind("bad_request", "The request does not fit its schema; `fields` says where.", False, "client", 400),
        ErrorKind("unauthorized", "No token, or one that is not valid here.", False, "client", 401),
        ErrorKind("token_expired", "The token's time is over; get a new one.", False, "client", 401),
        ErrorKind("forbidden", "The caller may know of this, but may not do it.", False, "client", 403),
        ErrorKind("banned", "The caller is banned from the room.", False, "client", 403),
        ErrorKind("muted", "The caller may read, but not write, for now.", False, "client", 403),
        ErrorKind("not_found", "There is no such thing, or the caller may not know of it.", False, "client", 404),
        ErrorKind("conflict", "What it is about is not in the state that the request needs.", False, "client", 409),
        ErrorKind("room_full", "The room has as many members as its capacity allows.", False, "client", 409),
        ErrorKind("too_large", "The request is larger than the limits in `hello` allow.", False, "client", 413),
        ErrorKind("rate_limited", "Too many requests; wait `retry_after` seconds.", True, "client", 429),
        ErrorKind("slow_mode", "The room is in slow mode; wait `retry_after` seconds.", True, "client", 429),
        ErrorKind("draining", "This node is being shut down; connect again.", True, "server", 503),
        ErrorKind(
            "unavailable",
            "The store or the cluster does not answer; the outcome is unknown: repeat with the same key.",
            True,
            "server",
            503,
        ),
        ErrorKind("internal", "A fault of the service; the outcome is unknown.", True, "server", 500),
    )
}


class HubbubError(Exception):
    """A failure that the client is told of.

    `message` is one English sentence for the developer who reads it, never a secret and never a document of somebody
    else's. `fields` names what was wrong with the request: dotted paths to lists of sentences. `retry_after` is in
    seconds.
    """

    def __init__(
        self,
        code: Code,
        message: str | None = None,
        *,
        fields: Mapping[str, Sequence[str]] | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.kind = CATALOGUE[code]
        self.message = message if message is not None else self.kind.meaning
        self.fields = fields
        self.retry_after = retry_after
        super().__init__(code, self.message)

    @property
    def code(self) -> Code:
        return self.kind.code

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def document(self) -> dict[str, Any]:
        """The error object of an ack (WIRE, "Acks")."""
        document: dict[str, Any] = {"code": self.code, "message": self.message, "retryable": self.kind.retryable}
        if self.retry_after is not None:
            # Less than a millisecond is told as one; no time at all is told as none.
            document["retry_after"] = max(round(self.retry_after, 3), 0.001) if self.retry_after else 0
        if self.fields is not None:
            document["fields"] = {path: list(texts) for path, texts in self.fields.items()}
        return document


class StoreError(Exception):
    """The store cannot be opened: no such directory, locked, corrupt, foreign, or made by a newer version.

    Raised while the service starts, before anything listens; its text is one sentence for the operator.
    """


class FilterError(Exception):
    """A filter of messages cannot be loaded, or its rule file cannot be read.

    Raised while the service starts, before anything listens; its text is one sentence for the operator.
    """
