"""What SQLite's failures mean for those who asked."""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import Final

from hubbub.errors import HubbubError

__all__ = ["as_hubbub_error", "is_damage", "sentence"]

logger: Final = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 1.0
"""A full disk or a lock held by a backup does not go away faster, and a client may ask once a second."""

QUIET_S: Final = 10.0

SENTENCES: Final = {
    sqlite3.SQLITE_FULL: "The store has no space left.",
    sqlite3.SQLITE_IOERR: "The store's disk does not work.",
    sqlite3.SQLITE_CORRUPT: "A part of the store is damaged.",
    sqlite3.SQLITE_NOTADB: "A part of the store is damaged.",
    sqlite3.SQLITE_BUSY: "The store is locked by another program.",
    sqlite3.SQLITE_LOCKED: "The store is locked by another program.",
    sqlite3.SQLITE_PROTOCOL: "The store is locked by another program.",
    sqlite3.SQLITE_READONLY: "The store can only be read.",
    sqlite3.SQLITE_PERM: "The store may not be written.",
    sqlite3.SQLITE_CANTOPEN: "The store cannot be opened.",
    sqlite3.SQLITE_NOMEM: "The store has no memory left.",
    sqlite3.SQLITE_INTERRUPT: "The store took too long.",
}
"""By primary result code: what is wrong with the machine rather than with our statements."""


class _Throttle:
    """Lets the same text through once in ten seconds: a full disk fails hundreds of writes a second in the same way."""

    def __init__(self) -> None:
        self._last: tuple[str, float] = ("", 0.0)

    def lets(self, text: str) -> bool:
        last, at = self._last
        now = time.monotonic()
        if text == last and now - at < QUIET_S:
            return False
        self._last = (text, now)
        return True


_throttle: Final = _Throttle()


def sentence(error: BaseException) -> str | None:
    """What is wrong with the store, as one sentence; None if the error says nothing about it."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else SENTENCES.get(code & 0xFF)


def is_damage(error: BaseException) -> bool:
    """Whether the file itself is to blame, so that only a new one helps."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def as_hubbub_error(error: Exception) -> HubbubError:
    """The error for whoever asked: theirs as it is, the store's as `unavailable`, ours logged and `internal`."""
    if isinstance(error, HubbubError):
        return error
    if isinstance(error, UnicodeEncodeError):
        return HubbubError("bad_request", "The request has text that is not Unicode.")
    text = sentence(error)
    if text is not None:
        if _throttle.lets(text):
            logger.warning("history: %s (%s)", text, getattr(error, "sqlite_errorname", type(error).__name__))
        return HubbubError("unavailable", text, retry_after=RETRY_AFTER_S)
    logger.error("history: unexpected failure", exc_info=error)
    return HubbubError("internal")
